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

/* A turn. It is counted, and timed, as a whole: a look at the clock and atomic counters for each cost a fifth of what a short frame does. */
struct tx_turn {
	uint64_t begin_ns; /* of the first frame; 0: none */
	uint64_t left;	   /* sum of what was available behind each */
	uint64_t sent, sent_bytes;
	unsigned int for_service;
};

static void tx_send(struct net *net, struct net_backend *to, const struct iovec *iov, int num, uint64_t len,
		    struct tx_turn *turn)
{
	ssize_t n;

	if (!turn->begin_ns)
		turn->begin_ns = clock_now_ns();
	n = to->ops->send(to, iov, num);
	if (n < 0) {
		metric_inc_of(net->counters, tap_write_fails);
		metric_inc_of(net->counters, tx_fails);
		log_debug("network interface %s: a frame of %llu bytes is lost: %s", net->iface_id,
			  (unsigned long long)len, strerror((int)-n));
		return;
	}
	turn->sent++;
	turn->sent_bytes += len;
}

/* One frame: 1 when it was given back, 0 when it has to wait. */
static int tx_serve(struct net *net, struct virtq *q, const struct virtq_chain *chain, struct tx_turn *turn)
{
	struct iovec iov[VIRTQ_MAX_SIZE];
	int num = tx_find_frame(q, chain, iov);
	bool for_service;

	if (num < 0) {
		metric_inc_of(net->counters, tx_malformed_frames);
		log_warn("network interface %s: %llu bytes in %u buffers, %u of them writable, are no frame: dropped",
			 net->iface_id, (unsigned long long)chain->readable_len,
			 chain->num_readable + chain->num_writable, chain->num_writable);
	} else {
		for_service = tx_is_for_service(net, iov, num, chain->readable_len);
		/* What does not leave the host is not limited. */
		if (!for_service && !throttle_take(&net->tx_throttle, NET_TXQ, chain->readable_len))
			return 0;
		tx_send(net, for_service ? net->service : net->backend, iov, num, chain->readable_len, turn);
		turn->for_service += for_service;
	}
	virtq_stage(q, chain->head, 0);
	return 1;
}

static void tx_count(struct net *net, const struct tx_turn *turn)
{
	metric_add_of(net->counters, tx_remaining_reqs_count, turn->left);
	if (!turn->sent)
		return;
	metric_times_of(net->counters, tap_write_agg, (clock_now_ns() - turn->begin_ns) / 1000, turn->sent);
	metric_add_of(net->counters, tx_count, turn->sent);
	metric_add_of(net->counters, tx_packets_count, turn->sent);
	metric_add_of(net->counters, tx_bytes_count, turn->sent_bytes);
}

int net_tx_run(struct net *net)
{
	struct virtq *q = &net->vdev.queues[NET_TXQ];
	struct tx_turn turn = { 0 };
	struct virtq_chain chain;
	unsigned int n;
	int r = 0;

	for (n = 0; n < NET_BATCH && !throttle_holds(&net->tx_throttle, NET_TXQ); n++) {
		r = virtq_pop_or_wait(q, &chain);
		if (r > 0) {
			turn.left += chain.left;
			r = tx_serve(net, q, &chain, &turn);
		}
		if (r <= 0)
			break;
	}
	if (!n && !r && !throttle_holds(&net->tx_throttle, NET_TXQ))
		metric_inc_of(net->counters, no_tx_avail_buffer);
	tx_count(net, &turn);
	virtq_publish(q);
	/* The service will say something about what it has got (net_backend.h): one interrupt is enough for both. */
	if (!n || turn.for_service < n || !virtio_may_use(&net->vdev, NET_RXQ))
		net_tell_used(net);
	if (n == NET_BATCH)
		virtio_kick(&net->vdev, NET_TXQ);
	return r < 0 ? r : 0;
}
