/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A leak turns off the kernel's vDSO by itself, on kernels that let a device do
 * so: its getrandom() need not enter the kernel then, see rng_vdso.c.
 */
#ifndef RNG_VDSO_H
#define RNG_VDSO_H

#include <linux/scatterlist.h>

struct random_epoch_source;
struct rng_epoch;
struct virtio_device;

#ifdef RNG_HAVE_VDSO_EPOCH
#define RNG_VDSO_COPIES 2 /* words that the device copies at an event */

struct rng_vdso {
	const struct random_epoch_source *source;
	u64 *generation; /* NULL: there is none for us */
};

void rng_vdso_claim(struct rng_vdso *v, struct virtio_device *vdev,
		    const struct rng_epoch *epoch);
void rng_vdso_release(struct rng_vdso *v);
void rng_vdso_start(struct rng_vdso *v);
void rng_vdso_arm(struct rng_vdso *v, unsigned long latest);
void rng_vdso_disarm(struct rng_vdso *v);
unsigned int rng_vdso_copies(const struct rng_vdso *v, unsigned long *from,
			     struct scatterlist *to, unsigned long *counter,
			     unsigned long value);
#else
#define RNG_VDSO_COPIES 1

struct rng_vdso {
};

static inline void rng_vdso_claim(struct rng_vdso *v, struct virtio_device *vdev,
				  const struct rng_epoch *epoch) { }
static inline void rng_vdso_release(struct rng_vdso *v) { }
static inline void rng_vdso_start(struct rng_vdso *v) { }
static inline void rng_vdso_arm(struct rng_vdso *v, unsigned long latest) { }
static inline void rng_vdso_disarm(struct rng_vdso *v) { }

static inline unsigned int rng_vdso_copies(const struct rng_vdso *v,
					   unsigned long *from,
					   struct scatterlist *to,
					   unsigned long *counter,
					   unsigned long value)
{
	sg_init_one(to, counter, sizeof(*counter));
	WRITE_ONCE(from[0], value);
	return 1;
}
#endif

#endif /* RNG_VDSO_H */
