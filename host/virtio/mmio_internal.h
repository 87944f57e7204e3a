/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the MMIO transport share: mmio.c, mmio_regs.c, mmio_state.c. */
#ifndef VIRTIO_MMIO_INTERNAL_H
#define VIRTIO_MMIO_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bus/device.h"
#include "bus/irq.h"
#include "bus/platform.h"
#include "virtio/virtio.h"

struct loop_source;
struct virtio_mmio;

/* The descriptor that a guest's notification of queue q makes readable. */
struct virtio_mmio_doorbell {
	struct virtio_mmio *t;
	unsigned int q;
	int fd; /* eventfd, owned */
	struct loop_source *source;
	bool connected;		/* to the platform */
	struct virtq_gate gate; /* of queue q, where a page-fault handler has memory */
};

/* Everything below the platform is guarded by the device's lock, but for interrupt_status. */
struct virtio_mmio {
	struct device dev;	 /* must be first */
	struct virtio_dev *vdev; /* owned */
	struct platform *p;
	gpa_t base;
	struct irq_line irq;
	struct virtio_mmio_doorbell doorbells[VIRTIO_MAX_QUEUES];

	bool restored;	/* from a snapshot, and not resumed since */
	bool resetting; /* the driver has written status 0, and something is still in flight */
	uint32_t status;
	/*
	 * Read and acknowledged by interrupt handlers, without the lock. Causes are added under it, by whoever used buffers;
	 * a bit that appears between a driver's read and its acknowledgement is one that the driver did not acknowledge.
	 */
	_Atomic uint32_t interrupt_status;
	uint32_t device_features_sel;
	uint32_t driver_features_sel;
	uint64_t driver_features; /* as written so far; vdev->features once FEATURES_OK is set */
	uint32_t queue_sel;
	uint32_t config_generation;
};

/* May these be negotiated? Offered by us, and VERSION_1 among them. */
bool virtio_mmio_features_ok(const struct virtio_dev *vdev, uint64_t features);
/* Does queue q exist with the features that are negotiated? */
bool virtio_mmio_queue_exists(const struct virtio_dev *vdev, uint32_t q);

/* Rings the doorbell of queue q < num_queues; any thread. */
void virtio_mmio_kick(struct virtio_mmio *t, unsigned int q);

/* Ends a reset: nothing is in flight any more. */
void virtio_mmio_finish_reset(struct virtio_mmio *t);

/* device_ops: registers and configuration space. */
void virtio_mmio_read(struct device *dev, uint64_t offset, void *data, unsigned int len);
void virtio_mmio_write(struct device *dev, uint64_t offset, const void *data, unsigned int len);

void virtio_mmio_save(struct device *dev, struct enc *enc);
void virtio_mmio_load(struct device *dev, struct dec *dec);

#endif
