// SPDX-License-Identifier: Apache-2.0
/*
 * The configuration space of the entropy device (docs/leak-protocol.md, rules 15
 * and 16): what no driver was told of, which event was carried out last, and
 * which one the driver has handled.
 *
 * Any vCPU's thread, with the device's lock held.
 */
#include <endian.h>
#include <stddef.h>
#include <string.h>

#include "virtio/rng.h"
#include "virtio/rng_internal.h"
#include "virtio_rng_leak.h"

/* Little endian. */
struct rng_config {
	uint32_t unreported;
	uint32_t generation;
	uint32_t handled;
};
_Static_assert(offsetof(struct rng_config, unreported) == VIRTIO_RNG_CONFIG_UNREPORTED &&
		       offsetof(struct rng_config, generation) == VIRTIO_RNG_CONFIG_GENERATION &&
		       offsetof(struct rng_config, handled) == VIRTIO_RNG_CONFIG_HANDLED,
	       "as the driver reads it");

static const struct rng *config_rng(const struct virtio_dev *vdev)
{
	return (const struct rng *)vdev;
}

/* A number is in one access, or not read at all. */
void rng_config_read(struct virtio_dev *vdev, uint64_t offset, void *data, unsigned int len)
{
	const struct rng_leak *leak = &config_rng(vdev)->leak;
	const struct rng_config config = {
		.unreported = htole32(leak->unreported),
		.generation = htole32(leak->generation),
		.handled = htole32(leak->handled),
	};

	memset(data, 0, len);
	if (!(vdev->offered >> VIRTIO_RNG_F_LEAK_HANDLED & 1) || offset >= sizeof(config))
		return;
	if (len > sizeof(config) - offset)
		len = (unsigned int)(sizeof(config) - offset);
	memcpy(data, (const uint8_t *)&config + offset, len);
}

static bool config_is_confirmed(const struct virtio_dev *vdev)
{
	return virtio_has(vdev, VIRTIO_RNG_F_LEAK) && virtio_has(vdev, VIRTIO_RNG_F_LEAK_HANDLED);
}

void rng_config_write(struct virtio_dev *vdev, uint64_t offset, const void *data, unsigned int len)
{
	struct rng *rng = (struct rng *)vdev;
	uint32_t value;

	if (offset != VIRTIO_RNG_CONFIG_HANDLED || len != sizeof(value) || !vdev->driver_ok ||
	    !config_is_confirmed(vdev))
		return;
	memcpy(&value, data, sizeof(value));
	if (!rng_leak_handled(&rng->leak, le32toh(value)))
		return;
	metric_inc(entropy, leak_handled_count);
	rng->p->ops->leak_handled(rng->p);
}

/* A late event is one event more, which nobody has been able to handle. */
bool rng_leak_progress(struct virtio_dev *vdev, struct leak_progress *progress)
{
	const struct rng_leak *leak = &config_rng(vdev)->leak;

	if (!(vdev->offered >> VIRTIO_RNG_F_LEAK_HANDLED & 1))
		return false;
	*progress = (struct leak_progress){
		.generation = leak->generation + leak->late,
		.handled = leak->handled,
		.late = leak->late,
		.driver = LEAK_DRIVER_NONE,
	};
	if (vdev->driver_ok)
		progress->driver = config_is_confirmed(vdev) ? LEAK_DRIVER_CONFIRMS : LEAK_DRIVER_SILENT;
	return true;
}
