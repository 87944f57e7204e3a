/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the block device share: blk.c has the device and its file, blk_request.c judges and answers requests, blk_io.c does what they ask of the file. */
#ifndef VIRTIO_BLK_INTERNAL_H
#define VIRTIO_BLK_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <linux/virtio_blk.h>

#include "virtio/blk_engine.h"
#include "virtio/busy_poll.h"
#include "virtio/queue.h"
#include "virtio/throttle.h"
#include "virtio/virtio.h"

struct loop_source;

#define BLK_SECTOR_SIZE 512u

/*
 * What the driver is told a request may be (SEG_MAX, SIZE_MAX): all descriptors of a queue but header and status, so
 * that no conforming request exceeds BLK_MAX_REQUEST. The device enforces the last: it bounds how long one turn takes.
 */
#define BLK_QUEUE_SIZE	256u
#define BLK_SEG_MAX	(BLK_QUEUE_SIZE - 2)
#define BLK_SIZE_MAX	(256u * 1024)
#define BLK_MAX_REQUEST (64u * 1024 * 1024)
/* Of a discard or a write of zeros: 1 GiB, so that no system call takes long. */
#define BLK_MAX_RANGE_SECTORS (2u * 1024 * 1024)
/* No request is begun while so many bytes are in flight: bounds how long draining takes. */
#define BLK_MAX_IN_FLIGHT (16u * 1024 * 1024)

#define BLK_DISCARD_ALIGNMENT 8u /* sectors: a page of the host's file system */

/* The backing file: a regular file or a block device. */
struct blk_file {
	int fd;			      /* owned, -1: none */
	uint64_t sectors;	      /* whole ones */
	char id[VIRTIO_BLK_ID_BYTES]; /* what GET_ID tells; padded with NUL, none if it is full */
};

struct blk_request;

/* First in, first out. */
struct blk_list {
	struct blk_request *first, *last;
};

struct blk {
	struct virtio_dev vdev; /* must be first */
	struct blk_file file;
	char *drive_id;
	struct metrics_one *metrics;	/* owned */
	struct block_metrics *counters; /* its */
	bool read_only;
	bool writeback; /* the guest's flushes reach the disk; else they are not offered */
	struct throttle throttle;
	bool flush_failed;		 /* a flush of the monitor's own; the guest has not been told yet */
	struct blk_engine *engine;	 /* owned */
	struct loop_source *done_source; /* NULL: the engine does not reap */
	struct blk_request *pool;	 /* owned, mmap(2): BLK_ENGINE_MAX_REQUESTS of them */
	struct blk_request *unused;	 /* of those that have been used */
	unsigned int num_used;		 /* of the pool, so far: the others have never been touched */
	unsigned int in_flight;		 /* taken from the ring and not given back */
	uint64_t in_flight_bytes;
	uint64_t taken_ns;     /* when the first request of this turn was taken; 0: none */
	struct blk_list todo;  /* of these, what the engine has not been given */
	atomic_bool stop;      /* nothing more of what is in flight is begun: the driver takes its memory back */
	int idle_fd;	       /* eventfd, owned: readable after somebody has waited for in_flight to be 0, and it is */
	bool awaited, told;    /* somebody waits; idle_fd is readable */
	bool again;	       /* the next look at the ring is one of ours: no event of the guest's */
	struct busy_poll poll; /* the device's loop's */
	bool held;	       /* nothing is taken from the ring: the file is being exchanged */
	bool full;	       /* a request waits in the ring for one in flight to end */
	bool capacity_changed; /* since the snapshot was taken; told when the driver is known to be there */
};

static inline struct blk *blk_from_vdev(struct virtio_dev *vdev)
{
	return (struct blk *)vdev;
}

/* blk_queue.c: virtio_ops, and callbacks of the loop. */
int blk_notify(struct virtio_dev *vdev, unsigned int queue) must_check;
bool blk_work(struct virtio_dev *vdev) must_check;
void blk_reset(struct virtio_dev *vdev);
int blk_settle(struct virtio_dev *vdev);
void blk_on_done(void *ctx, uint32_t events);

enum blk_io { BLK_IO_READ, BLK_IO_WRITE, BLK_IO_SYNC, BLK_IO_ALLOCATE };

/* A request: parsed, carried out by the engine, completed. Nothing of the chain is needed after the first step. */
struct blk_request {
	struct blk_request *next; /* unused ones, or those of a list */
	uint16_t head;
	uint32_t type;	    /* VIRTIO_BLK_T_* */
	uint64_t sector;    /* in range, with len or range_len */
	uint64_t len;	    /* bytes of data */
	uint64_t begun_ns;  /* when it was taken, with others */
	uint64_t ended_ns;  /* when its last system call was seen to have ended */
	uint64_t range_len; /* bytes to discard, or to write zeros to */
	gpa_t status;	    /* of one byte in guest memory */

	/* The next system call, and how far the earlier ones came. */
	enum blk_io op;
	int fd;
	int mode;	 /* of fallocate(2) */
	bool sync;	 /* a write that is to be on the disk when it is complete */
	bool asked_for;	 /* the kernel has been told that it will be read */
	uint64_t offset; /* in the file */
	uint64_t done;	 /* bytes of data */
	int result;
	struct iovec *at;
	size_t cut;   /* bytes that are missing at the front of *at: they are done */
	int num_left; /* entries from at on */

	bool leased; /* iov is what the device writes to: it is given back by blk_request_release() */
	int num_iov;
	struct iovec iov[VIRTQ_MAX_SIZE]; /* data, guest memory */
};

/*
 * Validates a chain. VIRTIO_BLK_S_OK: carry it out; another status: complete it with that; -EINVAL: it has no place for a
 * status, so that all one can do is give it back.
 */
int blk_request_parse(const struct blk *blk, const struct virtq_chain *chain, struct blk_request *req) must_check;
/* All but GET_ID and transfers of nothing do. */
bool blk_request_needs_file(const struct blk_request *req);
void blk_request_get_id(const struct blk *blk, struct blk_request *req);
/* Prepares the first system call. */
void blk_request_begin(const struct blk *blk, struct blk_request *req);
/* The status of one whose last system call is done. */
int blk_request_status(struct blk *blk, const struct blk_request *req);
/* Gives its memory back: nobody will touch it any more. Does nothing the second time. */
void blk_request_release(const struct blk *blk, struct blk_request *req);
/* Gives it back to the driver, and its memory. It learns of that by virtq_publish(). */
void blk_request_complete(struct blk *blk, struct blk_request *req, int status);

/* Requests that are carried out before the guest hears of them: half of what Linux has in flight, so that it works beside the device. */
#define BLK_IO_BATCH   16u
#define BLK_IO_HOLD_NS 300000u /* how long one that is done may wait for others */

/* Carries out the next system call, with req->result. Any thread. */
void blk_io_run(struct blk_request *req);
/*
 * The same for a read of what is in the page cache. -EAGAIN: it is not there, and nothing was done; -EOPNOTSUPP: neither, since
 * this file system cannot tell (tmpfs, overlayfs).
 */
int blk_io_run_cached(struct blk_request *req) must_check;
/* What it reads will be wanted: asks the kernel to bring it, and does not wait for that. */
void blk_io_ask_for(struct blk_request *req);
/*
 * The same for requests from the front of todo, which go to done: a batch, since the guest's interrupt costs several times what
 * 4 KiB from the page cache do. It ends when it is large enough, has taken long enough (on a slow disk, after each request), or *stop.
 */
void blk_io_run_batch(struct blk_list *todo, const atomic_bool *stop, struct blk_list *done);
/* Makes iov what it was at the beginning. */
void blk_io_uncut(struct blk_request *req);
/* Looks at req->result: is there another system call to make? If not, it is 0 or -errno from then on. */
bool blk_io_goes_on(struct blk_request *req);
/* Waits for ms at most, and returns ms. */
int blk_wait_readable(int fd, int ms);

static inline void blk_list_add(struct blk_list *list, struct blk_request *req)
{
	req->next = NULL;
	if (list->first)
		list->last->next = req;
	else
		list->first = req;
	list->last = req;
}

/* The first, or NULL. */
static inline struct blk_request *blk_list_take(struct blk_list *list)
{
	struct blk_request *req = list->first;

	if (req)
		list->first = req->next;
	return req;
}

#endif
