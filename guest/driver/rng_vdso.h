/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The counter on the page of the kernel's vDSO, on kernels that have a word for
 * it there: its getrandom() need not enter the kernel then, see rng_vdso.c.
 */
#ifndef RNG_VDSO_H
#define RNG_VDSO_H

#include <linux/scatterlist.h>

struct random_epoch_source;
struct rng_epoch;
struct virtio_device;

#ifdef RNG_HAVE_VDSO_EPOCH
#define RNG_VDSO_PLACES 2 /* that the counter is copied to */

struct rng_vdso {
	const struct random_epoch_source *source;
	unsigned long *word; /* NULL: there is none for us */
	unsigned long value; /* what it was changed to, as far as we have seen */
};

void rng_vdso_claim(struct rng_vdso *v, struct virtio_device *vdev,
		    const struct rng_epoch *epoch);
void rng_vdso_release(struct rng_vdso *v);
void rng_vdso_start(struct rng_vdso *v);
void rng_vdso_seen(struct rng_vdso *v, unsigned long value);
void rng_vdso_arm(struct rng_vdso *v);
void rng_vdso_disarm(struct rng_vdso *v);
unsigned int rng_vdso_places(const struct rng_vdso *v, struct scatterlist *to,
			     unsigned long *counter);
#else
#define RNG_VDSO_PLACES 1

struct rng_vdso {
};

static inline void rng_vdso_claim(struct rng_vdso *v, struct virtio_device *vdev,
				  const struct rng_epoch *epoch) { }
static inline void rng_vdso_release(struct rng_vdso *v) { }
static inline void rng_vdso_start(struct rng_vdso *v) { }
static inline void rng_vdso_seen(struct rng_vdso *v, unsigned long value) { }
static inline void rng_vdso_arm(struct rng_vdso *v) { }
static inline void rng_vdso_disarm(struct rng_vdso *v) { }

static inline unsigned int rng_vdso_places(const struct rng_vdso *v,
					   struct scatterlist *to,
					   unsigned long *counter)
{
	sg_init_one(to, counter, sizeof(*counter));
	return 1;
}
#endif

#endif /* RNG_VDSO_H */
