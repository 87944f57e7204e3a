// SPDX-License-Identifier: Apache-2.0
/* What a guest can have done by the entropy device: rate limiter and leak queues together, and how long a turn is. */
#include "virtio/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "virtio/rng_internal.h"
#include "virtio_driver.h"
#include "virtio_rng_leak.h"

#define REQ	 VIRTIO_RNG_REQUESTQ
#define Q1	 VIRTIO_RNG_LEAKQ1
#define Q2	 VIRTIO_RNG_LEAKQ2
#define HOUR_MS	 3600000u
#define HALF_MIB (512u << 10)
#define SRC_GPA	 DRV_DATA_GPA
#define DST_GPA	 (DRV_DATA_GPA + 0x200000u)

struct fixture {
	struct fake_platform fp;
	struct virtio_driver drv;
	struct rng *rng;
	uint64_t throttled; /* before */
};

/* size 0: no limit. */
static struct fixture *start(uint64_t bytes, uint64_t ops, uint64_t refill_ms)
{
	struct entropy_config config = { .present = true, .leak_reporting = true };
	struct fixture *f = calloc(1, sizeof(*f));
	struct virtio_dev *vdev;
	struct err e;

	assert_non_null(f);
	config.rate_limiter.bandwidth = (struct token_bucket_config){ .size = bytes, .refill_time_ms = refill_ms };
	config.rate_limiter.ops = (struct token_bucket_config){ .size = ops, .refill_time_ms = refill_ms };
	fake_platform_init(&f->fp);
	assert_int_equal(rng_new(&config, &f->fp.p, &vdev, &e), 0);
	f->rng = (struct rng *)vdev;
	drv_plug(&f->drv, &f->fp, vdev, "entropy");
	drv_start(&f->drv, FEATURE(VIRTIO_RNG_F_LEAK), 3);
	f->throttled = entropy_metrics.entropy_rate_limiter_throttled;
	return f;
}

static void end(struct fixture *f)
{
	drv_unplug(&f->drv);
	fake_platform_fini(&f->fp);
	free(f);
}

static bool was_throttled(const struct fixture *f)
{
	return entropy_metrics.entropy_rate_limiter_throttled != f->throttled;
}

static void add_fill(struct fixture *f, unsigned int q, uint32_t len)
{
	struct ring_buf in = { DST_GPA, len };

	ring_add(&f->drv.rings[q], NULL, 0, &in, 1);
}

static void add_copy(struct fixture *f, unsigned int q)
{
	struct ring_buf out = { SRC_GPA, 8 }, in = { DST_GPA + 64, 8 };

	ring_add(&f->drv.rings[q], &out, 1, &in, 1);
}

static void event(struct fixture *f)
{
	struct err e;

	drv_pause(&f->drv);
	assert_int_equal(drv_leak(&f->drv, &e), 0);
	drv_resume(&f->drv);
}

/* Takes what was used; gives how many bytes that was. */
static uint64_t collect(struct fixture *f, unsigned int q, unsigned int *num)
{
	struct ring_used used;
	uint64_t bytes = 0;

	for (*num = 0; ring_get_used(&f->drv.rings[q], &used); (*num)++)
		bytes += used.len;
	return bytes;
}

/* Spends what the limiter has, and what the last event grants in the signalled queue. */
static void spend_all(struct fixture *f, unsigned int signalled)
{
	unsigned int num;

	for (unsigned int i = 0; i < 8; i++)
		add_fill(f, signalled, HALF_MIB);
	drv_kick(&f->drv, signalled);
	collect(f, signalled, &num);
	assert_true(was_throttled(f));
	assert_true(num < 8);
}

static void signalled_queue_waits_for_the_limiter(void **state)
{
	struct fixture *f = start(4096, 4, HOUR_MS);
	uint64_t bytes = 0;
	unsigned int num;

	(void)state;
	add_fill(f, Q1, 1024);
	event(f);
	assert_int_equal(collect(f, Q1, &num), 1024);
	for (unsigned int i = 0; i < 64; i++)
		add_fill(f, Q1, HALF_MIB);
	for (unsigned int round = 0; round < 4; round++) {
		drv_kick(&f->drv, Q1);
		bytes += collect(f, Q1, &num);
	}
	assert_true(was_throttled(f));
	/* The grant, and one request that is larger than the bucket, which passes while that is full. */
	assert_in_range(bytes, 4096, RNG_MAX_LEAK_EVENT + HALF_MIB);
	end(f);
}

static void copies_and_empty_requests_wait_as_well(void **state)
{
	struct fixture *f = start(4096, 4, HOUR_MS);
	unsigned int num;

	(void)state;
	add_fill(f, Q1, 16);
	event(f);
	spend_all(f, Q1);
	event(f); /* late; takes what was left in the signalled queue */
	collect(f, Q1, &num);
	spend_all(f, Q1);
	add_copy(f, Q1);
	add_fill(f, Q1, 0);
	drv_kick(&f->drv, Q1);
	collect(f, Q1, &num);
	assert_int_equal(num, 0);
	end(f);
}

static void throttled_requests_come_when_the_limiter_has_recovered(void **state)
{
	struct fixture *f = start(HALF_MIB, 0, 200);
	unsigned int num, total = 0;

	(void)state;
	add_fill(f, Q1, 16);
	event(f);
	collect(f, Q1, &num);
	for (unsigned int i = 0; i < 8; i++)
		add_fill(f, Q1, HALF_MIB);
	drv_kick(&f->drv, Q1);
	assert_true(was_throttled(f));
	for (unsigned int i = 0; i < 100 && total < 8; i++) {
		collect(f, Q1, &num);
		total += num;
		fake_run_ms(&f->fp, 50);
	}
	assert_int_equal(total, 8);
	end(f);
}

static void event_never_waits(void **state)
{
	struct fixture *f = start(1, 1, HOUR_MS);
	unsigned int num;

	(void)state;
	add_fill(f, Q1, 64);
	add_copy(f, Q1);
	event(f);
	assert_int_equal(collect(f, Q1, &num), 72);
	spend_all(f, Q1);
	add_fill(f, Q2, 64);
	add_copy(f, Q2);
	event(f);
	assert_int_equal(collect(f, Q2, &num), 72);
	assert_int_equal(num, 2);
	end(f);
}

static void late_event_does_not_wait_behind_requests_that_do(void **state)
{
	struct fixture *f = start(1, 1, HOUR_MS);
	unsigned int num;

	(void)state;
	add_fill(f, Q1, 64);
	event(f);
	collect(f, Q1, &num);
	event(f); /* late */
	spend_all(f, Q1);
	add_fill(f, Q2, 64);
	drv_kick(&f->drv, Q2);
	assert_int_equal(collect(f, Q2, &num), 64);
	add_copy(f, Q2);
	drv_kick(&f->drv, Q2);
	assert_int_equal(collect(f, Q2, &num), 8);
	end(f);
}

/* The original's event came between fill and copy, and so did the snapshot: in the clone nothing is armed. */
static void copy_of_a_clone_does_not_wait_if_its_first_event_was_late(void **state)
{
	struct fixture *f = start(1, 1, HOUR_MS);
	unsigned int num;

	(void)state;
	add_fill(f, Q1, 64);
	event(f);
	spend_all(f, Q1);
	throttle_reset(&f->rng->throttle);
	f->rng->leak.credit = 0; /* as after a load */
	event(f);
	collect(f, Q1, &num);
	add_copy(f, Q1);
	drv_kick(&f->drv, Q1);
	assert_int_equal(collect(f, Q1, &num), 8);
	end(f);
}

static void what_an_event_finds_waiting_is_a_debt(void **state)
{
	struct fixture *f = start(HALF_MIB, 0, HOUR_MS);
	uint64_t blocked_ns;
	unsigned int num;

	(void)state;
	add_fill(f, Q1, 64);
	event(f);
	spend_all(f, Q1);
	blocked_ns = f->rng->throttle.limiter.bandwidth.updated_ns;
	add_fill(f, Q2, 64);
	event(f);
	assert_int_equal(collect(f, Q2, &num), 64);
	/* Of the eight requests three were granted and one was paid for; the last four cost an hour each, but for what came back. */
	assert_true(collect(f, Q1, &num) <= RNG_MAX_LEAK_EVENT);
	assert_int_equal(num, 4);
	assert_true(f->rng->throttle.limiter.bandwidth.updated_ns >= blocked_ns + 3ull * HOUR_MS * 1000000);
	add_fill(f, REQ, 1);
	drv_kick(&f->drv, REQ);
	collect(f, REQ, &num);
	assert_int_equal(num, 0);
	end(f);
}

static void our_driver_is_never_throttled(void **state)
{
	struct fixture *f = start(1, 1, HOUR_MS);
	unsigned int num;

	(void)state;
	for (unsigned int i = 0; i < 50; i++) {
		unsigned int q = i % 2 ? Q2 : Q1;

		/* Between fill and copy, before the doorbell, with everything armed, late. */
		if (i % 4 == 3)
			event(f);
		add_fill(f, q, 80);
		if (i % 4 == 1)
			event(f);
		add_copy(f, q);
		if (i % 4 != 3 && i % 4 != 1)
			event(f);
		drv_kick(&f->drv, q);
		assert_int_equal(collect(f, q, &num), 88);
		assert_int_equal(num, 2);
	}
	assert_false(was_throttled(f));
	end(f);
}

static void event_writes_so_much_and_no_more(void **state)
{
	struct fixture *f = start(0, 0, 0);
	unsigned int num;

	(void)state;
	for (unsigned int i = 0; i < 200; i++)
		add_fill(f, Q1, RNG_MAX_LEAK_REQUEST);
	event(f);
	assert_int_equal(collect(f, Q1, &num), RNG_MAX_LEAK_EVENT);
	assert_int_equal(num, 200); /* the others were given back empty */
	add_fill(f, Q2, 64);
	event(f);
	assert_int_equal(collect(f, Q2, &num), 64);
	end(f);
}

/* One turn, without the loop that would take the next one. */
static uint64_t turn(struct fixture *f, unsigned int q, unsigned int *num)
{
	device_lock(f->drv.dev);
	assert_int_equal(f->rng->vdev.ops->notify(&f->rng->vdev, q), 0);
	device_unlock(f->drv.dev);
	return collect(f, q, num);
}

static void a_turn_is_bounded_in_bytes_for_every_queue(void **state)
{
	struct fixture *f = start(0, 0, 0);
	unsigned int num;

	(void)state;
	for (unsigned int i = 0; i < 64; i++)
		add_fill(f, REQ, RNG_MAX_REQUEST);
	assert_in_range(turn(f, REQ, &num), 1, RNG_TURN_BYTES + RNG_MAX_REQUEST - 1);
	add_fill(f, Q1, 64);
	event(f);
	collect(f, Q1, &num);
	for (unsigned int i = 0; i < 16; i++)
		add_fill(f, Q1, RNG_MAX_LEAK_REQUEST);
	assert_in_range(turn(f, Q1, &num), 1, RNG_TURN_BYTES + RNG_MAX_LEAK_REQUEST - 1);
	assert_int_equal(turn(f, Q1, &num), RNG_MAX_LEAK_REQUEST);
	end(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signalled_queue_waits_for_the_limiter),
		cmocka_unit_test(copies_and_empty_requests_wait_as_well),
		cmocka_unit_test(throttled_requests_come_when_the_limiter_has_recovered),
		cmocka_unit_test(event_never_waits),
		cmocka_unit_test(late_event_does_not_wait_behind_requests_that_do),
		cmocka_unit_test(copy_of_a_clone_does_not_wait_if_its_first_event_was_late),
		cmocka_unit_test(what_an_event_finds_waiting_is_a_debt),
		cmocka_unit_test(our_driver_is_never_throttled),
		cmocka_unit_test(event_writes_so_much_and_no_more),
		cmocka_unit_test(a_turn_is_bounded_in_bytes_for_every_queue),
	};

	return cmocka_run_group_tests_name("rng_limits", tests, NULL, NULL);
}
