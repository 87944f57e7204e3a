// SPDX-License-Identifier: Apache-2.0
/* bus/bus: who answers where, and that no device sees an access beyond its range. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "bus/bus.h"

struct recorder {
	struct device dev;
	uint64_t offset;
	unsigned int len;
	uint8_t data[8];
	int reads, writes;
};

static void record_read(struct device *dev, uint64_t offset, void *data, unsigned int len)
{
	struct recorder *r = (struct recorder *)dev;

	r->offset = offset;
	r->len = len;
	r->reads++;
	memcpy(data, r->data, len);
}

static void record_write(struct device *dev, uint64_t offset, const void *data, unsigned int len)
{
	struct recorder *r = (struct recorder *)dev;

	r->offset = offset;
	r->len = len;
	r->writes++;
	memcpy(r->data, data, len);
}

static const struct device_ops recorder_ops = { .read = record_read, .write = record_write };
static struct recorder a = { .dev = { .ops = &recorder_ops } }, b = { .dev = { .ops = &recorder_ops } };
static struct bus bus;

static int setup(void **state)
{
	(void)state;
	bus_init(&bus);
	a.reads = a.writes = b.reads = b.writes = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return 0;
}

static void an_access_reaches_its_device_at_its_offset(void **state)
{
	uint8_t data[8] = { 0 };

	(void)state;
	assert_int_equal(bus_add(&bus, BUS_MMIO, 0x2000, 0x1000, &b.dev), 0);
	assert_int_equal(bus_add(&bus, BUS_MMIO, 0x1000, 0x1000, &a.dev), 0);
	assert_int_equal(bus_add(&bus, BUS_PIO, 0x1000, 8, &b.dev), 0);
	assert_true(bus_write(&bus, BUS_MMIO, 0x1ff8, "12345678", 8));
	assert_int_equal(a.offset, 0xff8);
	assert_int_equal(a.len, 8);
	assert_true(bus_read(&bus, BUS_MMIO, 0x1004, data, 4));
	assert_memory_equal(data, "1234\0\0\0\0", 8);
	assert_true(bus_read(&bus, BUS_MMIO, 0x2000, data, 1));
	assert_int_equal(b.offset, 0);
	assert_true(bus_read(&bus, BUS_PIO, 0x1007, data, 1));
	assert_int_equal(b.offset, 7);
	assert_int_equal(b.reads, 2);
}

static void assert_nobody(enum bus_space space, uint64_t addr, unsigned int len)
{
	uint8_t data[16] = { 0 };

	assert_false(bus_read(&bus, space, addr, data, len));
	for (unsigned int i = 0; i < sizeof(data); i++)
		assert_int_equal(data[i], i < len ? 0xff : 0);
	assert_false(bus_write(&bus, space, addr, data, len));
	assert_int_equal(a.reads + a.writes + b.reads + b.writes, 0);
}

static void what_belongs_to_nobody_reads_as_ones(void **state)
{
	(void)state;
	assert_nobody(BUS_MMIO, 0, 4); /* an empty bus */
	assert_int_equal(bus_add(&bus, BUS_MMIO, 0x1000, 0x1000, &a.dev), 0);
	assert_int_equal(bus_add(&bus, BUS_MMIO, 0x2000, 0x1000, &b.dev), 0);
	assert_nobody(BUS_MMIO, 0xfff, 1);
	assert_nobody(BUS_MMIO, 0xffe, 4);  /* reaches into a */
	assert_nobody(BUS_MMIO, 0x1ffe, 4); /* crosses from a to b */
	assert_nobody(BUS_MMIO, 0x2ffd, 4); /* crosses the end */
	assert_nobody(BUS_MMIO, 0x3000, 1);
	assert_nobody(BUS_MMIO, UINT64_MAX, 1);
	assert_nobody(BUS_MMIO, UINT64_MAX, 8);
	assert_nobody(BUS_PIO, 0x1000, 1);
	assert_nobody(BUS_MMIO, 0x1000, 0);
	assert_nobody(BUS_MMIO, 0x1000, 3);
	assert_nobody(BUS_MMIO, 0x1000, 16);
}

static void overlaps_and_impossible_ranges_are_refused(void **state)
{
	(void)state;
	assert_int_equal(bus_add(&bus, BUS_MMIO, 0x1000, 0x1000, &a.dev), 0);
	assert_int_equal(bus_add(&bus, BUS_MMIO, 0x1000, 0x1000, &b.dev), -EEXIST);
	assert_int_equal(bus_add(&bus, BUS_MMIO, 0x1fff, 1, &b.dev), -EEXIST);
	assert_int_equal(bus_add(&bus, BUS_MMIO, 0xfff, 2, &b.dev), -EEXIST);
	assert_int_equal(bus_add(&bus, BUS_MMIO, 0, UINT64_MAX, &b.dev), -EEXIST);
	assert_int_equal(bus_add(&bus, BUS_MMIO, 0x5000, 0, &b.dev), -EINVAL);
	assert_int_equal(bus_add(&bus, BUS_MMIO, UINT64_MAX, 2, &b.dev), -EINVAL);
	assert_int_equal(bus_add(&bus, BUS_MMIO, UINT64_MAX, 1, &b.dev), 0); /* the last byte there is */
	assert_true(bus_write(&bus, BUS_MMIO, UINT64_MAX, "x", 1));
	assert_int_equal(b.offset, 0);
	assert_int_equal(bus_add(&bus, BUS_MMIO, 0x2000, 1, &b.dev), 0);
	assert_int_equal(bus_add(&bus, BUS_MMIO, 0xfff, 1, &b.dev), 0);
}

static void a_full_table_in_any_order_is_searched_right(void **state)
{
	static struct recorder devices[BUS_MAX_RANGES];
	uint8_t byte;

	(void)state;
	for (unsigned int i = 0; i < BUS_MAX_RANGES; i++) {
		unsigned int k = i * 37 % BUS_MAX_RANGES; /* 37 and 64 share no factor */

		devices[k].dev.ops = &recorder_ops;
		assert_int_equal(bus_add(&bus, BUS_PIO, 0x100 + 3ull * k, 2, &devices[k].dev), 0);
	}
	assert_int_equal(bus_add(&bus, BUS_PIO, 0, 1, &a.dev), -ENOSPC);
	for (unsigned int k = 0; k < BUS_MAX_RANGES; k++) {
		assert_true(bus_read(&bus, BUS_PIO, 0x101 + 3ull * k, &byte, 1));
		assert_int_equal(devices[k].reads, 1);
		assert_int_equal(devices[k].offset, 1);
		assert_false(bus_read(&bus, BUS_PIO, 0x102 + 3ull * k, &byte, 1));
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_access_reaches_its_device_at_its_offset),
		TEST(what_belongs_to_nobody_reads_as_ones),
		TEST(overlaps_and_impossible_ranges_are_refused),
		TEST(a_full_table_in_any_order_is_searched_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
