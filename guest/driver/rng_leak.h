/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The leak queue pair: the requests that the device carries out at an entropy
 * leak, and what the driver does afterwards. Theory of operation: rng_leak.c.
 */
#ifndef RNG_LEAK_H
#define RNG_LEAK_H

#include <linux/cache.h>
#include <linux/device.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/virtio.h>
#include <linux/workqueue.h>

#include "rng_epoch.h"
#include "rng_gen.h"
#include "rng_vdso.h"

#define RNG_LEAK_SEED_LEN RNG_EPOCH_SEED_LEN
/* A fill request: the seed, then the identity. */
#define RNG_LEAK_FILL_LEN (RNG_LEAK_SEED_LEN + RNG_GEN_IDENTITY_LEN)
#define RNG_LEAK_QUEUES 2

/* What the device reads and writes; nothing else shares its cache lines. */
struct rng_leak_buf {
	u8 seed[RNG_LEAK_SEED_LEN] ____cacheline_aligned; /* fill-on-leak */
	/* source of copy-on-leak: a word for each place */
	unsigned long value[RNG_VDSO_COPIES] ____cacheline_aligned;
};

struct rng_leak_queue {
	struct virtqueue *vq;
	struct rng_leak_buf *buf; /* owned */
	unsigned long value;	  /* that the copy request was added with */
	unsigned int copy_len;	  /* of the copy request */
	bool fill_pending;	  /* the device holds the fill request */
	bool copy_pending;	  /* the device holds the copy request */
};

struct rng_leak {
	struct virtio_device *vdev;
	struct device *dev;
	struct rng_gen *gen;

	spinlock_t lock; /* guards all below; taken in the queue callback */
	struct rng_leak_queue queue[RNG_LEAK_QUEUES];
	unsigned int active;	 /* the queue that the next event uses */
	unsigned long next;	 /* highest value ever put into a copy request */
	unsigned long latest;	 /* highest generation that the driver has seen */
	unsigned long handled;	 /* highest generation whose seed is mixed in */
	unsigned long floor;	 /* what the counter has at least, once started */
	struct rng_vdso vdso;	 /* claimed from init to fini */
	bool running;		 /* between start and stop */
	bool half_told;		 /* when it was stopped a seed was there, its copy was not */
	bool broken;		 /* the device broke the rules: not armed again */
	bool confirms;		 /* the device asks what we have handled */
	bool covered;		 /* we have bytes of the device's since the start */
	unsigned int burst;	 /* events since burst_start */
	unsigned long burst_start; /* jiffies */

	struct delayed_work rearm; /* arms again after a storm of events */
	struct delayed_work react; /* reseeds and tells user space; may sleep */
	unsigned long notified;	   /* last one that programs were told of; react only */
	unsigned long told;	   /* last one that the kernel was told of; react only */
	unsigned long retry_delay; /* jiffies; react only */

	struct rng_epoch epoch; /* entered from init to fini */
};

int rng_leak_init(struct rng_leak *leak, struct virtio_device *vdev,
		  struct rng_gen *gen);
void rng_leak_fini(struct rng_leak *leak);
void rng_leak_start(struct rng_leak *leak, struct virtqueue *leakq1,
		    struct virtqueue *leakq2, bool missed);
void rng_leak_catch_up(struct rng_leak *leak, bool mixed);
void rng_leak_quiesce(struct rng_leak *leak, bool for_good);
void rng_leak_stop(struct rng_leak *leak);
void rng_leak_collect(struct rng_leak *leak);

/* rng_confirm.c */
u32 rng_leak_read_generation(struct rng_leak *leak);
void rng_leak_confirm(struct rng_leak *leak, u32 generation);

#endif /* RNG_LEAK_H */
