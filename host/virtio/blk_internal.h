/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the block device share: blk.c has the device and its file, blk_request.c what a request does. */
#ifndef VIRTIO_BLK_INTERNAL_H
#define VIRTIO_BLK_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <linux/virtio_blk.h>

#include "base/rate_limiter.h"
#include "virtio/queue.h"
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

/* The backing file: a regular file or a block device. */
struct blk_file {
	int fd;			      /* owned, -1: none */
	uint64_t sectors;	      /* whole ones */
	char id[VIRTIO_BLK_ID_BYTES]; /* what GET_ID tells; padded with NUL, none if it is full */
};

struct blk {
	struct virtio_dev vdev; /* must be first */
	struct blk_file file;
	char *drive_id;
	bool read_only;
	bool writeback; /* the guest's flushes reach the disk; else they are not offered */
	struct rate_limiter limiter;
	struct loop_source *timer; /* runs while throttled */
	bool throttled;
	bool flush_failed;     /* a flush of the monitor's own; the guest has not been told yet */
	bool capacity_changed; /* since the snapshot was taken; told when the driver is known to be there */
};

/*
 * A request: parsed, executed, completed. Nothing of the chain is needed after the first step, nothing of the stack
 * between the steps.
 */
struct blk_request {
	uint16_t head;
	uint32_t type;	 /* VIRTIO_BLK_T_* */
	uint64_t sector; /* IN and OUT: in range, with len */
	uint64_t len;	 /* bytes of data */
	uint8_t *status; /* guest memory */
	int num_iov;
	struct iovec iov[VIRTQ_MAX_SIZE]; /* data, guest memory */
};

/*
 * Validates a chain. VIRTIO_BLK_S_OK: execute it; another status: complete it with that; -EINVAL: it has no place for a
 * status, so that all one can do is give it back.
 */
int blk_request_parse(const struct blk *blk, const struct virtq_chain *chain, struct blk_request *req) must_check;
/* Does it now, with blocking system calls. Returns the status; *written: bytes that were written into guest memory. */
int blk_request_execute(struct blk *blk, struct blk_request *req, uint32_t *written) must_check;
/* Gives it back to the driver. */
void blk_request_complete(struct blk *blk, const struct blk_request *req, int status, uint32_t written);

#endif
