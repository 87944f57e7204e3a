/* SPDX-License-Identifier: Apache-2.0 */
/* A driver of a virtio-mmio device in a fake platform: plugs it in, talks to its registers, sets up its queues. */
#ifndef VIRTIO_DRIVER_H
#define VIRTIO_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>

#include "bus/device.h"
#include "fake_platform.h"
#include "ring_driver.h"
#include "virtio/virtio.h"

#define DRV_RINGS_GPA 0x10000u	/* queue q's rings are at this + q * 0x10000 */
#define DRV_DATA_GPA  0x100000u /* free for buffers from here on */

#define FEATURE(bit) (1ull << (bit))

struct virtio_driver {
	struct fake_platform *fp;
	struct virtio_dev *vdev;
	struct device *dev;
	gpa_t base;
	uint32_t gsi;
	struct ring_driver rings[VIRTIO_MAX_QUEUES];
};

/* Plugs the device in and lets it run (device_ops.resume). */
void drv_plug(struct virtio_driver *drv, struct fake_platform *fp, struct virtio_dev *vdev, const char *name);
void drv_unplug(struct virtio_driver *drv);

uint32_t drv_read(struct virtio_driver *drv, unsigned int reg);
void drv_write(struct virtio_driver *drv, unsigned int reg, uint32_t value);

/* The steps of section 3.1.1. drv_negotiate gives whether FEATURES_OK stuck. VERSION_1 is added. */
bool drv_negotiate(struct virtio_driver *drv, uint64_t features);
/* Gives whether QueueReady stuck. */
bool drv_set_up_queue(struct virtio_driver *drv, unsigned int q, uint16_t size);
void drv_ready(struct virtio_driver *drv);
/* All of that with queues 0 to num - 1 of 256 entries. */
void drv_start(struct virtio_driver *drv, uint64_t features, unsigned int num);
void drv_reset(struct virtio_driver *drv);

/* Notifies the device of queue q and lets the loop serve it. */
void drv_kick(struct virtio_driver *drv, unsigned int q);

/* Is something in flight? (Looking gives back what has ended.) */
bool drv_is_busy(struct virtio_driver *drv);
/* Lets the loop serve what there is, until nothing is in flight and nothing more can be begun. */
void drv_settle(struct virtio_driver *drv);

/* As the machine does: what is paused stays so. */
void drv_pause(struct virtio_driver *drv);
void drv_resume(struct virtio_driver *drv);
int drv_leak(struct virtio_driver *drv, struct err *e);

/* The device's state as bytes (the caller frees), and back: 0 or -EINVAL. The driver's own state goes to *to as well. */
uint8_t *drv_save(struct virtio_driver *drv, size_t *len);
int drv_load(struct virtio_driver *to, const struct virtio_driver *from, const uint8_t *data, size_t len,
	     struct err *e);

#endif
