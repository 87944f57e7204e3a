// SPDX-License-Identifier: Apache-2.0
/* The leak queues of the entropy device: docs/leak-protocol.md, sentence by sentence. */
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
#define SRC_GPA	  (DRV_DATA_GPA)
#define DST_GPA	  (DRV_DATA_GPA + 0x200000u)

struct fixture {
	struct fake_platform fp;
	struct virtio_driver drv;
	struct entropy_metrics before;
};

static void plug(struct fixture *f)
{
	struct entropy_config config = { .present = true, .leak_reporting = true };
	struct virtio_dev *vdev;
	struct err e;

	assert_int_equal(rng_new(&config, &f->fp.p, &vdev, &e), 0);
	drv_plug(&f->drv, &f->fp, vdev, "entropy");
}

/* A device that no driver has touched. */
static int setup_bare(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_rand_set_calls_left(-1);
	fake_platform_init(&f->fp);
	plug(f);
	memcpy(&f->before, &entropy_metrics, sizeof(entropy_metrics));
	*state = f;
	return 0;
}

/* A driver that has set up all three queues. */
static int setup(void **state)
{
	struct fixture *f;

	setup_bare(state);
	f = *state;
	drv_start(&f->drv, LEAK | INDIRECT, 3);
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

#define COUNTED(f, name) (entropy_metrics.name - (f)->before.name)

static struct ring_buf buf(gpa_t gpa, uint32_t len)
{
	return (struct ring_buf){ .gpa = gpa, .len = len };
}

static struct ring_driver *ring(struct fixture *f, unsigned int q)
{
	return &f->drv.rings[q];
}

static uint16_t arm_fill(struct fixture *f, unsigned int q, gpa_t gpa, uint32_t len)
{
	struct ring_buf in = buf(gpa, len);

	return ring_add(ring(f, q), NULL, 0, &in, 1);
}

static uint16_t arm_copy(struct fixture *f, unsigned int q, gpa_t from, uint32_t from_len, gpa_t to, uint32_t to_len)
{
	struct ring_buf out = buf(from, from_len), in = buf(to, to_len);

	return ring_add(ring(f, q), &out, 1, &in, 1);
}

/* What the machine does around a leak: stop, event, run on. */
static int event_result(struct fixture *f)
{
	struct err e;
	int r;

	drv_pause(&f->drv);
	r = drv_leak(&f->drv, &e);
	if (r == 0)
		drv_resume(&f->drv);
	return r;
}

static void event(struct fixture *f)
{
	assert_int_equal(event_result(f), 0);
}

/* The length of the next used buffer of q, -1 if there is none. */
static int64_t used_len(struct fixture *f, unsigned int q)
{
	struct ring_used used;

	return ring_get_used(ring(f, q), &used) ? (int64_t)used.len : -1;
}

static uint8_t *at(struct fixture *f, gpa_t gpa)
{
	return guest_ram(&f->fp.mem, gpa, 1);
}

static bool is_zero(struct fixture *f, gpa_t gpa, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++) {
		if (at(f, gpa)[i])
			return false;
	}
	return true;
}

static void pattern(struct fixture *f, gpa_t gpa, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		at(f, gpa)[i] = (uint8_t)(i * 7 + (i >> 8) + 1);
}

static uint32_t status(struct fixture *f)
{
	return drv_read(&f->drv, VIRTIO_MMIO_STATUS);
}

/* The three kinds of time: before an event, at it, after it */

static void fill_waits_for_the_event_and_is_random(void **state)
{
	struct fixture *f = *state;
	uint8_t first[32];

	arm_fill(f, Q1, DST_GPA, 32);
	drv_kick(&f->drv, Q1);
	drv_pause(&f->drv);
	drv_resume(&f->drv); /* no leak */
	assert_int_equal(used_len(f, Q1), -1);
	assert_true(is_zero(f, DST_GPA, 64));

	event(f);
	assert_int_equal(used_len(f, Q1), 32);
	assert_true(fake_irqs(&f->fp, f->drv.gsi) > 0);
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_INT_USED);
	assert_false(is_zero(f, DST_GPA, 32));
	assert_true(is_zero(f, DST_GPA + 32, 32));
	memcpy(first, at(f, DST_GPA), 32);

	arm_fill(f, Q2, DST_GPA, 32);
	event(f);
	assert_int_equal(used_len(f, Q2), 32);
	assert_memory_not_equal(first, at(f, DST_GPA), 32);
	assert_int_equal(COUNTED(f, leak_event_count), 2);
	assert_int_equal(COUNTED(f, leak_fill_count), 2);
	assert_int_equal(COUNTED(f, leak_fill_bytes), 64);
	assert_int_equal(COUNTED(f, leak_late_count), 0);
	assert_int_equal(COUNTED(f, leak_signalled_count), 0);
}

static void copy_is_carried_out_at_the_event(void **state)
{
	struct fixture *f = *state;

	pattern(f, SRC_GPA, 8);
	arm_copy(f, Q1, SRC_GPA, 8, DST_GPA, 8);
	event(f);
	assert_int_equal(used_len(f, Q1), 8);
	assert_memory_equal(at(f, SRC_GPA), at(f, DST_GPA), 8);
	assert_int_equal(COUNTED(f, leak_copy_count), 1);
	assert_int_equal(COUNTED(f, leak_copy_bytes), 8);
}

static void requests_are_carried_out_in_order(void **state)
{
	struct fixture *f = *state;

	/* Fill, then copy what was filled, then copy that. */
	arm_fill(f, Q1, SRC_GPA, 32);
	arm_copy(f, Q1, SRC_GPA, 32, DST_GPA, 32);
	arm_copy(f, Q1, DST_GPA, 32, DST_GPA + 64, 32);
	event(f);
	assert_false(is_zero(f, SRC_GPA, 32));
	assert_memory_equal(at(f, SRC_GPA), at(f, DST_GPA), 32);
	assert_memory_equal(at(f, SRC_GPA), at(f, DST_GPA + 64), 32);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(used_len(f, Q1), 32);
}

static void only_the_active_queue_is_used_and_they_take_turns(void **state)
{
	struct fixture *f = *state;

	for (unsigned int round = 0; round < 6; round++) {
		unsigned int active = round % 2 ? Q2 : Q1, other = round % 2 ? Q1 : Q2;

		arm_fill(f, active, DST_GPA, 16);
		event(f);
		assert_int_equal(used_len(f, active), 16);
		assert_int_equal(used_len(f, other), -1);
	}
	assert_int_equal(COUNTED(f, leak_event_count), 6);
	assert_int_equal(COUNTED(f, leak_late_count), 0);
}

static void signalled_queue_is_used_at_once(void **state)
{
	struct fixture *f = *state;
	uint64_t value;

	arm_fill(f, Q1, DST_GPA, 16);
	event(f);
	assert_int_equal(used_len(f, Q1), 16);
	(void)fake_irqs(&f->fp, f->drv.gsi);

	/* A driver that does not know yet: it puts its request where it believes it will wait. */
	arm_fill(f, Q1, DST_GPA + 64, 16);
	pattern(f, SRC_GPA, 8);
	arm_copy(f, Q1, SRC_GPA, 8, DST_GPA + 128, 8);
	drv_kick(&f->drv, Q1);
	assert_int_equal(used_len(f, Q1), 16);
	assert_int_equal(used_len(f, Q1), 8);
	assert_false(is_zero(f, DST_GPA + 64, 16));
	memcpy(&value, at(f, DST_GPA + 128), 8);
	assert_memory_equal(at(f, SRC_GPA), &value, 8);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 1);
	assert_int_equal(COUNTED(f, leak_signalled_count), 2);

	/* While the active one waits. */
	arm_fill(f, Q2, DST_GPA + 256, 16);
	drv_kick(&f->drv, Q2);
	assert_int_equal(used_len(f, Q2), -1);
}

static void event_finds_what_waits_in_the_signalled_queue(void **state)
{
	struct fixture *f = *state;

	arm_fill(f, Q1, DST_GPA + 128, 16);
	event(f);
	assert_int_equal(used_len(f, Q1), 16);
	/* The vCPU has made a request available, and stops before its doorbell is heard. */
	arm_fill(f, Q1, SRC_GPA, 16);
	arm_copy(f, Q2, SRC_GPA, 16, DST_GPA, 16);
	drv_write(&f->drv, VIRTIO_MMIO_QUEUE_NOTIFY, Q1);
	event(f);
	assert_int_equal(used_len(f, Q1), 16);
	assert_int_equal(used_len(f, Q2), 16);
	/* The signalled queue's came first. */
	assert_false(is_zero(f, SRC_GPA, 16));
	assert_memory_equal(at(f, SRC_GPA), at(f, DST_GPA), 16);
	assert_int_equal(COUNTED(f, leak_signalled_count), 1);
	assert_int_equal(COUNTED(f, leak_late_count), 0);
	/* The doorbell arrives now, and Q1 is the active queue again: it waits. */
	arm_fill(f, Q1, DST_GPA + 64, 16);
	fake_run(&f->fp);
	assert_int_equal(used_len(f, Q1), -1);
}

static void queue_that_was_never_signalled_is_left_alone(void **state)
{
	struct fixture *f = *state;

	arm_fill(f, Q1, DST_GPA, 16);
	arm_fill(f, Q2, DST_GPA + 64, 16);
	drv_kick(&f->drv, Q2);
	event(f);
	assert_int_equal(used_len(f, Q1), 16);
	assert_int_equal(used_len(f, Q2), -1);
	event(f);
	assert_int_equal(used_len(f, Q2), 16);
}

static void event_with_an_empty_active_queue_is_late_not_lost(void **state)
{
	struct fixture *f = *state;

	event(f);
	assert_int_equal(COUNTED(f, leak_late_count), 1);
	assert_int_equal(COUNTED(f, leak_event_count), 1);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 0);
	arm_fill(f, Q1, DST_GPA, 16);
	drv_kick(&f->drv, Q1);
	assert_int_equal(used_len(f, Q1), 16);
}

/* The doorbells may come in any order, and the signalled queue still goes first. */
static void late_event_is_made_up_for_after_the_signalled_queue(void **state)
{
	struct fixture *f = *state;

	arm_fill(f, Q1, DST_GPA, 16);
	event(f);
	assert_int_equal(used_len(f, Q1), 16);
	event(f); /* late */
	arm_fill(f, Q1, SRC_GPA, 16);
	arm_copy(f, Q2, SRC_GPA, 16, DST_GPA + 64, 16);
	drv_kick(&f->drv, Q2);
	assert_int_equal(used_len(f, Q1), 16);
	assert_int_equal(used_len(f, Q2), 16);
	assert_false(is_zero(f, SRC_GPA, 16));
	assert_memory_equal(at(f, SRC_GPA), at(f, DST_GPA + 64), 16);
	/* That was the event: Q2 is the signalled one now, and Q1 waits. */
	arm_fill(f, Q2, DST_GPA + 128, 16);
	arm_fill(f, Q1, DST_GPA + 192, 16);
	drv_kick(&f->drv, Q1);
	drv_kick(&f->drv, Q2);
	assert_int_equal(used_len(f, Q2), 16);
	assert_int_equal(used_len(f, Q1), -1);
	assert_int_equal(COUNTED(f, leak_late_count), 1);
	assert_int_equal(COUNTED(f, leak_signalled_count), 3);
}

/* The driver was between a fill and its copy, at two events: the copy is used at once, and does not wait for a third. */
static void late_event_leaves_the_signalled_queue_signalled(void **state)
{
	struct fixture *f = *state;

	arm_fill(f, Q1, SRC_GPA, 16);
	event(f);
	event(f); /* late */
	arm_copy(f, Q1, SRC_GPA, 16, DST_GPA, 16);
	drv_kick(&f->drv, Q1);
	assert_int_equal(used_len(f, Q1), 16);
	assert_int_equal(used_len(f, Q1), 16);
	arm_fill(f, Q2, DST_GPA + 64, 16);
	drv_kick(&f->drv, Q2);
	assert_int_equal(used_len(f, Q2), 16);
}

/* The driver goes by what it has seen: one event in Q1, so its next requests go to Q2, and to Q1 once those are used. */
static void late_events_in_a_row_are_reported_however_many_they_are(void **state)
{
	struct fixture *f = *state;
	unsigned int believed = Q1;

	for (unsigned int row = 1; row <= 4; row++) {
		for (unsigned int i = 0; i < row; i++)
			event(f);
		arm_fill(f, believed, DST_GPA, 16);
		drv_kick(&f->drv, believed);
		assert_int_equal(used_len(f, believed), 16);
		believed = believed == Q1 ? Q2 : Q1;
		/* What it arms now waits for the next event, which is in time. */
		arm_fill(f, believed, DST_GPA, 16);
		drv_kick(&f->drv, believed);
		assert_int_equal(used_len(f, believed), -1);
		event(f);
		assert_int_equal(used_len(f, believed), 16);
		believed = believed == Q1 ? Q2 : Q1;
	}
	assert_int_equal(COUNTED(f, leak_late_count), 1 + 2 + 3 + 4);
}

static void interrupt_is_one_and_only_if_wanted(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < 10; i++)
		arm_fill(f, Q1, DST_GPA + i * 64, 16);
	drv_pause(&f->drv);
	assert_int_equal(drv_leak(&f->drv, NULL), 0);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 1); /* before any vCPU runs */
	drv_resume(&f->drv);
	drv_write(&f->drv, VIRTIO_MMIO_INTERRUPT_ACK, 3);
	(void)fake_irqs(&f->fp, f->drv.gsi);

	ring_set_avail_flags(ring(f, Q2), VRING_AVAIL_F_NO_INTERRUPT);
	arm_fill(f, Q2, DST_GPA, 16);
	event(f);
	assert_int_equal(used_len(f, Q2), 16);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 0);
}

static void event_leaves_the_request_queue_alone(void **state)
{
	struct fixture *f = *state;

	drv_pause(&f->drv);
	arm_fill(f, VIRTIO_RNG_REQUESTQ, DST_GPA, 16);
	assert_int_equal(drv_leak(&f->drv, NULL), 0);
	assert_int_equal(used_len(f, VIRTIO_RNG_REQUESTQ), -1);
	drv_resume(&f->drv);
	assert_int_equal(used_len(f, VIRTIO_RNG_REQUESTQ), 16);
}

/* Shapes of requests */

/* Cuts len bytes from gpa on into buffers of `piece` bytes with holes between them, and an empty one at each end. */
static unsigned int cut(struct ring_buf *bufs, gpa_t gpa, uint32_t len, uint32_t piece)
{
	unsigned int num = 0;

	bufs[num++] = buf(gpa, 0);
	for (uint32_t done = 0; done < len; done += piece) {
		uint32_t n = len - done < piece ? len - done : piece;

		bufs[num++] = buf(gpa + done + done / piece * 16, n);
	}
	bufs[num++] = buf(gpa, 0);
	return num;
}

static void gather(struct fixture *f, const struct ring_buf *bufs, unsigned int num, uint8_t *to)
{
	for (unsigned int i = 0; i < num; i++) {
		memcpy(to, at(f, bufs[i].gpa), bufs[i].len);
		to += bufs[i].len;
	}
}

static void both_sides_may_be_cut_anywhere(void **state)
{
	static const uint32_t pieces[] = { 1, 3, 7, 8, 64, 100 };
	struct fixture *f = *state;
	struct ring_buf out[256], in[256];
	uint8_t from[100], to[100];
	unsigned int round = 0;

	for (size_t a = 0; a < ARRAY_SIZE(pieces); a++) {
		for (size_t b = 0; b < ARRAY_SIZE(pieces); b++) {
			unsigned int num_out = cut(out, SRC_GPA, 100, pieces[a]),
				     num_in = cut(in, DST_GPA, 100, pieces[b]);
			unsigned int q = round++ % 2 ? Q2 : Q1;

			pattern(f, SRC_GPA, 4000);
			memset(at(f, DST_GPA), 0, 4000);
			if (num_out + num_in > 200 || round % 3 == 0)
				ring_add_indirect(ring(f, q), TABLE_GPA, out, num_out, in, num_in);
			else
				ring_add(ring(f, q), out, num_out, in, num_in);
			event(f);
			assert_int_equal(used_len(f, q), 100);
			gather(f, out, num_out, from);
			gather(f, in, num_in, to);
			assert_memory_equal(from, to, 100);
		}
	}
}

static void fill_may_have_many_buffers(void **state)
{
	struct fixture *f = *state;
	struct ring_buf in[256];
	unsigned int num = cut(in, DST_GPA, 200 * 32, 32);

	ring_add(ring(f, Q1), NULL, 0, in, num);
	event(f);
	assert_int_equal(used_len(f, Q1), 200 * 32);
	for (unsigned int i = 1; i + 1 < num; i++) {
		assert_false(is_zero(f, in[i].gpa, 32));
		assert_true(is_zero(f, in[i].gpa + 32, 16));
	}
	ring_add_indirect(ring(f, Q2), TABLE_GPA, NULL, 0, in, num);
	event(f);
	assert_int_equal(used_len(f, Q2), 200 * 32);
}

static void overlapping_copy_reads_its_source_first(void **state)
{
	static const int offsets[] = { -4096, -100, -1, 0, 1, 100, 4096 };
	struct fixture *f = *state;
	const uint32_t len = 8192;
	uint8_t *expected = malloc(len);

	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		gpa_t to = SRC_GPA + 8192u + (gpa_t)offsets[i];
		unsigned int q = i % 2 ? Q2 : Q1;
		/* The source in two parts, the second one first: its pieces overlap each other's places, too. */
		struct ring_buf out[] = { buf(SRC_GPA + 8192 + 4096, 4096), buf(SRC_GPA + 8192, 4096) };
		struct ring_buf in[] = { buf(to, 5000), buf(to + 5000, 3192) };

		pattern(f, SRC_GPA, 5 * 8192);
		gather(f, out, 2, expected);
		ring_add(ring(f, q), out, 2, in, 2);
		event(f);
		assert_int_equal(used_len(f, q), len);
		assert_memory_equal(at(f, to), expected, len);
	}
	free(expected);
}

static void longest_request_is_one_mebibyte(void **state)
{
	struct fixture *f = *state;

	pattern(f, SRC_GPA, RNG_MAX_LEAK_REQUEST);
	arm_copy(f, Q1, SRC_GPA, RNG_MAX_LEAK_REQUEST, DST_GPA, RNG_MAX_LEAK_REQUEST);
	arm_fill(f, Q1, DST_GPA + 0x200000, RNG_MAX_LEAK_REQUEST);
	event(f);
	assert_int_equal(used_len(f, Q1), RNG_MAX_LEAK_REQUEST);
	assert_memory_equal(at(f, SRC_GPA), at(f, DST_GPA), RNG_MAX_LEAK_REQUEST);
	assert_int_equal(used_len(f, Q1), RNG_MAX_LEAK_REQUEST);
	assert_false(is_zero(f, DST_GPA + 0x200000 + RNG_MAX_LEAK_REQUEST - 16, 16));
}

static void empty_requests_are_carried_out(void **state)
{
	struct fixture *f = *state;

	arm_fill(f, Q1, DST_GPA, 0);
	arm_copy(f, Q1, SRC_GPA, 0, DST_GPA, 0);
	event(f);
	assert_int_equal(used_len(f, Q1), 0);
	assert_int_equal(used_len(f, Q1), 0);
	assert_int_equal(COUNTED(f, leak_fill_count), 1);
	assert_int_equal(COUNTED(f, leak_copy_count), 1);
	assert_int_equal(COUNTED(f, leak_refused_count), 0);
	assert_int_equal(COUNTED(f, leak_late_count), 0);
}

static void arm_bad_request(struct fixture *f, unsigned int q, unsigned int which)
{
	const struct ring_buf src = buf(SRC_GPA, 64);
	/* Valid in front of the bad part: nothing of it may be written. */
	const struct ring_buf half_outside[] = { buf(DST_GPA, 32), buf(FAKE_MEM_SIZE - 16, 32) };

	switch (which) {
	case 0:
		arm_copy(f, q, SRC_GPA, 64, DST_GPA, 63);
		break;
	case 1:
		arm_copy(f, q, SRC_GPA, 63, DST_GPA, 64);
		break;
	case 2:
		arm_copy(f, q, SRC_GPA, 0, DST_GPA, 64);
		break;
	case 3:
		ring_add(ring(f, q), &src, 1, NULL, 0); /* no writable part */
		break;
	case 4:
		arm_copy(f, q, FAKE_MEM_SIZE, 64, DST_GPA, 64);
		break;
	case 5:
		ring_add(ring(f, q), &src, 1, half_outside, 2);
		break;
	case 6:
		ring_add(ring(f, q), NULL, 0, half_outside, 2);
		break;
	case 7:
		arm_fill(f, q, UINT64_MAX - 15, 64);
		break;
	case 8:
		arm_fill(f, q, DST_GPA, RNG_MAX_LEAK_REQUEST + 1);
		break;
	case 9:
		arm_copy(f, q, SRC_GPA, RNG_MAX_LEAK_REQUEST + 1, DST_GPA, RNG_MAX_LEAK_REQUEST + 1);
		break;
	case 10:
		arm_fill(f, q, 0, UINT32_MAX);
		break;
	case 11:
		arm_fill(f, q, FAKE_HIGH_GPA - 32, 64); /* in the gap */
		break;
	}
}

#define NUM_BAD_REQUESTS 12

static void bad_requests_are_given_back_empty(void **state)
{
	struct fixture *f = *state;

	pattern(f, SRC_GPA, 64);
	for (unsigned int i = 0; i < NUM_BAD_REQUESTS; i++)
		arm_bad_request(f, Q1, i);
	event(f);
	for (unsigned int i = 0; i < NUM_BAD_REQUESTS; i++)
		assert_int_equal(used_len(f, Q1), 0);
	assert_true(is_zero(f, DST_GPA, 4096));
	assert_int_equal(COUNTED(f, leak_refused_count), NUM_BAD_REQUESTS);
	assert_int_equal(COUNTED(f, leak_fill_count) + COUNTED(f, leak_copy_count), 0);
	assert_int_equal(COUNTED(f, leak_late_count), 0);
	assert_int_equal(status(f), 15); /* the ring is in order */

	/* So are they in the signalled queue. */
	for (unsigned int i = 0; i < NUM_BAD_REQUESTS; i++)
		arm_bad_request(f, Q1, i);
	drv_kick(&f->drv, Q1);
	for (unsigned int i = 0; i < NUM_BAD_REQUESTS; i++)
		assert_int_equal(used_len(f, Q1), 0);
	assert_int_equal(COUNTED(f, leak_refused_count), 2 * NUM_BAD_REQUESTS);
	assert_int_equal(COUNTED(f, leak_signalled_count), 0);
	assert_true(is_zero(f, DST_GPA, 4096));
}

/* Queues */

static void queues_of_every_size_are_used_whole(void **state)
{
	struct fixture *f = *state;

	for (uint16_t size = 1; size <= 256; size *= 2) {
		drv_reset(&f->drv);
		assert_true(drv_negotiate(&f->drv, LEAK));
		assert_true(drv_set_up_queue(&f->drv, Q1, size) && drv_set_up_queue(&f->drv, Q2, size));
		drv_ready(&f->drv);
		for (unsigned int i = 0; i < 3u * size; i++)
			arm_fill(f, Q1, DST_GPA + i % size * 64u, 16);
		/* More than the ring holds is no ring. */
		assert_int_equal(event_result(f), 0);
		assert_int_equal(status(f), 15 | VIRTIO_CONFIG_S_NEEDS_RESET);

		drv_reset(&f->drv);
		assert_true(drv_negotiate(&f->drv, LEAK));
		assert_true(drv_set_up_queue(&f->drv, Q1, size) && drv_set_up_queue(&f->drv, Q2, size));
		drv_ready(&f->drv);
		for (unsigned int i = 0; i < size; i++)
			arm_fill(f, Q1, DST_GPA + i * 64u, 16);
		event(f);
		for (unsigned int i = 0; i < size; i++)
			assert_int_equal(used_len(f, Q1), 16);
		/* The whole ring again, used at once. */
		for (unsigned int i = 0; i < size; i++)
			arm_fill(f, Q1, DST_GPA + i * 64u, 16);
		drv_kick(&f->drv, Q1);
		for (unsigned int i = 0; i < size; i++)
			assert_int_equal(used_len(f, Q1), 16);
	}
}

static void indices_wrap_over_many_events(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < 140000; i++) {
		unsigned int q = i % 2 ? Q2 : Q1;
		uint64_t counter = i + 1;

		memcpy(at(f, SRC_GPA), &counter, 8);
		arm_copy(f, q, SRC_GPA, 8, DST_GPA, 8);
		drv_pause(&f->drv);
		assert_int_equal(drv_leak(&f->drv, NULL), 0);
		drv_resume(&f->drv);
		assert_int_equal(used_len(f, q), 8);
		assert_memory_equal(at(f, DST_GPA), &counter, 8);
	}
	assert_int_equal(COUNTED(f, leak_copy_count), 140000);
}

static void driver_without_the_feature_hears_of_no_event(void **state)
{
	struct fixture *f = *state;

	event(f); /* nobody there */
	drv_start(&f->drv, 0, 1);
	event(f);
	drv_kick(&f->drv, Q1);
	drv_kick(&f->drv, Q2);
	assert_int_equal(COUNTED(f, leak_event_count), 0);
	assert_int_equal(COUNTED(f, leak_late_count), 0);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 0);
	assert_int_equal(status(f), 15);
}

static void events_before_driver_ok_do_not_count(void **state)
{
	struct fixture *f = *state;

	assert_true(drv_negotiate(&f->drv, LEAK));
	event(f);
	assert_true(drv_set_up_queue(&f->drv, Q1, 256) && drv_set_up_queue(&f->drv, Q2, 256));
	arm_fill(f, Q1, DST_GPA, 16);
	event(f);
	assert_int_equal(used_len(f, Q1), -1);
	drv_ready(&f->drv);
	event(f);
	assert_int_equal(used_len(f, Q1), 16); /* leakq1 was still the active one */
	assert_int_equal(COUNTED(f, leak_event_count), 1);
}

static void reset_starts_over_with_leakq1(void **state)
{
	struct fixture *f = *state;

	event(f); /* leakq2 is active */
	drv_reset(&f->drv);
	event(f); /* between reset and DRIVER_OK: none */
	drv_start(&f->drv, LEAK, 3);
	arm_fill(f, Q1, DST_GPA, 16);
	arm_fill(f, Q2, DST_GPA + 64, 16);
	drv_kick(&f->drv, Q1);
	drv_kick(&f->drv, Q2);
	assert_int_equal(used_len(f, Q1), -1);
	assert_int_equal(used_len(f, Q2), -1);
	event(f);
	assert_int_equal(used_len(f, Q1), 16);
	assert_int_equal(used_len(f, Q2), -1);
}

static void missing_leak_queue_is_an_empty_one(void **state)
{
	struct fixture *f = *state;

	for (unsigned int only = Q1; only <= Q2; only++) {
		drv_reset(&f->drv);
		assert_true(drv_negotiate(&f->drv, LEAK));
		assert_true(drv_set_up_queue(&f->drv, only, 256));
		drv_ready(&f->drv);
		arm_fill(f, only, DST_GPA, 16);
		event(f);
		event(f);
		/* leakq1 is the first, whatever there is. */
		assert_int_equal(used_len(f, only), only == Q1 ? 16 : -1);
		assert_int_equal(status(f), 15);
	}
	assert_int_equal(COUNTED(f, leak_event_count), 4);
	assert_int_equal(COUNTED(f, leak_late_count), 1 + 2);
}

static void broken_ring_fails_the_device_not_the_resume(void **state)
{
	struct fixture *f = *state;
	struct err e;

	arm_fill(f, Q1, DST_GPA, 16);
	ring_publish(ring(f, Q1), 300);
	drv_pause(&f->drv);
	assert_int_equal(drv_leak(&f->drv, &e), 0);
	drv_resume(&f->drv);
	assert_int_equal(status(f), 15 | VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_equal(used_len(f, Q1), 16); /* what was done is given back */
	event(f);
	assert_int_equal(COUNTED(f, leak_event_count), 1);

	drv_reset(&f->drv);
	drv_start(&f->drv, LEAK, 3);
	arm_fill(f, Q1, DST_GPA, 16);
	event(f);
	assert_int_equal(used_len(f, Q1), 16);

	/* The signalled queue, with vCPUs running. */
	ring_publish(ring(f, Q1), 300);
	drv_kick(&f->drv, Q1);
	assert_int_equal(status(f), 15 | VIRTIO_CONFIG_S_NEEDS_RESET);
}

/* A host without random bytes */

static void event_that_fails_is_as_if_it_had_not_been(void **state)
{
	struct fixture *f = *state;
	uint8_t first[16];

	arm_fill(f, Q1, DST_GPA, 16);
	event(f);
	assert_int_equal(used_len(f, Q1), 16);
	arm_fill(f, Q1, DST_GPA, 16); /* leakq1 is the signalled queue now */
	arm_copy(f, Q2, DST_GPA, 16, DST_GPA + 64, 16);
	arm_fill(f, Q2, DST_GPA + 128, 16);
	arm_fill(f, Q2, DST_GPA + 192, 16);
	(void)fake_irqs(&f->fp, f->drv.gsi);
	fake_rand_set_calls_left(2);
	assert_int_equal(event_result(f), -EIO);
	assert_int_equal(used_len(f, Q1), -1);
	assert_int_equal(used_len(f, Q2), -1);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 0);
	assert_int_equal(COUNTED(f, leak_event_count), 1);
	assert_int_equal(COUNTED(f, leak_fill_count), 1);
	assert_int_equal(status(f), 15);
	memcpy(first, at(f, DST_GPA), 16); /* written, but the guest was not told */
	assert_int_equal(event_result(f), -EIO);

	/* The next resume runs the whole event, with bytes of its own. */
	fake_rand_set_calls_left(-1);
	event(f);
	assert_int_equal(used_len(f, Q1), 16);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(used_len(f, Q2), 16);
	assert_memory_not_equal(first, at(f, DST_GPA), 16);
	assert_memory_equal(at(f, DST_GPA), at(f, DST_GPA + 64), 16);
	assert_int_equal(COUNTED(f, leak_event_count), 2);
	assert_int_equal(COUNTED(f, leak_fill_count), 1 + 3);
	assert_true(fake_irqs(&f->fp, f->drv.gsi) > 0);
}

static void signalled_fill_without_random_bytes_stops_the_device(void **state)
{
	struct fixture *f = *state;

	event(f);
	fake_rand_set_calls_left(0);
	arm_fill(f, Q1, DST_GPA, 16);
	drv_kick(&f->drv, Q1);
	assert_int_equal(used_len(f, Q1), -1);
	assert_int_equal(status(f), 15 | VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_equal(event_result(f), 0); /* a device that stands still has no events */
}

static void random_bytes_are_drawn_only_for_fills(void **state)
{
	struct fixture *f = *state;

	(void)fake_rand_calls();
	arm_copy(f, Q1, SRC_GPA, 8, DST_GPA, 8);
	arm_fill(f, Q2, DST_GPA, 8);
	event(f);
	assert_int_equal(fake_rand_calls(), 0);
	event(f);
	assert_int_equal(fake_rand_calls(), 1);
}

/* Snapshots */

static void clone_machine(struct fixture *g, struct fixture *f)
{
	struct err e;
	size_t len;
	uint8_t *data = drv_save(&f->drv, &len);

	memset(g, 0, sizeof(*g));
	fake_platform_init(&g->fp);
	guest_copy(&g->fp.mem, &f->fp.mem);
	plug(g);
	drv_pause(&g->drv);
	assert_int_equal(drv_load(&g->drv, &f->drv, data, len, &e), 0);
	free(data);
}

static void drop_machine(struct fixture *g)
{
	drv_unplug(&g->drv);
	fake_platform_fini(&g->fp);
}

static void clones_and_original_get_different_bytes(void **state)
{
	struct fixture *f = *state, a, b;
	const uint64_t next = 1;

	memcpy(at(f, SRC_GPA), &next, 8);
	arm_fill(f, Q1, DST_GPA, 32);
	arm_copy(f, Q1, SRC_GPA, 8, DST_GPA + 64, 8);
	drv_pause(&f->drv);
	clone_machine(&a, f);
	clone_machine(&b, f); /* a second snapshot of the same moment */
	assert_int_equal(drv_leak(&f->drv, NULL), 0);
	assert_int_equal(drv_leak(&a.drv, NULL), 0);
	assert_int_equal(drv_leak(&b.drv, NULL), 0);
	assert_memory_not_equal(at(f, DST_GPA), at(&a, DST_GPA), 32);
	assert_memory_not_equal(at(f, DST_GPA), at(&b, DST_GPA), 32);
	assert_memory_not_equal(at(&a, DST_GPA), at(&b, DST_GPA), 32);
	assert_memory_equal(at(&a, DST_GPA + 64), &next, 8);
	assert_memory_equal(at(&b, DST_GPA + 64), &next, 8);
	drv_resume(&f->drv);
	drv_resume(&a.drv);
	assert_int_equal(used_len(&a, Q1), 32);
	assert_int_equal(used_len(&a, Q1), 8);
	drop_machine(&a);
	drop_machine(&b);
}

static void roles_of_the_queues_survive_a_snapshot(void **state)
{
	struct fixture *f = *state, g;

	for (unsigned int events = 0; events < 4; events++) {
		unsigned int active = events % 2 ? Q2 : Q1, other = active == Q1 ? Q2 : Q1;

		arm_fill(f, active, DST_GPA, 16);
		drv_pause(&f->drv);
		clone_machine(&g, f);
		drv_resume(&f->drv);
		drv_resume(&g.drv);
		/* The other queue is used at once if it was ever signalled. */
		arm_fill(&g, other, DST_GPA + 64, 16);
		drv_kick(&g.drv, other);
		assert_int_equal(used_len(&g, other), events ? 16 : -1);
		assert_int_equal(used_len(&g, active), -1);
		event(&g);
		assert_int_equal(used_len(&g, active), 16);
		drop_machine(&g);

		event(f);
		assert_int_equal(used_len(f, active), 16);
	}
}

static void forged_roles_are_refused(void **state)
{
	static const struct {
		unsigned int active, signalled;
	} bad[] = { { 0, 0 }, { 3, 0 }, { 1, 1 }, { 2, 2 }, { 2, 0 }, { 1, 3 }, { 0, 1 }, { UINT32_MAX, 1 } };
	struct fixture *f = *state;
	struct rng *rng = (struct rng *)f->drv.vdev;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err e;
		uint8_t *data;
		size_t len;

		rng->leak.active = bad[i].active;
		rng->leak.signalled = bad[i].signalled;
		data = drv_save(&f->drv, &len);
		assert_int_equal(drv_load(&f->drv, &f->drv, data, len, &e), -EINVAL);
		assert_true(rng->leak.active == Q1 && rng->leak.signalled == RNG_LEAK_NONE);
		free(data);
	}
}

#define T(name)	     cmocka_unit_test_setup_teardown(name, setup, teardown)
#define T_BARE(name) cmocka_unit_test_setup_teardown(name, setup_bare, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(fill_waits_for_the_event_and_is_random),
		T(copy_is_carried_out_at_the_event),
		T(requests_are_carried_out_in_order),
		T(only_the_active_queue_is_used_and_they_take_turns),
		T(signalled_queue_is_used_at_once),
		T(event_finds_what_waits_in_the_signalled_queue),
		T(queue_that_was_never_signalled_is_left_alone),
		T(event_with_an_empty_active_queue_is_late_not_lost),
		T(late_event_is_made_up_for_after_the_signalled_queue),
		T(late_event_leaves_the_signalled_queue_signalled),
		T(late_events_in_a_row_are_reported_however_many_they_are),
		T(interrupt_is_one_and_only_if_wanted),
		T(event_leaves_the_request_queue_alone),
		T(both_sides_may_be_cut_anywhere),
		T(fill_may_have_many_buffers),
		T(overlapping_copy_reads_its_source_first),
		T(longest_request_is_one_mebibyte),
		T(empty_requests_are_carried_out),
		T(bad_requests_are_given_back_empty),
		T(queues_of_every_size_are_used_whole),
		T(indices_wrap_over_many_events),
		T_BARE(driver_without_the_feature_hears_of_no_event),
		T_BARE(events_before_driver_ok_do_not_count),
		T(reset_starts_over_with_leakq1),
		T(missing_leak_queue_is_an_empty_one),
		T(broken_ring_fails_the_device_not_the_resume),
		T(event_that_fails_is_as_if_it_had_not_been),
		T(signalled_fill_without_random_bytes_stops_the_device),
		T(random_bytes_are_drawn_only_for_fills),
		T(clones_and_original_get_different_bytes),
		T(roles_of_the_queues_survive_a_snapshot),
		T(forged_roles_are_refused),
	};

	return cmocka_run_group_tests_name("rng_leak", tests, NULL, NULL);
}
