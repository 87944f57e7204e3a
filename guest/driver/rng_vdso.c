// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See rng_vdso.h. The device writes to the vDSO's page as well, with the same
 * request: a generation that is none of the kernel's. From then on the vDSO asks
 * the kernel, which puts one of its own there when we have armed the next event.
 */
#include "rng_vdso.h"

#ifdef RNG_HAVE_VDSO_EPOCH
#include <linux/compiler.h>
#include <linux/random_epoch.h>
#include <linux/scatterlist.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>

#include "rng_epoch.h"

/*
 * With platform DMA the device may write to another place first, from where the
 * word would be copied when its interrupt is handled. That is too late for a
 * program which looks at nothing else.
 */
void rng_vdso_claim(struct rng_vdso *v, struct virtio_device *vdev,
		    const struct rng_epoch *epoch)
{
	v->source = &epoch->source;
	v->generation = NULL;
	if (!virtio_has_feature(vdev, VIRTIO_F_ACCESS_PLATFORM))
		v->generation = random_epoch_vdso_claim(v->source);
}

void rng_vdso_release(struct rng_vdso *v)
{
	if (v->generation)
		random_epoch_vdso_release(v->source);
	v->generation = NULL;
}

/* The device holds nothing yet, and so writes nothing. */
void rng_vdso_start(struct rng_vdso *v)
{
	if (v->generation)
		random_epoch_vdso_claim(v->source);
}

/*
 * An event is armed. @latest is the one that came back to us last, not what is
 * on the page by now: an event that we have not collected yet may have used up
 * all that was armed. Any context.
 */
void rng_vdso_arm(struct rng_vdso *v, unsigned long latest)
{
	if (v->generation)
		random_epoch_vdso_arm(v->source, latest);
}

/* From here on the vDSO asks the kernel. Any context. */
void rng_vdso_disarm(struct rng_vdso *v)
{
	if (v->generation)
		random_epoch_vdso_disarm(v->source);
}

/*
 * What the device is to copy at an event which makes the counter @value, and
 * where to. Returns how many words that are.
 */
unsigned int rng_vdso_copies(const struct rng_vdso *v, unsigned long *from,
			     struct scatterlist *to, unsigned long *counter,
			     unsigned long value)
{
	unsigned int n = v->generation ? RNG_VDSO_COPIES : 1;

	sg_init_table(to, n);
	WRITE_ONCE(from[0], value);
	sg_set_buf(&to[0], counter, sizeof(*counter));
	if (n > 1) {
		WRITE_ONCE(from[1], random_epoch_vdso_generation(value));
		sg_set_buf(&to[1], v->generation, sizeof(*v->generation));
	}
	return n;
}
#endif
