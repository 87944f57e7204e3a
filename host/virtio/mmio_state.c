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
#include "state/codec.h"
#include "state/table.h"
#include "virtio/mmio_internal.h"

#define STATUS_KNOWN                                                                        \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK | \
	 VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED)
#define TYPE_MAX 16 /* bytes of a device type's name */

/* The transport's registers; what the device is stands beside them, and is not to be taken over but compared. */
struct mmio_state {
	uint64_t base;
	uint32_t gsi;
	uint32_t status;
	uint32_t interrupt_status;
	uint32_t device_features_sel;
	uint32_t driver_features_sel;
	uint64_t driver_features;
	uint32_t queue_sel;
	uint32_t config_generation;
};
static const struct state_field mmio_fields[] = {
	STATE_UINT_FIELD(struct mmio_state, base, 0, UINT64_MAX),
	STATE_UINT_FIELD(struct mmio_state, gsi, 0, UINT32_MAX),
	STATE_UINT_FIELD(struct mmio_state, status, 0, UINT8_MAX),
	STATE_UINT_FIELD(struct mmio_state, interrupt_status, 0, VIRTIO_INT_USED | VIRTIO_INT_CONFIG),
	STATE_UINT_FIELD(struct mmio_state, device_features_sel, 0, UINT32_MAX),
	STATE_UINT_FIELD(struct mmio_state, driver_features_sel, 0, UINT32_MAX),
	STATE_UINT_FIELD(struct mmio_state, driver_features, 0, UINT64_MAX),
	STATE_UINT_FIELD(struct mmio_state, queue_sel, 0, UINT32_MAX),
	STATE_UINT_FIELD(struct mmio_state, config_generation, 0, UINT32_MAX),
};
static const struct state_table mmio_table = STATE_TABLE(mmio_fields);

static struct virtio_mmio *state_from_dev(struct device *dev)
{
	return container_of(dev, struct virtio_mmio, dev);
}

void virtio_mmio_save(struct device *dev, struct enc *enc)
{
	struct virtio_mmio *t = state_from_dev(dev);
	struct virtio_dev *vdev = t->vdev;
	const struct mmio_state state = {
		.base = t->base,
		.gsi = t->irq.gsi,
		.status = t->status,
		.interrupt_status = atomic_load(&t->interrupt_status),
		.device_features_sel = t->device_features_sel,
		.driver_features_sel = t->driver_features_sel,
		.driver_features = t->driver_features,
		.queue_sel = t->queue_sel,
		.config_generation = t->config_generation,
	};

	enc_str(enc, "type", vdev->ops->type);
	state_save(&mmio_table, &state, enc);
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

static void state_check_identity(const struct virtio_mmio *t, const struct mmio_state *state, struct dec *dec)
{
	const char *type = dec_str(dec, "type", TYPE_MAX);

	if (!type || strcmp(type, t->vdev->ops->type) != 0)
		dec_fail(dec, "type is \"%s\", the configuration says \"%s\"", type ? type : "", t->vdev->ops->type);
	if (state->base != t->base || state->gsi != t->irq.gsi)
		dec_fail(dec, "base %#llx and gsi %u are not %#llx and %u, where the configuration puts the device",
			 (unsigned long long)state->base, state->gsi, (unsigned long long)t->base, t->irq.gsi);
}

/* The order of section 3.1.1: a later step implies the earlier ones. */
static void state_check_status(uint32_t status, struct dec *dec)
{
	static const uint32_t order[] = { VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER,
					  VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_DRIVER_OK };
	bool ok = !(status & ~STATUS_KNOWN);

	for (size_t i = 1; i < ARRAY_SIZE(order); i++)
		ok = ok && (!(status & order[i]) || status & order[i - 1]);
	if (!ok)
		dec_fail(dec, "status %#x is not one that a driver can reach", status);
}

static void state_set_features(struct virtio_mmio *t, struct dec *dec)
{
	struct virtio_dev *vdev = t->vdev;

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
	}
}

static void state_load_registers(struct virtio_mmio *t, struct dec *dec)
{
	struct mmio_state state;

	state_load_part(&mmio_table, &state, dec);
	state_check_identity(t, &state, dec);
	state_check_status(state.status, dec);
	t->status = state.status;
	atomic_store(&t->interrupt_status, state.interrupt_status);
	t->device_features_sel = state.device_features_sel;
	t->driver_features_sel = state.driver_features_sel;
	t->driver_features = state.driver_features;
	t->queue_sel = state.queue_sel;
	t->config_generation = state.config_generation;
	state_set_features(t, dec);
}

void virtio_mmio_load(struct device *dev, struct dec *dec)
{
	struct virtio_mmio *t = state_from_dev(dev);
	struct virtio_dev *vdev = t->vdev;
	struct dec *own;
	struct err e;

	vdev->driver_ok = false;
	state_load_registers(t, dec);
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
	t->restored = vdev->driver_ok;
	if (vdev->driver_ok && vdev->ops->activate)
		vdev->ops->activate(vdev);
}
