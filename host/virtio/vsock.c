// SPDX-License-Identifier: Apache-2.0
/*
 * The socket device: life, configuration space, snapshot. vsock_internal.h says
 * what the other files do.
 *
 * A snapshot has none of its connections, since the other ends of those are
 * here. What is made from it, and the guest that was saved when it goes on, is
 * told so; listening sockets of the guest stay as they are.
 */
#include "virtio/vsock.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

#include "base/log.h"
#include "base/loop.h"
#include "state/table.h"
#include "virtio/vsock_internal.h"

METRICS_DEFINE(vsock, VSOCK_METRICS, false)

static void vsock_config_read(struct virtio_dev *vdev, uint64_t offset, void *data, unsigned int len)
{
	const struct virtio_vsock_config config = { .guest_cid = htole64(vsock_from_vdev(vdev)->cid) };

	memset(data, 0, len);
	if (offset >= sizeof(config))
		return;
	if (len > sizeof(config) - offset)
		len = (unsigned int)(sizeof(config) - offset);
	memcpy(data, (const uint8_t *)&config + offset, len);
}

static void vsock_config_write(struct virtio_dev *vdev, uint64_t offset, const void *data, unsigned int len)
{
	(void)vdev;
	(void)data;
	metric_inc(vsock, cfg_fails);
	log_warn("vsock: the guest wrote %u bytes to its configuration space at %#llx: ignored", len,
		 (unsigned long long)offset);
}

/* The device's loop closes them. */
static void vsock_cut(struct vsock *v)
{
	v->cut = true;
	v->ack_ticks = 0;
	v->reset_late = false;
	virtio_kick(&v->vdev, VSOCK_RXQ);
}

static void vsock_reset(struct virtio_dev *vdev)
{
	struct vsock *v = vsock_from_vdev(vdev);

	vsock_cut(v);
	v->reset_wanted = false;
	v->told = 0;
}

/* The guest may still be dealing with events of earlier snapshots. */
struct vsock_device_state {
	uint32_t last_port, told, ack_avail;
};

static const struct state_field vsock_fields[] = {
	STATE_UINT_FIELD(struct vsock_device_state, last_port, VSOCK_FIRST_PORT - 1, 2u * VSOCK_FIRST_PORT - 1),
	STATE_UINT_FIELD(struct vsock_device_state, told, 0, VIRTQ_MAX_SIZE),
	STATE_UINT_FIELD(struct vsock_device_state, ack_avail, 0, VIRTQ_MAX_SIZE),
};
static const struct state_table vsock_table = STATE_TABLE(vsock_fields);

static void vsock_save(struct virtio_dev *vdev, struct enc *enc)
{
	struct vsock *v = vsock_from_vdev(vdev);
	const struct vsock_device_state state = {
		.last_port = v->last_port,
		.told = v->told,
		.ack_avail = v->ack_avail,
	};

	vsock_cut(v);
	v->reset_wanted = vdev->driver_ok;
	state_save(&vsock_table, &state, enc);
}

/* A driver that is not there yet resets the device before anything else. */
static void vsock_load(struct virtio_dev *vdev, struct dec *dec)
{
	struct vsock *v = vsock_from_vdev(vdev);
	struct vsock_device_state state;

	state_load(&vsock_table, &state, dec);
	v->last_port = state.last_port;
	v->told = state.told;
	v->ack_avail = state.ack_avail;
	v->reset_wanted = true;
}

static void vsock_free(struct virtio_dev *vdev)
{
	struct vsock *v = vsock_from_vdev(vdev);

	while (!TAILQ_EMPTY(&v->conns))
		vsock_remove(TAILQ_FIRST(&v->conns));
	loop_remove(v->accept_source);
	loop_remove(v->timer);
	unix_listener_close(&v->listener);
	virtio_dev_fini(vdev);
	free(v);
}

static const struct virtio_ops vsock_ops = {
	.type = "vsock",
	.device_id = VIRTIO_ID_VSOCK,
	.num_queues = VSOCK_NUM_QUEUES,
	.own_thread = true,
	.sockets = true,
	.notify = vsock_notify,
	.work = vsock_host_work,
	.config_read = vsock_config_read,
	.config_write = vsock_config_write,
	.reset = vsock_reset,
	.save = vsock_save,
	.load = vsock_load,
	.free = vsock_free,
};

static int vsock_init(struct vsock *v, const struct vsock_config *config, struct err *e)
{
	int r = unix_listener_open(&v->listener, VSOCK_UDS_PATH, config->uds_path, e);

	if (r)
		return r;
	v->accept_source = loop_add(v->vdev.loop, v->listener.fd, EPOLLIN | EPOLLET, vsock_on_accept, v);
	if (!v->accept_source)
		return err_errno(e, errno, "vsock: cannot watch the socket \"%s\"", config->uds_path);
	v->timer = loop_add_timer(v->vdev.loop, vsock_on_tick, v);
	return v->timer ? 0 : err_errno(e, errno, "vsock: cannot create a timer");
}

int vsock_new(const struct vsock_config *config, struct platform *p, struct virtio_dev **vdev, struct err *e)
{
	const uint64_t offered = 1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_F_IN_ORDER;
	struct vsock *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return err_set(e, ENOMEM, "vsock: out of memory");
	v->cid = config->guest_cid;
	v->listener.fd = -1;
	v->last_port = VSOCK_FIRST_PORT - 1;
	TAILQ_INIT(&v->conns);
	TAILQ_INIT(&v->ready);
	r = virtio_dev_init(&v->vdev, &vsock_ops, p, offered, VSOCK_QUEUE_SIZE);
	if (r) {
		free(v);
		return err_errno(e, -r, "vsock: cannot be created");
	}
	r = vsock_init(v, config, e);
	if (r) {
		vsock_free(&v->vdev);
		return r;
	}
	*vdev = &v->vdev;
	return 0;
}
