// SPDX-License-Identifier: Apache-2.0
/* What every virtio device type has in common before a transport adopts it. */
#include "virtio/virtio.h"

#include <assert.h>
#include <poll.h>

#include <linux/virtio_config.h>

#include "base/clock.h"

#define VIRTIO_SETTLE_POLL_MS 10u /* another thread may have taken the event that we wait for */

void virtio_dev_init(struct virtio_dev *vdev, const struct virtio_ops *ops, const struct platform *p, uint64_t offered,
		     uint16_t queue_size)
{
	/* The device type's table, not the guest, decides these. */
	assert(ops->device_id != 0); /* 0 would tell the guest that there is no device */
	assert(ops->num_queues >= 1 && ops->num_queues <= VIRTIO_MAX_QUEUES);
	assert(queue_size >= 1 && queue_size <= VIRTQ_MAX_SIZE && (queue_size & (queue_size - 1)) == 0);

	vdev->ops = ops;
	vdev->offered = offered | 1ull << VIRTIO_F_VERSION_1;
	vdev->features = 0;
	vdev->driver_ok = false;
	for (unsigned int q = 0; q < ops->num_queues; q++)
		virtq_init(&vdev->queues[q], p->mem, queue_size);
}

static int virtio_settle_fd(struct virtio_dev *vdev)
{
	int fd;

	if (!vdev->ops->settle)
		return -1;
	virtio_lock(vdev);
	fd = vdev->ops->settle(vdev);
	virtio_unlock(vdev);
	return fd;
}

bool virtio_settle(struct virtio_dev *vdev, unsigned int ms)
{
	uint64_t end_ns = clock_now_ns() + ms * 1000000ull;
	struct pollfd pfd = { .events = POLLIN };

	while ((pfd.fd = virtio_settle_fd(vdev)) >= 0) {
		if (clock_now_ns() >= end_ns)
			return false;
		(void)poll(&pfd, 1, VIRTIO_SETTLE_POLL_MS);
	}
	return true;
}
