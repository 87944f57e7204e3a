/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket device (virtio 1.2, section 5.10) over Unix sockets of the host,
 * as Firecracker's: docs/vsock.md.
 */
#ifndef VIRTIO_VSOCK_H
#define VIRTIO_VSOCK_H

#include "base/err.h"
#include "base/metrics.h"
#include "bus/platform.h"
#include "config/config.h"
#include "virtio/virtio.h"

/* rx is what the guest receives, tx what it sends. Killed are those connections that neither side had closed. */
#define VSOCK_METRICS(M)               \
	M(vsock, activate_fails)       \
	M(vsock, cfg_fails)            \
	M(vsock, rx_queue_event_fails) \
	M(vsock, tx_queue_event_fails) \
	M(vsock, ev_queue_event_fails) \
	M(vsock, muxer_event_fails)    \
	M(vsock, conn_event_fails)     \
	M(vsock, rx_queue_event_count) \
	M(vsock, tx_queue_event_count) \
	M(vsock, rx_bytes_count)       \
	M(vsock, tx_bytes_count)       \
	M(vsock, rx_packets_count)     \
	M(vsock, tx_packets_count)     \
	M(vsock, conns_added)          \
	M(vsock, conns_killed)         \
	M(vsock, conns_removed)        \
	M(vsock, killq_resync)         \
	M(vsock, tx_flush_fails)       \
	M(vsock, tx_write_fails)       \
	M(vsock, rx_read_fails)
METRICS_DECLARE(vsock, VSOCK_METRICS)

/* What stands before the path of the socket in an error. */
#define VSOCK_UDS_PATH "vsock: uds_path"

/* Listens on config->uds_path. The caller owns *vdev until virtio_mmio_new() takes it; its end removes the socket's file. */
int vsock_new(const struct vsock_config *config, struct platform *p, struct virtio_dev **vdev,
	      struct err *e) must_check;

#endif
