/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the balloon share: balloon.c has the device, its configuration space and its state, balloon_pages.c what
 * gives pages back, balloon_turn.c how, balloon_hint.c free page hinting, balloon_stats.c the statistics.
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
#define BALLOON_TURN_BYTES  (16ull << 20)
#define BALLOON_TURN_RANGES 1024u	/* each of which may be two system calls */
#define BALLOON_MAX_STATS   2560u	/* bytes of statistics in a buffer */
#define BALLOON_MAX_LIST    (16u << 20) /* bytes of page frame numbers in a buffer; one that has more makes no sense */

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

/*
 * What a look at one of the queues has found to be given back. Where a page-fault handler is told of it, a thread of the handler's
 * does it, and this device waits, and nobody else. Its chains go to the driver when all of it is done.
 */
struct balloon_turn {
	struct mem_job job;
	atomic_bool under_way; /* the job is a thread's */
	bool begun;	       /* and not ended */
	bool more;	       /* there is more in the queue than a turn may do */
	enum balloon_role role;
	unsigned int index;   /* of the queue */
	unsigned int skipped; /* a bit a queue: it was notified meanwhile */
	unsigned int num_chains;
	uint64_t bytes_left, fails; /* ranges that are none */
	int idle_fd;		    /* eventfd, owned: the job was done; -1: there are no jobs */
	struct mem_range ranges[BALLOON_TURN_RANGES];
	uint16_t heads[VIRTQ_MAX_SIZE];
};

struct balloon {
	struct virtio_dev vdev; /* must be first */
	struct guest_mem *mem;	/* borrowed */
	uint32_t num_pages;	/* that the guest is asked for, and that it says it has given; of 4 KiB */
	uint32_t actual;
	bool numbered;	 /* this driver has its queues where section 5.5.2 has them; else they follow each other */
	bool was_loaded; /* and has not run since */

	struct balloon_cursor inflate, hinting, reporting;
	uint32_t pfns[BALLOON_TURN_RANGES]; /* one turn's */
	struct balloon_turn turn;

	struct {
		struct balloon_hinting cmd;
		uint32_t last; /* id of the last run */
		bool acknowledge_on_stop;
		bool stops; /* the guest will be told; nothing more is given back until then */
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

/* balloon_pages.c: what the turn's ranges were is counted. */
void balloon_count_pages(struct balloon *b);

/* balloon_turn.c */
int balloon_turn_init(struct balloon *b) must_check; /* -errno */
void balloon_turn_fini(struct balloon *b);
/*
 * A look at queue index begins. False: another turn is not over, and this queue has its own after that. What has ended is given to
 * the driver first.
 */
bool balloon_turn_begin(struct balloon *b, enum balloon_role role, unsigned int index) must_check;
/* Adds the whole chain from *at on, as far as there is room. True: all of it was added, and it is the turn's from here on. */
bool balloon_turn_add(struct balloon *b, const struct virtq_chain *chain, struct balloon_cursor *at) must_check;
/* The same for a chain of which the ranges are there already. */
void balloon_turn_add_head(struct balloon *b, uint16_t head);
/* Gives back what was added, and the chains to the driver, at once or when that is done. */
void balloon_turn_end(struct balloon *b);
/* virtio_ops.settle */
int balloon_settle(struct virtio_dev *vdev) must_check;

/* balloon_hint.c: the guest is told that what it has hinted at is its own again. True: there was a run. */
bool balloon_end_hinting(struct balloon *b);
void balloon_reset_hinting(struct balloon *b);

/* balloon_stats.c */
int balloon_stats_init(struct balloon *b, uint32_t interval_s) must_check; /* -errno, of the timer */
void balloon_stats_fini(struct balloon *b);
void balloon_stats_pause(struct balloon *b);

#endif
