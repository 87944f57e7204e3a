// SPDX-License-Identifier: Apache-2.0
/*
 * A turn of the balloon: ranges of memory are given back, and then the chains
 * that named them go to the driver, who may use the pages from then on.
 *
 * Theory of operation. Giving back memory of a page-fault handler ends when the
 * handler has read of it, which may be never. Then it is a job of a thread of the
 * handler's (mem/populated.h), and the doorbell rings when it is done: the lock is
 * free meanwhile, and so is the loop. There is one turn at a time. A pause waits
 * for it, within its bound, and a reset is complete when it is over.
 *
 * With the device's lock held.
 */
#include <sys/eventfd.h>

#include "base/cleanup.h"
#include "mem/pages.h"
#include "virtio/balloon_internal.h"

/*
 * mem_job.done. Whoever sees that no turn is under way finds idle_fd written, and can take that before the next one, which may
 * begin at once: nothing of the turn is looked at from then on.
 */
static void turn_is_done(void *ctx)
{
	struct balloon *b = ctx;
	unsigned int index = b->turn.index;

	(void)eventfd_write(b->turn.idle_fd, 1);
	atomic_store(&b->turn.under_way, false);
	virtio_kick(&b->vdev, index);
}

int balloon_turn_init(struct balloon *b)
{
	b->turn.job.work = MEM_DISCARD;
	b->turn.job.done = turn_is_done;
	b->turn.job.ctx = b;
	b->turn.job.ranges = b->turn.ranges;
	b->turn.idle_fd = -1;
	if (!mem_has_helper(b->mem))
		return 0;
	b->turn.idle_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return b->turn.idle_fd < 0 ? -errno : 0;
}

void balloon_turn_fini(struct balloon *b)
{
	mem_job_withdraw(b->mem, &b->turn.job);
	cleanup_close(&b->turn.idle_fd);
}

static bool turn_is_under_way(const struct balloon *b)
{
	return atomic_load(&b->turn.under_way);
}

/* What was given back is the driver's to use, unless there is none any more: after a reset no ring is touched. */
static void turn_finish(struct balloon *b)
{
	struct balloon_turn *t = &b->turn;
	struct virtq *q = &b->vdev.queues[t->index];
	unsigned int again = t->skipped | (unsigned int)t->more << t->index;

	t->begun = false;
	balloon_count_pages(b);
	for (unsigned int i = 0; i < t->num_chains && b->vdev.driver_ok; i++)
		virtq_push(q, t->heads[i], 0);
	if (b->vdev.driver_ok)
		virtio_notify_used(&b->vdev, q);
	for (unsigned int i = 0; i < BALLOON_NUM_QUEUES; i++) {
		if (again >> i & 1)
			virtio_kick(&b->vdev, i);
	}
}

bool balloon_turn_begin(struct balloon *b, enum balloon_role role, unsigned int index)
{
	struct balloon_turn *t = &b->turn;

	if (turn_is_under_way(b)) {
		t->skipped |= 1u << index;
		return false;
	}
	if (t->begun)
		turn_finish(b);
	t->begun = true;
	t->more = false;
	t->role = role;
	t->index = index;
	t->skipped = 0;
	t->num_chains = 0;
	t->bytes_left = BALLOON_TURN_BYTES;
	t->fails = 0;
	t->job.num = 0;
	t->job.freed = t->job.fails = 0;
	return true;
}

bool balloon_turn_add(struct balloon *b, const struct virtq_chain *chain, struct balloon_cursor *at)
{
	struct balloon_turn *t = &b->turn;

	for (; at->seg < chain->num_writable; at->seg++, at->done = 0) {
		const struct virtq_seg *seg = &chain->seg[chain->num_readable + at->seg];

		if (seg->gpa > UINT64_MAX - seg->len) {
			t->fails++;
			continue;
		}
		while (at->done < seg->len) {
			uint64_t len = seg->len - at->done;

			if (!t->bytes_left || t->job.num == BALLOON_TURN_RANGES)
				return false;
			if (len > t->bytes_left)
				len = t->bytes_left;
			t->ranges[t->job.num++] = (struct mem_range){ .gpa = seg->gpa + at->done, .len = len };
			at->done += len;
			t->bytes_left -= len;
		}
	}
	*at = (struct balloon_cursor){ 0 };
	balloon_turn_add_head(b, chain->head);
	return true;
}

void balloon_turn_add_head(struct balloon *b, uint16_t head)
{
	b->turn.heads[b->turn.num_chains++] = head;
}

static void turn_give_back(struct balloon *b)
{
	struct mem_job *job = &b->turn.job;

	for (unsigned int i = 0; i < job->num; i++) {
		uint64_t got = mem_discard_within(b->mem, job->ranges[i].gpa, job->ranges[i].len);

		job->freed += got;
		job->fails += got < job->ranges[i].len;
	}
}

void balloon_turn_end(struct balloon *b)
{
	eventfd_t ignored;

	if (b->turn.job.num > 0 && mem_has_helper(b->mem)) {
		(void)eventfd_read(b->turn.idle_fd, &ignored);
		atomic_store(&b->turn.under_way, true);
		mem_job_submit(b->mem, &b->turn.job);
		return;
	}
	turn_give_back(b);
	turn_finish(b);
}

int balloon_settle(struct virtio_dev *vdev)
{
	struct balloon *b = balloon_from_vdev(vdev);

	if (turn_is_under_way(b))
		return b->turn.idle_fd;
	if (b->turn.begun)
		turn_finish(b);
	virtio_settled(vdev);
	return -1;
}
