// SPDX-License-Identifier: Apache-2.0
/* The entropy device's request queue, through the transport. The leak queues are in test_rng_leak.c. */
#include "virtio/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "fake_rand.h"
#include "guest_ram.h"
#include "virtio_driver.h"
#include "virtio_rng_leak.h"

#define QUEUE	  VIRTIO_RNG_REQUESTQ
#define TABLE_GPA 0x80000u

struct fixture {
	struct fake_platform fp;
	struct virtio_driver drv;
};

static void plug(struct fixture *f, const struct entropy_config *config)
{
	struct virtio_dev *vdev;
	struct err e;

	assert_int_equal(rng_new(config, &f->fp.p, &vdev, &e), 0);
	drv_plug(&f->drv, &f->fp, vdev, "entropy");
}

static int setup(void **state)
{
	struct entropy_config config = { .present = true, .leak_reporting = true };
	struct fixture *f = calloc(1, sizeof(*f));

	fake_rand_set_calls_left(-1);
	fake_platform_init(&f->fp);
	plug(f, &config);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	drv_unplug(&f->drv);
	fake_platform_fini(&f->fp);
	free(f);
	return 0;
}

/* The same device with so many operations, which come back in refill_ms. */
static void replug_limited(struct fixture *f, uint64_t ops, uint64_t refill_ms)
{
	struct entropy_config config = { .present = true, .leak_reporting = true };

	config.rate_limiter.ops = (struct token_bucket_config){ .size = ops, .refill_time_ms = refill_ms };
	drv_unplug(&f->drv);
	fake_platform_fini(&f->fp);
	fake_platform_init(&f->fp);
	plug(f, &config);
}

static struct ring_buf buf(gpa_t gpa, uint32_t len)
{
	return (struct ring_buf){ .gpa = gpa, .len = len };
}

/* Makes room for len bytes at gpa available, without a notification. */
static void ask(struct fixture *f, gpa_t gpa, uint32_t len)
{
	struct ring_buf in = buf(gpa, len);

	ring_add(&f->drv.rings[QUEUE], NULL, 0, &in, 1);
}

/* The length of the next used buffer, -1 if there is none. */
static int64_t used_len(struct fixture *f)
{
	struct ring_used used;

	return ring_get_used(&f->drv.rings[QUEUE], &used) ? (int64_t)used.len : -1;
}

static uint32_t status(struct fixture *f)
{
	return drv_read(&f->drv, VIRTIO_MMIO_STATUS);
}

static bool is_zero(struct fixture *f, gpa_t gpa, uint32_t len)
{
	const uint8_t *p = mem_host(&f->fp.mem, gpa, len);

	for (uint32_t i = 0; i < len; i++) {
		if (p[i])
			return false;
	}
	return true;
}

static void request_is_filled_with_random_bytes(void **state)
{
	struct fixture *f = *state;
	uint64_t before = entropy_metrics.entropy_bytes;
	uint8_t a[32], b[32];

	drv_start(&f->drv, 0, 1);
	ask(f, DRV_DATA_GPA, 32);
	ask(f, DRV_DATA_GPA + 4096, 32);
	drv_kick(&f->drv, QUEUE);
	assert_int_equal(used_len(f), 32);
	assert_int_equal(used_len(f), 32);
	assert_int_equal(used_len(f), -1);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 1);
	assert_true(mem_read(&f->fp.mem, DRV_DATA_GPA, a, 32));
	assert_true(mem_read(&f->fp.mem, DRV_DATA_GPA + 4096, b, 32));
	assert_memory_not_equal(a, b, 32);
	assert_true(is_zero(f, DRV_DATA_GPA + 32, 4096 - 32));
	assert_int_equal(entropy_metrics.entropy_bytes, before + 64);
}

static void one_request_gets_64_kib_at_most(void **state)
{
	struct fixture *f = *state;

	drv_start(&f->drv, 0, 1);
	ask(f, DRV_DATA_GPA, 0x20000);
	ask(f, FAKE_HIGH_GPA, 0x10000);
	drv_kick(&f->drv, QUEUE);
	assert_int_equal(used_len(f), 0x10000);
	assert_false(is_zero(f, DRV_DATA_GPA + 0xffe0, 32));
	assert_true(is_zero(f, DRV_DATA_GPA + 0x10000, 0x10000));
	assert_int_equal(used_len(f), 0x10000);
}

static void request_may_have_many_buffers(void **state)
{
	struct fixture *f = *state;
	struct ring_buf in[200];

	drv_start(&f->drv, FEATURE(VIRTIO_RING_F_INDIRECT_DESC), 1);
	for (unsigned int i = 0; i < 200; i++)
		in[i] = buf(DRV_DATA_GPA + i * 64, i % 3 ? 32 : 0);
	ring_add(&f->drv.rings[QUEUE], NULL, 0, in, 200);
	drv_kick(&f->drv, QUEUE);
	assert_int_equal(used_len(f), 133 * 32);
	for (unsigned int i = 0; i < 200; i++) {
		assert_int_equal(is_zero(f, DRV_DATA_GPA + i * 64, 32), i % 3 == 0);
		assert_true(is_zero(f, DRV_DATA_GPA + i * 64 + 32, 32));
	}
	ring_add_indirect(&f->drv.rings[QUEUE], TABLE_GPA, NULL, 0, in, 200);
	drv_kick(&f->drv, QUEUE);
	assert_int_equal(used_len(f), 133 * 32);
}

static void senseless_requests_are_given_back_empty(void **state)
{
	struct fixture *f = *state;
	struct ring_driver *ring = &f->drv.rings[QUEUE];
	const struct ring_buf good = buf(DRV_DATA_GPA, 64), empty = buf(DRV_DATA_GPA, 0),
			      outside[] = {
				      buf(FAKE_MEM_SIZE, 64), buf(FAKE_MEM_SIZE - 1, 2), buf(UINT64_MAX, 1),
				      buf(UINT64_MAX, 2),     buf(0, UINT32_MAX),
			      };
	uint64_t before = entropy_metrics.entropy_event_fails;
	unsigned int bad = 0;

	drv_start(&f->drv, 0, 1);
	ring_add(ring, &good, 1, NULL, 0);
	ring_add(ring, &good, 1, &good, 1);
	ring_add(ring, NULL, 0, &empty, 1);
	bad = 3;
	for (size_t i = 0; i < ARRAY_SIZE(outside); i++, bad++) {
		const struct ring_buf both[] = { good, outside[i] };

		ring_add(ring, NULL, 0, both, 2);
	}
	ring_add(ring, NULL, 0, &good, 1);
	drv_kick(&f->drv, QUEUE);
	for (unsigned int i = 0; i < bad; i++)
		assert_int_equal(used_len(f), 0);
	assert_int_equal(used_len(f), 64);
	assert_int_equal(entropy_metrics.entropy_event_fails, before + bad);
	assert_int_equal(status(f), 15);
}

static void full_queue_is_served_in_turns(void **state)
{
	struct fixture *f = *state;

	drv_start(&f->drv, 0, 1);
	for (unsigned int i = 0; i < 256; i++)
		ask(f, DRV_DATA_GPA + i * 16, 16);
	drv_write(&f->drv, VIRTIO_MMIO_QUEUE_NOTIFY, QUEUE); /* once */
	fake_run(&f->fp);
	assert_int_equal(ring_used_idx(&f->drv.rings[QUEUE]), 256);
}

static void broken_ring_needs_a_reset(void **state)
{
	struct fixture *f = *state;

	drv_start(&f->drv, 0, 1);
	ask(f, DRV_DATA_GPA, 16);
	ring_publish(&f->drv.rings[QUEUE], 256);
	drv_kick(&f->drv, QUEUE);
	assert_int_equal(used_len(f), 16);
	assert_int_equal(status(f), 15 | VIRTIO_CONFIG_S_NEEDS_RESET);
	drv_reset(&f->drv);
	drv_start(&f->drv, 0, 1);
	ask(f, DRV_DATA_GPA, 16);
	drv_kick(&f->drv, QUEUE);
	assert_int_equal(used_len(f), 16);
}

static void host_without_random_bytes_stops_the_device(void **state)
{
	struct fixture *f = *state;
	uint64_t before = entropy_metrics.host_rng_fails;

	drv_start(&f->drv, 0, 1);
	fake_rand_set_calls_left(1);
	ask(f, DRV_DATA_GPA, 16);
	ask(f, DRV_DATA_GPA + 64, 16);
	drv_kick(&f->drv, QUEUE);
	assert_int_equal(used_len(f), 16);
	assert_int_equal(used_len(f), -1);
	assert_int_equal(status(f), 15 | VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_equal(entropy_metrics.host_rng_fails, before + 1);
}

static void throttled_request_waits_its_time(void **state)
{
	struct fixture *f = *state;
	uint64_t before = entropy_metrics.entropy_rate_limiter_throttled, started_ns;

	replug_limited(f, 2, 600);
	drv_start(&f->drv, 0, 1);
	started_ns = clock_now_ns();
	for (unsigned int i = 0; i < 3; i++)
		ask(f, DRV_DATA_GPA + i * 64, 16);
	drv_kick(&f->drv, QUEUE);
	assert_int_equal(ring_used_idx(&f->drv.rings[QUEUE]), 2);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 1);
	assert_int_equal(entropy_metrics.entropy_rate_limiter_throttled, before + 1);
	drv_kick(&f->drv, QUEUE); /* the guest cannot hurry it */
	assert_int_equal(ring_used_idx(&f->drv.rings[QUEUE]), 2);
	assert_int_equal(entropy_metrics.entropy_rate_limiter_throttled, before + 1);
	while (ring_used_idx(&f->drv.rings[QUEUE]) == 2 && clock_now_ns() - started_ns < 5000000000u)
		fake_run_ms(&f->fp, 20);
	assert_true(clock_now_ns() - started_ns >= 300000000u);
	assert_int_equal(ring_used_idx(&f->drv.rings[QUEUE]), 3);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 1);
}

static void bytes_are_limited_by_what_is_delivered(void **state)
{
	struct entropy_config config = { .present = true };
	struct fixture *f = *state;

	config.rate_limiter.bandwidth = (struct token_bucket_config){ .size = 0x18000, .refill_time_ms = 3600000 };
	drv_unplug(&f->drv);
	plug(f, &config);
	drv_start(&f->drv, 0, 1);
	ask(f, DRV_DATA_GPA, 0x80000); /* delivers 64 KiB of the 96 */
	ask(f, DRV_DATA_GPA, 0x8000);
	ask(f, DRV_DATA_GPA, 1);
	drv_kick(&f->drv, QUEUE);
	assert_int_equal(ring_used_idx(&f->drv.rings[QUEUE]), 2);
}

static void reset_leaves_the_timer_nothing_to_do(void **state)
{
	struct fixture *f = *state;

	replug_limited(f, 1, 100);
	drv_start(&f->drv, 0, 1);
	ask(f, DRV_DATA_GPA, 16);
	ask(f, DRV_DATA_GPA + 64, 16);
	drv_kick(&f->drv, QUEUE);
	assert_int_equal(ring_used_idx(&f->drv.rings[QUEUE]), 1);
	drv_reset(&f->drv);
	fake_run_ms(&f->fp, 250);
	assert_int_equal(ring_used_idx(&f->drv.rings[QUEUE]), 1);
	assert_true(is_zero(f, DRV_DATA_GPA + 64, 16));
}

static void reset_does_not_refill_the_limiter(void **state)
{
	struct fixture *f = *state;

	replug_limited(f, 1, 3600000);
	for (unsigned int round = 0; round < 3; round++) {
		drv_start(&f->drv, 0, 1);
		ask(f, DRV_DATA_GPA, 16);
		drv_kick(&f->drv, QUEUE);
		assert_int_equal(ring_used_idx(&f->drv.rings[QUEUE]), round == 0);
		drv_reset(&f->drv);
	}
}

static void paused_device_does_nothing(void **state)
{
	struct fixture *f = *state;

	replug_limited(f, 1, 100);
	drv_start(&f->drv, 0, 1);
	ask(f, DRV_DATA_GPA, 16);
	ask(f, DRV_DATA_GPA + 64, 16);
	drv_kick(&f->drv, QUEUE);
	drv_pause(&f->drv);
	fake_run_ms(&f->fp, 250);
	assert_int_equal(ring_used_idx(&f->drv.rings[QUEUE]), 1);
	drv_resume(&f->drv);
	assert_int_equal(ring_used_idx(&f->drv.rings[QUEUE]), 2);
}

/* A second machine with the same memory contents and device. */
static void clone_machine(struct fixture *g, struct fixture *f, const struct entropy_config *config)
{
	struct err e;
	size_t len;
	uint8_t *data = drv_save(&f->drv, &len);

	fake_platform_init(&g->fp);
	guest_copy(&g->fp.mem, &f->fp.mem);
	plug(g, config);
	drv_pause(&g->drv);
	assert_int_equal(drv_load(&g->drv, &f->drv, data, len, &e), 0);
	free(data);
}

static void throttled_request_survives_a_snapshot(void **state)
{
	struct entropy_config config = { .present = true, .leak_reporting = true };
	struct fixture *f = *state, g;

	replug_limited(f, 1, 400);
	drv_start(&f->drv, 0, 1);
	ask(f, DRV_DATA_GPA, 16);
	ask(f, DRV_DATA_GPA + 64, 16);
	drv_kick(&f->drv, QUEUE);
	drv_pause(&f->drv);
	clone_machine(&g, f, &config);
	drv_resume(&g.drv); /* the limiter came along, spent */
	fake_run(&g.fp);
	assert_int_equal(ring_used_idx(&g.drv.rings[QUEUE]), 1);
	fake_run_ms(&g.fp, 700);
	assert_int_equal(ring_used_idx(&g.drv.rings[QUEUE]), 2);
	drv_unplug(&g.drv);
	fake_platform_fini(&g.fp);
}

static void leak_reporting_can_be_turned_off(void **state)
{
	struct entropy_config config = { .present = true, .leak_reporting = false };
	struct fixture *f = *state;

	drv_unplug(&f->drv);
	plug(f, &config);
	assert_false(drv_negotiate(&f->drv, FEATURE(VIRTIO_RNG_F_LEAK)));
	drv_reset(&f->drv);
	drv_start(&f->drv, 0, 1);
	drv_write(&f->drv, VIRTIO_MMIO_QUEUE_SEL, VIRTIO_RNG_LEAKQ1);
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	ask(f, DRV_DATA_GPA, 16);
	drv_kick(&f->drv, QUEUE);
	assert_int_equal(used_len(f), 16);
}

static void device_offers_what_it_should(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_DEVICE_ID), 4);
	assert_int_equal(f->drv.vdev->offered, FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VIRTIO_RING_F_INDIRECT_DESC) |
						       FEATURE(VIRTIO_RNG_F_LEAK) | FEATURE(VIRTIO_RNG_F_LEAK_COUNT) |
						       FEATURE(VIRTIO_RNG_F_LEAK_HANDLED));
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_CONFIG + 4), 0);
	drv_write(&f->drv, VIRTIO_MMIO_CONFIG, 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(request_is_filled_with_random_bytes),
		T(one_request_gets_64_kib_at_most),
		T(request_may_have_many_buffers),
		T(senseless_requests_are_given_back_empty),
		T(full_queue_is_served_in_turns),
		T(broken_ring_needs_a_reset),
		T(host_without_random_bytes_stops_the_device),
		T(throttled_request_waits_its_time),
		T(bytes_are_limited_by_what_is_delivered),
		T(reset_leaves_the_timer_nothing_to_do),
		T(reset_does_not_refill_the_limiter),
		T(paused_device_does_nothing),
		T(throttled_request_survives_a_snapshot),
		T(leak_reporting_can_be_turned_off),
		T(device_offers_what_it_should),
	};

	return cmocka_run_group_tests_name("rng", tests, NULL, NULL);
}
