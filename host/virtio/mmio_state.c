// SPDX-License-Identifier: Apache-2.0
/*
 * The MMIO transport's part of a snapshot. A map of: what the device is and
 * where it sits (checked on load: the machine was built from the same
 * configuration), the registers, the queues, and the device type's own map.
 *
 * The file may be forged: every combination that is taken over is one that a
 * driver could have reached through the registers.
 */
#include <string.h>

#include <linux/virtio_config.h>

#include "base/cleanup.h"
#include "base/codec.h"
#include "virtio/mmio_internal.h"

#define STATUS_KNOWN                                                                        \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK | \
	 VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED)
#define TYPE_MAX 16 /* bytes of a device type's name */

static struct virtio_mmio *state_from_dev(struct device *dev)
{
	return container_of(dev, struct virtio_mmio, dev);
}

void virtio_mmio_save(struct device *dev, struct enc *enc)
{
	struct virtio_mmio *t = state_from_dev(dev);
	struct virtio_dev *vdev = t->vdev;

	enc_str(enc, "type", vdev->ops->type);
	enc_u64(enc, "base", t->base);
	enc_u64(enc, "gsi", t->irq.gsi);
	enc_u64(enc, "status", t->status);
	enc_u64(enc, "interrupt_status", atomic_load(&t->interrupt_status));
	enc_u64(enc, "device_features_sel", t->device_features_sel);
	enc_u64(enc, "driver_features_sel", t->driver_features_sel);
	enc_u64(enc, "driver_features", t->driver_features);
	enc_u64(enc, "queue_sel", t->queue_sel);
	enc_u64(enc, "config_generation", t->config_generation);
	enc_array_begin(enc, "queues");
	for (unsigned int q = 0; q < vdev->ops->num_queues; q++) {
		enc_item_begin(enc);
		virtq_save(&vdev->queues[q], enc);
		enc_item_end(enc);
	}
	enc_array_end(enc);
	enc_map_begin(enc, "device");
	if (vdev->ops->save)
		vdev->ops->save(vdev, enc);
	enc_map_end(enc);
}

static void state_check_identity(const struct virtio_mmio *t, struct dec *dec)
{
	const char *type = dec_str(dec, "type", TYPE_MAX);
	uint64_t base = dec_u64(dec, "base", 0, UINT64_MAX);
	uint64_t gsi = dec_u64(dec, "gsi", 0, UINT32_MAX);

	if (!type || strcmp(type, t->vdev->ops->type) != 0)
		dec_fail(dec, "type is \"%s\", the configuration says \"%s\"", type ? type : "", t->vdev->ops->type);
	if (base != t->base || gsi != t->irq.gsi)
		dec_fail(dec, "base %#llx and gsi %llu are not %#llx and %u, where the configuration puts the device",
			 (unsigned long long)base, (unsigned long long)gsi, (unsigned long long)t->base, t->irq.gsi);
}

/* The order of section 3.1.1: a later step implies the earlier ones. */
static void state_load_status(struct virtio_mmio *t, struct dec *dec)
{
	static const uint32_t order[] = { VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER,
					  VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_DRIVER_OK };
	bool ok;

	t->status = (uint32_t)dec_u64(dec, "status", 0, UINT8_MAX);
	ok = !(t->status & ~STATUS_KNOWN);
	for (size_t i = 1; i < ARRAY_SIZE(order); i++)
		ok = ok && (!(t->status & order[i]) || t->status & order[i - 1]);
	if (!ok)
		dec_fail(dec, "status %#x is not one that a driver can reach", t->status);
}

static void state_load_features(struct virtio_mmio *t, struct dec *dec)
{
	struct virtio_dev *vdev = t->vdev;

	t->driver_features = dec_u64(dec, "driver_features", 0, UINT64_MAX);
	vdev->features = 0;
	if (!(t->status & VIRTIO_CONFIG_S_FEATURES_OK))
		return;
	if (!virtio_mmio_features_ok(vdev, t->driver_features)) {
		dec_fail(dec, "driver_features %#llx were negotiated, but the device offers %#llx",
			 (unsigned long long)t->driver_features, (unsigned long long)vdev->offered);
		return;
	}
	vdev->features = t->driver_features;
}

static void state_load_queues(struct virtio_mmio *t, struct dec *dec)
{
	struct virtio_dev *vdev = t->vdev;
	size_t num = dec_array(dec, "queues", VIRTIO_MAX_QUEUES);

	if (num != vdev->ops->num_queues) {
		dec_fail(dec, "queues has %zu entries, the device has %u", num, vdev->ops->num_queues);
		return;
	}
	for (unsigned int q = 0; q < num; q++) {
		struct dec *item = dec_item(dec, "queues", q);

		virtq_load(&vdev->queues[q], vdev->features, item);
		if (vdev->queues[q].ready &&
		    (!(t->status & VIRTIO_CONFIG_S_FEATURES_OK) || !virtio_mmio_queue_exists(vdev, q)))
			dec_fail(item, "the queue is ready, but with status %#x and features %#llx it cannot be",
				 t->status, (unsigned long long)vdev->features);
		dec_end(item);
	}
}

void virtio_mmio_load(struct device *dev, struct dec *dec)
{
	struct virtio_mmio *t = state_from_dev(dev);
	struct virtio_dev *vdev = t->vdev;
	struct dec *own;
	struct err e;

	vdev->driver_ok = false;
	state_check_identity(t, dec);
	state_load_status(t, dec);
	atomic_store(&t->interrupt_status,
		     (uint32_t)dec_u64(dec, "interrupt_status", 0, VIRTIO_INT_USED | VIRTIO_INT_CONFIG));
	t->device_features_sel = (uint32_t)dec_u64(dec, "device_features_sel", 0, UINT32_MAX);
	t->driver_features_sel = (uint32_t)dec_u64(dec, "driver_features_sel", 0, UINT32_MAX);
	t->queue_sel = (uint32_t)dec_u64(dec, "queue_sel", 0, UINT32_MAX);
	t->config_generation = (uint32_t)dec_u64(dec, "config_generation", 0, UINT32_MAX);
	state_load_features(t, dec);
	state_load_queues(t, dec);

	own = dec_map(dec, "device");
	if (vdev->ops->load)
		vdev->ops->load(vdev, own);
	dec_end(own);
	dec_end(dec);
	if (dec_error(dec, &e))
		return;

	vdev->driver_ok = (t->status & (VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET |
					VIRTIO_CONFIG_S_FAILED)) == VIRTIO_CONFIG_S_DRIVER_OK;
	if (vdev->driver_ok && vdev->ops->activate)
		vdev->ops->activate(vdev);
}
