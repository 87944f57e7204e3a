// SPDX-License-Identifier: Apache-2.0
/*
 * The registers of virtio over MMIO and the status machine behind them (virtio
 * 1.2, sections 2.1, 3.1 and 4.2.2).
 *
 * What a driver does out of order is ignored and logged; the registers that it
 * can read back tell it so. QueueReset is not offered (VIRTIO_F_RING_RESET),
 * nor are shared memory regions.
 *
 * Any vCPU's thread. The registers that an interrupt handler and a driver's
 * notification use (InterruptStatus, InterruptACK, QueueNotify) take no lock.
 */
#include <endian.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "virtio/mmio_internal.h"

#define MMIO_RESET_MS 200u	  /* how long a vCPU that resets a device waits for what is in flight */
#define MMIO_MAGIC    0x74726976u /* "virt" */
#define MMIO_VERSION  2u
#define MMIO_VENDOR   0u
#define MMIO_NO_SHM   UINT32_MAX /* section 4.2.2: a shared memory region that is not there has length and base -1 */

static struct virtio_mmio *regs_from_dev(struct device *dev)
{
	return container_of(dev, struct virtio_mmio, dev);
}

bool virtio_mmio_features_ok(const struct virtio_dev *vdev, uint64_t features)
{
	return !(features & ~vdev->offered) && features >> VIRTIO_F_VERSION_1 & 1;
}

bool virtio_mmio_queue_exists(const struct virtio_dev *vdev, uint32_t q)
{
	if (q >= vdev->ops->num_queues)
		return false;
	if (vdev->ops->has_queue && !vdev->ops->has_queue(vdev, q))
		return false;
	return (vdev->features & vdev->ops->queue_needs[q]) == vdev->ops->queue_needs[q];
}

/* The queue that QueueSel names, or NULL. */
static struct virtq *regs_selected_queue(struct virtio_mmio *t)
{
	return virtio_mmio_queue_exists(t->vdev, t->queue_sel) ? &t->vdev->queues[t->queue_sel] : NULL;
}

void virtio_mmio_finish_reset(struct virtio_mmio *t)
{
	struct virtio_dev *vdev = t->vdev;

	t->resetting = false;
	for (unsigned int q = 0; q < vdev->ops->num_queues; q++)
		virtq_reset(&vdev->queues[q]);
	vdev->features = 0;
	t->status = 0;
	atomic_store(&t->interrupt_status, 0);
	t->device_features_sel = 0;
	t->driver_features_sel = 0;
	t->driver_features = 0;
	t->queue_sel = 0;
}

/* Sections 2.2 and 6.1: FEATURES_OK stays clear if the driver wants what we cannot do, or is not a modern one. */
static bool regs_accept_features(struct virtio_mmio *t)
{
	if (!virtio_mmio_features_ok(t->vdev, t->driver_features)) {
		log_warn("%s: the driver accepts features %#llx of %#llx: refused", t->dev.name,
			 (unsigned long long)t->driver_features, (unsigned long long)t->vdev->offered);
		return false;
	}
	t->vdev->features = t->driver_features;
	return true;
}

static void regs_driver_ok(struct virtio_mmio *t)
{
	t->vdev->driver_ok = !(t->status & VIRTIO_CONFIG_S_NEEDS_RESET);
	if (t->vdev->driver_ok && t->vdev->ops->activate)
		t->vdev->ops->activate(t->vdev);
}

/* One step of section 3.1.1; false ends the sequence. */
static bool regs_status_step(struct virtio_mmio *t, uint32_t bit, uint32_t needs)
{
	if (!(t->status & needs) && needs) {
		log_warn("%s: the driver set status bit %u out of order (status %#x): ignored", t->dev.name, bit,
			 t->status);
		return false;
	}
	if (bit == VIRTIO_CONFIG_S_FEATURES_OK && !regs_accept_features(t))
		return false;
	t->status |= bit;
	if (bit == VIRTIO_CONFIG_S_DRIVER_OK)
		regs_driver_ok(t);
	return true;
}

/*
 * Section 2.4.1: a reset is complete, and the driver has its memory back, when status reads 0. Until then nothing that was in
 * flight is given back, and registers keep what they have.
 */
static void regs_reset(struct virtio_mmio *t)
{
	struct virtio_dev *vdev = t->vdev;

	vdev->driver_ok = false;
	if (vdev->ops->reset)
		vdev->ops->reset(vdev);
	t->resetting = true;
	if (vdev->ops->settle)
		(void)vdev->ops->settle(vdev); /* may tell at once that it is settled */
	else
		virtio_mmio_finish_reset(t);
}

static void regs_write_status(struct virtio_mmio *t, uint32_t value)
{
	static const struct {
		uint32_t bit, needs;
	} steps[] = {
		{ VIRTIO_CONFIG_S_ACKNOWLEDGE, 0 },
		{ VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_ACKNOWLEDGE },
		{ VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_DRIVER },
		{ VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FEATURES_OK },
	};
	const uint32_t ours = VIRTIO_CONFIG_S_NEEDS_RESET; /* the driver neither sets nor clears it */

	if (value == 0) {
		regs_reset(t);
		return;
	}
	if (t->status & ~value & ~ours) {
		log_warn("%s: the driver tried to clear status bits (%#x over %#x): ignored", t->dev.name, value,
			 t->status);
		return;
	}
	if (value & VIRTIO_CONFIG_S_FAILED) {
		t->status |= VIRTIO_CONFIG_S_FAILED;
		t->vdev->driver_ok = false;
		log_warn("%s: the driver gave up on the device", t->dev.name);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		if (value & ~t->status & steps[i].bit && !regs_status_step(t, steps[i].bit, steps[i].needs))
			return;
	}
}

static uint32_t regs_read_register(struct virtio_mmio *t, uint64_t offset)
{
	const struct virtio_dev *vdev = t->vdev;
	const struct virtq *q = regs_selected_queue(t);

	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MMIO_MAGIC;
	case VIRTIO_MMIO_VERSION:
		return MMIO_VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return vdev->ops->device_id;
	case VIRTIO_MMIO_VENDOR_ID:
		return MMIO_VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return t->device_features_sel > 1 ? 0 : (uint32_t)(vdev->offered >> t->device_features_sel * 32);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return q ? q->max_size : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return q ? q->ready : 0;
	case VIRTIO_MMIO_STATUS:
		return t->status;
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return MMIO_NO_SHM;
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return t->config_generation;
	default:
		log_warn("%s: the driver read register %#llx, which cannot be read", t->dev.name,
			 (unsigned long long)offset);
		return 0;
	}
}

static void regs_set_half(gpa_t *addr, bool high, uint32_t value)
{
	unsigned int shift = high ? 32 : 0;

	*addr = (*addr & ~(0xffffffffull << shift)) | (uint64_t)value << shift;
}

static void regs_write_queue_ready(struct virtio_mmio *t, struct virtq *q, uint32_t value)
{
	if (value != 1) {
		q->ready = false;
		return;
	}
	if (!q->ready && virtq_enable(q, t->vdev->features))
		log_warn(
			"%s: queue %u of %u entries with its rings at %#llx, %#llx and %#llx is not valid: not enabled",
			t->dev.name, t->queue_sel, q->size, (unsigned long long)q->desc, (unsigned long long)q->avail,
			(unsigned long long)q->used);
}

/* Section 4.2.3.2: queues are set up between FEATURES_OK and DRIVER_OK, and not changed while they are in use. */
static void regs_write_queue(struct virtio_mmio *t, uint64_t offset, uint32_t value)
{
	const uint32_t phase = VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FAILED;
	struct virtq *q = regs_selected_queue(t);
	bool stops = offset == VIRTIO_MMIO_QUEUE_READY && value == 0;
	bool set_up = (t->status & phase) == VIRTIO_CONFIG_S_FEATURES_OK;

	if (stops && (!q || !q->ready))
		return; /* a driver that takes its queues down after a reset */
	if (!q || (!set_up && !stops) || (q->ready && offset != VIRTIO_MMIO_QUEUE_READY)) {
		log_warn("%s: the driver wrote %#x to register %#llx of queue %u with status %#x: ignored", t->dev.name,
			 value, (unsigned long long)offset, t->queue_sel, t->status);
		return;
	}
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		q->size = value <= q->max_size ? (uint16_t)value : 0; /* 0 is refused when the queue is enabled */
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		regs_set_half(&q->desc, offset == VIRTIO_MMIO_QUEUE_DESC_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		regs_set_half(&q->avail, offset == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		regs_set_half(&q->used, offset == VIRTIO_MMIO_QUEUE_USED_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		regs_write_queue_ready(t, q, value);
		break;
	}
}

static void regs_write_driver_features(struct virtio_mmio *t, uint32_t value)
{
	const uint32_t phase = VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_FAILED;

	if (t->driver_features_sel > 1 || (t->status & phase) != VIRTIO_CONFIG_S_DRIVER) {
		log_warn("%s: the driver wrote features %#x (half %u) with status %#x: ignored", t->dev.name, value,
			 t->driver_features_sel, t->status);
		return;
	}
	regs_set_half(&t->driver_features, t->driver_features_sel == 1, value);
}

static void regs_write_notify(struct virtio_mmio *t, uint32_t q)
{
	if (q < t->vdev->ops->num_queues)
		virtio_mmio_kick(t, q);
	else
		log_warn("%s: the driver notified queue %u, which does not exist", t->dev.name, q);
}

static void regs_write_register(struct virtio_mmio *t, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		t->device_features_sel = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		regs_write_driver_features(t, value);
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		t->driver_features_sel = value;
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		t->queue_sel = value;
		break;
	case VIRTIO_MMIO_QUEUE_NUM:
	case VIRTIO_MMIO_QUEUE_READY:
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		regs_write_queue(t, offset, value);
		break;
	case VIRTIO_MMIO_STATUS:
		regs_write_status(t, value);
		break;
	case VIRTIO_MMIO_SHM_SEL:
		break; /* there is no region to select */
	default:
		log_warn("%s: the driver wrote %#x to register %#llx, which cannot be written", t->dev.name, value,
			 (unsigned long long)offset);
		break;
	}
}

/* Section 4.2.2.2: registers are accessed whole, only the device's configuration space in any width. */
static bool regs_is_register(const struct virtio_mmio *t, uint64_t offset, unsigned int len)
{
	if (len == 4 && offset % 4 == 0)
		return true;
	log_warn("%s: the driver accessed %u bytes at %#llx; registers are 4 bytes wide", t->dev.name, len,
		 (unsigned long long)offset);
	return false;
}

static uint32_t regs_read(struct virtio_mmio *t, uint64_t offset)
{
	uint32_t value;

	if (offset == VIRTIO_MMIO_INTERRUPT_STATUS)
		return atomic_load(&t->interrupt_status);
	device_lock(&t->dev);
	value = regs_read_register(t, offset);
	device_unlock(&t->dev);
	return value;
}

static void regs_write(struct virtio_mmio *t, uint64_t offset, uint32_t value)
{
	bool resetting;

	if (offset == VIRTIO_MMIO_INTERRUPT_ACK) {
		atomic_fetch_and(&t->interrupt_status, ~value);
		return;
	}
	if (offset == VIRTIO_MMIO_QUEUE_NOTIFY) {
		regs_write_notify(t, value);
		return;
	}
	device_lock(&t->dev);
	if (!t->resetting)
		regs_write_register(t, offset, value);
	resetting = t->resetting;
	device_unlock(&t->dev);
	/* Linux does not look at the status after it has written 0: its vCPU waits a while, for what began before. */
	if (resetting && !virtio_settle(t->vdev, MMIO_RESET_MS))
		log_warn("%s: requests in flight have not ended: the reset is not complete yet", t->dev.name);
}

void virtio_mmio_read(struct device *dev, uint64_t offset, void *data, unsigned int len)
{
	struct virtio_mmio *t = regs_from_dev(dev);
	uint32_t value;

	memset(data, 0, len);
	if (offset >= VIRTIO_MMIO_CONFIG) {
		device_lock(dev);
		if (t->vdev->ops->config_read)
			t->vdev->ops->config_read(t->vdev, offset - VIRTIO_MMIO_CONFIG, data, len);
		device_unlock(dev);
		return;
	}
	if (!regs_is_register(t, offset, len))
		return;
	value = htole32(regs_read(t, offset));
	memcpy(data, &value, sizeof(value));
}

void virtio_mmio_write(struct device *dev, uint64_t offset, const void *data, unsigned int len)
{
	struct virtio_mmio *t = regs_from_dev(dev);
	uint32_t value;

	if (offset >= VIRTIO_MMIO_CONFIG) {
		device_lock(dev);
		if (t->vdev->ops->config_write)
			t->vdev->ops->config_write(t->vdev, offset - VIRTIO_MMIO_CONFIG, data, len);
		device_unlock(dev);
		return;
	}
	if (!regs_is_register(t, offset, len))
		return;
	memcpy(&value, data, sizeof(value));
	regs_write(t, offset, le32toh(value));
}
