// SPDX-License-Identifier: Apache-2.0
/*
 * virtio over MMIO: registers, status machine, doorbells and the interrupt
 * (virtio 1.2, sections 2.1, 3.1 and 4.2).
 *
 * The device type sees its queues only while this holds: the machine runs, the
 * driver has set DRIVER_OK, nothing is wrong (vdev->driver_ok) and the queue is
 * ready. What a driver does out of order is ignored and logged; the registers
 * that it can read back tell it so.
 *
 * Threads: registers are accessed on vCPU threads by way of the bus, which
 * holds its lock; doorbells ring on the loop thread, which takes it. A
 * notification that reaches the registers (no doorbell took it) rings the
 * doorbell, so that queues are served on the loop thread only.
 */
#include "virtio/mmio.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "virtio/mmio_internal.h"

#define MMIO_MAGIC   0x74726976u /* "virt" */
#define MMIO_VERSION 2u
#define MMIO_VENDOR  0u
#define MMIO_NO_SHM  UINT32_MAX /* section 4.2.2: a shared memory region that is not there has length and base -1 */

static struct virtio_mmio *mmio_from_dev(struct device *dev)
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
	return (vdev->features & vdev->ops->queue_needs[q]) == vdev->ops->queue_needs[q];
}

/* The queue that QueueSel names, or NULL. */
static struct virtq *mmio_selected_queue(struct virtio_mmio *t)
{
	return virtio_mmio_queue_exists(t->vdev, t->queue_sel) ? &t->vdev->queues[t->queue_sel] : NULL;
}

/* virtio_dev.interrupt: nothing is sent before DRIVER_OK or after NEEDS_RESET, but the new configuration counts. */
static void mmio_interrupt(void *transport, uint32_t cause)
{
	struct virtio_mmio *t = transport;

	if (cause & VIRTIO_INT_CONFIG)
		t->config_generation++;
	if (!t->vdev->driver_ok)
		return;
	t->interrupt_status |= cause;
	irq_raise(&t->irq);
}

/* virtio_dev.kick */
static void mmio_kick(void *transport, unsigned int q)
{
	struct virtio_mmio *t = transport;

	(void)eventfd_write(t->doorbells[q].fd, 1);
}

/* virtio_dev.fail: section 2.1.2, the driver is told and nothing else happens until it resets the device. */
static void mmio_fail(void *transport)
{
	struct virtio_mmio *t = transport;

	if (t->status & VIRTIO_CONFIG_S_NEEDS_RESET)
		return;
	t->vdev->driver_ok = false;
	t->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	metric_inc(virtio, needs_reset_count);
	log_warn("%s: the device stands still until its driver resets it", t->dev.name);
	if (t->status & VIRTIO_CONFIG_S_DRIVER_OK) {
		t->interrupt_status |= VIRTIO_INT_CONFIG;
		irq_raise(&t->irq);
	}
}

static void mmio_notify(struct virtio_mmio *t, unsigned int q)
{
	struct virtio_dev *vdev = t->vdev;
	int r;

	if (!t->running || !vdev->driver_ok || !vdev->queues[q].ready)
		return;
	r = vdev->ops->notify(vdev, q);
	if (r < 0) {
		log_warn("%s: queue %u cannot be served: %s", t->dev.name, q, strerror(-r));
		mmio_fail(t);
	}
}

static void mmio_doorbell_rings(void *ctx, uint32_t events)
{
	struct virtio_mmio_doorbell *doorbell = ctx;
	eventfd_t count;

	(void)events;
	if (eventfd_read(doorbell->fd, &count))
		return;
	bus_lock(doorbell->t->p->bus);
	mmio_notify(doorbell->t, doorbell->q);
	bus_unlock(doorbell->t->p->bus);
}

static void mmio_reset(struct virtio_mmio *t)
{
	struct virtio_dev *vdev = t->vdev;

	vdev->driver_ok = false;
	if (vdev->ops->reset)
		vdev->ops->reset(vdev);
	for (unsigned int q = 0; q < vdev->ops->num_queues; q++)
		virtq_reset(&vdev->queues[q]);
	vdev->features = 0;
	t->status = 0;
	t->interrupt_status = 0;
	t->device_features_sel = 0;
	t->driver_features_sel = 0;
	t->driver_features = 0;
	t->queue_sel = 0;
}

/* Sections 2.2 and 6.1: FEATURES_OK stays clear if the driver wants what we cannot do, or is not a modern one. */
static bool mmio_accept_features(struct virtio_mmio *t)
{
	if (!virtio_mmio_features_ok(t->vdev, t->driver_features)) {
		log_warn("%s: the driver accepts features %#llx of %#llx: refused", t->dev.name,
			 (unsigned long long)t->driver_features, (unsigned long long)t->vdev->offered);
		return false;
	}
	t->vdev->features = t->driver_features;
	return true;
}

static void mmio_driver_ok(struct virtio_mmio *t)
{
	t->vdev->driver_ok = !(t->status & VIRTIO_CONFIG_S_NEEDS_RESET);
	if (t->vdev->driver_ok && t->vdev->ops->activate)
		t->vdev->ops->activate(t->vdev);
}

/* One step of section 3.1.1; false ends the sequence. */
static bool mmio_status_step(struct virtio_mmio *t, uint32_t bit, uint32_t needs)
{
	if (!(t->status & needs) && needs) {
		log_warn("%s: the driver set status bit %u out of order (status %#x): ignored", t->dev.name, bit,
			 t->status);
		return false;
	}
	if (bit == VIRTIO_CONFIG_S_FEATURES_OK && !mmio_accept_features(t))
		return false;
	t->status |= bit;
	if (bit == VIRTIO_CONFIG_S_DRIVER_OK)
		mmio_driver_ok(t);
	return true;
}

static void mmio_write_status(struct virtio_mmio *t, uint32_t value)
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
		mmio_reset(t);
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
		if (value & ~t->status & steps[i].bit && !mmio_status_step(t, steps[i].bit, steps[i].needs))
			return;
	}
}

static uint32_t mmio_read_register(struct virtio_mmio *t, uint64_t offset)
{
	const struct virtio_dev *vdev = t->vdev;
	const struct virtq *q = mmio_selected_queue(t);

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
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return t->interrupt_status;
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

static void mmio_set_half(gpa_t *addr, bool high, uint32_t value)
{
	unsigned int shift = high ? 32 : 0;

	*addr = (*addr & ~(0xffffffffull << shift)) | (uint64_t)value << shift;
}

static void mmio_write_queue_ready(struct virtio_mmio *t, struct virtq *q, uint32_t value)
{
	if (value != 1) {
		q->ready = false;
		return;
	}
	if (!q->ready && virtq_enable(q, t->vdev->features))
		log_warn("%s: queue %u of %u entries with its rings at %#llx, %#llx and %#llx is not valid: not enabled",
			 t->dev.name, t->queue_sel, q->size, (unsigned long long)q->desc, (unsigned long long)q->avail,
			 (unsigned long long)q->used);
}

/* Section 4.2.3.2: queues are set up between FEATURES_OK and DRIVER_OK, and not changed while they are in use. */
static void mmio_write_queue(struct virtio_mmio *t, uint64_t offset, uint32_t value)
{
	const uint32_t phase = VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FAILED;
	struct virtq *q = mmio_selected_queue(t);
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
		mmio_set_half(&q->desc, offset == VIRTIO_MMIO_QUEUE_DESC_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		mmio_set_half(&q->avail, offset == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		mmio_set_half(&q->used, offset == VIRTIO_MMIO_QUEUE_USED_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		mmio_write_queue_ready(t, q, value);
		break;
	}
}

static void mmio_write_driver_features(struct virtio_mmio *t, uint32_t value)
{
	const uint32_t phase = VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_FAILED;

	if (t->driver_features_sel > 1 || (t->status & phase) != VIRTIO_CONFIG_S_DRIVER) {
		log_warn("%s: the driver wrote features %#x (half %u) with status %#x: ignored", t->dev.name, value,
			 t->driver_features_sel, t->status);
		return;
	}
	mmio_set_half(&t->driver_features, t->driver_features_sel == 1, value);
}

static void mmio_write_register(struct virtio_mmio *t, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		t->device_features_sel = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		mmio_write_driver_features(t, value);
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
		mmio_write_queue(t, offset, value);
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		if (value < t->vdev->ops->num_queues)
			mmio_kick(t, value);
		else
			log_warn("%s: the driver notified queue %u, which does not exist", t->dev.name, value);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		t->interrupt_status &= ~value;
		break;
	case VIRTIO_MMIO_STATUS:
		mmio_write_status(t, value);
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
static bool mmio_is_register(const struct virtio_mmio *t, uint64_t offset, unsigned int len)
{
	if (len == 4 && offset % 4 == 0)
		return true;
	log_warn("%s: the driver accessed %u bytes at %#llx; registers are 4 bytes wide", t->dev.name, len,
		 (unsigned long long)offset);
	return false;
}

static void mmio_read(struct device *dev, uint64_t offset, void *data, unsigned int len)
{
	struct virtio_mmio *t = mmio_from_dev(dev);
	uint32_t value;

	memset(data, 0, len);
	if (offset >= VIRTIO_MMIO_CONFIG) {
		if (t->vdev->ops->config_read)
			t->vdev->ops->config_read(t->vdev, offset - VIRTIO_MMIO_CONFIG, data, len);
		return;
	}
	if (!mmio_is_register(t, offset, len))
		return;
	value = htole32(mmio_read_register(t, offset));
	memcpy(data, &value, sizeof(value));
}

static void mmio_write(struct device *dev, uint64_t offset, const void *data, unsigned int len)
{
	struct virtio_mmio *t = mmio_from_dev(dev);
	uint32_t value;

	if (offset >= VIRTIO_MMIO_CONFIG) {
		if (t->vdev->ops->config_write)
			t->vdev->ops->config_write(t->vdev, offset - VIRTIO_MMIO_CONFIG, data, len);
		return;
	}
	if (!mmio_is_register(t, offset, len))
		return;
	memcpy(&value, data, sizeof(value));
	mmio_write_register(t, offset, le32toh(value));
}

static int mmio_leak(struct device *dev, struct err *e)
{
	struct virtio_dev *vdev = mmio_from_dev(dev)->vdev;

	return vdev->ops->leak ? vdev->ops->leak(vdev, e) : 0;
}

static void mmio_pause(struct device *dev)
{
	struct virtio_mmio *t = mmio_from_dev(dev);

	t->running = false;
	if (t->vdev->ops->pause)
		t->vdev->ops->pause(t->vdev);
}

/* Doorbells that rang meanwhile were drained and ignored, so every queue may have work. */
static void mmio_resume(struct device *dev)
{
	struct virtio_mmio *t = mmio_from_dev(dev);

	t->running = true;
	for (unsigned int q = 0; q < t->vdev->ops->num_queues; q++)
		mmio_notify(t, q);
	/* An edge may have been lost between save and load; one too many does no harm. */
	if (t->interrupt_status)
		irq_raise(&t->irq);
}

static void mmio_free(struct device *dev)
{
	struct virtio_mmio *t = mmio_from_dev(dev);

	for (unsigned int q = 0; q < VIRTIO_MAX_QUEUES; q++) {
		struct virtio_mmio_doorbell *doorbell = &t->doorbells[q];

		loop_remove(doorbell->source);
		if (doorbell->connected)
			t->p->ops->doorbell_remove(t->p, t->base + VIRTIO_MMIO_QUEUE_NOTIFY, q, doorbell->fd);
		cleanup_close(&doorbell->fd);
	}
	cleanup_close(&t->irq.fd);
	t->vdev->ops->free(t->vdev);
	free(t);
}

static const struct device_ops mmio_ops = {
	.read = mmio_read,
	.write = mmio_write,
	.save = virtio_mmio_save,
	.load = virtio_mmio_load,
	.leak = mmio_leak,
	.pause = mmio_pause,
	.resume = mmio_resume,
	.free = mmio_free,
};

static int mmio_connect_doorbell(struct virtio_mmio *t, struct virtio_mmio_doorbell *doorbell, struct err *e)
{
	int r;

	doorbell->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (doorbell->fd < 0)
		return err_errno(e, errno, "device %s: cannot create an eventfd", t->dev.name);
	doorbell->source = loop_add(t->p->loop, doorbell->fd, EPOLLIN, mmio_doorbell_rings, doorbell);
	if (!doorbell->source)
		return err_errno(e, errno, "device %s: cannot watch an eventfd", t->dev.name);
	r = t->p->ops->doorbell(t->p, t->base + VIRTIO_MMIO_QUEUE_NOTIFY, doorbell->q, doorbell->fd, e);
	if (r)
		return err_wrap(e, r, "device %s", t->dev.name);
	doorbell->connected = true;
	return 0;
}

static int mmio_plug(struct virtio_mmio *t, struct err *e)
{
	int r = t->p->ops->mmio_window(t->p, &t->base, e);

	if (r)
		return err_wrap(e, r, "device %s", t->dev.name);
	r = t->p->ops->irq_new(t->p, 0, &t->irq, e);
	if (r)
		return err_wrap(e, r, "device %s", t->dev.name);
	for (unsigned int q = 0; q < t->vdev->ops->num_queues; q++) {
		r = mmio_connect_doorbell(t, &t->doorbells[q], e);
		if (r)
			return r;
	}
	/* Last, since a bus keeps its devices for good. */
	r = bus_add(t->p->bus, BUS_MMIO, t->base, VIRTIO_MMIO_WINDOW, &t->dev);
	if (r)
		return err_errno(e, -r, "device %s: cannot claim the addresses at %#llx", t->dev.name,
				 (unsigned long long)t->base);
	return 0;
}

int virtio_mmio_new(struct virtio_dev *vdev, const char *name, struct platform *p, struct device **dev, gpa_t *base,
		    uint32_t *gsi, struct err *e)
{
	struct virtio_mmio *t = calloc(1, sizeof(*t));
	int r;

	if (!t) {
		vdev->ops->free(vdev);
		return err_set(e, ENOMEM, "device %s: out of memory", name);
	}
	t->dev.ops = &mmio_ops;
	snprintf(t->dev.name, sizeof(t->dev.name), "%s", name);
	t->vdev = vdev;
	t->p = p;
	t->irq.fd = -1;
	for (unsigned int q = 0; q < VIRTIO_MAX_QUEUES; q++)
		t->doorbells[q] = (struct virtio_mmio_doorbell){ .t = t, .q = q, .fd = -1 };
	vdev->transport = t;
	vdev->interrupt = mmio_interrupt;
	vdev->kick = mmio_kick;
	vdev->fail = mmio_fail;

	r = mmio_plug(t, e);
	if (r) {
		mmio_free(&t->dev);
		return r;
	}
	*dev = &t->dev;
	*base = t->base;
	*gsi = t->irq.gsi;
	return 0;
}
