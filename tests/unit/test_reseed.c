// SPDX-License-Identifier: Apache-2.0
/* Waiting for the guest's word that it has reseeded: in time, too late, and never, over a device that says what the test wants. */
#include "machine/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"

#define LONG_MS 60000u

METRICS_DEFINE(latencies_us, LATENCIES_US_METRICS, false)

static struct machine m;
static struct leak_progress guest;
static bool asks; /* there is a device that asks the guest */
static int pause_error;
static unsigned int ends; /* how often done was called */
static int result;
static struct err error;

/* This takes the place of run.c. */
int machine_pause(struct machine *machine, struct err *e)
{
	if (pause_error)
		return err_set(e, -pause_error, "vCPU 0 does not stop");
	machine->paused = true;
	return 0;
}

/* And of load_served.c, and run.c for such a machine: the pause ends when the test says so. */
static bool is_served;
static machine_done_fn *pause_done;

bool machine_memory_is_served(const struct machine *machine)
{
	(void)machine;
	return is_served;
}

void machine_pause_beside(struct machine *machine, machine_done_fn *done, void *arg)
{
	assert_ptr_equal(arg, machine);
	assert_null(pause_done);
	pause_done = done;
}

static bool dev_progress(struct device *dev, struct leak_progress *progress)
{
	(void)dev;
	*progress = guest;
	return asks;
}

static const struct device_ops ops = { .leak_progress = dev_progress };
static const struct device_ops other_ops = { .leak_progress = NULL };
static struct device entropy = { .ops = &ops, .name = "entropy" };
static struct device other = { .ops = &other_ops, .name = "serial", .next = &entropy };

static int setup(void **state)
{
	struct err e;

	(void)state;
	memset(&m, 0, sizeof(m));
	fair_lock_init(&entropy.lock);
	fair_lock_init(&other.lock);
	m.devices = &other;
	m.reseed.said_fd = -1;
	m.loop = loop_new();
	assert_int_equal(reseed_init(&m, m.loop, &e), 0);
	guest = (struct leak_progress){ .generation = 7, .handled = 6, .driver = LEAK_DRIVER_CONFIRMS };
	asks = true;
	pause_error = 0;
	is_served = false;
	pause_done = NULL;
	ends = 0;
	log_set_level(LOG_LEVEL_OFF);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	reseed_fini(&m);
	loop_free(m.loop);
	fair_lock_fini(&entropy.lock);
	fair_lock_fini(&other.lock);
	return 0;
}

static void on_done(void *arg, int r, const struct err *e)
{
	assert_ptr_equal(arg, &m);
	assert_null(m.reseed.done); /* something else may be begun here */
	ends++;
	result = r;
	error = *e;
}

static void on_stop(void *arg, uint32_t events)
{
	(void)events;
	loop_stop(arg, 0);
}

/* Runs the loop for a while. */
static void run_ms(unsigned int ms)
{
	struct loop *own = m.loop;
	struct loop_source *timer = loop_add_timer(own, on_stop, own);

	assert_non_null(timer);
	loop_set_timer(timer, ms * 1000000ull, 0);
	assert_int_equal(loop_run(own), 0);
	loop_remove(timer);
}

static void await(uint32_t timeout_ms)
{
	machine_await_reseed(&m, timeout_ms, on_done, &m);
}

static void a_guest_that_has_said_so_is_not_waited_for(void **state)
{
	(void)state;
	guest.handled = guest.generation;
	await(LONG_MS);
	assert_int_equal(ends, 1);
	assert_int_equal(result, 0);
	run_ms(20);
	assert_int_equal(ends, 1);
	assert_false(m.paused);
}

static void the_word_of_the_guest_ends_the_wait(void **state)
{
	(void)state;
	await(LONG_MS);
	assert_int_equal(ends, 0);
	guest.handled = 7;
	reseed_tell(&m.reseed);
	run_ms(50);
	assert_int_equal(ends, 1);
	assert_int_equal(result, 0);
	assert_false(m.paused);
}

static void other_words_do_not(void **state)
{
	(void)state;
	guest.handled = 4;
	await(LONG_MS);
	guest.handled = 6; /* of an event before this one */
	reseed_tell(&m.reseed);
	run_ms(20);
	assert_int_equal(ends, 0);
	guest.handled = 7;
	reseed_tell(&m.reseed);
	run_ms(20);
	assert_int_equal(ends, 1);
}

static void assert_reason(const char *part)
{
	if (!strstr(error.text, part))
		fail_msg("expected \"%s\" in: %s", part, error.text);
}

static void a_guest_that_is_too_late_is_paused_again(void **state)
{
	uint64_t start_ns = clock_now_ns();

	(void)state;
	await(20);
	run_ms(200);
	assert_int_equal(ends, 1);
	assert_int_equal(result, -ETIMEDOUT);
	assert_true(m.paused);
	assert_reason("the guest has not reseeded within 20 ms (its driver is silent) and is paused: resume it");
	/* What it says now is nobody's any more. */
	guest.handled = 7;
	reseed_tell(&m.reseed);
	run_ms(20);
	assert_int_equal(ends, 1);
	assert_true(clock_now_ns() - start_ns >= 20 * 1000000ull);
}

static void why_it_is_too_late_is_said(void **state)
{
	static const struct {
		struct leak_progress guest;
		const char *text;
	} reasons[] = {
		{ { .generation = 1, .driver = LEAK_DRIVER_NONE }, "(it has no driver for the entropy device)" },
		{ { .generation = 1, .driver = LEAK_DRIVER_SILENT }, "(its driver does not say such things)" },
		{ { .generation = 1, .late = true, .driver = LEAK_DRIVER_CONFIRMS }, "(its driver has not made room" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		guest = reasons[i].guest;
		await(1);
		run_ms(30);
		assert_int_equal(ends, i + 1);
		assert_reason(reasons[i].text);
	}
}

/* Its vCPUs may wait for pages that are not served, and nobody may wait for them. */
static void a_guest_of_served_memory_is_paused_beside_the_loop(void **state)
{
	const struct err none = { "" };

	(void)state;
	is_served = true;
	await(1);
	run_ms(30);
	assert_non_null(pause_done);
	assert_int_equal(ends, 0);
	/* Too late: it is being paused. */
	guest.handled = 7;
	reseed_tell(&m.reseed);
	run_ms(20);
	assert_int_equal(ends, 0);
	pause_done(&m, 0, &none);
	assert_int_equal(ends, 1);
	assert_int_equal(result, -ETIMEDOUT);
	assert_reason("(its driver is silent) and is paused: resume it");
}

static void a_machine_that_cannot_be_paused_either_is_told_apart(void **state)
{
	(void)state;
	pause_error = -ETIMEDOUT;
	await(1);
	run_ms(30);
	assert_int_equal(result, -ETIMEDOUT);
	assert_false(m.paused);
	assert_reason("RUNS ON: end this process");
	assert_reason("vCPU 0 does not stop");
}

static void a_word_that_came_with_the_end_of_the_time_counts(void **state)
{
	(void)state;
	await(1);
	guest.handled = 7; /* and nobody has been told */
	run_ms(30);
	assert_int_equal(ends, 1);
	assert_int_equal(result, 0);
	assert_false(m.paused);
}

static void the_end_of_the_machine_ends_the_wait(void **state)
{
	(void)state;
	await(LONG_MS);
	reseed_fini(&m);
	assert_int_equal(ends, 0);
}

static void who_will_never_say_so_is_known_before(void **state)
{
	(void)state;
	assert_int_equal(machine_check_reseed(&m, &error), 0);
	guest.driver = LEAK_DRIVER_NONE; /* it may come */
	assert_int_equal(machine_check_reseed(&m, &error), 0);
	guest.driver = LEAK_DRIVER_SILENT;
	assert_int_equal(machine_check_reseed(&m, &error), -EOPNOTSUPP);
	assert_reason("VIRTIO_RNG_F_LEAK_HANDLED");
	asks = false;
	assert_int_equal(machine_check_reseed(&m, &error), -ENODEV);
	assert_reason("needs an entropy device with leak_reporting");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(a_guest_that_has_said_so_is_not_waited_for),
		TEST(the_word_of_the_guest_ends_the_wait),
		TEST(other_words_do_not),
		TEST(a_guest_that_is_too_late_is_paused_again),
		TEST(why_it_is_too_late_is_said),
		TEST(a_guest_of_served_memory_is_paused_beside_the_loop),
		TEST(a_machine_that_cannot_be_paused_either_is_told_apart),
		TEST(a_word_that_came_with_the_end_of_the_time_counts),
		TEST(the_end_of_the_machine_ends_the_wait),
		TEST(who_will_never_say_so_is_known_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
