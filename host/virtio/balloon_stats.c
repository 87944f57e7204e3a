// SPDX-License-Identifier: Apache-2.0
/*
 * The guest's statistics (virtio 1.2, section 5.5.6.4): it leaves one buffer
 * with us, full; each interval it gets the buffer back, and fills it again.
 *
 * The buffer stays at the front of the ring until then, so that there is nothing
 * to remember about it in a snapshot: whoever restores it reads it again.
 */
#include <endian.h>

#include <linux/virtio_balloon.h>

#include "base/log.h"
#include "base/loop.h"
#include "virtio/balloon_internal.h"

#define STATS_NS_PER_S 1000000000ull

struct stats_entry {
	uint16_t tag;
	uint64_t value;
} __attribute__((packed));

#define STATS_MAX_ENTRIES (BALLOON_MAX_STATS / sizeof(struct stats_entry)) /* a buffer with more is not read */

static void stats_refuse(const struct virtq_chain *chain)
{
	metric_inc(balloon, stats_update_fails);
	log_warn("balloon: statistics of %llu bytes: ignored", (unsigned long long)chain->readable_len);
}

static void stats_parse(struct balloon *b, const struct virtq *q, const struct virtq_chain *chain)
{
	struct stats_entry entries[STATS_MAX_ENTRIES];
	uint64_t num = chain->readable_len / sizeof(*entries);

	metric_inc(balloon, stats_updates_count);
	if (chain->readable_len > sizeof(entries) || chain->readable_len % sizeof(*entries) ||
	    !virtq_chain_read(q, chain, 0, entries, chain->readable_len)) {
		stats_refuse(chain);
		return;
	}
	for (uint64_t i = 0; i < num; i++) {
		unsigned int tag = le16toh(entries[i].tag);

		if (tag >= BALLOON_NUM_STATS) { /* section 5.5.6.4.2: ignored */
			metric_inc(balloon, stats_update_fails);
			log_debug("balloon: unknown stats update tag: %u", tag);
			continue;
		}
		b->stats.values[tag] = le64toh(entries[i].value);
		b->stats.known |= 1u << tag;
	}
}

/*
 * Brings what we know up to the newest buffer, which stays in the ring. Those before it, of a driver that has more than the
 * one, are given back. A turn's worth of them at most.
 */
static int stats_read(struct balloon *b, struct virtq *q)
{
	struct virtq_chain chain;
	uint16_t front = 0;
	unsigned int num;
	int r = 0;

	for (num = 0; num < VIRTQ_MAX_SIZE; num++) {
		r = virtq_pop(q, &chain);
		if (r <= 0)
			break;
		if (num > 0) {
			metric_inc(balloon, event_fails);
			log_warn("balloon: the driver has more than one buffer of statistics: one is given back");
			virtq_push(q, front, 0);
		}
		front = chain.head;
		if (num > 0 || !b->stats.have_buffer)
			stats_parse(b, q, &chain);
	}
	b->stats.have_buffer = num > 0;
	if (num > 0)
		virtq_unpop(q);
	return r < 0 ? r : 0;
}

/* The guest is to tell anew. Without its buffer it is about to, anyway. */
static int stats_ask(struct balloon *b, struct virtq *q)
{
	struct virtq_chain chain;
	int r = virtq_pop(q, &chain);

	if (r <= 0)
		return r;
	b->stats.have_buffer = false;
	virtq_push(q, chain.head, 0);
	return 0;
}

static void stats_start_timer(struct balloon *b)
{
	uint64_t ns = b->stats.interval_s * STATS_NS_PER_S;

	loop_set_timer(b->stats.timer, ns, ns);
	b->stats.ticks = true;
}

int balloon_stats(struct balloon *b, struct virtq *q)
{
	int r = stats_read(b, q);

	if (!r && b->stats.due)
		r = stats_ask(b, q);
	b->stats.due = false;
	if (!b->stats.ticks)
		stats_start_timer(b);
	virtio_notify_used(&b->vdev, q);
	return r;
}

static void stats_on_timer(void *ctx, uint32_t events)
{
	struct balloon *b = ctx;
	struct virtq *q;

	(void)events;
	virtio_lock(&b->vdev);
	q = balloon_queue(b, BALLOON_STATS);
	if (q && stats_ask(b, q) < 0)
		virtio_fail(&b->vdev);
	else if (q)
		virtio_notify_used(&b->vdev, q);
	virtio_unlock(&b->vdev);
}

int balloon_stats_init(struct balloon *b, uint32_t interval_s)
{
	b->stats.interval_s = interval_s;
	b->stats.timer = loop_add_timer(b->vdev.loop, stats_on_timer, b);
	return b->stats.timer ? 0 : -errno;
}

void balloon_stats_fini(struct balloon *b)
{
	loop_remove(b->stats.timer);
	b->stats.timer = NULL;
}

void balloon_stats_pause(struct balloon *b)
{
	loop_set_timer(b->stats.timer, 0, 0);
	b->stats.ticks = false;
}

/* The timer is the loop's: the queue's turn there sets it. */
int balloon_set_interval(struct virtio_dev *vdev, uint32_t seconds, struct err *e)
{
	struct balloon *b = balloon_from_vdev(vdev);
	int r = 0;

	virtio_lock(vdev);
	if (!seconds != !b->stats.interval_s) {
		r = err_set(e, EINVAL, "Balloon: Statistics cannot be enabled/disabled after activation.");
	} else if (seconds != b->stats.interval_s) {
		b->stats.interval_s = seconds;
		b->stats.due = true;
		b->stats.ticks = false;
		for (unsigned int i = BALLOON_STATS; i < vdev->ops->num_queues; i++)
			virtio_kick(vdev, i);
	}
	virtio_unlock(vdev);
	return r;
}

/* JSON's integers end where those of a guest do not. */
static uint64_t stats_bound(uint64_t value)
{
	return value < INT64_MAX ? value : INT64_MAX;
}

int balloon_get_statistics(struct virtio_dev *vdev, struct balloon_statistics *s, struct err *e)
{
	struct balloon *b = balloon_from_vdev(vdev);

	if (!(vdev->offered >> VIRTIO_BALLOON_F_STATS_VQ & 1))
		return err_set(e, EINVAL, "Balloon: Received stats query when stats are disabled.");
	virtio_lock(vdev);
	*s = (struct balloon_statistics){
		.target_pages = b->num_pages,
		.actual_pages = b->actual,
		.target_mib = b->num_pages / ((1u << 20) / MEM_PAGE_SIZE),
		.actual_mib = b->actual / ((1u << 20) / MEM_PAGE_SIZE),
	};
	for (unsigned int tag = 0; tag < BALLOON_NUM_STATS; tag++) {
		s->guest[tag].known = b->stats.known >> tag & 1;
		s->guest[tag].value = stats_bound(b->stats.values[tag]);
	}
	virtio_unlock(vdev);
	return 0;
}
