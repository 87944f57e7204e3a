// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See rng_epoch.h. The devices' words are registered as long as they live, over
 * suspend too, unless the parameter `reseed` is off; it may change at any time.
 */
#include "rng_epoch.h"

#ifdef RNG_HAVE_RANDOM_EPOCH
#include <linux/mutex.h>

#include "rng_reseed.h"

static LIST_HEAD(rng_epochs);
static DEFINE_MUTEX(rng_epoch_lock); /* guards the list and who is registered */

/* As it ought to be. The lock is held. */
static void epoch_update(struct rng_epoch *e)
{
	bool wanted = rng_reseed_is_on();
	int err;

	if (e->registered == wanted)
		return;
	if (!wanted) {
		random_epoch_unregister(&e->source);
		e->registered = false;
		return;
	}
	err = random_epoch_register(&e->source);
	if (err)
		dev_warn(e->dev, "CRNG will reseed late: %d\n", err);
	e->registered = !err;
}

/* Before the device is told of the word. Sleeps. */
void rng_epoch_enter(struct rng_epoch *e, struct device *dev,
		     const unsigned long *word, const u8 *seed1,
		     const u8 *seed2)
{
	e->dev = dev;
	e->source = (struct random_epoch_source){
		.word = word,
		.seed = { seed1, seed2 },
		.seed_len = RNG_EPOCH_SEED_LEN,
	};
	mutex_lock(&rng_epoch_lock);
	list_add(&e->list, &rng_epochs);
	epoch_update(e);
	mutex_unlock(&rng_epoch_lock);
}

/* Nobody looks at word or seeds when this returns. Sleeps. */
void rng_epoch_leave(struct rng_epoch *e)
{
	if (!e->dev)
		return;
	mutex_lock(&rng_epoch_lock);
	list_del(&e->list);
	if (e->registered)
		random_epoch_unregister(&e->source);
	mutex_unlock(&rng_epoch_lock);
	e->registered = false;
	e->dev = NULL;
}

/* The parameter has changed. Sleeps. */
void rng_epoch_switch(void)
{
	struct rng_epoch *e;

	mutex_lock(&rng_epoch_lock);
	list_for_each_entry(e, &rng_epochs, list)
		epoch_update(e);
	mutex_unlock(&rng_epoch_lock);
}

#endif
