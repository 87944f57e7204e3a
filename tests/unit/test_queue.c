// SPDX-License-Identifier: Apache-2.0
/* The device's side of a split virtqueue against well-behaved and hostile drivers. */
#include "virtio/queue.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "state/codec.h"
#include "fake_handler.h"
#include "fake_platform.h"
#include "ring_driver.h"

#define RING_GPA  0x10000u
#define TABLE_GPA 0x20000u
#define DATA_GPA  0x100000u

#define NEXT	 VRING_DESC_F_NEXT
#define WRITE	 VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT

#define WITH_INDIRECT  (1ull << VIRTIO_RING_F_INDIRECT_DESC)
#define WITH_EVENT_IDX (1ull << VIRTIO_RING_F_EVENT_IDX)

struct fixture {
	struct fake_platform fp;
	struct ring_driver ring;
	struct virtq q;
	struct virtq_chain chain;
};

static void connect_queue(struct fixture *f, uint16_t size, uint64_t features)
{
	ring_init(&f->ring, &f->fp.mem, RING_GPA, size);
	virtq_init(&f->q, &f->fp.mem, VIRTQ_MAX_SIZE);
	f->q.size = size;
	f->q.desc = f->ring.desc;
	f->q.avail = f->ring.avail;
	f->q.used = f->ring.used;
	assert_int_equal(virtq_enable(&f->q, features), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_platform_init(&f->fp);
	connect_queue(f, 256, WITH_INDIRECT);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fake_platform_fini(&f->fp);
	free(f);
	return 0;
}

static struct ring_buf buf(gpa_t gpa, uint32_t len)
{
	return (struct ring_buf){ .gpa = gpa, .len = len };
}

static int pop(struct fixture *f)
{
	return virtq_pop(&f->q, &f->chain);
}

/* Enabling */

static void sizes_are_powers_of_two_up_to_the_maximum(void **state)
{
	struct fixture *f = *state;

	for (unsigned int size = 0; size <= 600; size++) {
		bool good = size && size <= 256 && !(size & (size - 1));

		f->q.size = (uint16_t)size;
		assert_int_equal(virtq_enable(&f->q, 0), good ? 0 : -EINVAL);
	}
	virtq_init(&f->q, &f->fp.mem, 64);
	f->q.desc = f->ring.desc;
	f->q.avail = f->ring.avail;
	f->q.used = f->ring.used;
	f->q.size = 128;
	assert_int_equal(virtq_enable(&f->q, 0), -EINVAL);
	assert_false(f->q.ready);
}

static void misaligned_rings_are_refused(void **state)
{
	static const struct {
		unsigned int desc, avail, used;
		int r;
	} cases[] = {
		{ 0, 0, 0, 0 },	      { 8, 0, 0, -EINVAL }, { 1, 0, 0, -EINVAL }, { 16, 2, 4, 0 },
		{ 0, 1, 0, -EINVAL }, { 0, 0, 2, -EINVAL }, { 0, 0, 1, -EINVAL },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		f->q.desc = f->ring.desc + cases[i].desc;
		f->q.avail = f->ring.avail + cases[i].avail;
		f->q.used = f->ring.used + cases[i].used;
		assert_int_equal(virtq_enable(&f->q, 0), cases[i].r);
	}
}

static void rings_that_are_not_whole_in_memory_are_refused(void **state)
{
	static const gpa_t bad[] = {
		FAKE_MEM_SIZE - 16,    FAKE_MEM_SIZE,	   0xffffffffff000000ull,
		0xfffffffffffffff0ull, FAKE_HIGH_GPA - 16, FAKE_HIGH_GPA + FAKE_HIGH_SIZE - 16,
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		gpa_t *fields[] = { &f->q.desc, &f->q.avail, &f->q.used };

		for (size_t k = 0; k < ARRAY_SIZE(fields); k++) {
			gpa_t good = *fields[k];

			*fields[k] = bad[i];
			assert_int_equal(virtq_enable(&f->q, 0), -EINVAL);
			*fields[k] = good;
		}
	}
	/* The last fitting places: the event field behind each ring counts, too. */
	f->q.desc = FAKE_MEM_SIZE - 256 * 16;
	f->q.avail = FAKE_HIGH_GPA + FAKE_HIGH_SIZE - (6 + 256 * 2);
	f->q.used = FAKE_HIGH_GPA + 2;
	assert_int_equal(virtq_enable(&f->q, 0), -EINVAL);
	f->q.used = FAKE_HIGH_GPA + 4;
	assert_int_equal(virtq_enable(&f->q, 0), 0);
	f->q.avail += 2;
	assert_int_equal(virtq_enable(&f->q, 0), -EINVAL);
}

static void queue_that_is_not_ready_does_nothing(void **state)
{
	struct fixture *f = *state;
	struct ring_buf in = buf(DATA_GPA, 8);
	struct ring_used used;

	ring_add(&f->ring, NULL, 0, &in, 1);
	f->q.ready = false;
	assert_int_equal(pop(f), 0);
	virtq_push(&f->q, 0, 8);
	assert_false(ring_get_used(&f->ring, &used));
	assert_false(virtq_need_irq(&f->q));
	virtq_reset(&f->q);
	assert_int_equal(f->q.max_size, 256);
	assert_int_equal(pop(f), 0);
}

/* Chains */

static void chain_is_flattened_readable_part_first(void **state)
{
	struct fixture *f = *state;
	struct ring_buf out[] = { buf(DATA_GPA, 16), buf(DATA_GPA + 0x100, 1) };
	struct ring_buf in[] = { buf(DATA_GPA + 0x200, 512), buf(DATA_GPA + 0x1000, 0), buf(FAKE_HIGH_GPA, 7) };

	assert_int_equal(pop(f), 0);
	ring_add(&f->ring, out, 2, in, 3);
	assert_int_equal(pop(f), 1);
	assert_int_equal(f->chain.head, 0);
	assert_int_equal(f->chain.num_readable, 2);
	assert_int_equal(f->chain.num_writable, 3);
	assert_int_equal(f->chain.readable_len, 17);
	assert_int_equal(f->chain.writable_len, 519);
	assert_int_equal(f->chain.seg[1].gpa, DATA_GPA + 0x100);
	assert_int_equal(f->chain.seg[4].gpa, FAKE_HIGH_GPA);
	assert_int_equal(f->chain.seg[4].len, 7);
	assert_int_equal(pop(f), 0);
}

static void unpopped_chain_comes_back(void **state)
{
	struct fixture *f = *state;
	struct ring_buf in = buf(DATA_GPA, 8);

	ring_add(&f->ring, NULL, 0, &in, 1);
	in.len = 9;
	ring_add(&f->ring, NULL, 0, &in, 1);
	assert_int_equal(pop(f), 1);
	virtq_unpop(&f->q);
	assert_int_equal(pop(f), 1);
	assert_int_equal(f->chain.writable_len, 8);
	assert_int_equal(pop(f), 1);
	assert_int_equal(f->chain.writable_len, 9);
}

static void chain_may_have_as_many_buffers_as_the_queue(void **state)
{
	struct fixture *f = *state;

	for (uint16_t size = 1; size <= 256; size *= 2) {
		connect_queue(f, size, 0);
		for (uint16_t i = 0; i < size; i++)
			ring_set_desc(&f->fp.mem, f->ring.desc, i, DATA_GPA + i, 1,
				      (uint16_t)((i >= size / 2 ? WRITE : 0) | (i + 1 < size ? NEXT : 0)),
				      (uint16_t)(i + 1));
		ring_publish(&f->ring, 0);
		assert_int_equal(pop(f), 1);
		assert_int_equal(f->chain.num_readable + f->chain.num_writable, size);
	}
}

static void descriptor_loop_breaks_the_ring(void **state)
{
	struct fixture *f = *state;

	ring_set_desc(&f->fp.mem, f->ring.desc, 0, DATA_GPA, 1, NEXT, 0);
	ring_publish(&f->ring, 0);
	assert_int_equal(pop(f), -EINVAL);

	connect_queue(f, 256, 0);
	for (uint16_t i = 0; i < 256; i++)
		ring_set_desc(&f->fp.mem, f->ring.desc, i, DATA_GPA, 1, NEXT, (uint16_t)((i + 1) % 256));
	ring_publish(&f->ring, 17);
	assert_int_equal(pop(f), -EINVAL);
}

static void readable_behind_writable_breaks_the_ring(void **state)
{
	struct fixture *f = *state;

	ring_set_desc(&f->fp.mem, f->ring.desc, 0, DATA_GPA, 1, NEXT | WRITE, 1);
	ring_set_desc(&f->fp.mem, f->ring.desc, 1, DATA_GPA, 1, 0, 0);
	ring_publish(&f->ring, 0);
	assert_int_equal(pop(f), -EINVAL);
}

static void numbers_out_of_range_break_the_ring(void **state)
{
	static const uint16_t bad[] = { 256, 257, 0x7fff, 0xffff };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		connect_queue(f, 256, 0);
		ring_publish(&f->ring, bad[i]);
		assert_int_equal(pop(f), -EINVAL);

		connect_queue(f, 256, 0);
		ring_set_desc(&f->fp.mem, f->ring.desc, 0, DATA_GPA, 1, NEXT, bad[i]);
		ring_publish(&f->ring, 0);
		assert_int_equal(pop(f), -EINVAL);
	}
}

static void available_index_may_run_ahead_by_the_size_at_most(void **state)
{
	struct fixture *f = *state;
	struct ring_buf in = buf(DATA_GPA, 1);

	for (uint16_t size = 1; size <= 256; size *= 2) {
		connect_queue(f, size, 0);
		for (unsigned int i = 0; i < size; i++)
			ring_add(&f->ring, NULL, 0, &in, 1);
		for (unsigned int i = 0; i < size; i++)
			assert_int_equal(pop(f), 1);
		assert_int_equal(pop(f), 0);
		ring_set_avail_idx(&f->ring, (uint16_t)(f->q.next_avail + size + 1));
		assert_int_equal(pop(f), -EINVAL);
		ring_set_avail_idx(&f->ring, (uint16_t)(f->q.next_avail - 1));
		assert_int_equal(pop(f), -EINVAL);
	}
}

static void indices_wrap_at_16_bits(void **state)
{
	struct fixture *f = *state;
	struct ring_buf in = buf(DATA_GPA, 4);
	struct ring_used used;

	for (uint16_t size = 1; size <= 256; size *= 4) {
		connect_queue(f, size, WITH_EVENT_IDX);
		for (unsigned int i = 0; i < 70000; i++) {
			uint16_t head = ring_add(&f->ring, NULL, 0, &in, 1);

			assert_int_equal(pop(f), 1);
			assert_int_equal(f->chain.head, head);
			virtq_push(&f->q, head, i);
			assert_true(ring_get_used(&f->ring, &used));
			assert_int_equal(used.id, head);
			assert_int_equal(used.len, i);
			ring_set_used_event(&f->ring, (uint16_t)i);
			assert_true(virtq_need_irq(&f->q));
		}
	}
}

/* Indirect tables */

static void indirect_table_is_followed(void **state)
{
	struct fixture *f = *state;
	struct ring_buf out[] = { buf(DATA_GPA, 8) }, in[] = { buf(DATA_GPA + 8, 3), buf(DATA_GPA + 16, 5) };

	ring_add_indirect(&f->ring, TABLE_GPA, out, 1, in, 2);
	assert_int_equal(pop(f), 1);
	assert_int_equal(f->chain.num_readable, 1);
	assert_int_equal(f->chain.num_writable, 2);
	assert_int_equal(f->chain.seg[2].gpa, DATA_GPA + 16);

	/* The specification wants no alignment of the table. */
	ring_add_indirect(&f->ring, TABLE_GPA + 1, out, 1, in, 2);
	assert_int_equal(pop(f), 1);
	assert_int_equal(f->chain.writable_len, 8);
}

static void direct_buffers_may_stand_before_a_table(void **state)
{
	struct fixture *f = *state;

	ring_set_desc(&f->fp.mem, f->ring.desc, 0, DATA_GPA, 1, NEXT, 1);
	ring_set_desc(&f->fp.mem, f->ring.desc, 1, TABLE_GPA, 16, INDIRECT, 0);
	ring_set_desc(&f->fp.mem, TABLE_GPA, 0, DATA_GPA + 4, 2, WRITE, 0);
	ring_publish(&f->ring, 0);
	assert_int_equal(pop(f), 1);
	assert_int_equal(f->chain.num_readable, 1);
	assert_int_equal(f->chain.num_writable, 1);
}

static void write_flag_of_a_table_means_nothing(void **state)
{
	struct fixture *f = *state;

	ring_set_desc(&f->fp.mem, f->ring.desc, 0, TABLE_GPA, 16, INDIRECT | WRITE, 0);
	ring_set_desc(&f->fp.mem, TABLE_GPA, 0, DATA_GPA, 2, 0, 0);
	ring_publish(&f->ring, 0);
	assert_int_equal(pop(f), 1);
	assert_int_equal(f->chain.num_readable, 1);
}

static void indirect_without_negotiation_breaks_the_ring(void **state)
{
	struct fixture *f = *state;
	struct ring_buf in = buf(DATA_GPA, 1);

	connect_queue(f, 256, 0);
	ring_add_indirect(&f->ring, TABLE_GPA, NULL, 0, &in, 1);
	assert_int_equal(pop(f), -EINVAL);
}

static void bad_indirect_tables_break_the_ring(void **state)
{
	static const struct {
		gpa_t gpa;
		uint32_t len;
		uint16_t flags;
	} bad[] = {
		{ TABLE_GPA, 0, INDIRECT },
		{ TABLE_GPA, 8, INDIRECT },
		{ TABLE_GPA, 17, INDIRECT },
		{ TABLE_GPA, 0xfffffff0u, INDIRECT },
		{ FAKE_MEM_SIZE - 16, 32, INDIRECT },
		{ FAKE_MEM_SIZE, 16, INDIRECT },
		{ 0xfffffffffffffff0ull, 16, INDIRECT },
		{ 0xfffffffffffffff0ull, 32, INDIRECT },
		{ TABLE_GPA, 16, INDIRECT | NEXT },
		{ TABLE_GPA + 0x1000, 16, INDIRECT },	    /* holds a table again */
		{ TABLE_GPA + 0x2000, 32, INDIRECT },	    /* a loop */
		{ TABLE_GPA + 0x3000, 32, INDIRECT },	    /* next beyond its end */
		{ TABLE_GPA + 0x4000, 257 * 16, INDIRECT }, /* more buffers than the queue has */
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const struct guest_mem *mem = &f->fp.mem;

		connect_queue(f, 256, WITH_INDIRECT);
		ring_set_desc(mem, TABLE_GPA, 0, DATA_GPA, 1, WRITE, 0);
		ring_set_desc(mem, TABLE_GPA + 0x1000, 0, TABLE_GPA, 16, INDIRECT, 0);
		ring_set_desc(mem, TABLE_GPA + 0x2000, 0, DATA_GPA, 1, NEXT, 1);
		ring_set_desc(mem, TABLE_GPA + 0x2000, 1, DATA_GPA, 1, NEXT, 0);
		ring_set_desc(mem, TABLE_GPA + 0x3000, 0, DATA_GPA, 1, NEXT, 2);
		for (unsigned int k = 0; k < 257; k++)
			ring_set_desc(mem, TABLE_GPA + 0x4000, k, DATA_GPA, 1, k < 256 ? NEXT : 0, (uint16_t)(k + 1));
		ring_set_desc(mem, f->ring.desc, 0, bad[i].gpa, bad[i].len, bad[i].flags, 0);
		ring_publish(&f->ring, 0);
		assert_int_equal(pop(f), -EINVAL);
	}
}

static void table_may_be_longer_than_its_chain(void **state)
{
	struct fixture *f = *state;

	/* 300 entries, of which the chain uses the first and the last. */
	ring_set_desc(&f->fp.mem, f->ring.desc, 0, TABLE_GPA, 300 * 16, INDIRECT, 0);
	ring_set_desc(&f->fp.mem, TABLE_GPA, 0, DATA_GPA, 1, NEXT, 299);
	ring_set_desc(&f->fp.mem, TABLE_GPA, 299, DATA_GPA, 2, WRITE, 0);
	ring_publish(&f->ring, 0);
	assert_int_equal(pop(f), 1);
	assert_int_equal(f->chain.writable_len, 2);
}

static void staged_buffers_are_seen_at_once(void **state)
{
	struct fixture *f = *state;
	struct ring_used used;

	for (uint32_t i = 0; i < 3; i++)
		virtq_stage(&f->q, (uint16_t)i, i * 10);
	assert_int_equal(ring_used_idx(&f->ring), 0);
	assert_false(virtq_need_irq(&f->q));
	virtq_publish(&f->q);
	assert_true(virtq_need_irq(&f->q));
	for (uint32_t i = 0; i < 3; i++) {
		assert_true(ring_get_used(&f->ring, &used));
		assert_int_equal(used.id, i);
		assert_int_equal(used.len, i * 10);
	}
	virtq_publish(&f->q);
	assert_false(ring_get_used(&f->ring, &used));
}

/* Notifications */

static void interrupt_is_wanted_unless_the_flag_is_set(void **state)
{
	struct fixture *f = *state;

	assert_false(virtq_need_irq(&f->q)); /* nothing was used */
	virtq_push(&f->q, 0, 0);
	assert_true(virtq_need_irq(&f->q));
	assert_false(virtq_need_irq(&f->q));
	ring_set_avail_flags(&f->ring, VRING_AVAIL_F_NO_INTERRUPT);
	virtq_push(&f->q, 0, 0);
	assert_false(virtq_need_irq(&f->q));
}

static void event_index_decides_over_the_interrupt(void **state)
{
	/* used_event, how many buffers are used from index `start` on, and whether that passes the event. */
	static const struct {
		uint16_t start, event, num;
		bool irq;
	} cases[] = {
		{ 0, 0, 1, true },	 { 0, 1, 1, false },	  { 0, 1, 2, true },	  { 0, 5, 4, false },
		{ 0, 0xffff, 3, false }, { 0xfffe, 0, 2, false }, { 0xfffe, 0, 3, true }, { 0xfffe, 0xffff, 2, true },
		{ 10, 9, 200, false },	 { 10, 10, 200, true },	  { 10, 209, 200, true }, { 10, 210, 200, false },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		connect_queue(f, 256, WITH_EVENT_IDX);
		f->q.next_used = f->q.notified_used = cases[i].start;
		ring_set_used_event(&f->ring, cases[i].event);
		ring_set_avail_flags(&f->ring, VRING_AVAIL_F_NO_INTERRUPT); /* means nothing with event_idx */
		for (unsigned int k = 0; k < cases[i].num; k++)
			virtq_push(&f->q, 0, 0);
		assert_int_equal(virtq_need_irq(&f->q), cases[i].irq);
	}
}

static void notification_is_asked_for_by_the_event_index(void **state)
{
	struct fixture *f = *state;
	struct ring_buf in = buf(DATA_GPA, 1);

	connect_queue(f, 16, WITH_EVENT_IDX);
	for (unsigned int i = 0; i < 3; i++)
		ring_add(&f->ring, NULL, 0, &in, 1);
	while (pop(f) > 0)
		;
	assert_int_equal(ring_avail_event(&f->ring), 0);
	virtq_enable_notify(&f->q);
	assert_int_equal(ring_avail_event(&f->ring), 3);

	connect_queue(f, 16, 0);
	f->q.next_avail = 3;
	virtq_enable_notify(&f->q);
	assert_int_equal(ring_avail_event(&f->ring), 0);
}

/*
 * Two threads, each sleeping (spinning, here) until it is notified: if a notification is lost both wait for ever. Two that
 * share a busy processor take some milliseconds for every turn, so it ends after a time, too.
 */

#define STRESS_LEAST 100u
#define STRESS_MOST  100000u
#define STRESS_NS    (3ull * 1000 * 1000 * 1000)

struct stress {
	struct fixture *f;
	uint64_t end_ns;
	_Atomic bool kick, irq, ended;
	bool broken;
};

static void *stress_device(void *ctx)
{
	struct stress *s = ctx;
	struct virtq *q = &s->f->q;
	struct virtq_chain chain;

	while (!s->broken) {
		while (!atomic_exchange(&s->kick, false))
			sched_yield();
		if (atomic_load(&s->ended))
			break;
		for (;;) {
			int r = virtq_pop(q, &chain);

			if (r == 0) {
				virtq_enable_notify(q);
				r = virtq_pop(q, &chain);
			}
			if (r < 0)
				s->broken = true;
			if (r <= 0)
				break;
			virtq_push(q, chain.head, (uint32_t)chain.writable_len);
		}
		if (virtq_need_irq(q))
			atomic_store(&s->irq, true);
	}
	return NULL;
}

static bool stress_goes_on(const struct stress *s, unsigned int added)
{
	return added < STRESS_LEAST || (added < STRESS_MOST && clock_now_ns() < s->end_ns);
}

static bool stress_fill(struct stress *s, unsigned int *added)
{
	struct ring_driver *ring = &s->f->ring;
	uint16_t old = ring->avail_idx;
	struct ring_buf in = buf(DATA_GPA, 1);

	while ((uint16_t)(ring->avail_idx - ring->last_used) < ring->size && stress_goes_on(s, *added)) {
		in.len = 1 + *added % 1000;
		ring_add(ring, NULL, 0, &in, 1);
		(*added)++;
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	/* What Linux does: notify if the index that the device asked for was passed. */
	return (uint16_t)(ring->avail_idx - ring_avail_event(ring) - 1) < (uint16_t)(ring->avail_idx - old);
}

static void no_notification_is_lost_between_two_threads(void **state)
{
	struct fixture *f = *state;
	struct stress s = { .f = f, .end_ns = clock_now_ns() + STRESS_NS };
	unsigned int added = 0, used_count = 0;
	struct ring_used used;
	pthread_t device;

	connect_queue(f, 4, WITH_EVENT_IDX);
	assert_int_equal(pthread_create(&device, NULL, stress_device, &s), 0);
	while (used_count < added || stress_goes_on(&s, added)) {
		if (stress_fill(&s, &added))
			atomic_store(&s.kick, true);
		if (used_count < added && ring_used_idx(&f->ring) == f->ring.last_used) {
			ring_set_used_event(&f->ring, f->ring.last_used);
			__atomic_thread_fence(__ATOMIC_SEQ_CST);
			while (ring_used_idx(&f->ring) == f->ring.last_used && !atomic_exchange(&s.irq, false))
				sched_yield();
		}
		while (ring_get_used(&f->ring, &used)) {
			assert_int_equal(used.len, 1 + used_count % 1000);
			used_count++;
		}
	}
	atomic_store(&s.ended, true);
	atomic_store(&s.kick, true);
	assert_int_equal(pthread_join(device, NULL), 0);
	assert_false(s.broken);
}

/* Buffers */

static void chain_outside_memory_is_told_apart(void **state)
{
	static const struct {
		gpa_t gpa;
		uint32_t len;
		bool ok;
	} cases[] = {
		{ DATA_GPA, 4096, true },
		{ 0, 1, true },
		{ FAKE_MEM_SIZE - 1, 1, true },
		{ FAKE_MEM_SIZE - 1, 2, false },
		{ FAKE_MEM_SIZE, 1, false },
		{ FAKE_HIGH_GPA - 1, 2, false },
		{ FAKE_HIGH_GPA, FAKE_HIGH_SIZE, true },
		{ UINT64_MAX, 1, false },
		{ UINT64_MAX, 2, false },
		{ UINT64_MAX - 7, 4096, false },
		{ 0, 0xffffffffu, false },
		{ DATA_GPA, 0, true },
		{ FAKE_MEM_SIZE, 0, false },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ring_buf good = buf(DATA_GPA, 8), in = buf(cases[i].gpa, cases[i].len);

		ring_add(&f->ring, &good, 1, &in, 1);
		assert_int_equal(pop(f), 1);
		assert_int_equal(virtq_chain_ok(&f->q, &f->chain), cases[i].ok);
		ring_add(&f->ring, &in, 1, &good, 1);
		assert_int_equal(pop(f), 1);
		assert_int_equal(virtq_chain_ok(&f->q, &f->chain), cases[i].ok);
	}
}

static void copies_cross_segments_at_any_offset(void **state)
{
	struct fixture *f = *state;
	struct ring_buf out[] = { buf(DATA_GPA, 3), buf(DATA_GPA + 64, 0), buf(DATA_GPA + 128, 1),
				  buf(DATA_GPA + 192, 4) };
	struct ring_buf in[] = { buf(DATA_GPA + 256, 1), buf(DATA_GPA + 320, 5), buf(DATA_GPA + 384, 2) };
	uint8_t all[8] = "abcdefgh", got[8];

	assert_true(mem_write(&f->fp.mem, DATA_GPA, "abc", 3));
	assert_true(mem_write(&f->fp.mem, DATA_GPA + 128, "d", 1));
	assert_true(mem_write(&f->fp.mem, DATA_GPA + 192, "efgh", 4));
	ring_add(&f->ring, out, 4, in, 3);
	assert_int_equal(pop(f), 1);
	for (unsigned int offset = 0; offset <= 8; offset++) {
		for (unsigned int len = 0; offset + len <= 8; len++) {
			struct virtq_chain reversed = f->chain;

			memset(got, 0, sizeof(got));
			assert_true(virtq_chain_read(&f->q, &f->chain, offset, got, len));
			assert_memory_equal(got, all + offset, len);

			/* Write it, and read the writable part back as if it were readable. */
			assert_true(virtq_chain_write(&f->q, &f->chain, offset, all + offset, len));
			memcpy(reversed.seg, f->chain.seg + 4, 3 * sizeof(reversed.seg[0]));
			reversed.num_readable = 3;
			reversed.readable_len = 8;
			memset(got, 0, sizeof(got));
			assert_true(virtq_chain_read(&f->q, &reversed, offset, got, len));
			assert_memory_equal(got, all + offset, len);
		}
	}
}

static void copy_that_does_not_fit_does_nothing(void **state)
{
	struct fixture *f = *state;
	struct ring_buf out[] = { buf(DATA_GPA, 4), buf(FAKE_MEM_SIZE, 4) };
	struct ring_buf in[] = { buf(DATA_GPA + 64, 4), buf(UINT64_MAX - 1, 8) };
	struct iovec iov[VIRTQ_MAX_SIZE];
	uint8_t data[16] = "0123456789abcde", zero[16] = { 0 }, got[16] = { 0 };

	ring_add(&f->ring, out, 2, in, 2);
	assert_int_equal(pop(f), 1);
	assert_false(virtq_chain_read(&f->q, &f->chain, 0, got, 8)); /* the second segment is no memory */
	assert_false(virtq_chain_read(&f->q, &f->chain, 0, got, 9)); /* too long */
	assert_false(virtq_chain_read(&f->q, &f->chain, 9, got, 0));
	assert_false(virtq_chain_read(&f->q, &f->chain, UINT64_MAX, got, 2));
	assert_false(virtq_chain_read(&f->q, &f->chain, 2, got, UINT64_MAX));
	assert_memory_equal(got, zero, sizeof(got));
	assert_true(virtq_chain_read(&f->q, &f->chain, 0, got, 4)); /* what is memory can be used */

	assert_false(virtq_chain_write(&f->q, &f->chain, 0, data, 5));
	assert_false(virtq_chain_write(&f->q, &f->chain, 0, data, 12));
	assert_false(virtq_chain_write(&f->q, &f->chain, 6, data, 2)); /* would wrap around to address 0 */
	assert_true(mem_read(&f->fp.mem, DATA_GPA + 64, got, 4));
	assert_memory_equal(got, zero, 4);

	assert_int_equal(virtq_chain_lease(&f->q, &f->chain, 0, 5, iov), -EFAULT);
	assert_int_equal(f->fp.mem.num_leases, 0); /* the first piece is memory */
	assert_int_equal(virtq_chain_lease(&f->q, &f->chain, 1, 3, iov), 1);
	assert_int_equal(iov[0].iov_len, 3);
	assert_int_equal(f->fp.mem.num_leases, 1);
	virtq_release(&f->q, iov, 1);
}

/* Snapshots */

static uint8_t *save(const struct virtq *q, size_t *len)
{
	struct enc *enc = enc_new();
	uint8_t *data;

	virtq_save(q, enc);
	assert_int_equal(enc_finish(enc, &data, len), 0);
	enc_free(enc);
	return data;
}

static int load(struct virtq *q, uint64_t features, const uint8_t *data, size_t len)
{
	struct dec *dec;
	struct err e;
	int r;

	assert_int_equal(dec_new(data, len, &dec, &e), 0);
	virtq_load(q, features, dec);
	dec_end(dec);
	r = dec_error(dec, &e);
	dec_free(dec);
	return r;
}

static void queue_survives_a_snapshot_in_mid_flight(void **state)
{
	struct fixture *f = *state;
	struct ring_buf in = buf(DATA_GPA, 5);
	uint64_t features = WITH_EVENT_IDX | WITH_INDIRECT;
	struct ring_used used;
	struct virtq copy;
	uint8_t *data;
	size_t len;

	connect_queue(f, 8, features);
	ring_start_at(&f->ring, 0xfffe);
	f->q.next_avail = f->q.next_used = f->q.notified_used = 0xfffe;
	for (unsigned int i = 0; i < 4; i++)
		ring_add(&f->ring, NULL, 0, &in, 1);
	assert_int_equal(pop(f), 1);
	assert_int_equal(pop(f), 1);
	virtq_push(&f->q, 0, 5);

	data = save(&f->q, &len);
	virtq_init(&copy, &f->fp.mem, 256);
	assert_int_equal(load(&copy, features, data, len), 0);
	free(data);
	assert_memory_equal(&copy, &f->q, sizeof(copy));
	assert_int_equal(virtq_pop(&copy, &f->chain), 1);
	assert_int_equal(f->chain.head, 2);
	virtq_push(&copy, 1, 5);
	assert_true(ring_get_used(&f->ring, &used) && used.id == 0);
	assert_true(ring_get_used(&f->ring, &used) && used.id == 1);
}

static void half_configured_queue_survives_a_snapshot(void **state)
{
	struct fixture *f = *state;
	struct virtq copy;
	uint8_t *data;
	size_t len;

	virtq_reset(&f->q);
	f->q.size = 0;
	f->q.desc = UINT64_MAX; /* nonsense is checked when it is enabled */
	data = save(&f->q, &len);
	virtq_init(&copy, &f->fp.mem, 256);
	assert_int_equal(load(&copy, 0, data, len), 0);
	free(data);
	assert_memory_equal(&copy, &f->q, sizeof(copy));
}

static void forged_queue_state_is_refused(void **state)
{
	struct fixture *f = *state;
	struct virtq bad[8], copy;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		bad[i] = f->q;
	bad[0].size = 257;
	bad[1].size = 24;
	bad[2].desc += 8;
	bad[3].avail = FAKE_MEM_SIZE - 2;
	bad[4].used = UINT64_MAX - 3;
	bad[5].next_avail = 257; /* 257 in flight of 256 */
	bad[6].next_used = 1;	 /* gave back more than it took */
	bad[7].size = 0;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		size_t len;
		uint8_t *data = save(&bad[i], &len);

		copy = f->q; /* even over a queue in use: what was not checked is not used */
		assert_int_equal(load(&copy, 0, data, len), -EINVAL);
		assert_false(copy.ready);
		free(data);
	}
}

/* What a resume will touch is had first: rings, tables and buffers, and no more than there can be of them in a leak event. */
static void what_a_queue_has_is_had_from_a_handler(void **state)
{
	static const struct mem_layout layout = { .num_regions = 1, .regions = { { 0, 8u << 20 } } };
	const struct ring_buf in[] = { { 0x200ff0, 0x20 }, { 0x300000, 5u << 20 } }, out = { 0x100000, 1 };
	struct fake_handler handler;
	struct ring_driver ring;
	struct guest_mem mem;
	struct virtq q;

	(void)state;
	fake_handler_map(&handler, &mem, &layout);
	memset(handler.served[0], true, 0x30); /* the driver's doing */
	ring_init(&ring, &mem, RING_GPA, 256);
	virtq_init(&q, &mem, 256);
	q.max_written = 0x20;
	q.desc = ring.desc;
	q.avail = ring.avail;
	q.used = ring.used;
	assert_int_equal(virtq_prepare(&q, true), 0); /* not ready: nothing */
	assert_int_equal(virtq_enable(&q, WITH_INDIRECT), 0);
	ring_add_indirect(&ring, TABLE_GPA, &out, 1, in, 2);
	handler.fails = -ETIMEDOUT;
	assert_int_equal(virtq_prepare(&q, false), 0); /* the driver has touched the rings */
	assert_int_equal(virtq_prepare(&q, true), -ETIMEDOUT);
	handler.fails = 0;
	assert_int_equal(handler.num_served, 0);
	assert_int_equal(virtq_prepare(&q, true), 0);
	assert_true(handler.served[0][0x100]);
	assert_true(handler.served[0][0x200] && handler.served[0][0x201]);
	assert_int_equal(handler.num_served, 3); /* and not what the device does not touch */
	assert_int_equal(q.next_avail, 0);
	mem_fini(&mem);
}

/* Whoever looks without the lock must not wait for a page, nor for a queue that is not there. */
static void a_look_sees_what_comes_and_waits_for_nobody(void **state)
{
	struct fixture *f = *state;
	struct ring_buf out = { DATA_GPA, 16 };
	struct virtq_gate gate = { 0 };
	struct virtq_look look;

	connect_queue(f, 8, 0);
	assert_true(virtq_look(&f->q, &look));
	assert_false(virtq_has_more(&look));
	ring_add(&f->ring, &out, 1, NULL, 0);
	assert_true(virtq_has_more(&look));
	assert_int_equal(virtq_pop(&f->q, &f->chain), 1);
	assert_true(virtq_look(&f->q, &look));
	assert_false(virtq_has_more(&look));

	f->q.gate = &gate;
	assert_false(virtq_look(&f->q, &look));
	f->q.rings_populated = true;
	assert_true(virtq_look(&f->q, &look));
	f->q.gate = NULL;
	f->q.ready = false;
	assert_false(virtq_look(&f->q, &look));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(sizes_are_powers_of_two_up_to_the_maximum),
		T(what_a_queue_has_is_had_from_a_handler),
		T(a_look_sees_what_comes_and_waits_for_nobody),
		T(misaligned_rings_are_refused),
		T(rings_that_are_not_whole_in_memory_are_refused),
		T(queue_that_is_not_ready_does_nothing),
		T(chain_is_flattened_readable_part_first),
		T(unpopped_chain_comes_back),
		T(chain_may_have_as_many_buffers_as_the_queue),
		T(descriptor_loop_breaks_the_ring),
		T(readable_behind_writable_breaks_the_ring),
		T(numbers_out_of_range_break_the_ring),
		T(available_index_may_run_ahead_by_the_size_at_most),
		T(indices_wrap_at_16_bits),
		T(indirect_table_is_followed),
		T(direct_buffers_may_stand_before_a_table),
		T(write_flag_of_a_table_means_nothing),
		T(indirect_without_negotiation_breaks_the_ring),
		T(bad_indirect_tables_break_the_ring),
		T(table_may_be_longer_than_its_chain),
		T(staged_buffers_are_seen_at_once),
		T(interrupt_is_wanted_unless_the_flag_is_set),
		T(event_index_decides_over_the_interrupt),
		T(notification_is_asked_for_by_the_event_index),
		T(no_notification_is_lost_between_two_threads),
		T(chain_outside_memory_is_told_apart),
		T(copies_cross_segments_at_any_offset),
		T(copy_that_does_not_fit_does_nothing),
		T(queue_survives_a_snapshot_in_mid_flight),
		T(half_configured_queue_survives_a_snapshot),
		T(forged_queue_state_is_refused),
	};

	return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
