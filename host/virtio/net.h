/* SPDX-License-Identifier: Apache-2.0 */
/* Network interface over a tap (virtio 1.2, section 5.1): one pair of queues. */
#ifndef VIRTIO_NET_H
#define VIRTIO_NET_H

#include "base/err.h"
#include "base/metrics.h"
#include "bus/platform.h"
#include "config/config.h"
#include "virtio/net_backend.h"
#include "virtio/virtio.h"

/* Of each interface; "net" adds them up. tx_remaining_reqs_count: each time a frame is taken, how many more are in the ring. */
#define NET_METRICS(M)                      \
	M(net, activate_fails)              \
	M(net, cfg_fails)                   \
	M(net, no_rx_avail_buffer)          \
	M(net, no_tx_avail_buffer)          \
	M(net, event_fails)                 \
	M(net, rx_queue_event_count)        \
	M(net, rx_event_rate_limiter_count) \
	M(net, rx_rate_limiter_throttled)   \
	M(net, rx_tap_event_count)          \
	M(net, rx_bytes_count)              \
	M(net, rx_packets_count)            \
	M(net, rx_fails)                    \
	M(net, rx_count)                    \
	M(net, tap_read_fails)              \
	M(net, tap_write_fails)             \
	M(net, tx_bytes_count)              \
	M(net, tx_malformed_frames)         \
	M(net, tx_fails)                    \
	M(net, tx_count)                    \
	M(net, tx_packets_count)            \
	M(net, tx_queue_event_count)        \
	M(net, tx_rate_limiter_event_count) \
	M(net, tx_rate_limiter_throttled)   \
	M(net, tx_spoofed_mac_count)        \
	M(net, tx_remaining_reqs_count)
#define NET_TIMES(T) T(net, tap_write_agg)
METRICS_DECLARE_TIMED(net, NET_METRICS, NET_TIMES)

/* Attaches to the tap. The caller owns *vdev until virtio_mmio_new() takes it. */
int net_new(const struct network_config *config, struct platform *p, struct virtio_dev **vdev,
	    struct err *e) must_check;

/* The same over another backend than a tap, which is the device's from then on, also when this fails. */
int net_new_over(const struct network_config *config, struct net_backend *backend, struct platform *p,
		 struct virtio_dev **vdev, struct err *e) must_check;

/*
 * A service behind the interface, of which there is one at most: frames that it wants do not get to the tap, and what it has
 * to send comes before what the tap has. The device's from then on. Before the machine runs.
 */
void net_add_service(struct virtio_dev *vdev, struct net_backend *service);

/* PATCH /network-interfaces: limits that are given replace the old ones. Loop thread; takes the device's lock. */
void net_update(struct virtio_dev *vdev, const struct network_update *update);

#endif
