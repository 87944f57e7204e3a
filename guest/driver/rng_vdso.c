// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See rng_vdso.h. The device copies the counter to the vDSO's page as well, with
 * the same request. The vDSO makes bytes itself while the word is the one that
 * was armed; from an event on it asks the kernel, until we have armed the next.
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
	v->word = NULL;
	if (!virtio_has_feature(vdev, VIRTIO_F_ACCESS_PLATFORM))
		v->word = random_epoch_vdso_claim(v->source);
}

void rng_vdso_release(struct rng_vdso *v)
{
	if (v->word)
		random_epoch_vdso_release(v->source);
	v->word = NULL;
}

/* The device holds nothing yet, and so writes nothing. */
void rng_vdso_start(struct rng_vdso *v)
{
	if (v->word)
		v->value = READ_ONCE(*v->word);
}

/* The device has given this value back to us. */
void rng_vdso_seen(struct rng_vdso *v, unsigned long value)
{
	v->value = value;
}

/*
 * An event is armed. For the value that came back to us last, not for what the
 * word is by now: an event that we have not collected yet may have used up all
 * that was armed. Any context.
 */
void rng_vdso_arm(struct rng_vdso *v)
{
	if (v->word)
		random_epoch_vdso_arm(v->source, v->value);
}

/* From here on the vDSO asks the kernel. Any context. */
void rng_vdso_disarm(struct rng_vdso *v)
{
	if (v->word)
		random_epoch_vdso_disarm(v->source);
}

/* Where the counter goes to. Returns how many places that are. */
unsigned int rng_vdso_places(const struct rng_vdso *v, struct scatterlist *to,
			     unsigned long *counter)
{
	unsigned int n = v->word ? RNG_VDSO_PLACES : 1;

	sg_init_table(to, n);
	sg_set_buf(&to[0], counter, sizeof(*counter));
	if (n > 1)
		sg_set_buf(&to[1], v->word, sizeof(*v->word));
	return n;
}
#endif
