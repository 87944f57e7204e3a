// SPDX-License-Identifier: Apache-2.0
/*
 * The board: its devices in boot order, their addresses and interrupts.
 *
 * Serial port, keyboard controller and boot timer are where a PC and
 * Firecracker have them, and stay there. A virtio device gets the next free
 * window and interrupt of a new machine, and what it got is in the snapshot by
 * the device's name: a machine that is loaded has each device where its guest
 * knows it, whatever tables and lists have become since.
 *
 * KVM's IOAPIC has 24 pins, fewer than there may be devices. The first 17
 * virtio devices have one each, then they are shared: virtio-mmio's drivers
 * share interrupts, each reads the status of its own device, and what KVM makes
 * of an irqfd is an edge each, so that none is lost. The VM Generation ID and
 * VMClock have their own: Linux' driver of the event device does not share.
 *
 * VMClock is in every new machine, as in Firecracker's. One that was saved
 * without it goes on without it: its guest has booted, and looks for no other.
 */
#include <stdio.h>
#include <string.h>

#include "arch/arch.h"
#include "base/cleanup.h"
#include "devices/devices.h"
#include "state/codec.h"

#define BOARD_VMGENID_GSI ARCH_GSI_LAST
#define BOARD_VMCLOCK_GSI (ARCH_GSI_LAST - 1)
#define BOARD_NUM_GSIS	  (BOARD_VMCLOCK_GSI - ARCH_GSI_FIRST) /* of virtio devices */
#define BOARD_WINDOWS_END (ARCH_VIRTIO_MMIO_BASE + ARCH_MAX_VIRTIO * ARCH_VIRTIO_MMIO_WINDOW)

static struct arch_place *board_find(struct arch_board *b, const char *device)
{
	for (unsigned int i = 0; i < b->num_places; i++) {
		if (!strcmp(b->places[i].device, device))
			return &b->places[i];
	}
	return NULL;
}

static struct arch_place *board_add(struct arch_board *b, const char *device, gpa_t base, uint32_t gsi)
{
	struct arch_place *place = &b->places[b->num_places++];

	*place = (struct arch_place){ .base = base, .gsi = gsi, .taken = true };
	snprintf(place->device, sizeof(place->device), "%s", device);
	return place;
}

/* The place that the snapshot gives the device; it is hostile, and may have forgotten or doubled one. NULL: -EINVAL, and e says why. */
static const struct arch_place *board_take_saved(struct arch_board *b, const char *device, struct err *e)
{
	struct arch_place *place = board_find(b, device);

	if (!place || place->taken) {
		err_set(e, EINVAL, "board: no place is given for device \"%s\"", device);
		return NULL;
	}
	place->taken = true;
	return place;
}

bool arch_place_is_virtio(const struct arch_place *place)
{
	return place->base >= ARCH_VIRTIO_MMIO_BASE;
}

unsigned int arch_board_num_virtio(const struct arch_board *b)
{
	unsigned int num = 0;

	for (unsigned int i = 0; i < b->num_places; i++)
		num += arch_place_is_virtio(&b->places[i]);
	return num;
}

int arch_board_place_virtio(struct arch_board *b, const char *device, const struct arch_place **out, struct err *e)
{
	unsigned int n = arch_board_num_virtio(b);
	const struct arch_place *place;

	if (!b->is_saved) {
		if (n == ARCH_MAX_VIRTIO)
			return err_set(e, ENOSPC, "device \"%s\" is one too many: a machine can have %u virtio devices",
				       device, ARCH_MAX_VIRTIO);
		*out = board_add(b, device, ARCH_VIRTIO_MMIO_BASE + n * ARCH_VIRTIO_MMIO_WINDOW,
				 ARCH_GSI_FIRST + n % BOARD_NUM_GSIS);
		return 0;
	}
	place = board_take_saved(b, device, e);
	if (!place)
		return -EINVAL;
	if (place->base < ARCH_VIRTIO_MMIO_BASE || place->base >= BOARD_WINDOWS_END ||
	    place->base % ARCH_VIRTIO_MMIO_WINDOW)
		return err_set(e, EINVAL,
			       "board: device \"%s\" is at address 0x%llx: virtio devices have pages from 0x%llx to "
			       "0x%llx",
			       device, (unsigned long long)place->base, ARCH_VIRTIO_MMIO_BASE, BOARD_WINDOWS_END);
	*out = place;
	return 0;
}

/* A device that is always at the same address of guest memory. NULL: -EINVAL, and e says why. */
static const struct arch_place *board_place_in_memory(struct arch_board *b, const char *device, gpa_t base,
						      uint32_t gsi, struct err *e)
{
	const struct arch_place *place;

	if (!b->is_saved)
		return board_add(b, device, base, gsi);
	place = board_take_saved(b, device, e);
	if (!place || place->base == base)
		return place;
	err_set(e, EINVAL, "board: device \"%s\" is at address 0x%llx, which must be 0x%llx", device,
		(unsigned long long)place->base, (unsigned long long)base);
	return NULL;
}

static int board_add_i8042(struct arch_board *b, struct device **dev, struct err *e)
{
	int r = i8042_new(ARCH_I8042_PORT, ARCH_I8042_GSI, b->platform, b->on_reset, b->ctx, dev, e);

	if (!r)
		b->keyboard = *dev;
	return r;
}

static int board_add_boot_timer(struct arch_board *b, struct device **dev, struct err *e)
{
	return b->boot_timer ? boot_timer_new(ARCH_BOOT_TIMER_BASE, b->platform, dev, e) : 0;
}

static int board_add_vmgenid(struct arch_board *b, struct device **dev, struct err *e)
{
	/* Up to v1.0 it had the interrupt after the virtio devices'. */
	uint32_t gsi = b->is_v1_0 ? ARCH_GSI_FIRST + arch_board_num_virtio(b) : BOARD_VMGENID_GSI;
	const struct arch_place *place;

	if (!b->config->machine.vm_generation_id)
		return 0;
	place = board_place_in_memory(b, "vmgenid", ARCH_VMGENID_GPA, gsi, e);
	return !place ? -EINVAL : vmgenid_new(place->base, place->gsi, b->platform, dev, e);
}

static int board_add_vmclock(struct arch_board *b, struct device **dev, struct err *e)
{
	static const char name[] = "vmclock";
	const struct arch_place *place;

	if (b->is_v1_0 || (b->is_saved && !board_find(b, name)))
		return 0;
	place = board_place_in_memory(b, name, ARCH_VMCLOCK_GPA, BOARD_VMCLOCK_GSI, e);
	return !place ? -EINVAL : vmclock_new(place->base, place->gsi, b->platform, dev, e);
}

/* The VM Generation ID's event comes after the leak queues', and VMClock's, which tells programs, when the kernel has both. */
const struct arch_board_device arch_board_devices[] = {
	{ board_add_i8042, &i8042_metrics_section },
	{ board_add_boot_timer, NULL },
	{ NULL, NULL },
	{ board_add_vmgenid, &vmgenid_metrics_section },
	{ board_add_vmclock, &vmclock_metrics_section },
};
const size_t arch_num_board_devices = ARRAY_SIZE(arch_board_devices);

int arch_board_ctrl_alt_del(struct arch_board *b, struct err *e)
{
	return i8042_ctrl_alt_del(b->keyboard, e);
}

void arch_board_save(const struct arch_board *b, struct enc *enc)
{
	enc_array_begin(enc, "board");
	for (unsigned int i = 0; i < b->num_places; i++) {
		enc_item_begin(enc);
		enc_str(enc, "device", b->places[i].device);
		enc_u64(enc, "base", b->places[i].base);
		enc_u64(enc, "gsi", b->places[i].gsi);
		enc_item_end(enc);
	}
	enc_array_end(enc);
}

static void board_load_place(struct arch_board *b, struct dec *dec)
{
	const char *device = dec_str(dec, "device", DEVICE_NAME_SIZE - 1);
	gpa_t base = dec_u64(dec, "base", 0, UINT64_MAX);
	uint32_t gsi = (uint32_t)dec_u64(dec, "gsi", ARCH_GSI_FIRST, ARCH_GSI_LAST);

	dec_end(dec);
	if (!device)
		dec_fail(dec, "device is null, a name is needed");
	else if (board_find(b, device))
		dec_fail(dec, "device \"%s\" has two places", device);
	else
		board_add(b, device, base, gsi)->taken = false;
}

int arch_board_load(struct arch_board *b, struct dec *dec, struct err *e)
{
	size_t n;

	b->is_v1_0 = dec_version(dec) == 0;
	if (b->is_v1_0)
		return 0;
	b->is_saved = true;
	n = dec_array(dec, "board", ARCH_MAX_PLACES);
	for (size_t i = 0; i < n; i++)
		board_load_place(b, dec_item(dec, "board", i));
	return dec_error(dec, e);
}

int arch_board_check_taken(const struct arch_board *b, struct err *e)
{
	for (unsigned int i = 0; i < b->num_places; i++) {
		if (!b->places[i].taken)
			return err_set(e, EINVAL, "board: there is a place for device \"%s\", but no such device",
				       b->places[i].device);
	}
	return 0;
}

int arch_board_new_places(struct arch_board *b, unsigned int num_virtio, struct err *e)
{
	int r = 0;

	for (unsigned int i = 0; i < num_virtio && !r; i++) {
		const struct arch_place *place = NULL;

		r = arch_board_place_virtio(b, "", &place, e);
	}
	return r;
}
