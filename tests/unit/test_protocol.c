// SPDX-License-Identifier: Apache-2.0
/*
 * What test_rng_leak.c leaves open of docs/leak-protocol.md: the edges of the
 * device's rules, where a driver does what is barely allowed, or is not.
 */
#include "virtio/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/metrics.h"
#include "fake_rand.h"
#include "guest_ram.h"
#include "virtio/rng_internal.h"
#include "virtio_driver.h"
#include "virtio_rng_leak.h"

#define Q1	  VIRTIO_RNG_LEAKQ1
#define Q2	  VIRTIO_RNG_LEAKQ2
#define LEAK	  FEATURE(VIRTIO_RNG_F_LEAK)
#define INDIRECT  FEATURE(VIRTIO_RING_F_INDIRECT_DESC)
#define TABLE_GPA 0x80000u
#define FAILED	  (15 | VIRTIO_CONFIG_S_NEEDS_RESET)

struct fixture {
	struct fake_platform fp;
	struct virtio_driver drv;
	struct entropy_metrics before;
};

#define COUNTED(f, name) (entropy_metrics.name - (f)->before.name)

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct entropy_config config = { .present = true, .leak_reporting = true };
	struct virtio_dev *vdev;
	struct err e;

	fake_rand_set_calls_left(-1);
	fake_platform_init(&f->fp);
	assert_int_equal(rng_new(&config, &f->fp.p, &vdev, &e), 0);
	drv_plug(&f->drv, &f->fp, vdev, "entropy");
	memcpy(&f->before, &entropy_metrics, sizeof(entropy_metrics));
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

static uint8_t *at(struct fixture *f, gpa_t gpa)
{
	return guest_ram(&f->fp.mem, gpa, 1);
}

static struct ring_driver *ring(struct fixture *f, unsigned int q)
{
	return &f->drv.rings[q];
}

static void arm_fill(struct fixture *f, unsigned int q, gpa_t gpa, uint32_t len)
{
	struct ring_buf in = { gpa, len };

	ring_add(ring(f, q), NULL, 0, &in, 1);
}

static void arm_copy(struct fixture *f, unsigned int q, gpa_t from, gpa_t to, uint32_t len)
{
	struct ring_buf out = { from, len }, in = { to, len };

	ring_add(ring(f, q), &out, 1, &in, 1);
}

static int64_t used_len(struct fixture *f, unsigned int q)
{
	struct ring_used used;

	return ring_get_used(ring(f, q), &used) ? (int64_t)used.len : -1;
}

static uint32_t status(struct fixture *f)
{
	return drv_read(&f->drv, VIRTIO_MMIO_STATUS);
}

static void event(struct fixture *f)
{
	struct err e;

	drv_pause(&f->drv);
	assert_int_equal(drv_leak(&f->drv, &e), 0);
	drv_resume(&f->drv);
}

/* Rule 1 */

static uint32_t queue_num_max(struct fixture *f, unsigned int q)
{
	drv_write(&f->drv, VIRTIO_MMIO_QUEUE_SEL, q);
	return drv_read(&f->drv, VIRTIO_MMIO_QUEUE_NUM_MAX);
}

static void leak_queues_exist_only_with_the_feature(void **state)
{
	struct fixture *f = *state;

	assert_true(drv_negotiate(&f->drv, 0));
	assert_int_equal(queue_num_max(f, VIRTIO_RNG_REQUESTQ), 256);
	assert_int_equal(queue_num_max(f, Q1), 0);
	assert_int_equal(queue_num_max(f, Q2), 0);
	assert_false(drv_set_up_queue(&f->drv, Q1, 16));
	drv_reset(&f->drv);
	assert_true(drv_negotiate(&f->drv, LEAK));
	assert_int_equal(queue_num_max(f, Q1), 256);
	assert_int_equal(queue_num_max(f, Q2), 256);
	assert_int_equal(queue_num_max(f, Q2 + 1), 0);
}

/* Rules 4 and 6 */

static void refused_request_stops_no_other(void **state)
{
	struct fixture *f = *state;

	drv_start(&f->drv, LEAK, 3);
	arm_fill(f, Q1, DRV_DATA_GPA, 16);
	arm_fill(f, Q1, UINT64_MAX - 7, 16);
	arm_copy(f, Q1, DRV_DATA_GPA, DRV_DATA_GPA + 64, 16);
	arm_copy(f, Q1, FAKE_MEM_SIZE - 8, DRV_DATA_GPA + 128, 16);
	arm_copy(f, Q1, DRV_DATA_GPA + 64, DRV_DATA_GPA + 192, 16);
	event(f);
	assert_int_equal(used_len(f, Q1), 16);
	assert_int_equal(used_len(f, Q1), 0);
	assert_int_equal(used_len(f, Q1), 16);
	assert_int_equal(used_len(f, Q1), 0);
	assert_int_equal(used_len(f, Q1), 16);
	assert_memory_equal(at(f, DRV_DATA_GPA), at(f, DRV_DATA_GPA + 192), 16);
	assert_int_equal(COUNTED(f, leak_refused_count), 2);
	assert_int_equal(status(f), 15);
}

static void buffers_come_back_in_the_order_in_which_they_were_made_available(void **state)
{
	struct fixture *f = *state;
	struct ring_buf in = { DRV_DATA_GPA, 16 };
	uint16_t heads[64];

	drv_start(&f->drv, LEAK | INDIRECT, 3);
	for (unsigned int i = 0; i < ARRAY_SIZE(heads); i++) {
		heads[i] = i % 3 ? ring_add(ring(f, Q1), NULL, 0, &in, 1)
				 : ring_add_indirect(ring(f, Q1), TABLE_GPA + 16 * i, NULL, 0, &in, 1);
	}
	event(f);
	for (unsigned int i = 0; i < ARRAY_SIZE(heads); i++) {
		struct ring_used used;

		assert_true(ring_get_used(ring(f, Q1), &used));
		assert_int_equal(used.id, heads[i]);
	}
}

/* Buffers of both queues come back, and the driver is told once. */
static void event_sends_one_notification_for_both_queues(void **state)
{
	struct fixture *f = *state;
	struct err e;

	drv_start(&f->drv, LEAK, 3);
	arm_fill(f, Q1, DRV_DATA_GPA, 16);
	event(f);
	assert_int_equal(used_len(f, Q1), 16);
	arm_fill(f, Q1, DRV_DATA_GPA, 16);
	arm_fill(f, Q2, DRV_DATA_GPA + 64, 16);
	(void)fake_irqs(&f->fp, f->drv.gsi);
	drv_pause(&f->drv);
	assert_int_equal(drv_leak(&f->drv, &e), 0);
	assert_int_equal(used_len(f, Q1), 16);
	assert_int_equal(used_len(f, Q2), 16);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 1);
	drv_resume(&f->drv);
}

/* Rules 7 and 8: an event is over when it is over. */
static void buffers_of_an_event_do_not_wait_for_the_loop(void **state)
{
	struct fixture *f = *state;
	struct err e;

	drv_start(&f->drv, LEAK, 3);
	arm_fill(f, Q1, DRV_DATA_GPA, 16);
	drv_pause(&f->drv);
	assert_int_equal(drv_leak(&f->drv, &e), 0);
	assert_int_equal(used_len(f, Q1), 16); /* the loop has not run, nor a vCPU */
	drv_resume(&f->drv);
	fake_run(&f->fp);
	assert_int_equal(used_len(f, Q1), -1);
	assert_int_equal(COUNTED(f, leak_event_count), 1);
}

/* Rule 10 */

static void driver_that_gave_up_has_no_events(void **state)
{
	struct fixture *f = *state;

	drv_start(&f->drv, LEAK, 3);
	arm_fill(f, Q1, DRV_DATA_GPA, 16);
	drv_write(&f->drv, VIRTIO_MMIO_STATUS, 15 | VIRTIO_CONFIG_S_FAILED);
	event(f);
	assert_int_equal(used_len(f, Q1), -1);
	assert_int_equal(COUNTED(f, leak_event_count), 0);
}

/* Rule 11 */

#define NUM_BROKEN 7

static void arm_broken(struct fixture *f, unsigned int q, unsigned int which)
{
	const struct guest_mem *mem = &f->fp.mem;
	struct ring_driver *r = ring(f, q);
	uint16_t head = r->next_desc, next = (uint16_t)(head + 1);
	struct ring_buf table = { TABLE_GPA, 16 };

	switch (which) {
	case 0: /* a loop */
		ring_set_desc(mem, r->desc, head, DRV_DATA_GPA, 8, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, head);
		ring_publish(r, head);
		break;
	case 1: /* a head, and a next, out of range */
		ring_publish(r, 256);
		break;
	case 2:
		ring_set_desc(mem, r->desc, head, DRV_DATA_GPA, 8, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 256);
		ring_publish(r, head);
		break;
	case 3: /* readable behind writable */
		ring_set_desc(mem, r->desc, head, DRV_DATA_GPA, 8, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, next);
		ring_set_desc(mem, r->desc, next, DRV_DATA_GPA, 8, 0, 0);
		ring_publish(r, head);
		break;
	case 4: /* an index that runs ahead too far */
		ring_set_avail_idx(r, (uint16_t)(r->avail_idx + 300));
		break;
	case 5: /* an indirect table with a loop in it */
		ring_set_desc(mem, TABLE_GPA, 0, DRV_DATA_GPA, 8, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 0);
		ring_set_desc(mem, r->desc, head, TABLE_GPA, 16, VRING_DESC_F_INDIRECT, 0);
		ring_publish(r, head);
		break;
	default: /* an indirect table in an indirect table */
		ring_add_indirect(r, TABLE_GPA + 64, &table, 1, NULL, 0);
		ring_set_desc(mem, TABLE_GPA + 64, 0, TABLE_GPA, 16, VRING_DESC_F_INDIRECT, 0);
	}
}

static void expect_device_works_after_reset(struct fixture *f)
{
	drv_reset(&f->drv);
	drv_start(&f->drv, LEAK | INDIRECT, 3);
	arm_fill(f, Q1, DRV_DATA_GPA, 16);
	event(f);
	assert_int_equal(used_len(f, Q1), 16);
	assert_int_equal(status(f), 15);
}

static void queue_that_breaks_a_rule_fails_the_device_and_not_the_machine(void **state)
{
	struct fixture *f = *state;

	for (unsigned int which = 0; which < NUM_BROKEN; which++) {
		/* In the active queue, behind a good request: found by the event. */
		drv_reset(&f->drv);
		drv_start(&f->drv, LEAK | INDIRECT, 3);
		arm_fill(f, Q1, DRV_DATA_GPA + 4096, 16);
		arm_broken(f, Q1, which);
		event(f);
		assert_int_equal(status(f), FAILED);
		expect_device_works_after_reset(f);

		/* In the signalled one: found by the doorbell, or by the event if that comes first. */
		for (unsigned int by_event = 0; by_event < 2; by_event++) {
			drv_reset(&f->drv);
			drv_start(&f->drv, LEAK | INDIRECT, 3);
			event(f);
			arm_broken(f, Q1, which);
			if (by_event)
				event(f);
			else
				drv_kick(&f->drv, Q1);
			assert_int_equal(status(f), FAILED);
			expect_device_works_after_reset(f);
		}
	}
}

static void indirect_buffers_need_their_feature(void **state)
{
	struct fixture *f = *state;
	struct ring_buf in = { DRV_DATA_GPA, 16 };

	drv_start(&f->drv, LEAK, 3);
	ring_add_indirect(ring(f, Q1), TABLE_GPA, NULL, 0, &in, 1);
	event(f);
	assert_int_equal(status(f), FAILED);
	expect_device_works_after_reset(f);
}

/* Rule 13 */

static void late_event_is_remembered_by_a_snapshot(void **state)
{
	struct fixture *f = *state;
	struct virtio_driver before;
	struct err e;
	uint8_t *data;
	size_t len;

	drv_start(&f->drv, LEAK, 3);
	event(f); /* late: nothing was armed */
	drv_pause(&f->drv);
	data = drv_save(&f->drv, &len);
	before = f->drv;
	drv_reset(&f->drv);
	assert_int_equal(drv_load(&f->drv, &before, data, len, &e), 0);
	free(data);
	drv_resume(&f->drv);
	arm_fill(f, Q1, DRV_DATA_GPA, 16);
	drv_kick(&f->drv, Q1);
	assert_int_equal(used_len(f, Q1), 16); /* so the driver learns of it */
}

/* Rule 15 */

static uint32_t unreported(struct fixture *f)
{
	return drv_read(&f->drv, VIRTIO_MMIO_CONFIG);
}

static void leaks_that_nobody_was_told_of_are_counted(void **state)
{
	struct fixture *f = *state;
	uint32_t start = unreported(f);

	event(f);
	assert_int_equal(unreported(f), start + 1); /* before there was a driver */
	drv_start(&f->drv, 0, 1);
	event(f);
	assert_int_equal(unreported(f), start + 2); /* it does not want to know */
	drv_reset(&f->drv);
	drv_start(&f->drv, LEAK | FEATURE(VIRTIO_RNG_F_LEAK_COUNT), 3);
	arm_fill(f, Q1, DRV_DATA_GPA, 16);
	event(f);
	assert_int_equal(used_len(f, Q1), 16);
	assert_int_equal(unreported(f), start + 2); /* this one was reported */
	drv_reset(&f->drv);
	assert_int_equal(unreported(f), start + 2);
	event(f);
	assert_int_equal(unreported(f), start + 3);
}

static void late_leak_that_a_reset_takes_away_is_counted(void **state)
{
	struct fixture *f = *state;
	uint32_t start = unreported(f);

	drv_start(&f->drv, LEAK, 3);
	event(f);
	event(f);
	assert_int_equal(unreported(f), start); /* it can still be reported */
	drv_reset(&f->drv);
	assert_int_equal(unreported(f), start + 1);
	drv_start(&f->drv, LEAK, 3);
	event(f);
	arm_fill(f, Q1, DRV_DATA_GPA, 16);
	drv_kick(&f->drv, Q1);
	assert_int_equal(used_len(f, Q1), 16);
	drv_reset(&f->drv);
	assert_int_equal(unreported(f), start + 1); /* late, but reported */
}

static void leak_that_a_broken_queue_hides_is_counted(void **state)
{
	struct fixture *f = *state;
	uint32_t start = unreported(f);

	drv_start(&f->drv, LEAK, 3);
	arm_broken(f, Q1, 0);
	event(f);
	assert_int_equal(status(f), FAILED);
	assert_int_equal(unreported(f), start + 1);
}

/* A driver that remembers the number must not take another monitor's device for the one that it knew. */
static void each_device_counts_from_somewhere_else(void **state)
{
	struct fixture *f = *state;
	uint32_t seen[3];

	for (size_t i = 0; i < ARRAY_SIZE(seen); i++) {
		struct entropy_config config = { .present = true, .leak_reporting = true };
		struct virtio_dev *vdev;
		struct err e;

		assert_int_equal(rng_new(&config, &f->fp.p, &vdev, &e), 0);
		vdev->ops->config_read(vdev, 0, &seen[i], sizeof(seen[i]));
		vdev->ops->free(vdev);
	}
	assert_true(seen[0] != seen[1] || seen[1] != seen[2]);
}

/* Rule 16 */

#define COUNT	FEATURE(VIRTIO_RNG_F_LEAK_COUNT)
#define HANDLED FEATURE(VIRTIO_RNG_F_LEAK_HANDLED)

static uint32_t generation(struct fixture *f)
{
	return drv_read(&f->drv, VIRTIO_MMIO_CONFIG + VIRTIO_RNG_CONFIG_GENERATION);
}

static uint32_t handled(struct fixture *f)
{
	return drv_read(&f->drv, VIRTIO_MMIO_CONFIG + VIRTIO_RNG_CONFIG_HANDLED);
}

static void say_handled(struct fixture *f, uint32_t value)
{
	drv_write(&f->drv, VIRTIO_MMIO_CONFIG + VIRTIO_RNG_CONFIG_HANDLED, value);
}

static void assert_progress(struct fixture *f, uint32_t expected, uint32_t expected_handled, bool late)
{
	struct leak_progress p;

	assert_true(device_leak_progress(f->drv.dev, &p));
	assert_int_equal(p.generation, expected);
	assert_int_equal(p.handled, expected_handled);
	assert_int_equal(p.late, late);
}

static void start_confirming(struct fixture *f)
{
	drv_start(&f->drv, LEAK | COUNT | HANDLED, 3);
}

static void each_event_has_a_number_and_is_handled_when_the_driver_says_so(void **state)
{
	struct fixture *f = *state;

	start_confirming(f);
	assert_progress(f, 0, 0, false);
	for (uint32_t i = 1; i <= 3; i++) {
		arm_fill(f, i % 2 ? Q1 : Q2, DRV_DATA_GPA, 16);
		event(f);
		assert_int_equal(generation(f), i);
		assert_progress(f, i, i - 1, false);
		assert_int_equal(f->fp.num_handled, i - 1);
		say_handled(f, i);
		assert_int_equal(f->fp.num_handled, i);
		assert_progress(f, i, i, false);
	}
	assert_int_equal(COUNTED(f, leak_handled_count), 3);
}

static void late_event_cannot_be_handled_before_its_seed_is_there(void **state)
{
	struct fixture *f = *state;

	start_confirming(f);
	event(f);
	event(f);
	assert_int_equal(generation(f), 0);
	assert_progress(f, 1, 0, true);
	say_handled(f, 1);
	assert_int_equal(handled(f), 0);
	arm_fill(f, Q1, DRV_DATA_GPA, 16);
	drv_kick(&f->drv, Q1);
	assert_int_equal(used_len(f, Q1), 16);
	assert_int_equal(generation(f), 1);
	assert_progress(f, 1, 0, false);
	say_handled(f, 1);
	assert_progress(f, 1, 1, false);
}

static void numbers_that_are_behind_ahead_or_repeated_say_nothing(void **state)
{
	struct fixture *f = *state;
	static const uint32_t wrong[] = { 0, 1, 4, 5, UINT32_MAX, UINT32_MAX / 2, 1u << 31 };

	start_confirming(f);
	for (unsigned int i = 0; i < 3; i++) {
		arm_fill(f, i % 2 ? Q2 : Q1, DRV_DATA_GPA, 16);
		event(f);
	}
	say_handled(f, 2); /* one may be left out */
	assert_progress(f, 3, 2, false);
	say_handled(f, 2);
	assert_int_equal(f->fp.num_handled, 1);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		say_handled(f, wrong[i]);
		assert_progress(f, 3, 2, false);
	}
	assert_int_equal(f->fp.num_handled, 1);
	say_handled(f, 3);
	assert_progress(f, 3, 3, false);
}

static void numbers_wrap(void **state)
{
	struct rng_leak leak = { .generation = 1, .handled = UINT32_MAX - 1 };

	(void)state;
	assert_false(rng_leak_handled(&leak, UINT32_MAX - 1));
	assert_false(rng_leak_handled(&leak, 2));
	assert_true(rng_leak_handled(&leak, UINT32_MAX));
	assert_true(rng_leak_handled(&leak, 1));
	assert_false(rng_leak_handled(&leak, 0));
	assert_int_equal(leak.handled, 1);
}

static void only_a_driver_with_the_feature_says_anything(void **state)
{
	struct fixture *f = *state;
	const uint64_t without[] = { 0, LEAK, LEAK | COUNT, HANDLED };
	struct leak_progress p;

	event(f); /* before there was a driver: number 1 */
	for (size_t i = 0; i < ARRAY_SIZE(without); i++) {
		say_handled(f, 1);
		drv_start(&f->drv, without[i], without[i] & LEAK ? 3 : 1);
		say_handled(f, 1);
		assert_progress(f, 1, 0, false);
		assert_true(device_leak_progress(f->drv.dev, &p));
		assert_int_equal(p.driver, LEAK_DRIVER_SILENT);
		drv_reset(&f->drv);
		assert_true(device_leak_progress(f->drv.dev, &p));
		assert_int_equal(p.driver, LEAK_DRIVER_NONE);
	}
	start_confirming(f);
	assert_true(device_leak_progress(f->drv.dev, &p));
	assert_int_equal(p.driver, LEAK_DRIVER_CONFIRMS);
	say_handled(f, 1); /* with bytes from requestq, say */
	assert_progress(f, 1, 1, false);
	drv_reset(&f->drv);
	assert_progress(f, 1, 1, false); /* what it has done is not undone */
	event(f);
	assert_progress(f, 2, 1, false);
}

static void a_number_is_written_whole_or_not_at_all(void **state)
{
	struct fixture *f = *state;
	gpa_t at_handled = f->fp.last_base + VIRTIO_MMIO_CONFIG + VIRTIO_RNG_CONFIG_HANDLED;

	start_confirming(f);
	arm_fill(f, Q1, DRV_DATA_GPA, 16);
	event(f);
	fake_write(&f->fp, at_handled, 1, 1);
	fake_write(&f->fp, at_handled, 1, 2);
	fake_write(&f->fp, at_handled, 1, 8);
	fake_write(&f->fp, at_handled - 4, 1, 4);
	fake_write(&f->fp, at_handled - 4, 1ull << 32, 8);
	fake_write(&f->fp, at_handled + 4, 1, 4);
	assert_progress(f, 1, 0, false);
	assert_int_equal(fake_read(&f->fp, at_handled - 4, 8), 1);
	say_handled(f, 1);
	assert_int_equal(fake_read(&f->fp, at_handled - 4, 8), 1 | 1ull << 32);
	assert_int_equal(fake_read(&f->fp, at_handled + 4, 8), 0);
}

static void a_machine_that_was_restored_has_not_handled_its_own_event(void **state)
{
	struct fixture *f = *state;
	struct virtio_driver before;
	struct err e;
	uint8_t *data;
	size_t len;

	start_confirming(f);
	arm_fill(f, Q1, DRV_DATA_GPA, 16);
	event(f);
	say_handled(f, 1);
	arm_fill(f, Q2, DRV_DATA_GPA, 16);
	drv_pause(&f->drv);
	data = drv_save(&f->drv, &len);
	before = f->drv;
	drv_reset(&f->drv);
	assert_int_equal(drv_leak(&f->drv, &e), 0); /* of another life: the file knows nothing of it */
	assert_int_equal(drv_load(&f->drv, &before, data, len, &e), 0);
	free(data);
	assert_progress(f, 1, 1, false);
	assert_int_equal(drv_leak(&f->drv, &e), 0);
	drv_resume(&f->drv);
	assert_progress(f, 2, 1, false);
	say_handled(f, 1); /* what the guest was about to say when it was copied */
	assert_progress(f, 2, 1, false);
	say_handled(f, 2);
	assert_progress(f, 2, 2, false);
}

static void a_forged_number_that_is_ahead_is_refused(void **state)
{
	static const struct {
		uint32_t generation, handled;
		int result;
	} rows[] = {
		{ 5, 6, -EINVAL },	    { 0, 1, -EINVAL },	      { 5, 5, 0 },	   { 2, UINT32_MAX, 0 },
		{ UINT32_MAX, 0, -EINVAL }, { 1u << 31, 0, -EINVAL }, { INT32_MAX, 0, 0 },
	};
	struct fixture *f = *state;
	struct rng *rng = (struct rng *)f->drv.vdev;

	start_confirming(f);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct virtio_driver before;
		struct err e;
		uint8_t *data;
		size_t len;

		drv_pause(&f->drv);
		rng->leak.generation = rows[i].generation;
		rng->leak.handled = rows[i].handled;
		data = drv_save(&f->drv, &len);
		before = f->drv;
		drv_reset(&f->drv);
		assert_int_equal(drv_load(&f->drv, &before, data, len, &e), rows[i].result);
		assert_true(!rows[i].result || strstr(e.text, "is ahead of leak_generation"));
		free(data);
		drv_resume(&f->drv);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(leak_queues_exist_only_with_the_feature),
		T(refused_request_stops_no_other),
		T(buffers_come_back_in_the_order_in_which_they_were_made_available),
		T(event_sends_one_notification_for_both_queues),
		T(buffers_of_an_event_do_not_wait_for_the_loop),
		T(driver_that_gave_up_has_no_events),
		T(queue_that_breaks_a_rule_fails_the_device_and_not_the_machine),
		T(indirect_buffers_need_their_feature),
		T(late_event_is_remembered_by_a_snapshot),
		T(each_event_has_a_number_and_is_handled_when_the_driver_says_so),
		T(late_event_cannot_be_handled_before_its_seed_is_there),
		T(numbers_that_are_behind_ahead_or_repeated_say_nothing),
		T(numbers_wrap),
		T(only_a_driver_with_the_feature_says_anything),
		T(a_number_is_written_whole_or_not_at_all),
		T(a_forged_number_that_is_ahead_is_refused),
		T(a_machine_that_was_restored_has_not_handled_its_own_event),
		T(leaks_that_nobody_was_told_of_are_counted),
		T(late_leak_that_a_reset_takes_away_is_counted),
		T(leak_that_a_broken_queue_hides_is_counted),
		T(each_device_counts_from_somewhere_else),
	};

	return cmocka_run_group_tests_name("protocol", tests, NULL, NULL);
}
