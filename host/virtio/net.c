// SPDX-License-Identifier: Apache-2.0
/*
 * The network device (virtio 1.2, section 5.1): a receive queue and a transmit
 * queue over a backend, which is a tap. It has a thread of its own, which makes
 * all system calls for frames, with the device's lock: none of them waits. So a
 * device that is paused has nothing in flight.
 *
 * The driver's choice of features reaches the tap from that thread, too, before
 * the first frame: on a vCPU's thread the sandbox knows nothing of taps.
 *
 * There is no control queue and no link status: the link is up.
 */
#include "virtio/net.h"

#include <endian.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

#include "base/log.h"
#include "base/loop.h"
#include "config/mac.h"
#include "state/limiter.h"
#include "state/table.h"
#include "virtio/net_internal.h"

METRICS_DEFINE_TIMED(net, NET_METRICS, NET_TIMES, false)

/* What is read beyond it (speed, hash types) needs features that are not offered. */
#define NET_CONFIG_LEN offsetof(struct virtio_net_config, speed)

_Static_assert(NET_CONFIG_LEN == 12, "layout of the specification, section 5.1.4");

static void net_config_read(struct virtio_dev *vdev, uint64_t offset, void *data, unsigned int len)
{
	const struct net *net = net_from_vdev(vdev);
	struct virtio_net_config config = { .mtu = htole16(net->mtu) };

	memcpy(config.mac, net->mac, sizeof(config.mac));
	memset(data, 0, len);
	if (offset >= NET_CONFIG_LEN)
		return;
	if (len > NET_CONFIG_LEN - offset)
		len = (unsigned int)(NET_CONFIG_LEN - offset);
	memcpy(data, (const uint8_t *)&config + offset, len);
}

/* Section 5.1.5: with a MAC of the device's the driver does not write it; there is nothing else to write. */
static void net_config_write(struct virtio_dev *vdev, uint64_t offset, const void *data, unsigned int len)
{
	struct net *net = net_from_vdev(vdev);

	(void)data;
	metric_inc_of(net->counters, cfg_fails);
	log_warn("network interface %s: the driver wrote %u bytes at %llu of the configuration space: ignored",
		 net->iface_id, len, (unsigned long long)offset);
}

static void net_activate(struct virtio_dev *vdev)
{
	net_from_vdev(vdev)->features_changed = true;
	virtio_kick(vdev, NET_RXQ);
}

static int net_tell_features(struct net *net)
{
	int r = 0;

	if (!net->features_changed)
		return 0;
	if (net->backend->ops->set_features)
		r = net->backend->ops->set_features(net->backend, net->vdev.features);
	if (r) {
		metric_inc_of(net->counters, activate_fails);
		log_error("network interface %s: the tap does not take the driver's features %#llx: %s", net->iface_id,
			  (unsigned long long)net->vdev.features, strerror(-r));
		return r;
	}
	net->features_changed = false;
	return 0;
}

void net_tell_used(struct net *net)
{
	struct virtio_dev *vdev = &net->vdev;
	bool of_rx = virtq_need_irq(&vdev->queues[NET_RXQ]);
	bool of_tx = virtq_need_irq(&vdev->queues[NET_TXQ]);

	if (of_rx || of_tx)
		vdev->interrupt(vdev->transport, VIRTIO_INT_USED);
}

static int net_run(struct net *net, unsigned int q)
{
	int r = net_tell_features(net);

	if (!r)
		r = q == NET_RXQ ? net_rx_run(net) : net_tx_run(net);
	if (r)
		metric_inc_of(net->counters, event_fails);
	return r;
}

static int net_notify(struct virtio_dev *vdev, unsigned int q)
{
	struct net *net = net_from_vdev(vdev);

	if (q == NET_RXQ)
		metric_inc_of(net->counters, rx_queue_event_count);
	else
		metric_inc_of(net->counters, tx_queue_event_count);
	return net_run(net, q);
}

/* Frames have come for a queue that waits for them. Edge-triggered: what cannot be taken now is looked at by whatever ends that. */
static void net_on_frames(void *ctx, uint32_t events)
{
	struct net *net = ctx;

	(void)events;
	virtio_lock(&net->vdev);
	metric_inc_of(net->counters, rx_tap_event_count);
	if (virtio_may_use(&net->vdev, NET_RXQ) && net_run(net, NET_RXQ)) {
		log_warn("network interface %s: its receive queue cannot be served", net->iface_id);
		virtio_fail(&net->vdev);
	}
	virtio_unlock(&net->vdev);
}

/* net_backend.ready */
static void net_on_ready(void *ctx)
{
	struct net *net = ctx;

	virtio_kick(&net->vdev, NET_RXQ);
}

static void net_reset(struct virtio_dev *vdev)
{
	struct net *net = net_from_vdev(vdev);

	throttle_reset(&net->rx_throttle);
	throttle_reset(&net->tx_throttle);
	net_rx_forget(net);
	net->features_changed = false;
}

static void net_pause(struct virtio_dev *vdev)
{
	struct net *net = net_from_vdev(vdev);

	throttle_pause(&net->rx_throttle);
	throttle_pause(&net->tx_throttle);
	net_rx_put_back(net);
}

struct net_state {
	struct rate_limiter_state rx_rate_limiter, tx_rate_limiter;
};

static const struct state_field net_fields[] = {
	STATE_MAP_FIELD(struct net_state, rx_rate_limiter, &limiter_state_table),
	STATE_MAP_FIELD(struct net_state, tx_rate_limiter, &limiter_state_table),
};
static const struct state_table net_table = STATE_TABLE(net_fields);

/* A frame that waits for buffers is not saved: a copy of the machine does without it, as if its network had lost it. */
static void net_save(struct virtio_dev *vdev, struct enc *enc)
{
	struct net *net = net_from_vdev(vdev);
	struct net_state state;

	throttle_get(&net->rx_throttle, &state.rx_rate_limiter);
	throttle_get(&net->tx_throttle, &state.tx_rate_limiter);
	state_save(&net_table, &state, enc);
}

static void net_load(struct virtio_dev *vdev, struct dec *dec)
{
	struct net *net = net_from_vdev(vdev);
	struct net_state state;

	state_load(&net_table, &state, dec);
	throttle_load(&net->rx_throttle, &state.rx_rate_limiter, dec);
	throttle_load(&net->tx_throttle, &state.tx_rate_limiter, dec);
}

static void net_free_backend(struct net_backend *backend)
{
	if (backend)
		backend->ops->free(backend);
}

static void net_free(struct virtio_dev *vdev)
{
	struct net *net = net_from_vdev(vdev);

	net_rx_forget(net);
	throttle_fini(&net->rx_throttle);
	throttle_fini(&net->tx_throttle);
	loop_remove(net->source);
	net_free_backend(net->service);
	net_free_backend(net->backend);
	virtio_dev_fini(vdev);
	metrics_one_free(net->metrics);
	free(net->rx.spill);
	free(net->iface_id);
	free(net);
}

static const struct virtio_ops net_ops = {
	.type = "net",
	.device_id = VIRTIO_ID_NET,
	.num_queues = NET_NUM_QUEUES,
	.own_thread = true,
	.activate = net_activate,
	.notify = net_notify,
	.config_read = net_config_read,
	.config_write = net_config_write,
	.reset = net_reset,
	.pause = net_pause,
	.save = net_save,
	.load = net_load,
	.free = net_free,
};

static uint64_t net_features(const struct network_config *config)
{
	static const unsigned int always[] = {
		VIRTIO_RING_F_INDIRECT_DESC, VIRTIO_RING_F_EVENT_IDX, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_CSUM,
		VIRTIO_NET_F_HOST_TSO4,	     VIRTIO_NET_F_HOST_TSO6,  VIRTIO_NET_F_HOST_UFO,  VIRTIO_NET_F_GUEST_CSUM,
		VIRTIO_NET_F_GUEST_TSO4,     VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_UFO,
	};
	uint64_t offered = 0;

	for (size_t i = 0; i < ARRAY_SIZE(always); i++)
		offered |= 1ull << always[i];
	if (config->guest_mac)
		offered |= 1ull << VIRTIO_NET_F_MAC;
	if (config->mtu)
		offered |= 1ull << VIRTIO_NET_F_MTU;
	return offered;
}

static int net_init_throttles(struct net *net, const struct network_config *config)
{
	int r = throttle_init(&net->rx_throttle, &net->vdev, &config->rx_rate_limiter,
			      &net->counters->rx_rate_limiter_throttled, &net->counters->rx_event_rate_limiter_count);

	return r ? r
		 : throttle_init(&net->tx_throttle, &net->vdev, &config->tx_rate_limiter,
				 &net->counters->tx_rate_limiter_throttled,
				 &net->counters->tx_rate_limiter_event_count);
}

static int net_take_backend(struct net *net, struct net_backend *backend)
{
	backend->ready = net_on_ready;
	backend->ctx = net;
	if (backend->fd < 0)
		return 0;
	net->source = loop_add(net->vdev.loop, backend->fd, EPOLLIN | EPOLLET, net_on_frames, net);
	return net->source ? 0 : -errno;
}

static int net_init(struct net *net, const struct network_config *config)
{
	int r;

	net->mtu = (uint16_t)config->mtu;
	net->has_mac = config->guest_mac && mac_parse(config->guest_mac, net->mac);
	net->iface_id = strdup(config->iface_id);
	net->rx.spill = malloc(NET_MAX_FRAME);
	if (!net->iface_id || !net->rx.spill)
		return -ENOMEM;
	r = metrics_one_new(&net_metrics_section, config->iface_id, &net->metrics);
	if (r)
		return r;
	net->counters = net->metrics->counters;
	r = net_init_throttles(net, config);
	return r ? r : net_take_backend(net, net->backend);
}

int net_new_over(const struct network_config *config, struct net_backend *backend, struct platform *p,
		 struct virtio_dev **vdev, struct err *e)
{
	struct net *net = calloc(1, sizeof(*net));
	int r = net ? virtio_dev_init(&net->vdev, &net_ops, p, net_features(config), NET_QUEUE_SIZE) : -ENOMEM;

	if (r) {
		free(net);
		net_free_backend(backend);
		return err_errno(e, -r, "network interface %s: cannot be created", config->iface_id);
	}
	net->backend = backend;
	r = net_init(net, config);
	if (r) {
		net_free(&net->vdev);
		return err_errno(e, -r, "network interface %s: cannot be created", config->iface_id);
	}
	*vdev = &net->vdev;
	return 0;
}

int net_new(const struct network_config *config, struct platform *p, struct virtio_dev **vdev, struct err *e)
{
	struct net_backend *tap;
	int r = net_tap_new(config->host_dev_name, &tap, e);

	if (r)
		return err_wrap(e, r, "network interface %s", config->iface_id);
	return net_new_over(config, tap, p, vdev, e);
}

void net_add_service(struct virtio_dev *vdev, struct net_backend *service)
{
	struct net *net = net_from_vdev(vdev);

	virtio_lock(vdev);
	service->ready = net_on_ready;
	service->ctx = net;
	net->service = service;
	virtio_unlock(vdev);
}

void net_update(struct virtio_dev *vdev, const struct network_update *update)
{
	struct net *net = net_from_vdev(vdev);

	virtio_lock(vdev);
	throttle_set(&net->rx_throttle, update->has_rx_bandwidth ? &update->rx_rate_limiter.bandwidth : NULL,
		     update->has_rx_ops ? &update->rx_rate_limiter.ops : NULL);
	throttle_set(&net->tx_throttle, update->has_tx_bandwidth ? &update->tx_rate_limiter.bandwidth : NULL,
		     update->has_tx_ops ? &update->tx_rate_limiter.ops : NULL);
	virtio_unlock(vdev);
}
