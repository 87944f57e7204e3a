/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The counter as an epoch of the kernel's CRNG, on kernels that have such a
 * thing: the CRNG compares the counter itself whenever it makes something, and
 * takes the seeds from where the device has put them.
 */
#ifndef RNG_EPOCH_H
#define RNG_EPOCH_H

#include <linux/device.h>
#include <linux/types.h>

#define RNG_EPOCH_SEED_LEN 64

#ifdef RNG_HAVE_RANDOM_EPOCH
#include <linux/list.h>
#include <linux/random_epoch.h>

struct rng_epoch {
	struct random_epoch_source source;
	struct device *dev;
	struct list_head list; /* of all that have entered */
	bool registered;
};

void rng_epoch_enter(struct rng_epoch *e, struct device *dev,
		     const unsigned long *word, const u8 *seed1,
		     const u8 *seed2);
void rng_epoch_leave(struct rng_epoch *e);
void rng_epoch_switch(void);

#else

struct rng_epoch {
};

#define rng_epoch_enter(e, dev, word, seed1, seed2) ((void)(e))
#define rng_epoch_leave(e) ((void)(e))
#define rng_epoch_switch() do { } while (0)

#endif

#endif /* RNG_EPOCH_H */
