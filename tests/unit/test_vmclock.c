// SPDX-License-Identifier: Apache-2.0
/* VMClock: what its page says before and after leak events, whoever writes to it, and what of it is in a snapshot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "devices/devices.h"
#include "fake_platform.h"
#include "state/codec.h"
#include "vmclock_page.h"

#define GPA 0xde000
#define GSI FAKE_FIRST_GSI

static struct fake_platform fp;
static struct device *dev;
static struct err e;

static int setup(void **state)
{
	(void)state;
	fake_platform_init(&fp);
	return vmclock_new(GPA, GSI, &fp.p, &dev, &e);
}

static int teardown(void **state)
{
	(void)state;
	dev->ops->free(dev);
	fake_platform_fini(&fp);
	return 0;
}

static struct vmclock_page page(void)
{
	struct vmclock_page p;

	assert_true(mem_read(&fp.mem, GPA, &p, sizeof(p)));
	return p;
}

/* What Linux' driver looks at (7.3, drivers/ptp/ptp_vmclock.c), and no time that nobody knows. */
static void assert_page_after(uint64_t events)
{
	static const uint8_t zeros[VMCLOCK_PAGE_SIZE];
	uint8_t whole[VMCLOCK_PAGE_SIZE];
	struct vmclock_page p = page(),
			    expected = { .magic = 0x4b4c4356, .size = 4096, .version = 1, .counter_id = 0xff };

	expected.seq_count = (uint32_t)(2 * events);
	expected.disruption_marker = events;
	expected.vm_generation_counter = events;
	expected.flags = 0x300;
	assert_memory_equal(&p, &expected, sizeof(p));
	assert_true(mem_read(&fp.mem, GPA, whole, sizeof(whole)));
	assert_memory_equal(whole + sizeof(p), zeros, sizeof(whole) - sizeof(p));
}

static void each_leak_event_is_one_more_and_one_interrupt(void **state)
{
	(void)state;
	assert_page_after(0);
	assert_int_equal(fake_irqs(&fp, GSI), 0);
	for (uint64_t events = 1; events < 4; events++) {
		assert_int_equal(device_leak(dev, &e), 0);
		assert_page_after(events);
		assert_int_equal(fake_irqs(&fp, GSI), 1);
	}
}

static void a_pause_alone_changes_nothing(void **state)
{
	(void)state;
	device_resume(dev);
	device_pause(dev);
	assert_int_equal(device_drain(dev, 0, &e), 0);
	device_resume(dev);
	assert_page_after(0);
	assert_int_equal(fake_irqs(&fp, GSI), 0);
}

/* It is for reading only, but nothing keeps a guest from writing: it deceives itself until the next event, and nobody else. */
static void what_the_guest_writes_is_gone_at_the_next_event(void **state)
{
	static const uint8_t garbage[sizeof(struct vmclock_page)] = { 1, 2, 3 };

	(void)state;
	assert_int_equal(device_leak(dev, &e), 0);
	assert_true(mem_write(&fp.mem, GPA, garbage, sizeof(garbage)));
	assert_int_equal(device_leak(dev, &e), 0);
	assert_page_after(2);
}

static void an_interrupt_without_a_handler_waits_but_the_page_does_not(void **state)
{
	(void)state;
	fp.pins_masked = true;
	assert_int_equal(device_leak(dev, &e), 0);
	assert_page_after(1);
	assert_int_equal(fake_irqs(&fp, GSI), 0);
	assert_int_equal(fp.num_waiting, 1);
}

static struct dec *saved(struct device *from)
{
	struct enc *enc = enc_new();
	struct dec *dec;
	uint8_t *data;
	size_t len;

	assert_non_null(enc);
	device_save(from, enc);
	assert_int_equal(enc_finish(enc, &data, &len), 0);
	enc_free(enc);
	assert_int_equal(dec_new(data, len, &dec, &e), 0);
	free(data);
	return dec;
}

/* A clone is the machine that was saved until its own event: then it is one further, as the original is. */
static void a_clone_counts_on_from_where_it_was_saved(void **state)
{
	struct dec *dec;

	(void)state;
	assert_int_equal(device_leak(dev, &e), 0);
	device_resume(dev);
	device_pause(dev);
	assert_int_equal(device_drain(dev, 0, &e), 0);
	dec = saved(dev);
	(void)teardown(NULL);
	assert_int_equal(setup(NULL), 0);
	assert_page_after(0);
	device_load(dev, dec);
	assert_int_equal(dec_error(dec, &e), 0);
	dec_free(dec);
	assert_page_after(1);
	assert_int_equal(fake_irqs(&fp, GSI), 0);
	assert_int_equal(device_leak(dev, &e), 0);
	assert_page_after(2);
	assert_int_equal(fake_irqs(&fp, GSI), 1);
}

static void the_last_number_is_followed_by_the_first(void **state)
{
	struct enc *enc = enc_new();
	struct dec *dec;
	uint8_t *data;
	size_t len;

	(void)state;
	enc_u64(enc, "generation", UINT64_MAX);
	assert_int_equal(enc_finish(enc, &data, &len), 0);
	enc_free(enc);
	assert_int_equal(dec_new(data, len, &dec, &e), 0);
	free(data);
	device_load(dev, dec);
	assert_int_equal(dec_error(dec, &e), 0);
	dec_free(dec);
	assert_page_after(UINT64_MAX);
	assert_int_equal(device_leak(dev, &e), 0);
	assert_page_after(0);
}

static void a_page_outside_of_memory_is_refused(void **state)
{
	struct device *none = NULL;

	(void)state;
	assert_int_equal(vmclock_new(FAKE_MMIO_BASE, GSI + 1, &fp.p, &none, &e), -EFAULT);
	assert_null(none);
	assert_string_equal(e.text, "the VMClock page at 0xd0000000 lies outside guest memory");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_leak_event_is_one_more_and_one_interrupt),
		TEST(a_pause_alone_changes_nothing),
		TEST(what_the_guest_writes_is_gone_at_the_next_event),
		TEST(an_interrupt_without_a_handler_waits_but_the_page_does_not),
		TEST(a_clone_counts_on_from_where_it_was_saved),
		TEST(the_last_number_is_followed_by_the_first),
		TEST(a_page_outside_of_memory_is_refused),
	};

	return cmocka_run_group_tests_name("vmclock", tests, NULL, NULL);
}
