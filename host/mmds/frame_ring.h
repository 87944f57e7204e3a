/* SPDX-License-Identifier: Apache-2.0 */
/* Frames on their way from one thread to another: a ring of bytes, whose size is all that it ever takes. */
#ifndef MMDS_FRAME_RING_H
#define MMDS_FRAME_RING_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

#define FRAME_RING_SIZE (64u * 1024) /* bytes, with two a frame for its length */
#define FRAME_MAX	(16u * 1024)

struct frame_ring {
	pthread_mutex_t lock; /* held while bytes are copied, and for nothing else */
	uint8_t *bytes;	      /* owned */
	size_t first;	      /* where the oldest frame begins */
	size_t used;
};

int frame_ring_init(struct frame_ring *ring) must_check; /* -ENOMEM */
void frame_ring_fini(struct frame_ring *ring);		 /* accepts a zeroed one */

/*
 * Appends what is behind the first skip bytes of iov, FRAME_MAX bytes at most; iov may be guest memory, which is read once. False:
 * there is no room, or nothing to append. *was_empty: the reader may have found nothing and has to be told.
 */
bool frame_ring_push(struct frame_ring *ring, const struct iovec *iov, int num, size_t skip,
		     bool *was_empty) must_check;
/* Takes the oldest frame: its length, 0 if there is none. frame has room for FRAME_MAX bytes. */
size_t frame_ring_pop(struct frame_ring *ring, uint8_t *frame);

#endif
