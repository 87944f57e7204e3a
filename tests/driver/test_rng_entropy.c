// SPDX-License-Identifier: Apache-2.0
/*
 * The driver's request queue against a model of the device. Every byte that
 * the device gives is the number of leaks so far.
 */
#include "model.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static int boot(void **state)
{
	(void)state;
	model_boot();
	return 0;
}

static int shutdown(void **state)
{
	(void)state;
	model_shutdown();
	return 0;
}

/* The core's own thread reads for the kernel's pool. */
static void be_the_core(void)
{
	current->flags = PF_KTHREAD;
}

static void deliver(void)
{
	model_serve_kicks();
	model_interrupt();
}

static void check_bytes(const u8 *buf, int n, unsigned long events)
{
	for (int i = 0; i < n; i++)
		assert_int_equal(buf[i], events & 0xff);
}

static void the_core_gets_whole_buffers(void **state)
{
	u8 buf[200];

	(void)state;
	be_the_core();
	model_start(false);
	assert_int_equal(rng_entropy_read(&m.entropy, buf, 200, true), 200);
	check_bytes(buf, 200, 0);
}

static void a_program_gets_one_byte_so_that_the_core_keeps_none(void **state)
{
	u8 buf[64];

	(void)state;
	model_start(false);
	assert_int_equal(rng_entropy_read(&m.entropy, buf, 64, true), 1);
}

static void without_leak_reporting_a_program_gets_all(void **state)
{
	u8 buf[64];

	(void)state;
	m.entropy.gen = NULL;
	model_start(false);
	assert_int_equal(rng_entropy_read(&m.entropy, buf, 64, true), 64);
}

static void bytes_fetched_before_a_leak_are_dropped(void **state)
{
	u8 buf[64];

	(void)state;
	be_the_core();
	model_start(false);
	deliver(); /* used, and the driver knows */
	model_event();
	assert_int_equal(rng_entropy_read(&m.entropy, buf, 64, true), 64);
	check_bytes(buf, 64, 1);

	model_serve_kicks(); /* used, but the driver does not know yet */
	model_event();
	assert_int_equal(rng_entropy_read(&m.entropy, buf, 64, true), 64);
	check_bytes(buf, 64, 2);
}

static void the_rest_of_a_buffer_is_dropped_too(void **state)
{
	u8 buf[64];

	(void)state;
	be_the_core();
	model_start(false);
	deliver();
	assert_int_equal(rng_entropy_read(&m.entropy, buf, 10, true), 10);
	check_bytes(buf, 10, 0);
	model_event();
	model_interrupt();
	assert_int_equal(rng_entropy_read(&m.entropy, buf, 10, true), 10);
	check_bytes(buf, 10, 1);
}

static void a_request_under_way_at_a_leak_gives_fresh_bytes(void **state)
{
	u8 buf[64];

	(void)state;
	be_the_core();
	m.slow_kicks = true;
	model_start(false);
	model_event();
	deliver();
	assert_int_equal(rng_entropy_read(&m.entropy, buf, 64, true), 64);
	check_bytes(buf, 64, 1);
}

static unsigned long leak_step;

static void leak_at_step(void)
{
	if (m.steps == leak_step)
		model_event();
}

/*
 * A leak anywhere within a read: the bytes are from before it only if they
 * were handed out before it, in a round of the loop that had ended.
 */
static void a_leak_at_any_step_of_a_read_drops_what_was_fetched(void **state)
{
	unsigned long last = 1;

	(void)state;
	model_shutdown();
	for (leak_step = 1; leak_step <= last; leak_step++) {
		u8 buf[64];
		unsigned long before;

		model_boot();
		be_the_core();
		model_start(false);
		deliver();
		m.steps = 0;
		m.hook = leak_at_step;
		before = m.events;
		assert_int_equal(rng_entropy_read(&m.entropy, buf, 64, true), 64);
		last = m.steps;
		m.hook = NULL;
		/* The leak came after the last look at the counter, or before. */
		assert_true(buf[0] == m.events || buf[0] == before);
		check_bytes(buf, 64, buf[0]);
		assert_int_equal(rng_entropy_read(&m.entropy, buf, 64, true), 64);
		check_bytes(buf, 64, m.events);
		model_shutdown();
	}
	assert_true(last > 10);
	model_boot();
}

/* The driver looks at the counter twice in a read that finds bytes. */
static unsigned int looks;

static void leak_after_copying(void)
{
	if (m.locked && !m.entropy.pending && m.entropy.pos && !looks++)
		model_event();
}

static void a_leak_between_copying_and_returning_takes_the_bytes_back(void **state)
{
	u8 buf[32];

	(void)state;
	be_the_core();
	model_start(false);
	deliver();
	looks = 0;
	m.hook = leak_after_copying;
	assert_int_equal(rng_entropy_read(&m.entropy, buf, 32, true), 32);
	assert_int_equal(m.events, 1);
	check_bytes(buf, 32, 1);
}

static void change_the_counter(void)
{
	m.words[0]++;
}

/* Whoever it is: the core's thread keeps all others out while it is in here. */
static void a_counter_that_never_holds_still_keeps_nobody(void **state)
{
	u8 buf[64];

	(void)state;
	for (int core = 0; core < 2; core++) {
		current->flags = core ? PF_KTHREAD : 0;
		model_start(false);
		deliver();
		m.hook = change_the_counter;
		assert_int_equal(rng_entropy_read(&m.entropy, buf, 64, true), -EIO);
		m.hook = NULL;
		assert_true(rng_entropy_read(&m.entropy, buf, 64, true) > 0);
		model_shutdown();
		model_boot();
	}
}

static void who_does_not_wait_gets_what_is_there(void **state)
{
	u8 buf[64];

	(void)state;
	be_the_core();
	m.slow_kicks = true;
	model_start(false);
	assert_int_equal(rng_entropy_read(&m.entropy, buf, 64, false), 0);
	deliver();
	assert_int_equal(rng_entropy_read(&m.entropy, buf, 64, false), 64);
	assert_int_equal(rng_entropy_read(&m.entropy, buf, 64, false), 0);
}

static void an_empty_answer_is_an_error_and_no_loop(void **state)
{
	u8 buf[64];

	(void)state;
	m.empty_fill = true;
	model_start(false);
	for (int i = 0; i < 3; i++)
		assert_int_equal(rng_entropy_read(&m.entropy, buf, 64, true), -EIO);
	m.empty_fill = false;
	assert_int_equal(rng_entropy_read(&m.entropy, buf, 64, true), -EIO);
	assert_int_equal(rng_entropy_read(&m.entropy, buf, 64, true), 1);
}

static void an_overstated_length_is_no_more_than_the_buffer(void **state)
{
	u8 buf[300];

	(void)state;
	be_the_core();
	m.overstates = true;
	model_start(false);
	assert_int_equal(rng_entropy_read(&m.entropy, buf, 300, true), 300);
	check_bytes(buf, 300, 0);
}

static void the_core_does_not_wait_for_a_deaf_device_for_ever(void **state)
{
	u8 buf[64];

	(void)state;
	be_the_core();
	m.deaf = true;
	model_start(false);
	assert_int_equal(rng_entropy_read(&m.entropy, buf, 64, true), -ETIMEDOUT);
}

static void a_full_queue_is_an_error_that_passes(void **state)
{
	u8 buf[64];

	(void)state;
	be_the_core();
	m.room = 1;
	m.request.n_avail = 1; /* someone else's */
	rng_entropy_start(&m.entropy, &m.request);
	assert_int_equal(rng_entropy_read(&m.entropy, buf, 64, true), -ENOSPC);
	m.request.n_avail = 0;
	assert_int_equal(rng_entropy_read(&m.entropy, buf, 64, true), 64);
}

static void a_stopped_device_is_gone(void **state)
{
	u8 buf[64];

	(void)state;
	model_start(false);
	rng_entropy_quiesce(&m.entropy);
	assert_int_equal(rng_entropy_read(&m.entropy, buf, 64, true), -ENODEV);
	deliver(); /* too late, and not listened to */
	assert_int_equal(rng_entropy_read(&m.entropy, buf, 64, false), -ENODEV);
}

/* As after a suspend: what was fetched before is not there any more. */
static void starting_again_fetches_anew(void **state)
{
	u8 buf[64];

	(void)state;
	be_the_core();
	model_start(false);
	deliver();
	rng_entropy_quiesce(&m.entropy);
	m.events = 7;
	memset(&m.request, 0, sizeof(m.request));
	rng_entropy_start(&m.entropy, &m.request);
	assert_int_equal(rng_entropy_read(&m.entropy, buf, 64, true), 64);
	check_bytes(buf, 64, 7);
}

static void the_first_identity_comes_from_the_device(void **state)
{
	(void)state;
	model_start(false);
	deliver();
	assert_int_equal(m.identities, 1);
	assert_true(model_has_identity());
	be_the_core();
	for (int i = 0; i < 10; i++) {
		u8 buf[64];

		assert_int_equal(rng_entropy_read(&m.entropy, buf, 64, true), 64);
		check_bytes(buf, 64, 0);
	}
	assert_int_equal(m.identities, 1);
}

/* Before the first identity was asked for, while it is on its way, after. */
static void a_leak_around_the_first_identity_has_one_of_its_own(void **state)
{
	(void)state;
	for (int when = 0; when < 3; when++) {
		m.slow_kicks = true;
		if (when == 0)
			model_event();
		model_start(false);
		if (when == 1)
			model_event();
		model_serve_kicks();
		if (when == 2)
			model_event();
		model_check_all_reported();
		model_shutdown();
		model_boot();
	}
}

static void part_of_an_identity_is_none(void **state)
{
	(void)state;
	m.short_identity = true;
	model_start(false);
	deliver();
	assert_int_equal(m.identities, 1);
	assert_int_equal(m.identity[0] | m.identity[1], 0);
	model_event();
	model_check_all_reported();
}

static void without_leak_reporting_there_is_no_identity(void **state)
{
	(void)state;
	m.entropy.gen = NULL;
	rng_entropy_start(&m.entropy, &m.request);
	deliver();
	assert_int_equal(m.request.n_avail + m.request.n_used, 0);
	assert_int_equal(m.identities, 0);
}

static void leak_queues_that_did_not_come_up_give_no_identity(void **state)
{
	(void)state;
	rng_entropy_start(&m.entropy, &m.request);
	deliver();
	assert_int_equal(m.identities, 0);
}

static void an_identity_that_comes_after_the_end_of_reporting_is_cleared(void **state)
{
	(void)state;
	m.slow_kicks = true;
	model_start(false);
	rng_leak_quiesce(&m.driver, true);
	deliver();
	assert_int_equal(m.identities, 1);
	assert_int_equal(m.identity[0] | m.identity[1], 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, boot, shutdown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_core_gets_whole_buffers),
		T(a_program_gets_one_byte_so_that_the_core_keeps_none),
		T(without_leak_reporting_a_program_gets_all),
		T(bytes_fetched_before_a_leak_are_dropped),
		T(the_rest_of_a_buffer_is_dropped_too),
		T(a_request_under_way_at_a_leak_gives_fresh_bytes),
		T(a_leak_at_any_step_of_a_read_drops_what_was_fetched),
		T(a_leak_between_copying_and_returning_takes_the_bytes_back),
		T(a_counter_that_never_holds_still_keeps_nobody),
		T(who_does_not_wait_gets_what_is_there),
		T(an_empty_answer_is_an_error_and_no_loop),
		T(an_overstated_length_is_no_more_than_the_buffer),
		T(the_core_does_not_wait_for_a_deaf_device_for_ever),
		T(a_full_queue_is_an_error_that_passes),
		T(a_stopped_device_is_gone),
		T(starting_again_fetches_anew),
		T(the_first_identity_comes_from_the_device),
		T(a_leak_around_the_first_identity_has_one_of_its_own),
		T(part_of_an_identity_is_none),
		T(without_leak_reporting_there_is_no_identity),
		T(leak_queues_that_did_not_come_up_give_no_identity),
		T(an_identity_that_comes_after_the_end_of_reporting_is_cleared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
