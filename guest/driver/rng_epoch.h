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

#include "rng_reseed.h"

#define RNG_EPOCH_SEED_LEN 64

#ifdef RNG_HAVE_RANDOM_EPOCH
#include <linux/random_epoch.h>

struct rng_epoch {
	struct random_epoch_source source;
	bool entered;
};

/* Before the device is told of the word. Sleeps. */
static inline void rng_epoch_enter(struct rng_epoch *e, struct device *dev,
				   const unsigned long *word, const u8 *seed1,
				   const u8 *seed2)
{
	int err;

	if (!rng_reseed_is_on())
		return;
	e->source = (struct random_epoch_source){
		.word = word,
		.seed = { seed1, seed2 },
		.seed_len = RNG_EPOCH_SEED_LEN,
	};
	err = random_epoch_register(&e->source);
	if (err)
		dev_warn(dev, "CRNG will reseed late: %d\n", err);
	e->entered = !err;
}

/* Nobody looks at word or seeds when this returns. Sleeps. */
static inline void rng_epoch_leave(struct rng_epoch *e)
{
	if (e->entered)
		random_epoch_unregister(&e->source);
	e->entered = false;
}

#else

struct rng_epoch {
};

#define rng_epoch_enter(e, dev, word, seed1, seed2) ((void)(e))
#define rng_epoch_leave(e) ((void)(e))

#endif

#endif /* RNG_EPOCH_H */
