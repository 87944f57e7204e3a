/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio-mmio driver for guests without an operating system: as much of one as a hostile guest wants. */
#ifndef PAYLOAD_VIRTIO_H
#define PAYLOAD_VIRTIO_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>

/* Memory that is nobody's: rings, then tables and data. Everything that a device may be told to write lies in here. */
#define VIRTIO_ARENA	  0x1000000ull
#define VIRTIO_ARENA_SIZE 0x800000ull
#define VIRTIO_RINGS_LEN  0x10000ull /* of one queue: descriptors, available ring and used ring, a page each */
#define VIRTIO_TABLES	  (VIRTIO_ARENA + 0x100000)
#define VIRTIO_DATA	  (VIRTIO_ARENA + 0x200000)

#define VIRTIO_QUEUES	  5
#define VIRTIO_QUEUE_SIZE 64

struct virtio_ring {
	struct vring_desc *desc;
	volatile uint16_t *avail; /* flags, index, ring */
	volatile uint16_t *used;  /* flags, index, ring of two 32-bit numbers */
	uint16_t avail_idx;
};

struct virtio_device {
	uint64_t base;
	struct virtio_ring rings[VIRTIO_QUEUES];
	unsigned int num_queues;
	unsigned int number; /* among those of the guest: which part of the arena its rings are in */
	bool is_block;
};

static inline volatile uint32_t *virtio_reg(const struct virtio_device *dev, unsigned int reg)
{
	return (volatile uint32_t *)(dev->base + reg);
}

/*
 * Resets the device and sets it up with zeroed rings and those of the features that it offers (VERSION_1 is added). False
 * if it does not want.
 */
bool virtio_start(struct virtio_device *dev, uint64_t features);
void virtio_set_desc(struct virtio_ring *ring, unsigned int index, uint64_t addr, uint32_t len, uint16_t flags,
		     uint16_t next);
void virtio_publish(struct virtio_ring *ring, uint16_t head);
static inline void virtio_kick(const struct virtio_device *dev, unsigned int q)
{
	*virtio_reg(dev, VIRTIO_MMIO_QUEUE_NOTIFY) = q;
}
/* Waits until the device has used that many buffers, or for some seconds. */
bool virtio_wait_used(const struct virtio_device *dev, unsigned int q, uint16_t idx);
/* Waits until all bits are set in the status register, or for some seconds. */
bool virtio_wait_status(const struct virtio_device *dev, uint32_t bits);

#endif
