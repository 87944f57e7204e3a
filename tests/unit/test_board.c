// SPDX-License-Identifier: Apache-2.0
/* Where devices are: room for all of them, and the same place in every later version for a machine that was saved. */
#include "arch/arch.h" /* before cmocka.h, which takes the name "fail" */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "devices/devices.h"
#include "fake_platform.h"
#include "state/codec.h"

static struct fake_platform fp;
static struct vm_config config = { .machine.vm_generation_id = true };
static struct err e;

static int setup(void **state)
{
	(void)state;
	fake_platform_init(&fp);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_platform_fini(&fp);
	return 0;
}

static struct arch_board new_board(void)
{
	return (struct arch_board){ .platform = &fp.p, .config = &config };
}

static struct arch_place place(struct arch_board *b, const char *device)
{
	const struct arch_place *found = NULL;

	if (arch_board_place_virtio(b, device, &found, &e))
		fail_msg("%s", e.text);
	return *found;
}

/* A device as the board makes it, by the section of its metrics; it goes again, its place stays. */
static int add_device(struct arch_board *b, const char *section)
{
	size_t i = 0;
	struct device *dev = NULL;
	int r;

	while (!arch_board_devices[i].metrics || strcmp(arch_board_devices[i].metrics->name, section) != 0)
		i++;
	r = arch_board_devices[i].create(b, &dev, &e);
	if (dev)
		dev->ops->free(dev);
	return r;
}

static int add_vmgenid(struct arch_board *b)
{
	return add_device(b, "vmgenid");
}

static int add_vmclock(struct arch_board *b)
{
	return add_device(b, "vmclock");
}

static void assert_is_at(struct arch_place p, const char *device, gpa_t base, uint32_t gsi)
{
	assert_string_equal(p.device, device);
	assert_int_equal(p.base, base);
	assert_int_equal(p.gsi, gsi);
}

/* 16 drives, 8 network devices, vsock, balloon, entropy, VM Generation ID, VMClock. */
static void there_is_room_for_every_device(void **state)
{
	struct arch_board b = new_board();
	unsigned int users[ARCH_GSI_LAST + 1] = { 0 };

	(void)state;
	for (unsigned int i = 0; i < 27; i++) {
		char name[16];

		snprintf(name, sizeof(name), "device.%u", i);
		assert_is_at(place(&b, name), name, 0xC0001000 + i * 0x1000ull, i < 17 ? 5 + i : 5 + i - 17);
		users[b.places[i].gsi]++;
	}
	assert_int_equal(add_vmgenid(&b), 0);
	assert_int_equal(add_vmclock(&b), 0);
	assert_is_at(b.places[27], "vmgenid", ARCH_VMGENID_GPA, 23);
	assert_is_at(b.places[28], "vmclock", ARCH_VMCLOCK_GPA, 22);
	assert_int_equal(users[22] + users[23], 0); /* their driver does not share */
	for (unsigned int gsi = 0; gsi <= ARCH_GSI_LAST; gsi++)
		assert_in_range(users[gsi], 0, 2);
	assert_int_equal(arch_board_num_virtio(&b), 27);
}

static void one_device_too_many_is_refused_by_name(void **state)
{
	struct arch_board b = new_board();
	const struct arch_place *p = NULL;

	(void)state;
	assert_int_equal(arch_board_new_places(&b, ARCH_MAX_VIRTIO, &e), 0);
	assert_int_equal(arch_board_place_virtio(&b, "net.x", &p, &e), -ENOSPC);
	assert_non_null(strstr(e.text, "device \"net.x\" is one too many"));
	assert_int_equal(add_vmgenid(&b), 0);
	assert_int_equal(add_vmclock(&b), 0);
}

static struct dec *saved(const struct arch_board *b, unsigned int version)
{
	struct enc *enc = enc_new();
	struct dec *dec;
	uint8_t *data;
	size_t len;

	assert_non_null(enc);
	if (version)
		arch_board_save(b, enc);
	assert_int_equal(enc_finish(enc, &data, &len), 0);
	enc_free(enc);
	assert_int_equal(dec_new(data, len, &dec, &e), 0);
	free(data);
	dec_set_version(dec, version);
	return dec;
}

static int load(struct arch_board *b, const struct arch_board *from, unsigned int version)
{
	struct dec *dec = saved(from, version);
	int r;

	*b = new_board();
	r = arch_board_load(b, dec, &e);
	dec_free(dec);
	return r;
}

/* What a later version makes of the lists of resources, in which order it creates devices, changes nothing. */
static void a_saved_machine_finds_each_device_where_it_was(void **state)
{
	struct arch_board old = new_board(), b;
	struct arch_place a, root, entropy;

	(void)state;
	root = place(&old, "drive.root");
	a = place(&old, "drive.a");
	entropy = place(&old, "entropy");
	assert_int_equal(add_vmgenid(&old), 0);
	assert_int_equal(add_vmclock(&old), 0);
	assert_int_equal(load(&b, &old, 1), 0);
	assert_int_equal(add_vmclock(&b), 0);
	assert_int_equal(arch_board_check_taken(&b, &e), -EINVAL);
	assert_int_equal(add_vmgenid(&b), 0);
	assert_is_at(place(&b, "entropy"), "entropy", entropy.base, entropy.gsi);
	assert_is_at(place(&b, "drive.a"), "drive.a", a.base, a.gsi);
	assert_is_at(place(&b, "drive.root"), "drive.root", root.base, root.gsi);
	assert_int_equal(arch_board_check_taken(&b, &e), 0);
	assert_int_equal(b.num_places, old.num_places); /* as it will be saved again */
}

/* v1.0 saved no places: devices were in boot order, the VM Generation ID's interrupt behind those of the others. */
static void a_machine_of_v1_0_has_the_places_of_v1_0(void **state)
{
	struct arch_board none = new_board(), b, again;

	(void)state;
	assert_int_equal(load(&b, &none, 0), 0);
	assert_is_at(place(&b, "drive.disk"), "drive.disk", 0xC0001000, 5);
	assert_is_at(place(&b, "drive.disk2"), "drive.disk2", 0xC0002000, 6);
	assert_is_at(place(&b, "entropy"), "entropy", 0xC0003000, 7);
	assert_int_equal(add_vmgenid(&b), 0);
	assert_is_at(b.places[3], "vmgenid", ARCH_VMGENID_GPA, 8);
	/* In today's format it keeps them. */
	assert_int_equal(load(&again, &b, 1), 0);
	assert_int_equal(add_vmgenid(&again), 0);
	assert_is_at(again.places[3], "vmgenid", ARCH_VMGENID_GPA, 8);
	assert_is_at(place(&again, "entropy"), "entropy", 0xC0003000, 7);
}

/* Machines that are older than it, and have other devices at its interrupt. */
static void a_machine_that_was_saved_without_vmclock_has_none(void **state)
{
	struct arch_board old = new_board(), b;

	(void)state;
	(void)place(&old, "entropy");
	old.places[0].gsi = 22;
	for (unsigned int version = 0; version < 2; version++) {
		assert_int_equal(load(&b, &old, version), 0);
		assert_int_equal(add_vmclock(&b), 0);
		assert_int_equal(b.num_places, version);
	}
}

/* Two events of one leak may be told in any order, but none before the leak queues' bytes are there. */
static void the_leak_queues_come_before_vmgenid_and_that_before_vmclock(void **state)
{
	size_t configured = 0, vmgenid = 0, vmclock = 0;

	(void)state;
	for (size_t i = 0; i < arch_num_board_devices; i++) {
		if (!arch_board_devices[i].create)
			configured = i;
		else if (arch_board_devices[i].metrics == &vmgenid_metrics_section)
			vmgenid = i;
		else if (arch_board_devices[i].metrics == &vmclock_metrics_section)
			vmclock = i;
	}
	assert_true(0 < configured && configured < vmgenid && vmgenid < vmclock);
}

static void assert_refused(const struct arch_board *from, const char *device, const char *words)
{
	const struct arch_place *p = NULL;
	struct arch_board b;
	int r = load(&b, from, 1);

	if (!r && (!strcmp(device, "vmgenid") || !strcmp(device, "vmclock")))
		r = add_device(&b, device);
	else if (!r)
		r = arch_board_place_virtio(&b, device, &p, &e);
	if (!r)
		r = arch_board_check_taken(&b, &e);
	assert_int_equal(r, -EINVAL);
	if (!strstr(e.text, words))
		fail_msg("\"%s\" is not in \"%s\"", words, e.text);
}

static void impossible_places_are_refused_by_name(void **state)
{
	struct arch_board b = new_board();

	(void)state;
	assert_int_equal(add_vmgenid(&b), 0);
	(void)place(&b, "entropy");
	assert_refused(&b, "entropy", "there is a place for device \"vmgenid\", but no such device");
	assert_refused(&b, "drive.a", "no place is given for device \"drive.a\"");
	b.places[1].gsi = 4;
	assert_refused(&b, "entropy", "board[1].gsi");
	b.places[1].gsi = 5;
	b.places[1].base = 0xC0001010;
	assert_refused(&b, "entropy", "device \"entropy\" is at address 0xc0001010");
	b.places[1].base = 0xC0000000; /* the boot timer's */
	assert_refused(&b, "entropy", "device \"entropy\" is at address 0xc0000000");
	b.places[1].base = ARCH_IOAPIC_BASE;
	assert_refused(&b, "entropy", "device \"entropy\" is at address 0xfec00000");
	b.places[0].base = 0x1000;
	assert_refused(&b, "vmgenid", "device \"vmgenid\" is at address 0x1000");
	snprintf(b.places[0].device, sizeof(b.places[0].device), "vmclock");
	assert_refused(&b, "vmclock", "device \"vmclock\" is at address 0x1000, which must be 0xde000");
	snprintf(b.places[0].device, sizeof(b.places[0].device), "entropy");
	assert_refused(&b, "entropy", "device \"entropy\" has two places");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(there_is_room_for_every_device, setup, teardown),
		cmocka_unit_test_setup_teardown(one_device_too_many_is_refused_by_name, setup, teardown),
		cmocka_unit_test_setup_teardown(a_saved_machine_finds_each_device_where_it_was, setup, teardown),
		cmocka_unit_test_setup_teardown(a_machine_of_v1_0_has_the_places_of_v1_0, setup, teardown),
		cmocka_unit_test_setup_teardown(a_machine_that_was_saved_without_vmclock_has_none, setup, teardown),
		cmocka_unit_test(the_leak_queues_come_before_vmgenid_and_that_before_vmclock),
		cmocka_unit_test_setup_teardown(impossible_places_are_refused_by_name, setup, teardown),
	};

	return cmocka_run_group_tests_name("board", tests, NULL, NULL);
}
