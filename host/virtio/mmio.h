/* SPDX-License-Identifier: Apache-2.0 */
/* virtio over MMIO, version 2 (virtio 1.2, section 4.2): one 4 KiB window, one edge-triggered interrupt, one doorbell a queue. */
#ifndef VIRTIO_MMIO_H
#define VIRTIO_MMIO_H

#include "base/err.h"
#include "bus/device.h"
#include "bus/platform.h"
#include "virtio/virtio.h"

#define VIRTIO_MMIO_WINDOW 4096u

/*
 * Plugs vdev into the platform: window, GSI, doorbells, bus. name becomes device.name ("entropy", "drive.<id>").
 * Takes over vdev, also when it fails.
 */
int virtio_mmio_new(struct virtio_dev *vdev, const char *name, struct platform *p, struct device **dev,
		    struct err *e) must_check;
/* The device type behind a device that virtio_mmio_new() made; borrowed. */
struct virtio_dev *virtio_mmio_vdev(struct device *dev);

#endif
