// SPDX-License-Identifier: Apache-2.0
/*
 * The driver's leak queues against a model of the device: every interleaving
 * that rng_leak.c names, leaks at every step, and random histories.
 */
#include "model.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Leaks at fixed steps. */
static unsigned long at_step[2];

static void leak_at_steps(void)
{
	for (int i = 0; i < 2; i++) {
		if (m.steps == at_step[i])
			model_event();
	}
}

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

static unsigned long armed_value(unsigned int queue)
{
	unsigned long value = 0;

	assert_int_equal(m.leak[queue].n_avail, 2);
	assert_null(m.leak[queue].avail[0].from); /* fill before copy */
	assert_ptr_equal(m.leak[queue].avail[0].identity, m.identity);
	assert_non_null(m.leak[queue].avail[1].from);
	memcpy(&value, m.leak[queue].avail[1].from, sizeof(value));
	return value;
}

static void both_queues_are_armed_at_start_fill_before_copy(void **state)
{
	(void)state;
	model_start(false);
	assert_int_equal(armed_value(0), 1);
	assert_int_equal(armed_value(1), 2);
	assert_ptr_not_equal(m.leak[0].avail[0].to, m.leak[1].avail[0].to);
	assert_int_equal(m.words[0], 0);
	assert_int_equal(m.words[1], 0);
}

static void after_a_leak_the_signalled_queue_is_left_alone(void **state)
{
	(void)state;
	model_start(false);
	model_event();
	assert_int_equal(m.words[0], 1);
	model_settle();
	assert_int_equal(m.leak[0].n_avail, 0);
	assert_int_equal(armed_value(1), 2);
	model_event();
	model_settle();
	assert_int_equal(m.leak[1].n_avail, 0);
	assert_int_equal(armed_value(0), 3);
}

#ifdef RNG_HAVE_VDSO_EPOCH
/* And model.c looks at each step of each other test whether it should. */
static void the_vdso_makes_bytes_while_an_event_is_armed(void **state)
{
	(void)state;
	assert_false(model_vdso_is_on());
	model_start(false);
	assert_true(model_vdso_is_on());
	for (int i = 0; i < 5; i++) {
		model_event();
		assert_false(model_vdso_is_on());
		model_settle();
		assert_true(model_vdso_is_on());
	}
	model_event();
	model_event();
	assert_false(model_vdso_is_on());
	model_settle();
	assert_true(model_vdso_is_on());
	model_freeze();
	assert_false(model_vdso_is_on());
	model_restore();
	assert_true(model_vdso_is_on());
	m.refuses_copy = true;
	model_event();
	model_settle();
	assert_false(model_vdso_is_on());
}
#endif

static void fifty_leaks_count_to_fifty(void **state)
{
	(void)state;
	model_start(false);
	for (unsigned long i = 1; i <= 50; i++) {
		model_event();
		assert_int_equal(m.words[0], i);
		model_check_all_reported();
		jiffies += HZ;
	}
	assert_int_equal(m.late_events, 0);
}

static void two_leaks_before_the_callback_are_two(void **state)
{
	(void)state;
	model_start(false);
	model_event();
	model_event();
	assert_int_equal(m.words[0], 2);
	model_check_all_reported();
	assert_int_equal(m.words[0], 2);
}

static void a_leak_with_nothing_armed_is_reported_late(void **state)
{
	(void)state;
	model_start(false);
	for (int i = 0; i < 3; i++)
		model_event();
	assert_int_equal(m.words[0], 2);
	assert_int_equal(m.late_events, 1);
	model_check_all_reported();
	assert_int_equal(m.words[0], 3);
}

static void many_leaks_with_nothing_armed_are_at_least_one(void **state)
{
	(void)state;
	model_start(false);
	for (int i = 0; i < 20; i++)
		model_event();
	model_check_all_reported();
	assert_int_equal(m.words[0], 3);
}

static void a_leak_before_anything_is_armed_is_reported_late(void **state)
{
	(void)state;
	m.slow_kicks = true;
	model_event();
	model_start(false);
	assert_int_equal(m.words[0], 0);
	model_check_all_reported();
	assert_int_equal(m.words[0], 1);
}

/* Between the fill and the copy of the queue that is armed after a leak. */
static void leak_between_fill_and_copy(void)
{
	unsigned int q = m.active;

	if (m.events == 2 && m.leak[q].n_avail == 1)
		model_event();
}

static void a_leak_between_fill_and_copy_is_reported(void **state)
{
	(void)state;
	for (int slow = 0; slow < 2; slow++) {
		m.slow_kicks = slow;
		model_start(false);
		model_event();
		model_event();
		m.hook = leak_between_fill_and_copy;
		model_interrupt();
		assert_int_equal(m.events, 3);
		if (!slow)
			assert_int_equal(m.words[0], 3);
		model_check_all_reported();
		assert_int_equal(m.words[0], 3);
		model_shutdown();
		model_boot();
	}
}

/* Between add and kick: both requests are there, the host knows of neither. */
static void leak_before_kick(void)
{
	unsigned int q = m.active;

	if (m.events == 2 && m.leak[q].n_avail == 2)
		model_event();
}

static void leak_between_first_fill_and_copy(void)
{
	if (!m.events && m.leak[0].n_avail == 1)
		model_event();
}

/* The copy is left over, and used before the second leak, or with it. */
static void a_leak_while_starting_and_two_more_are_reported(void **state)
{
	(void)state;
	for (int served = 0; served < 2; served++) {
		m.slow_kicks = true;
		m.hook = leak_between_first_fill_and_copy;
		model_start(false);
		assert_int_equal(m.events, 1);
		if (served) {
			model_serve_kicks();
			model_interrupt();
			model_serve_kicks();
		}
		model_event();
		model_event();
		assert_int_equal(m.words[0], 2);
		model_check_all_reported();
		assert_int_equal(m.words[0], 3);
		model_shutdown();
		model_boot();
	}
}

static void a_leak_between_add_and_kick_is_in_time(void **state)
{
	(void)state;
	m.slow_kicks = true;
	model_start(false);
	model_event();
	model_event();
	m.hook = leak_before_kick;
	model_interrupt();
	assert_int_equal(m.events, 3);
	assert_int_equal(m.words[0], 3);
	assert_int_equal(m.late_events, 0);
	model_check_all_reported();
}

/* One life with leaks at the steps set; returns how many steps it had. */
static unsigned long live(bool slow_kicks, bool advance)
{
	unsigned long steps;

	model_boot();
	m.slow_kicks = slow_kicks;
	m.hook = leak_at_steps;
	model_start(advance);
	for (int i = 0; i < 3; i++) {
		model_event();
		model_serve_kicks();
		model_interrupt();
		while (model_work())
			;
	}
	steps = m.steps;
	m.hook = NULL;
	model_check_all_reported();
	assert_int_equal(m.warnings, 0);
	/* And it works on as if nothing had been. */
	model_event();
	assert_int_equal(m.changed_after, m.events);
	model_check_all_reported();
	assert_true(m.words[0] <= m.events + advance);
	model_shutdown();
	return steps;
}

static void leaks_at_any_step_are_reported(void **state)
{
	(void)state;
	model_shutdown();
	for (int mode = 0; mode < 4; mode++) {
		unsigned long n;

		at_step[0] = at_step[1] = 0;
		n = live(mode & 1, mode & 2);
		assert_true(n > 50);
		for (at_step[0] = 1; at_step[0] <= n; at_step[0]++)
			live(mode & 1, mode & 2);
	}
	model_boot();
}

static void two_leaks_at_any_steps_are_reported(void **state)
{
	(void)state;
	model_shutdown();
	for (int mode = 0; mode < 2; mode++) {
		unsigned long n;

		at_step[0] = at_step[1] = 0;
		n = live(mode, false);
		for (at_step[0] = 1; at_step[0] <= n; at_step[0]++) {
			for (at_step[1] = at_step[0]; at_step[1] <= n; at_step[1]++) {
				model_boot();
				m.slow_kicks = mode;
				m.hook = leak_at_steps;
				model_start(false);
				model_event();
				model_serve_kicks();
				model_interrupt();
				while (model_work())
					;
				m.hook = NULL;
				model_check_all_reported();
				model_shutdown();
			}
		}
	}
	model_boot();
}

/* xorshift64*: the same history for the same seed, everywhere. */
static uint64_t dice_state;

static unsigned int dice(unsigned int sides)
{
	dice_state ^= dice_state >> 12;
	dice_state ^= dice_state << 25;
	dice_state ^= dice_state >> 27;
	return (unsigned int)((dice_state * 2685821657736338717u) >> 33) % sides;
}

static void anything_may_happen(void)
{
	if (!dice(40))
		model_event();
	if (!dice(10))
		model_serve_kicks();
	if (!dice(10))
		model_interrupt();
}

static void random_histories_keep_every_promise(void **state)
{
	(void)state;
	model_shutdown();
	for (uint64_t seed = 1; seed <= 1000; seed++) {
		unsigned long before;

		dice_state = seed * 0x9e3779b97f4a7c15u;
		model_boot();
		m.slow_kicks = dice(2);
		m.hook = anything_may_happen;
		model_start(dice(2));
		for (int i = 0; i < 3000; i++) {
			before = m.words[0];
			kshim_step();
			if (!dice(3))
				model_work();
			if (!dice(20))
				jiffies += HZ / 8;
			if (!dice(100)) {
				model_freeze();
				model_restore();
			}
			if (!dice(20)) {
				model_check_all_reported();
				assert_true(m.words[0] - before <= m.events);
			}
		}
		model_check_all_reported();
		assert_int_equal(m.warnings, 0);
		model_shutdown();
	}
	model_boot();
}

/* The proposal's device, where an even number of late events in a row cancel each other out. */
static void one_late_leak_is_reported_by_a_device_that_swaps(void **state)
{
	(void)state;
	m.late_swaps = true;
	model_start(false);
	for (int round = 0; round < 10; round++) {
		while (!m.late)
			model_event();
		model_check_all_reported();
		jiffies += HZ;
	}
}

static void the_identity_is_new_when_the_generation_is(void **state)
{
	unsigned long before[2];

	(void)state;
	model_start(false);
	for (int i = 0; i < 10; i++) {
		memcpy(before, m.identity, sizeof(before));
		model_event();
		/* Not one instruction of the driver has run since. */
		assert_int_equal(m.words[0], i + 1);
		assert_int_equal(m.identity_after, m.events);
		assert_true(model_has_identity());
		assert_int_not_equal(m.identity[0], before[0]);
		model_settle();
		jiffies += HZ;
	}
}

/* Whenever a late event becomes visible, the identity is already another one. */
static void look_at_identity(void)
{
	if (m.changed_after == m.events && m.events == 3)
		assert_int_equal(m.identity_after, 3);
}

static void a_late_leak_renews_the_identity(void **state)
{
	(void)state;
	for (int slow = 0; slow < 2; slow++) {
		m.slow_kicks = slow;
		model_start(false);
		for (int i = 0; i < 3; i++)
			model_event();
		assert_int_equal(m.late_events, 1);
		assert_int_equal(m.identity_after, 2); /* nothing was armed for it */
		m.hook = look_at_identity;
		model_interrupt();
		m.hook = NULL;
		if (!slow)
			assert_int_equal(m.identity_after, 3);
		model_check_all_reported();
		model_shutdown();
		model_boot();
	}
}

static void an_identity_is_never_written_by_the_driver(void **state)
{
	unsigned long fills;

	(void)state;
	model_start(false);
	model_settle();
	for (int i = 0; i < 5; i++) {
		model_event();
		fills = m.identities;
		model_settle();
		assert_int_equal(m.identities, fills);
		assert_int_equal(m.identity[0], MODEL_IDENTITY + fills);
		jiffies += HZ;
	}
}

static void a_short_fill_is_a_seed_and_no_identity(void **state)
{
	(void)state;
	model_start(false);
	model_settle();
	assert_true(model_has_identity());
	m.short_fill = true;
	model_event();
	model_settle();
	assert_int_equal(m.identity[0] | m.identity[1], 0);
	assert_int_equal(m.words[1], 0);
	assert_int_equal(m.mixed_after, 1);
	assert_int_equal(m.reseeded, 1);
	assert_int_equal(m.warnings, 0);
	m.short_fill = false;
	jiffies += HZ;
	model_event();
	model_check_all_reported();
}

static void who_does_not_report_leaks_has_no_identity(void **state)
{
	struct virtio_device vdev = { 0 };

	(void)state;
	model_start(false);
	model_settle();
	model_event();
	rng_leak_quiesce(&m.driver, true);
	assert_int_equal(m.identity[0] | m.identity[1], 0);
	model_event(); /* the device is not reset yet, and fills once more */
	rng_leak_stop(&m.driver);
	rng_leak_fini(&m.driver);
	assert_int_equal(m.identity[0] | m.identity[1], 0);
	assert_int_equal(rng_leak_init(&m.driver, &vdev, (struct rng_gen *)(void *)&m), 0);
}

static void waking_up_is_no_leak(void **state)
{
	unsigned long identity, told, reseeds, mixed;

	(void)state;
	model_start(false);
	model_event();
	model_check_all_reported();
	for (int i = 0; i < 3; i++) {
		identity = m.identity[0];
		told = m.told;
		reseeds = m.reseeds;
		mixed = m.bytes_mixed;
		model_freeze();
		model_restore();
		assert_int_equal(m.words[0], 1);
		assert_int_equal(m.identity[0], identity);
		assert_int_equal(m.told, told);
		/* All the same, by the time that restore is over. */
		assert_int_equal(m.bytes_mixed, mixed + 1);
		assert_int_equal(m.reseeds, reseeds + 1);
		model_check_all_reported();
		assert_int_equal(m.notified, 1);
	}
	model_event();
	assert_int_equal(m.words[0], 2);
	model_check_all_reported();
}

static void leaks_while_asleep_are_noticed(void **state)
{
	unsigned long told;

	(void)state;
	model_start(false);
	model_event();
	model_check_all_reported();
	for (unsigned long n = 1; n <= 2; n++) {
		told = m.told;
		model_freeze();
		for (unsigned long i = 0; i < n; i++)
			model_event();
		model_restore();
		/* Not later than that: programs run again. */
		assert_int_equal(m.words[0], 1 + n);
		assert_int_equal(m.told, told + 1);
		assert_int_equal(m.reseeded_after, m.events);
		assert_int_equal(m.reseeded, 1 + n);
		assert_int_equal(armed_value(0), 2 + n);
		model_check_all_reported();
	}
	model_event();
	model_check_all_reported();
}

static void a_late_leak_that_falls_asleep_is_noticed(void **state)
{
	(void)state;
	model_start(false);
	for (int i = 0; i < 3; i++)
		model_event();
	assert_true(m.late);
	model_freeze();
	model_restore();
	assert_int_equal(m.words[0], 3);
	model_check_all_reported();
}

static void a_leak_just_before_the_device_is_stopped_is_told(void **state)
{
	unsigned long told;

	(void)state;
	model_start(false);
	model_settle();
	told = m.told;
	rng_leak_quiesce(&m.driver, false);
	model_event();
	model_freeze();
	model_restore();
	assert_int_equal(m.words[0], 1);
	assert_int_equal(m.told, told + 1);
	model_check_all_reported();
}

static void leak_after_a_fill(void)
{
	if (m.leak[m.active].n_avail != 1)
		return;
	m.hook = NULL;
	model_event();
}

/* The device has done its part, and the copy lands when the doorbell has been looked at, which the reset may forestall. */
static void a_leak_between_fill_and_copy_is_not_lost_by_a_sleep(void **state)
{
	(void)state;
	for (int collected = 0; collected < 2; collected++) {
		unsigned long before = m.words[0], events = m.events;

		m.slow_kicks = true;
		if (!events)
			model_start(false);
		model_settle();
		model_event();
		model_event(); /* both queues were armed by the start */
		m.hook = leak_after_a_fill;
		model_interrupt();
		assert_null(m.hook);
		assert_int_equal(m.events, events + 3);
		assert_int_equal(m.words[0], before + 2);
		if (collected)
			model_interrupt();
		model_freeze();
		model_restore();
		model_check_all_reported();
		assert_int_equal(m.words[0], before + 3);
	}
	model_freeze(); /* nothing was under way: nothing is counted */
	model_restore();
	model_check_all_reported();
	assert_int_equal(m.words[0], 6);
}

/* A device that does not count, or another one in the same place. */
static void who_cannot_know_counts_one(void **state)
{
	unsigned long told;

	(void)state;
	model_start(false);
	model_settle();
	told = m.told;
	model_freeze();
	m.known_unreported--;
	model_restore();
	assert_int_equal(m.words[0], 1);
	assert_int_equal(m.told, told + 1);
	model_check_all_reported();
}

static unsigned long sleep_and_wake(bool slow_kicks)
{
	unsigned long steps;

	model_boot();
	m.slow_kicks = slow_kicks;
	model_start(false);
	model_settle();
	m.steps = 0;
	m.hook = leak_at_steps;
	model_event();
	model_freeze();
	model_restore();
	steps = m.steps;
	m.hook = NULL;
	model_check_all_reported();
	assert_true(m.words[0] <= m.events);
	model_shutdown();
	return steps;
}

static void leaks_at_any_step_of_a_sleep_are_reported(void **state)
{
	(void)state;
	model_shutdown();
	for (int slow = 0; slow < 2; slow++) {
		unsigned long n;

		at_step[0] = at_step[1] = 0;
		n = sleep_and_wake(slow);
		for (at_step[0] = 1; at_step[0] <= n; at_step[0]++) {
			for (at_step[1] = at_step[0]; at_step[1] <= n; at_step[1]++)
				sleep_and_wake(slow);
		}
	}
	model_boot();
}

static void each_leak_is_confirmed_when_the_generator_has_reseeded(void **state)
{
	(void)state;
	model_start(false);
	model_settle();
	assert_int_equal(m.handled, 0);
	for (u32 i = 1; i <= 5; i++) {
		model_event();
		model_interrupt();
		assert_int_equal(m.handled, i - 1); /* mixed in is not enough */
		model_settle();
		assert_int_equal(m.handled, i);
	}
	for (int i = 0; i < 3; i++)
		model_event(); /* one queue is armed: two are late, and one event when their seed is there */
	assert_int_equal(m.generation, 6);
	model_settle();
	assert_int_equal(m.generation, 7);
	assert_int_equal(m.handled, 7);
}

static void what_has_not_reseeded_is_not_confirmed(void **state)
{
	static const int errors[] = { -ENODATA, -EOPNOTSUPP, -ENOENT };

	(void)state;
	model_start(false);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		model_settle();
		m.reseed_error = errors[i];
		model_event();
		for (int n = 0; n < 200; n++) {
			model_interrupt();
			model_work();
			jiffies++;
		}
		assert_int_equal(m.generation, i + 1);
		assert_int_equal(m.handled, i);
		m.reseed_error = 0;
		if (errors[i] == -EOPNOTSUPP)
			mod_delayed_work(NULL, &m.driver.react, 0); /* nobody tries again by himself */
		jiffies += 20 * HZ;
		model_settle();
		assert_int_equal(m.handled, i + 1);
	}
}

static void a_device_that_does_not_ask_is_not_told(void **state)
{
	(void)state;
	m.never_asks = true;
	model_start(false);
	for (int i = 0; i < 5; i++) {
		model_event();
		model_check_all_reported();
	}
	assert_int_equal(m.confirmations, 0);
}

static void a_seed_that_is_not_whole_confirms_nothing(void **state)
{
	(void)state;
	model_start(false);
	model_settle();
	m.half_seed = true;
	model_event();
	model_settle();
	assert_int_equal(m.handled, 0);
	m.half_seed = false;
	model_event(); /* who gives half a seed once is not believed again */
	model_settle();
	assert_int_equal(m.handled, 0);
	model_freeze();
	model_restore();
	model_check_all_reported();
}

/* Leaks that nobody was told of: bytes of the request queue cover them, and without any the next seed does. */
static void a_start_confirms_only_with_bytes_of_the_device(void **state)
{
	(void)state;
	m.stopped = true;
	model_event();
	m.stopped = false;
	m.deaf = true; /* on the request queue as well: the start gives up waiting */
	model_start(true);
	model_settle();
	assert_int_equal(m.bytes_mixed, 0);
	assert_int_equal(m.handled, 0);
	m.deaf = false;
	model_event();
	model_settle();
	assert_int_equal(m.generation, 2);
	assert_int_equal(m.handled, 2);
	model_freeze();
	model_event();
	model_restore();
	assert_int_equal(m.handled, 3); /* by the time that programs run again */
}

static void who_has_given_up_confirms_nothing(void **state)
{
	(void)state;
	model_start(false);
	model_settle();
	m.refuses_copy = true;
	model_event();
	model_settle();
	assert_int_equal(m.words[1], 1);
	assert_int_equal(m.handled, 0);
}

static void a_refused_copy_is_a_change_and_the_end_of_reporting(void **state)
{
	(void)state;
	model_start(false);
	m.refuses_copy = true;
	model_event();
	model_settle();
	assert_int_equal(m.words[0], 1);
	assert_int_equal(m.words[1], 1);
	assert_int_equal(m.warnings, 1);
	model_event();
	model_settle();
	model_event();
	model_settle();
	assert_int_equal(m.warnings, 1);
	assert_int_equal(m.leak[0].n_avail + m.leak[1].n_avail, 0);
	assert_int_equal(m.identity[0] | m.identity[1], 0); /* the second leak has filled one */
}

static void an_empty_seed_is_the_end_of_reporting(void **state)
{
	(void)state;
	model_start(false);
	m.empty_fill = true;
	model_event();
	model_settle();
	assert_int_equal(m.words[0], 1);
	assert_int_equal(m.words[1], 1);
	assert_int_equal(m.warnings, 1);
	assert_int_equal(m.reseeded, 0);
}

static void overstated_lengths_do_no_harm(void **state)
{
	(void)state;
	model_start(false);
	m.overstates = true;
	model_event();
	model_settle();
	assert_int_equal(m.words[0], 1);
	assert_int_equal(m.warnings, 1);
	assert_int_equal(m.digests, 1);
}

static void a_queue_without_room_is_the_end_of_reporting(void **state)
{
	(void)state;
	m.room = 3;
	model_start(false);
	assert_int_equal(m.warnings, 1);
	assert_int_equal(m.words[1], 1);
	model_event();
	model_settle();
	assert_int_equal(m.warnings, 1);
}

static void a_deaf_device_is_waited_for_by_nobody(void **state)
{
	(void)state;
	m.deaf = true;
	model_start(false);
	model_event();
	model_settle();
	assert_int_equal(m.words[0], 0);
	assert_int_equal(m.warnings, 0);
}

static void a_device_that_uses_all_at_once_is_slowed_down(void **state)
{
	unsigned long start = jiffies;

	(void)state;
	m.slow_kicks = true;
	m.uses_at_once = true;
	model_start(false);
	while (jiffies - start < 10 * HZ) {
		model_serve_kicks();
		model_interrupt();
		if (!model_work() && !m.leak[0].kicked && !m.leak[1].kicked)
			jiffies++;
		assert_true(m.words[0] < 10 * 300);
	}
	m.uses_at_once = false;
	m.signalled = !m.active;
	model_settle();
	assert_int_equal(m.warnings, 0);
	/* Which queue is whose turn is anybody's guess now; it takes one leak. */
	model_event();
	model_settle();
	model_event();
	model_check_all_reported();
}

static void a_reseed_that_fails_is_tried_again(void **state)
{
	(void)state;
	model_start(false);
	m.reseed_error = -ENODATA;
	model_event();
	model_interrupt();
	for (int i = 0; i < 20 * HZ; i++) {
		model_work();
		jiffies++;
	}
	assert_int_equal(m.reseeded, 0);
	assert_int_equal(m.notified, 1); /* the news do not wait for it */
	m.reseed_error = 0;
	model_check_all_reported();
}

static void without_reseeding_the_news_come_all_the_same(void **state)
{
	(void)state;
	model_start(false);
	m.reseed_error = -EOPNOTSUPP;
	model_event();
	model_settle();
	assert_int_equal(m.notified, 1);
	assert_int_equal(m.reseeded, 0);
	assert_int_equal(m.mixed_after, 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, boot, shutdown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(both_queues_are_armed_at_start_fill_before_copy),
		T(after_a_leak_the_signalled_queue_is_left_alone),
		T(fifty_leaks_count_to_fifty),
		T(two_leaks_before_the_callback_are_two),
#ifdef RNG_HAVE_VDSO_EPOCH
		T(the_vdso_makes_bytes_while_an_event_is_armed),
#endif
		T(a_leak_with_nothing_armed_is_reported_late),
		T(many_leaks_with_nothing_armed_are_at_least_one),
		T(a_leak_before_anything_is_armed_is_reported_late),
		T(a_leak_between_fill_and_copy_is_reported),
		T(a_leak_while_starting_and_two_more_are_reported),
		T(a_leak_between_add_and_kick_is_in_time),
		T(leaks_at_any_step_are_reported),
		T(two_leaks_at_any_steps_are_reported),
		T(random_histories_keep_every_promise),
		T(one_late_leak_is_reported_by_a_device_that_swaps),
		T(the_identity_is_new_when_the_generation_is),
		T(a_late_leak_renews_the_identity),
		T(an_identity_is_never_written_by_the_driver),
		T(a_short_fill_is_a_seed_and_no_identity),
		T(who_does_not_report_leaks_has_no_identity),
		T(waking_up_is_no_leak),
		T(leaks_while_asleep_are_noticed),
		T(a_late_leak_that_falls_asleep_is_noticed),
		T(a_leak_just_before_the_device_is_stopped_is_told),
		T(each_leak_is_confirmed_when_the_generator_has_reseeded),
		T(what_has_not_reseeded_is_not_confirmed),
		T(a_device_that_does_not_ask_is_not_told),
		T(a_seed_that_is_not_whole_confirms_nothing),
		T(a_start_confirms_only_with_bytes_of_the_device),
		T(who_has_given_up_confirms_nothing),
		T(a_leak_between_fill_and_copy_is_not_lost_by_a_sleep),
		T(who_cannot_know_counts_one),
		T(leaks_at_any_step_of_a_sleep_are_reported),
		T(a_refused_copy_is_a_change_and_the_end_of_reporting),
		T(an_empty_seed_is_the_end_of_reporting),
		T(overstated_lengths_do_no_harm),
		T(a_queue_without_room_is_the_end_of_reporting),
		T(a_deaf_device_is_waited_for_by_nobody),
		T(a_device_that_uses_all_at_once_is_slowed_down),
		T(a_reseed_that_fails_is_tried_again),
		T(without_reseeding_the_news_come_all_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
