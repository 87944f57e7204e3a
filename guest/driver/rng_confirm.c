// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Telling the device which of its events have been handled. See rng_leak.c.
 */
#include "rng_leak.h"

#include <linux/compiler.h>
#include <linux/virtio_config.h>

#include "virtio_rng_leak.h"

/* What the device has carried out so far; not asked while it is being stopped. */
u32 rng_leak_read_generation(struct rng_leak *leak)
{
	if (!READ_ONCE(leak->confirms) || !READ_ONCE(leak->running))
		return 0;
	return virtio_cread32(leak->vdev, VIRTIO_RNG_CONFIG_GENERATION);
}

/* The CRNG has a key that the seeds of all events up to this one are in. */
void rng_leak_confirm(struct rng_leak *leak, u32 generation)
{
	unsigned long flags;
	bool may;

	spin_lock_irqsave(&leak->lock, flags);
	may = leak->confirms && leak->covered && leak->running && !leak->broken;
	spin_unlock_irqrestore(&leak->lock, flags);
	if (may)
		virtio_cwrite32(leak->vdev, VIRTIO_RNG_CONFIG_HANDLED,
				generation);
}
