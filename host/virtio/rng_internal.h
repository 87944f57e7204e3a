/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the entropy device share: rng.c has the device and its request queue, rng_leak.c the leak queues. */
#ifndef VIRTIO_RNG_INTERNAL_H
#define VIRTIO_RNG_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "bus/platform.h"
#include "virtio/queue.h"
#include "virtio/throttle.h"
#include "virtio/virtio.h"

/* A leak request that has been carried out, or refused, but is not yet given back. */
struct rng_leak_done {
	uint16_t head;
	enum { RNG_LEAK_REFUSED, RNG_LEAK_FILLED, RNG_LEAK_COPIED } outcome;
	uint32_t len; /* bytes written */
};

struct rng_leak {
	unsigned int active;	/* queue number: leakq1 or leakq2 */
	unsigned int signalled; /* the other one, or RNG_LEAK_NONE */
	bool late;		/* an event waits for the driver's next buffer in active */
	uint64_t credit;	/* bytes that the last event still grants: not charged to the rate limiter */
	uint32_t unreported;	/* events that no driver was told of, since an arbitrary start; survives resets */
	uint32_t generation;	/* events whose outcome the driver can have, or of which none was told; modulo 2^32 */
	uint32_t handled;	/* the last of them that the driver says it has handled */
	uint8_t *bounce;	/* RNG_MAX_LEAK_REQUEST bytes, owned; untouched pages cost nothing */
	/* One event's outcome, in order: the signalled queue's, then the active one's. */
	struct rng_leak_done done[2][VIRTQ_MAX_SIZE];
};

/* A queue number that is none of the leak queues. */
#define RNG_LEAK_NONE 0u

/*
 * A turn on the loop ends once it has written so much; with the longest request (RNG_MAX_REQUEST, or RNG_MAX_LEAK_REQUEST in
 * a leak queue) that is what other devices and the API wait for at most.
 */
#define RNG_TURN_BYTES (256u * 1024)

struct rng {
	struct virtio_dev vdev; /* must be first */
	struct platform *p;	/* borrowed */
	struct throttle throttle;
	struct rng_leak leak;
};

/* Random bytes into the first len bytes of the writable part: 0, -EFAULT if they are not memory, -EIO if the host has none. */
int rng_fill(const struct virtq *q, const struct virtq_chain *chain, uint64_t len) must_check;

int rng_leakq_init(struct rng_leak *leak) must_check;
void rng_leakq_fini(struct rng_leak *leak);
void rng_leak_reset(struct rng_leak *leak);
/* virtio_ops.notify for a leak queue, and virtio_ops.leak. */
int rng_leak_notify(struct rng *rng, unsigned int q) must_check;
int rng_leak_event(struct rng *rng, struct err *e) must_check;
/* The driver says that it has handled event number generation; false: that is no news, or cannot be. */
bool rng_leak_handled(struct rng_leak *leak, uint32_t generation) must_check;

/* rng_config.c: virtio_ops.config_read, config_write and leak_progress. */
void rng_config_read(struct virtio_dev *vdev, uint64_t offset, void *data, unsigned int len);
void rng_config_write(struct virtio_dev *vdev, uint64_t offset, const void *data, unsigned int len);
bool rng_leak_progress(struct virtio_dev *vdev, struct leak_progress *progress);

/* Takes over what a snapshot says; false, and the queues are as after a reset, if the device cannot be like that. */
bool rng_leak_set(struct rng_leak *leak, unsigned int active, unsigned int signalled, bool late) must_check;

#endif
