/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract between a virtio device type and its transport (virtio 1.2,
 * section 2). The transport (mmio.c; PCI would be another) owns registers,
 * status machine, doorbells and interrupts; the device type owns what its
 * queues mean. Adding a device: HACKING.md.
 *
 * Where a device's work runs is a line in its description: on the machine's
 * loop, or (own_thread) on a loop of its own with a thread, for what waits for
 * files or peers. There its notify, work, timers and descriptors run.
 *
 * What a chain of virtq_pop() is made of can be touched without waiting, as far
 * as the queue's max_read and max_written say; what is missing is had by others
 * meanwhile (queue_gate.c).
 *
 * All ops but work and free run with the device's lock held. notify and timers
 * run on the device's loop; leak, pause, resume, flush, save and load on the machine's;
 * config access, reset and settle may run on a vCPU thread.
 */
#ifndef VIRTIO_VIRTIO_H
#define VIRTIO_VIRTIO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/metrics.h"
#include "bus/device.h"
#include "bus/platform.h"
#include "virtio/queue.h"

/* Of all virtio devices together. */
#define VIRTIO_METRICS(M) M(virtio, needs_reset_count)
METRICS_DECLARE(virtio, VIRTIO_METRICS)
/* Of all virtio devices. config_updates is for PCI, which there is none of. */
#define INTERRUPTS_METRICS(M) M(interrupts, triggers) M(interrupts, config_updates)
METRICS_DECLARE(interrupts, INTERRUPTS_METRICS)

#define VIRTIO_MAX_QUEUES 5

struct virtio_dev;

struct virtio_ops {
	const char *type;	 /* "rng", "block" */
	uint32_t device_id;	 /* virtio 1.2, section 5 */
	unsigned int num_queues; /* with every feature negotiated */
	/* Feature bits without which queue q does not exist for the driver: its QueueSizeMax reads 0. */
	uint64_t queue_needs[VIRTIO_MAX_QUEUES];
	/* Where that is not enough: does queue q exist with the features that are negotiated? Optional. */
	bool (*has_queue)(const struct virtio_dev *vdev, unsigned int q);
	bool own_thread; /* the device's loop has a thread of its own (filter "io", sandbox/rules.c) */
	bool sockets;	 /* which makes Unix sockets (filter "sockets") */

	/* The driver has set DRIVER_OK (or a snapshot was loaded in that state): features and queues are final. Optional. */
	void (*activate)(struct virtio_dev *vdev);
	/*
	 * Queue q may have work. Called only while DRIVER_OK, q is ready and the machine runs. Returns 0, or -errno when the
	 * ring is broken or the device cannot go on: the transport then sets DEVICE_NEEDS_RESET. Does a bounded amount of
	 * work (the guest can add buffers as fast as they are used) and asks for another turn with virtio_kick().
	 */
	int (*notify)(struct virtio_dev *vdev, unsigned int q);
	/*
	 * After each notify, on the device's loop, without the lock, which it takes when it needs it: what notify has found to do
	 * and may take its time. True: more may have come meanwhile, notify is called again. Also called while the machine is
	 * being paused: what was begun ends. Optional.
	 */
	bool (*work)(struct virtio_dev *vdev);
	/* Device configuration space; offset + len may lie outside it: read zeros, ignore writes. Optional. */
	void (*config_read)(struct virtio_dev *vdev, uint64_t offset, void *data, unsigned int len);
	void (*config_write)(struct virtio_dev *vdev, uint64_t offset, const void *data, unsigned int len);
	/*
	 * The driver starts over: forget what it had asked for. Limits on what it may use stay spent. Queues are reset by the
	 * transport, when nothing is in flight any more (settle). May run on a vCPU thread: leave timers alone, let them find
	 * nothing to do. Optional.
	 */
	void (*reset)(struct virtio_dev *vdev);
	/*
	 * A leak event (device.h: leak); called whatever the status is. A guest's broken ring is reported by virtio_fail() and
	 * is no error; an error means that the host could not do its part. Optional.
	 */
	int (*leak)(struct virtio_dev *vdev, struct err *e);
	/* device.h: leak_progress. Optional. */
	bool (*leak_progress)(struct virtio_dev *vdev, struct leak_progress *progress);
	/*
	 * Gives back what has ended. A descriptor that becomes readable when more may have; -1: nothing is in flight, the
	 * device type has told virtio_settled(), and nothing will touch the guest's memory until the next notify. Any thread,
	 * also while the machine is paused and after reset. Optional.
	 */
	int (*settle)(struct virtio_dev *vdev);
	/* Stop timers: on resume every queue is looked at again. Optional. */
	void (*pause)(struct virtio_dev *vdev);
	/* The machine is about to run, again or for the first time; before queues are looked at. Optional. */
	void (*resume)(struct virtio_dev *vdev);
	/* Before a snapshot (device.h: flush). Optional. */
	int (*flush)(struct virtio_dev *vdev, struct err *e);
	/* State of the type's own, beyond transport, features and queues. Optional. */
	void (*save)(struct virtio_dev *vdev, struct enc *enc);
	void (*load)(struct virtio_dev *vdev, struct dec *dec);
	void (*free)(struct virtio_dev *vdev);
};

/* Embedded first in each device type's struct. */
struct virtio_dev {
	const struct virtio_ops *ops;
	uint64_t offered;  /* feature bits of the device type; the transport adds none */
	uint64_t features; /* what the driver accepted; valid from FEATURES_OK on */
	bool running;	   /* between resume and pause */
	bool driver_ok;	   /* DRIVER_OK is set and the device does not need a reset */
	struct virtq queues[VIRTIO_MAX_QUEUES];

	struct loop *loop; /* the device's: the machine's, or owned (ops->own_thread) */
	bool owns_loop;
	bool has_thread;
	struct thread thread; /* runs the loop, if it is the device's own */

	/* Set by the transport when it adopts the device. */
	struct device *dev; /* borrowed; its lock guards all of this */
	void *transport;    /* borrowed */
	void (*interrupt)(void *transport, uint32_t cause);
	void (*kick)(void *transport, unsigned int q);
	void (*fail)(void *transport);
	void (*settled)(void *transport);
};

#define VIRTIO_INT_USED	  1u /* InterruptStatus bit 0: used-buffer notification */
#define VIRTIO_INT_CONFIG 2u /* bit 1: configuration change */

static inline bool virtio_has(const struct virtio_dev *vdev, unsigned int bit)
{
	return vdev->features >> bit & 1;
}

/* The gate: may the device type touch this queue now? The machine runs, and the driver has set up device and queue. */
static inline bool virtio_may_use(const struct virtio_dev *vdev, unsigned int q)
{
	return vdev->running && vdev->driver_ok && vdev->queues[q].ready;
}

/*
 * Sets up ops, features, queues (each of queue_size entries at most) and the loop. -errno, of the loop: vdev needs no
 * virtio_dev_fini() then.
 */
int virtio_dev_init(struct virtio_dev *vdev, const struct virtio_ops *ops, const struct platform *p, uint64_t offered,
		    uint16_t queue_size) must_check;
/* The device type's last call, when its sources are out of the loop. */
void virtio_dev_fini(struct virtio_dev *vdev);

/* For the transport: starts the thread of a loop of the device's own, and ends it. False: it is stuck, and everything that it uses must stay. */
int virtio_start_loop(struct virtio_dev *vdev, struct platform *p, const char *name, struct err *e) must_check;
bool virtio_stop_loop(struct virtio_dev *vdev) must_check;

/* For callbacks of the device type's own. */
static inline void virtio_lock(struct virtio_dev *vdev)
{
	device_lock(vdev->dev);
}

static inline void virtio_unlock(struct virtio_dev *vdev)
{
	device_unlock(vdev->dev);
}

/* The used-buffer notification, if the driver wants one for this queue now. */
static inline void virtio_notify_used(struct virtio_dev *vdev, struct virtq *q)
{
	if (virtq_need_irq(q))
		vdev->interrupt(vdev->transport, VIRTIO_INT_USED);
}

/* As if the driver had notified queue q: its notify op runs in the next round of the device's loop, if it may. Any thread. */
static inline void virtio_kick(struct virtio_dev *vdev, unsigned int q)
{
	vdev->kick(vdev->transport, q);
}

static inline void virtio_notify_config(struct virtio_dev *vdev)
{
	vdev->interrupt(vdev->transport, VIRTIO_INT_CONFIG);
}

/* Nothing is in flight: a reset that waited for that is complete. */
static inline void virtio_settled(struct virtio_dev *vdev)
{
	vdev->settled(vdev->transport);
}

/* Waits until nothing is in flight; false after ms. Without the lock, which it takes between the waits. */
bool virtio_settle(struct virtio_dev *vdev, unsigned int ms) must_check;

/* The driver broke the rules: DEVICE_NEEDS_RESET, counted, logged; the machine goes on without this device until it resets it. */
static inline void virtio_fail(struct virtio_dev *vdev)
{
	vdev->fail(vdev->transport);
}

#endif
