/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rate limiter over the queues of a virtio device: a request that has to wait
 * goes back into its ring, and the queue is notified again when the limiter has
 * had time to recover. With the device's lock held; the timer is on its loop.
 */
#ifndef VIRTIO_THROTTLE_H
#define VIRTIO_THROTTLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rate_limiter.h"
#include "state/codec.h"
#include "virtio/virtio.h"

struct loop_source;

/* Embedded in a device type's struct. */
struct throttle {
	struct virtio_dev *vdev; /* borrowed; it has its loop already */
	struct rate_limiter limiter;
	struct loop_source *timer;	      /* owned; runs while a queue waits */
	unsigned int waiting;		      /* a bit a queue */
	_Atomic uint64_t *refusals, *retries; /* counters, borrowed */
};

/* -errno, of the timer; throttle_fini() in any case. */
int throttle_init(struct throttle *t, struct virtio_dev *vdev, const struct rate_limiter_config *config,
		  _Atomic uint64_t *refusals, _Atomic uint64_t *retries) must_check;
void throttle_fini(struct throttle *t);

/* One operation of len bytes, for the chain that was popped last from queue q. False: it is back in the ring, and q waits. */
bool throttle_take(struct throttle *t, unsigned int q, uint64_t len) must_check;
/* May an operation be begun whose size is known only afterwards, and charged then? False: q waits. */
bool throttle_is_open(struct throttle *t, unsigned int q) must_check;
/* The same for what has been done already: it is a debt. */
void throttle_charge(struct throttle *t, uint64_t len);
bool throttle_holds(const struct throttle *t, unsigned int q);
/* New limits; NULL: as before. What waits is tried again. */
void throttle_set(struct throttle *t, const struct token_bucket_config *bandwidth,
		  const struct token_bucket_config *ops);

/* Queue q need not be tried again for the limiter's sake; all of them, after a reset (any thread) or for a pause. */
void throttle_forget(struct throttle *t, unsigned int q);
void throttle_reset(struct throttle *t);
void throttle_pause(struct throttle *t);

/* What is spent stays spent. */
void throttle_get(const struct throttle *t, struct rate_limiter_state *state);
void throttle_load(struct throttle *t, const struct rate_limiter_state *state, struct dec *dec);

#endif
