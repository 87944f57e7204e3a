// SPDX-License-Identifier: Apache-2.0
/* virtio/busy_poll: it ends when there is something, after its time otherwise, and is seldom tried where it does not pay. */
#include "virtio/busy_poll.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <time.h>

static uint16_t avail_idx;
static const struct virtq_look look = { .avail_idx = &avail_idx, .seen = 7 };

/* The clock of the functions under test: it goes on by a look. */
static uint64_t now_ns;
static unsigned int looks, adds_at; /* the driver adds a buffer while so many looks have been made; 0: never */

int clock_gettime(clockid_t clock, struct timespec *t)
{
	(void)clock;
	if (looks++ == adds_at && adds_at)
		avail_idx = 8;
	now_ns += 1000;
	*t = (struct timespec){ .tv_sec = (time_t)(now_ns / 1000000000), .tv_nsec = (long)(now_ns % 1000000000) };
	return 0;
}

/* Of each test; cmocka, too, looks at the clock. */
static void start(unsigned int at)
{
	avail_idx = 7;
	looks = 0;
	adds_at = at;
}

static void what_is_there_needs_no_time(void **state)
{
	struct busy_poll bp = { 0 };

	(void)state;
	start(0);
	avail_idx = 8;
	assert_true(busy_poll(&bp, &look));
	assert_int_equal(looks, 0);
}

static void what_comes_meanwhile_ends_it(void **state)
{
	struct busy_poll bp = { 0 };

	(void)state;
	start(5);
	assert_true(busy_poll(&bp, &look));
	assert_int_equal(looks, 6);
}

static void it_ends_after_its_time(void **state)
{
	struct busy_poll bp = { 0 };
	uint64_t start_ns = now_ns;

	(void)state;
	start(0);
	assert_false(busy_poll(&bp, &look));
	assert_in_range(now_ns - start_ns, BUSY_POLL_NS, BUSY_POLL_NS + 2000);
}

/* Calls that do not look, until one does. */
static unsigned int count_skips(struct busy_poll *bp)
{
	unsigned int skips = 0;

	looks = 0;
	while (!busy_poll(bp, &look) && !looks)
		skips++;
	return skips;
}

static void failures_make_it_rare(void **state)
{
	struct busy_poll bp = { 0 };

	(void)state;
	start(0);
	assert_int_equal(count_skips(&bp), 0);
	assert_int_equal(count_skips(&bp), 1);
	assert_int_equal(count_skips(&bp), 3);
	assert_int_equal(count_skips(&bp), 7);
	for (int i = 0; i < 10; i++)
		(void)count_skips(&bp);
	assert_int_equal(count_skips(&bp), BUSY_POLL_MAX_SKIPS);
}

static void one_success_makes_it_ordinary_again(void **state)
{
	struct busy_poll bp = { 0 };

	(void)state;
	start(0);
	for (int i = 0; i < 5; i++)
		(void)count_skips(&bp);
	avail_idx = 8;
	assert_int_equal(count_skips(&bp), 31);
	assert_int_equal(count_skips(&bp), 0);
	avail_idx = 7;
	assert_int_equal(count_skips(&bp), 0);
	assert_int_equal(count_skips(&bp), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_there_needs_no_time),
		cmocka_unit_test(what_comes_meanwhile_ends_it),
		cmocka_unit_test(it_ends_after_its_time),
		cmocka_unit_test(failures_make_it_rare),
		cmocka_unit_test(one_success_makes_it_ordinary_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
