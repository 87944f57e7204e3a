// SPDX-License-Identifier: Apache-2.0
/* bus/bus: who answers where, and that no device sees an access beyond its range. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

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

enum step { LOAD, RESUME, PAUSE, DRAIN, FLUSH, SAVE, LEAK, NUM_STEPS };

static void nothing_to_save(struct device *dev, struct enc *enc)
{
	(void)dev;
	(void)enc;
}

static void nothing_to_load(struct device *dev, struct dec *dec)
{
	(void)dev;
	(void)dec;
}

/* While it is true, a request does not end. */
static bool is_stuck;

static int drain(struct device *dev, unsigned int ms, struct err *e)
{
	(void)dev;
	(void)ms;
	return is_stuck ? err_set(e, ETIMEDOUT, "stuck") : 0;
}

static void take_step(struct device *dev, enum step step)
{
	struct err e;

	switch (step) {
	case LOAD:
		device_load(dev, NULL);
		break;
	case RESUME:
		device_resume(dev);
		break;
	case PAUSE:
		device_pause(dev);
		break;
	case DRAIN:
		(void)!device_drain(dev, 0, &e);
		break;
	case FLUSH:
		(void)!device_flush(dev, &e);
		break;
	case SAVE:
		device_save(dev, NULL);
		break;
	default:
		(void)!device_leak(dev, &e);
		break;
	}
}

/* In a child, which an assertion ends. */
static bool step_is_caught(struct device *dev, enum step step)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		close(STDERR_FILENO);
		signal(SIGABRT, SIG_DFL);
		take_step(dev, step);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

/* The picture in device.h, as a table: how to get there, and what may come next. */
static void an_order_that_the_contract_does_not_have_is_caught(void **state)
{
	static const struct device_ops ops = { .save = nothing_to_save, .load = nothing_to_load, .drain = drain };
	static const struct {
		enum device_state state;
		enum step way[4];
		unsigned int num;
		bool stuck;
		unsigned int next;
	} cases[] = {
		{ DEVICE_CREATED, { 0 }, 0, false, 1u << LOAD | 1u << RESUME | 1u << LEAK },
		{ DEVICE_LOADED, { LOAD }, 1, false, 1u << FLUSH | 1u << SAVE | 1u << LEAK | 1u << RESUME },
		{ DEVICE_RUNNING, { RESUME }, 1, false, 1u << PAUSE },
		{ DEVICE_RUNNING, { LOAD, LEAK, RESUME }, 3, false, 1u << PAUSE },
		{ DEVICE_PAUSING, { RESUME, PAUSE }, 2, false, 1u << DRAIN | 1u << RESUME },
		{ DEVICE_PAUSING, { RESUME, PAUSE, DRAIN }, 3, true, 1u << DRAIN | 1u << RESUME },
		{ DEVICE_QUIET,
		  { RESUME, PAUSE, DRAIN },
		  3,
		  false,
		  1u << FLUSH | 1u << SAVE | 1u << LEAK | 1u << RESUME },
		{ DEVICE_SAVED,
		  { RESUME, PAUSE, DRAIN, SAVE },
		  4,
		  false,
		  1u << FLUSH | 1u << SAVE | 1u << LEAK | 1u << RESUME },
	};
	struct device dev;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		device_init(&dev, &ops, "probe");
		is_stuck = cases[i].stuck;
		for (unsigned int n = 0; n < cases[i].num; n++)
			take_step(&dev, cases[i].way[n]);
		assert_int_equal(dev.state, cases[i].state);
		for (unsigned int step = 0; step < NUM_STEPS; step++)
			assert_int_equal(step_is_caught(&dev, step), !(cases[i].next >> step & 1));
		device_fini(&dev);
	}
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
		TEST(an_order_that_the_contract_does_not_have_is_caught),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
