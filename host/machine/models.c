// SPDX-License-Identifier: Apache-2.0
/*
 * The devices that a machine can have, in boot order: which is the order of
 * their addresses, of their state in a snapshot and of leak events. A new
 * device is one more row.
 */
#include <stdio.h>

#include "devices/devices.h"
#include "machine/internal.h"
#include "virtio/blk.h"
#include "virtio/mmio.h"
#include "virtio/rng.h"

static void machine_append(struct machine *m, struct device *dev)
{
	struct device **end = &m->devices;

	while (*end)
		end = &(*end)->next;
	*end = dev;
}

static int machine_plug_virtio(struct machine *m, struct virtio_dev *vdev, const char *name, struct err *e)
{
	struct arch_virtio_slot *slot = &m->slots.virtio[m->slots.num_virtio];
	struct device *dev;
	int r = virtio_mmio_new(vdev, name, &m->platform.platform, &dev, &slot->base, &slot->gsi, e);

	if (r < 0)
		return r;
	m->slots.num_virtio++;
	machine_append(m, dev);
	return 0;
}

static int add_serial(struct machine *m, struct err *e)
{
	struct device *dev;
	int r = serial_new(&m->config->serial, ARCH_SERIAL_PORT, ARCH_SERIAL_GSI, &m->platform.platform, &dev, e);

	if (!r)
		machine_append(m, dev);
	return r;
}

static void guest_reset(void *ctx)
{
	struct machine *m = ctx;

	loop_stop(m->loop, 0);
}

static int add_i8042(struct machine *m, struct err *e)
{
	int r = i8042_new(ARCH_I8042_PORT, ARCH_I8042_GSI, &m->platform.platform, guest_reset, m, &m->i8042, e);

	if (!r)
		machine_append(m, m->i8042);
	return r;
}

static int add_boot_timer(struct machine *m, struct err *e)
{
	struct device *dev;
	int r;

	if (!m->boot_timer)
		return 0;
	r = boot_timer_new(ARCH_BOOT_TIMER_BASE, &m->platform.platform, &dev, e);
	if (!r)
		machine_append(m, dev);
	return r;
}

static int add_drives(struct machine *m, struct err *e)
{
	for (unsigned int i = 0; i < m->config->num_drives; i++) {
		const struct drive_config *config = &m->config->drives[i];
		struct virtio_dev *vdev;
		char name[sizeof(((struct device *)0)->name)];
		int r = blk_new(config, &m->platform.platform, &vdev, e);

		if (r < 0)
			return r;
		snprintf(name, sizeof(name), "drive.%.57s", config->drive_id);
		r = machine_plug_virtio(m, vdev, name, e);
		if (r < 0)
			return r;
		m->drives[m->num_drives++] = (struct machine_drive){ config->drive_id, vdev };
	}
	return 0;
}

static int add_entropy(struct machine *m, struct err *e)
{
	struct virtio_dev *vdev;
	int r;

	if (!m->config->entropy.present)
		return 0;
	r = rng_new(&m->config->entropy, &m->platform.platform, &vdev, e);
	return r < 0 ? r : machine_plug_virtio(m, vdev, "entropy", e);
}

static int add_vmgenid(struct machine *m, struct err *e)
{
	struct device *dev;
	int r;

	if (!m->config->machine.vm_generation_id)
		return 0;
	r = vmgenid_new(ARCH_VMGENID_GPA, &m->platform.platform, &dev, &m->slots.vmgenid_gsi, e);
	if (!r)
		machine_append(m, dev);
	return r;
}

static int (*const models[])(struct machine *m, struct err *e) = {
	add_serial, add_i8042, add_boot_timer, add_drives, add_entropy, add_vmgenid,
};

int machine_assemble(struct machine *m, struct err *e)
{
	for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
		int r = models[i](m, e);

		if (r < 0)
			return r;
	}
	return 0;
}
