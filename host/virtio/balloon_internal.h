/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the balloon share: balloon.c has the device, its configuration space and its state, balloon_pages.c what
 * gives pages back, balloon_hint.c free page hinting, balloon_stats.c the statistics.
 */
#ifndef VIRTIO_BALLOON_INTERNAL_H
#define VIRTIO_BALLOON_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "virtio/balloon.h"
#include "virtio/queue.h"
#include "virtio/virtio.h"

struct loop_source;

/* A turn on the loop gives back so much at most; that is what other devices and the API wait for. */
#define BALLOON_TURN_BYTES (16ull << 20)
#define BALLOON_TURN_PFNS  1024u /* fewer: each may be a range of its own, which on a clone is two system calls */

/* What a queue is for; the numbers of section 5.5.2. */
enum balloon_role {
	BALLOON_INFLATE,
	BALLOON_DEFLATE,
	BALLOON_STATS,
	BALLOON_HINTING,
	BALLOON_REPORTING,
	BALLOON_NUM_QUEUES,
	BALLOON_NO_ROLE,
};

/*
 * How far the chain at the front of a queue is done. It stays in the ring until all of it is: a snapshot, or another look at
 * it, begins with it anew, which does no harm as long as it was not given back.
 */
struct balloon_cursor {
	unsigned int seg; /* of the writable part */
	uint64_t done;	  /* bytes of that, or page frame numbers of an inflate chain */
};

struct balloon {
	struct virtio_dev vdev; /* must be first */
	struct guest_mem *mem;	/* borrowed */
	uint32_t num_pages;	/* that the guest is asked for, and that it says it has given; of 4 KiB */
	uint32_t actual;
	bool numbered;	 /* this driver has its queues where section 5.5.2 has them; else they follow each other */
	bool was_loaded; /* and has not run since */

	struct balloon_cursor inflate, hinting, reporting;
	uint32_t pfns[BALLOON_TURN_PFNS]; /* one turn's */
	uint16_t heads[VIRTQ_MAX_SIZE];

	struct {
		struct balloon_hinting cmd;
		uint32_t last; /* id of the last run */
		bool acknowledge_on_stop;
	} hint;

	struct {
		uint32_t interval_s; /* 0: there are none */
		uint64_t values[BALLOON_NUM_STATS];
		uint32_t known;	  /* a bit a tag */
		bool have_buffer; /* the front of the queue is a buffer whose contents we have */
		bool due;	  /* the guest is to tell now */
		bool ticks;	  /* the timer runs */
		struct loop_source *timer;
	} stats;
};

static inline struct balloon *balloon_from_vdev(struct virtio_dev *vdev)
{
	return (struct balloon *)vdev;
}

/* balloon.c: the queue for this, the driver has set it up and it may be used now; NULL: not so. */
struct virtq *balloon_queue(struct balloon *b, enum balloon_role role);

/* virtio_ops.notify for queues of one role each. */
int balloon_inflate(struct balloon *b, struct virtq *q, unsigned int index) must_check;
int balloon_deflate(struct balloon *b, struct virtq *q, unsigned int index) must_check;
int balloon_report(struct balloon *b, struct virtq *q, unsigned int index) must_check;
int balloon_hint(struct balloon *b, struct virtq *q, unsigned int index) must_check;
int balloon_stats(struct balloon *b, struct virtq *q) must_check;

/*
 * balloon_pages.c: gives back the whole pages in a chain's writable part, from *at on, as far as *bytes_left goes. True: all of
 * them. Adds to *freed what was memory; ranges that were not, or not all of it, to *fails.
 */
bool balloon_free_ranges(struct balloon *b, const struct virtq_chain *chain, struct balloon_cursor *at,
			 uint64_t *bytes_left, uint64_t *freed, uint64_t *fails) must_check;

/* balloon_hint.c: the guest is told that what it has hinted at is its own again. True: there was a run. */
bool balloon_end_hinting(struct balloon *b);
void balloon_reset_hinting(struct balloon *b);

/* balloon_stats.c */
int balloon_stats_init(struct balloon *b, uint32_t interval_s) must_check; /* -errno, of the timer */
void balloon_stats_fini(struct balloon *b);
void balloon_stats_pause(struct balloon *b);

#endif
