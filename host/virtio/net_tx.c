// SPDX-License-Identifier: Apache-2.0
/*
 * Frames of the guest (virtio 1.2, section 5.1.6.2): from its memory to the
 * backend, without a copy of ours. The header in front goes along as it is: who
 * makes packets of a frame, the host's kernel, judges it, and refuses what makes
 * no sense.
 *
 * A frame that the backend does not take is lost, as on any network.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "virtio/net_internal.h"

#define ETH_SOURCE (NET_HDR_LEN + 6)

void net_iov_get(const struct iovec *iov, int num, void *dst, size_t len)
{
	uint8_t *to = dst;

	for (int i = 0; i < num && len; i++) {
		size_t n = iov[i].iov_len < len ? iov[i].iov_len : len;

		memcpy(to, iov[i].iov_base, n);
		to += n;
		len -= n;
	}
}

/* The chain's readable part: the number of entries of iov, or -EINVAL for what is no frame. */
static int tx_find_frame(struct virtq *q, const struct virtq_chain *chain, struct iovec *iov)
{
	if (chain->num_writable || chain->readable_len < NET_HDR_LEN + NET_ETH_LEN ||
	    chain->readable_len > NET_MAX_FRAME)
		return -EINVAL;
	return virtq_chain_source(q, chain, 0, chain->readable_len, iov);
}

static bool tx_is_for_service(struct net *net, const struct iovec *iov, int num, uint64_t len)
{
	uint8_t head[NET_FRAME_PEEK];
	size_t peek = len < sizeof(head) ? (size_t)len : sizeof(head);

	if (!net->service && !net->has_mac)
		return false;
	net_iov_get(iov, num, head, peek);
	if (net->has_mac && memcmp(head + ETH_SOURCE, net->mac, sizeof(net->mac)) != 0)
		metric_inc_of(net->counters, tx_spoofed_mac_count);
	return net->service && net->service->ops->wants(net->service, head, peek);
}

static void tx_send(struct net *net, struct net_backend *to, const struct iovec *iov, int num, uint64_t len)
{
	uint64_t begin_ns = clock_now_ns();
	ssize_t n = to->ops->send(to, iov, num);

	if (n < 0) {
		metric_inc_of(net->counters, tap_write_fails);
		metric_inc_of(net->counters, tx_fails);
		log_debug("network interface %s: a frame of %llu bytes is lost: %s", net->iface_id,
			  (unsigned long long)len, strerror((int)-n));
		return;
	}
	metric_time_of(net->counters, tap_write_agg, (clock_now_ns() - begin_ns) / 1000);
	metric_inc_of(net->counters, tx_count);
	metric_inc_of(net->counters, tx_packets_count);
	metric_add_of(net->counters, tx_bytes_count, len);
}

/* One frame: 1 when it was given back, 0 when it has to wait. */
static int tx_serve(struct net *net, struct virtq *q, const struct virtq_chain *chain, bool *for_service)
{
	struct iovec iov[VIRTQ_MAX_SIZE];
	int num = tx_find_frame(q, chain, iov);

	*for_service = false;
	if (num < 0) {
		metric_inc_of(net->counters, tx_malformed_frames);
		log_warn("network interface %s: %llu bytes in %u buffers, %u of them writable, are no frame: dropped",
			 net->iface_id, (unsigned long long)chain->readable_len,
			 chain->num_readable + chain->num_writable, chain->num_writable);
	} else {
		*for_service = tx_is_for_service(net, iov, num, chain->readable_len);
		/* What does not leave the host is not limited. */
		if (!*for_service && !throttle_take(&net->tx_throttle, NET_TXQ, chain->readable_len))
			return 0;
		tx_send(net, *for_service ? net->service : net->backend, iov, num, chain->readable_len);
	}
	virtq_stage(q, chain->head, 0);
	return 1;
}

int net_tx_run(struct net *net)
{
	struct virtq *q = &net->vdev.queues[NET_TXQ];
	struct virtq_chain chain;
	unsigned int n, served = 0;
	bool for_service;
	int r = 0;

	for (n = 0; n < NET_BATCH && !throttle_holds(&net->tx_throttle, NET_TXQ); n++) {
		r = virtq_pop_or_wait(q, &chain);
		if (r > 0) {
			metric_add_of(net->counters, tx_remaining_reqs_count, chain.left);
			r = tx_serve(net, q, &chain, &for_service);
			served += r > 0 && for_service;
		}
		if (r <= 0)
			break;
	}
	if (!n && !r && !throttle_holds(&net->tx_throttle, NET_TXQ))
		metric_inc_of(net->counters, no_tx_avail_buffer);
	virtq_publish(q);
	/* The service will say something about what it has got (net_backend.h): one interrupt is enough for both. */
	if (!n || served < n || !virtio_may_use(&net->vdev, NET_RXQ))
		net_tell_used(net);
	if (n == NET_BATCH)
		virtio_kick(&net->vdev, NET_TXQ);
	return r < 0 ? r : 0;
}
