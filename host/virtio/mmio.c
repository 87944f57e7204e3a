// SPDX-License-Identifier: Apache-2.0
/*
 * virtio over MMIO (virtio 1.2, section 4.2): how a device is plugged in, its
 * doorbells and its interrupt. The registers are in mmio_regs.c, the snapshot
 * in mmio_state.c.
 *
 * The device type sees its queues only while virtio_may_use() holds.
 *
 * Threads: doorbells ring on the device's loop, which takes the device's lock. A
 * notification that reaches the registers (no doorbell took it) rings the
 * doorbell, so that queues are served there only.
 *
 * Doorbells are edge-triggered: each ring is an event of its own, and the count
 * behind it means nothing and is never read.
 */
#include "virtio/mmio.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "virtio/mmio_internal.h"

METRICS_DEFINE(virtio, VIRTIO_METRICS, false)
METRICS_DEFINE(interrupts, INTERRUPTS_METRICS, false)

#define MMIO_TURNS 64 /* of a queue, before others on the same loop have theirs */

static struct virtio_mmio *mmio_from_dev(struct device *dev)
{
	return container_of(dev, struct virtio_mmio, dev);
}

static void mmio_raise(struct virtio_mmio *t, uint32_t cause)
{
	atomic_fetch_or(&t->interrupt_status, cause);
	metric_inc(interrupts, triggers);
	irq_raise(&t->irq);
}

/* virtio_dev.interrupt: nothing is sent before DRIVER_OK or after NEEDS_RESET, but the new configuration counts. */
static void mmio_interrupt(void *transport, uint32_t cause)
{
	struct virtio_mmio *t = transport;

	if (cause & VIRTIO_INT_CONFIG)
		t->config_generation++;
	if (t->vdev->driver_ok)
		mmio_raise(t, cause);
}

void virtio_mmio_kick(struct virtio_mmio *t, unsigned int q)
{
	(void)eventfd_write(t->doorbells[q].fd, 1);
}

/* mem_job.done: what the queue lacked is here. */
static void mmio_memory_came(void *ctx)
{
	const struct virtio_mmio_doorbell *doorbell = ctx;

	virtio_mmio_kick(doorbell->t, doorbell->q);
}

static void mmio_set_gates(struct virtio_mmio *t)
{
	if (!mem_has_helper(t->p->mem))
		return;
	for (unsigned int q = 0; q < t->vdev->ops->num_queues; q++) {
		struct virtio_mmio_doorbell *doorbell = &t->doorbells[q];

		doorbell->gate.job.done = mmio_memory_came;
		doorbell->gate.job.ctx = doorbell;
		t->vdev->queues[q].gate = &doorbell->gate;
	}
}

/* virtio_dev.kick */
static void mmio_kick(void *transport, unsigned int q)
{
	virtio_mmio_kick(transport, q);
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
	if (t->status & VIRTIO_CONFIG_S_DRIVER_OK)
		mmio_raise(t, VIRTIO_INT_CONFIG);
}

/* virtio_dev.settled */
static void mmio_settled(void *transport)
{
	struct virtio_mmio *t = transport;

	if (t->resetting)
		virtio_mmio_finish_reset(t);
}

static void mmio_notify(struct virtio_mmio *t, unsigned int q)
{
	struct virtio_dev *vdev = t->vdev;
	int r;

	/* Something in flight may have ended that a reset waits for. */
	if (t->resetting && vdev->ops->settle)
		(void)vdev->ops->settle(vdev);
	if (!virtio_may_use(vdev, q))
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
	struct virtio_mmio *t = doorbell->t;

	(void)events;
	for (unsigned int i = 0; i < MMIO_TURNS; i++) {
		device_lock(&t->dev);
		mmio_notify(t, doorbell->q);
		device_unlock(&t->dev);
		if (!t->vdev->ops->work || !t->vdev->ops->work(t->vdev))
			return;
	}
	virtio_mmio_kick(t, doorbell->q);
}

static int mmio_leak(struct device *dev, struct err *e)
{
	struct virtio_dev *vdev = mmio_from_dev(dev)->vdev;

	return vdev->ops->leak ? vdev->ops->leak(vdev, e) : 0;
}

/* A resume looks at all rings, and a leak event uses buffers. */
static int mmio_prepare(struct device *dev)
{
	const struct virtio_dev *vdev = mmio_from_dev(dev)->vdev;
	int r = 0;

	for (unsigned int q = 0; q < vdev->ops->num_queues && r == 0; q++)
		r = virtq_prepare(&vdev->queues[q], vdev->ops->leak != NULL);
	return r;
}

static bool mmio_leak_progress(struct device *dev, struct leak_progress *progress)
{
	struct virtio_dev *vdev = mmio_from_dev(dev)->vdev;

	return vdev->ops->leak_progress && vdev->ops->leak_progress(vdev, progress);
}

static int mmio_drain(struct device *dev, unsigned int ms, struct err *e)
{
	if (virtio_settle(mmio_from_dev(dev)->vdev, ms))
		return 0;
	return err_set(e, ETIMEDOUT, "%s: requests of the guest have not ended in %u ms", dev->name, ms);
}

static int mmio_flush(struct device *dev, struct err *e)
{
	struct virtio_dev *vdev = mmio_from_dev(dev)->vdev;

	return vdev->ops->flush ? vdev->ops->flush(vdev, e) : 0;
}

static void mmio_pause(struct device *dev)
{
	struct virtio_mmio *t = mmio_from_dev(dev);

	t->vdev->running = false;
	if (t->vdev->ops->pause)
		t->vdev->ops->pause(t->vdev);
}

/*
 * Doorbells that rang meanwhile were ignored, so every queue may have work. A device with a loop of its own is served there, and
 * not by this thread.
 */
static void mmio_resume(struct device *dev)
{
	struct virtio_mmio *t = mmio_from_dev(dev);

	t->vdev->running = true;
	if (t->vdev->ops->resume)
		t->vdev->ops->resume(t->vdev);
	for (unsigned int q = 0; q < t->vdev->ops->num_queues; q++) {
		if (t->vdev->ops->own_thread)
			virtio_mmio_kick(t, q);
		else
			mmio_notify(t, q);
	}
	/* An edge may have been lost between save and load; one too many does no harm: the driver looks at its queues once. */
	if (t->restored && t->vdev->driver_ok)
		atomic_fetch_or(&t->interrupt_status, VIRTIO_INT_USED);
	t->restored = false;
	if (atomic_load(&t->interrupt_status))
		t->p->ops->irq_raise_when_open(t->p, &t->irq);
}

static void mmio_free(struct device *dev)
{
	struct virtio_mmio *t = mmio_from_dev(dev);
	bool stopped = virtio_stop_loop(t->vdev);

	for (unsigned int q = 0; q < VIRTIO_MAX_QUEUES; q++) {
		struct virtio_mmio_doorbell *doorbell = &t->doorbells[q];

		mem_job_withdraw(t->p->mem, &doorbell->gate.job);
		if (doorbell->connected)
			t->p->ops->doorbell_remove(t->p, t->base + VIRTIO_MMIO_QUEUE_NOTIFY, q, doorbell->fd);
	}
	/* A thread that waits for what does not answer keeps what it works with until the process ends. */
	if (!stopped) {
		log_warn("%s: its thread has not ended", dev->name);
		return;
	}
	for (unsigned int q = 0; q < VIRTIO_MAX_QUEUES; q++)
		loop_remove(t->doorbells[q].source);
	t->vdev->ops->free(t->vdev); /* nobody kicks any more */
	for (unsigned int q = 0; q < VIRTIO_MAX_QUEUES; q++)
		cleanup_close(&t->doorbells[q].fd);
	cleanup_close(&t->irq.fd);
	device_fini(&t->dev);
	free(t);
}

static const struct device_ops mmio_ops = {
	.read = virtio_mmio_read,
	.write = virtio_mmio_write,
	.flush = mmio_flush,
	.save = virtio_mmio_save,
	.load = virtio_mmio_load,
	.prepare = mmio_prepare,
	.leak = mmio_leak,
	.leak_progress = mmio_leak_progress,
	.pause = mmio_pause,
	.drain = mmio_drain,
	.resume = mmio_resume,
	.free = mmio_free,
};

static int mmio_connect_doorbell(struct virtio_mmio *t, struct virtio_mmio_doorbell *doorbell, struct err *e)
{
	int r;

	doorbell->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (doorbell->fd < 0)
		return err_errno(e, errno, "device %s: cannot create an eventfd", t->dev.name);
	doorbell->source = loop_add(t->vdev->loop, doorbell->fd, EPOLLIN | EPOLLET, mmio_doorbell_rings, doorbell);
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
	uint32_t gsi;
	int r = t->p->ops->virtio_place(t->p, t->dev.name, &t->base, &gsi, e);

	if (r)
		return err_wrap(e, r, "device %s", t->dev.name);
	r = t->p->ops->irq_new(t->p, gsi, &t->irq, e);
	if (r)
		return err_wrap(e, r, "device %s", t->dev.name);
	for (unsigned int q = 0; q < t->vdev->ops->num_queues; q++) {
		r = mmio_connect_doorbell(t, &t->doorbells[q], e);
		if (r)
			return r;
	}
	r = virtio_start_loop(t->vdev, t->p, t->dev.name, e);
	if (r)
		return r;
	/* Last, since a bus keeps its devices for good. */
	r = bus_add(t->p->bus, BUS_MMIO, t->base, VIRTIO_MMIO_WINDOW, &t->dev);
	if (r)
		return err_errno(e, -r, "device %s: cannot claim the addresses at %#llx", t->dev.name,
				 (unsigned long long)t->base);
	return 0;
}

struct virtio_dev *virtio_mmio_vdev(struct device *dev)
{
	return mmio_from_dev(dev)->vdev;
}

int virtio_mmio_new(struct virtio_dev *vdev, const char *name, struct platform *p, struct device **dev, struct err *e)
{
	struct virtio_mmio *t = calloc(1, sizeof(*t));
	int r;

	if (!t) {
		vdev->ops->free(vdev);
		return err_set(e, ENOMEM, "device %s: out of memory", name);
	}
	device_init(&t->dev, &mmio_ops, name);
	t->vdev = vdev;
	t->p = p;
	t->irq.fd = -1;
	for (unsigned int q = 0; q < VIRTIO_MAX_QUEUES; q++)
		t->doorbells[q] = (struct virtio_mmio_doorbell){ .t = t, .q = q, .fd = -1 };
	vdev->dev = &t->dev;
	vdev->transport = t;
	vdev->interrupt = mmio_interrupt;
	vdev->kick = mmio_kick;
	vdev->fail = mmio_fail;
	vdev->settled = mmio_settled;
	mmio_set_gates(t);

	r = mmio_plug(t, e);
	if (r) {
		mmio_free(&t->dev);
		return r;
	}
	*dev = &t->dev;
	return 0;
}
