// SPDX-License-Identifier: Apache-2.0
/* What every virtio device type has in common before a transport adopts it. */
#include "virtio/virtio.h"

#include <assert.h>
#include <poll.h>
#include <time.h>

#include <linux/virtio_config.h>

#include "base/clock.h"
#include "base/loop.h"

#define VIRTIO_THREAD_END_MS  2000 /* how long the end of the process waits for a system call that does not return */
#define VIRTIO_SETTLE_POLL_MS 10u  /* another thread may have taken the event that we wait for */

int virtio_dev_init(struct virtio_dev *vdev, const struct virtio_ops *ops, const struct platform *p, uint64_t offered,
		    uint16_t queue_size)
{
	struct loop *loop = p->loop;

	/* The device type's table, not the guest, decides these. */
	assert(ops->device_id != 0); /* 0 would tell the guest that there is no device */
	assert(ops->num_queues >= 1 && ops->num_queues <= VIRTIO_MAX_QUEUES);
	assert(!ops->work || ops->own_thread);
	assert(queue_size >= 1 && queue_size <= VIRTQ_MAX_SIZE && (queue_size & (queue_size - 1)) == 0);

	vdev->owns_loop = ops->own_thread && !p->one_loop;
	if (vdev->owns_loop)
		loop = loop_new();
	if (!loop)
		return -errno;
	vdev->loop = loop;
	vdev->ops = ops;
	vdev->offered = offered | 1ull << VIRTIO_F_VERSION_1;
	vdev->features = 0;
	vdev->running = false;
	vdev->driver_ok = false;
	for (unsigned int q = 0; q < ops->num_queues; q++)
		virtq_init(&vdev->queues[q], p->mem, queue_size);
	return 0;
}

void virtio_dev_fini(struct virtio_dev *vdev)
{
	if (vdev->owns_loop)
		loop_free(vdev->loop);
	vdev->owns_loop = false;
}

static void *virtio_run_loop(void *arg)
{
	(void)loop_run(arg);
	return NULL;
}

int virtio_start_loop(struct virtio_dev *vdev, struct platform *p, const char *name, struct err *e)
{
	int r;

	if (!vdev->owns_loop)
		return 0;
	r = p->ops->thread(p, name, vdev->ops->sockets, virtio_run_loop, vdev->loop, &vdev->thread, e);
	vdev->has_thread = r == 0;
	return r;
}

bool virtio_stop_loop(struct virtio_dev *vdev)
{
	if (!vdev->has_thread)
		return true;
	loop_stop(vdev->loop, 0);
	return thread_join_within(&vdev->thread, VIRTIO_THREAD_END_MS);
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
		/* Without a thread, this is the one that has the device's loop. */
		if (vdev->ops->work && !vdev->has_thread && vdev->ops->work(vdev))
			continue;
		(void)poll(&pfd, 1, VIRTIO_SETTLE_POLL_MS);
	}
	return true;
}
