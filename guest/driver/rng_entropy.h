/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The request queue: random bytes from the device for the hwrng core.
 */
#ifndef RNG_ENTROPY_H
#define RNG_ENTROPY_H

#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/virtio.h>
#include <linux/wait.h>

struct rng_gen;

/* Bytes a request; what the hwrng core asks for at a time on most machines. */
#define RNG_ENTROPY_LEN 64
/* As many are worth a seed: what the CRNG's key has. */
#define RNG_ENTROPY_SEED_LEN 32

struct rng_entropy {
	struct rng_gen *gen; /* NULL: the device does not report leaks */

	spinlock_t lock; /* guards all below; taken in the queue callback */
	struct virtqueue *vq;
	u8 *buf;		  /* owned; the device's while pending */
	unsigned int pos, len;	  /* buf[pos..len) has not been handed out */
	unsigned long generation; /* just before the request was posted */
	bool empty;		  /* the device answered with no byte at all */
	bool pending;		  /* a request is with the device */
	bool identifying;	  /* so is one for the identity */
	bool running;		  /* between start and stop */
	wait_queue_head_t wait;	  /* for !pending || !running */
};

int rng_entropy_init(struct rng_entropy *e, struct rng_gen *gen);
void rng_entropy_fini(struct rng_entropy *e);
void rng_entropy_start(struct rng_entropy *e, struct virtqueue *vq);
bool rng_entropy_mix(struct rng_entropy *e);
void rng_entropy_identify(struct rng_entropy *e);
void rng_entropy_quiesce(struct rng_entropy *e);
void rng_entropy_stop(struct rng_entropy *e);
void rng_entropy_done(struct rng_entropy *e);
int rng_entropy_read(struct rng_entropy *e, void *buf, size_t size, bool wait);

#endif /* RNG_ENTROPY_H */
