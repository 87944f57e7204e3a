// SPDX-License-Identifier: Apache-2.0
#include "virtio.h"

/* Each look at a register leaves the guest: seconds in any case. */
#define WAIT_LOOKS 100000u

static uint64_t virtio_rings_gpa(const struct virtio_device *dev, unsigned int q)
{
	return VIRTIO_ARENA + (dev->number * VIRTIO_QUEUES + q) * VIRTIO_RINGS_LEN;
}

static void virtio_write64(const struct virtio_device *dev, unsigned int reg, uint64_t value)
{
	*virtio_reg(dev, reg) = (uint32_t)value;
	*virtio_reg(dev, reg + 4) = (uint32_t)(value >> 32);
}

/* The queue that QueueSel names. */
static bool virtio_set_up_queue(struct virtio_device *dev, unsigned int q)
{
	struct virtio_ring *ring = &dev->rings[q];
	uint64_t gpa = virtio_rings_gpa(dev, q);

	for (uint64_t i = 0; i < VIRTIO_RINGS_LEN; i += 8)
		*(volatile uint64_t *)(gpa + i) = 0;
	ring->desc = (struct vring_desc *)gpa;
	ring->avail = (volatile uint16_t *)(gpa + 0x1000);
	ring->used = (volatile uint16_t *)(gpa + 0x2000);
	ring->avail_idx = 0;
	*virtio_reg(dev, VIRTIO_MMIO_QUEUE_NUM) = VIRTIO_QUEUE_SIZE;
	virtio_write64(dev, VIRTIO_MMIO_QUEUE_DESC_LOW, gpa);
	virtio_write64(dev, VIRTIO_MMIO_QUEUE_AVAIL_LOW, gpa + 0x1000);
	virtio_write64(dev, VIRTIO_MMIO_QUEUE_USED_LOW, gpa + 0x2000);
	*virtio_reg(dev, VIRTIO_MMIO_QUEUE_READY) = 1;
	return *virtio_reg(dev, VIRTIO_MMIO_QUEUE_READY) == 1;
}

bool virtio_start(struct virtio_device *dev, uint64_t features)
{
	bool ok = true;

	features |= 1ull << VIRTIO_F_VERSION_1;
	*virtio_reg(dev, VIRTIO_MMIO_STATUS) = 0;
	if (*virtio_reg(dev, VIRTIO_MMIO_STATUS) != 0)
		return false;
	*virtio_reg(dev, VIRTIO_MMIO_STATUS) = 1;
	*virtio_reg(dev, VIRTIO_MMIO_STATUS) = 3;
	for (uint32_t half = 0; half < 2; half++) {
		*virtio_reg(dev, VIRTIO_MMIO_DEVICE_FEATURES_SEL) = half;
		*virtio_reg(dev, VIRTIO_MMIO_DRIVER_FEATURES_SEL) = half;
		*virtio_reg(dev, VIRTIO_MMIO_DRIVER_FEATURES) = (uint32_t)(features >> 32 * half) &
								*virtio_reg(dev, VIRTIO_MMIO_DEVICE_FEATURES);
	}
	*virtio_reg(dev, VIRTIO_MMIO_STATUS) = 11;
	for (unsigned int q = 0; q < dev->num_queues; q++) {
		*virtio_reg(dev, VIRTIO_MMIO_QUEUE_SEL) = q;
		if (*virtio_reg(dev, VIRTIO_MMIO_QUEUE_NUM_MAX) != 0) /* else it needs a feature */
			ok = virtio_set_up_queue(dev, q) && ok;
	}
	*virtio_reg(dev, VIRTIO_MMIO_STATUS) = 15;
	return ok && *virtio_reg(dev, VIRTIO_MMIO_STATUS) == 15;
}

void virtio_set_desc(struct virtio_ring *ring, unsigned int index, uint64_t addr, uint32_t len, uint16_t flags,
		     uint16_t next)
{
	volatile struct vring_desc *desc = &ring->desc[index % VIRTIO_QUEUE_SIZE];

	desc->addr = addr;
	desc->len = len;
	desc->flags = flags;
	desc->next = next;
}

void virtio_publish(struct virtio_ring *ring, uint16_t head)
{
	ring->avail[2 + ring->avail_idx++ % VIRTIO_QUEUE_SIZE] = head;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	ring->avail[1] = ring->avail_idx;
}

bool virtio_wait_used(const struct virtio_device *dev, unsigned int q, uint16_t idx)
{
	for (unsigned int i = 0; i < WAIT_LOOKS; i++) {
		if (dev->rings[q].used[1] == idx)
			return true;
		(void)*virtio_reg(dev, VIRTIO_MMIO_STATUS);
	}
	return false;
}

bool virtio_wait_status(const struct virtio_device *dev, uint32_t bits)
{
	for (unsigned int i = 0; i < WAIT_LOOKS; i++) {
		if ((*virtio_reg(dev, VIRTIO_MMIO_STATUS) & bits) == bits)
			return true;
	}
	return false;
}
