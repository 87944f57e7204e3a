// SPDX-License-Identifier: Apache-2.0
/*
 * Frames for the guest (virtio 1.2, section 5.1.6.4): from the backend into the
 * driver's buffers, without a copy of ours.
 *
 * A frame is read into as many buffers as the largest could need. With
 * VIRTIO_NET_F_MRG_RXBUF it takes those that it fills, and the driver sees all
 * of them at once; without, it takes one, or is dropped if it is too long for it.
 * If a driver has fewer bytes of buffers than the largest frame has, a frame is
 * read into memory of ours first, and waits until it fits. The backend is not
 * read while it does, nor while the limiter is out of tokens: what comes waits in
 * the tap's queue, which drops when it is full.
 *
 * The limiter is charged when a frame has been read, whose length is not known
 * before: the last one of a burst may be a debt.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "virtio/net_internal.h"

_Static_assert(NET_IOV_ROOM > NET_MAX_IOV + VIRTQ_MAX_SIZE, "room for a chain behind as many as are in use");

void net_iov_put(const struct iovec *iov, int num, const void *src, size_t len)
{
	const uint8_t *from = src;

	for (int i = 0; i < num && len; i++) {
		size_t n = iov[i].iov_len < len ? iov[i].iov_len : len;

		memcpy(iov[i].iov_base, from, n);
		from += n;
		len -= n;
	}
}

static struct net_rx_chain *rx_chain(struct net_rx *rx, unsigned int i)
{
	return &rx->chains[(rx->first + i) % NET_QUEUE_SIZE];
}

static bool rx_is_merged(const struct net *net)
{
	return virtio_has(&net->vdev, VIRTIO_NET_F_MRG_RXBUF);
}

static void rx_compact(struct net_rx *rx)
{
	memmove(rx->iov, rx->iov + rx->iov_first, rx->iov_num * sizeof(*rx->iov));
	rx->iov_first = 0;
}

/* Takes one chain; what is no buffer is given back. */
static void rx_add(struct net *net, struct virtq *q, const struct virtq_chain *chain)
{
	struct net_rx *rx = &net->rx;
	int num = -EINVAL;

	if (rx->iov_first + rx->iov_num + VIRTQ_MAX_SIZE >= NET_IOV_ROOM) /* and one behind it, for the spill */
		rx_compact(rx);
	if (!chain->num_readable && chain->writable_len >= NET_HDR_LEN && chain->writable_len <= UINT32_MAX)
		num = virtq_chain_lease(q, chain, 0, chain->writable_len, rx->iov + rx->iov_first + rx->iov_num);
	if (num < 0) {
		metric_inc_of(net->counters, rx_fails);
		log_warn(
			"network interface %s: a buffer of %llu bytes, with %u readable parts, is not one that a frame "
			"could be put into: given back",
			net->iface_id, (unsigned long long)chain->writable_len, chain->num_readable);
		virtq_stage(q, chain->head, 0);
		return;
	}
	*rx_chain(rx, rx->num++) = (struct net_rx_chain){
		.head = chain->head,
		.num_iov = (uint16_t)num,
		.len = (uint32_t)chain->writable_len,
	};
	rx->iov_num += (unsigned int)num;
	rx->len += chain->writable_len;
}

static bool rx_has_enough(const struct net *net)
{
	const struct net_rx *rx = &net->rx;

	return rx->len >= NET_MAX_FRAME || (rx->num && !rx_is_merged(net));
}

/* No more buffers can be taken. */
static bool rx_is_full(const struct net *net)
{
	const struct net_rx *rx = &net->rx;

	return rx->num == net->vdev.queues[NET_RXQ].size || rx->iov_num + VIRTQ_MAX_SIZE > NET_MAX_IOV;
}

/* 0, or -EINVAL if the ring is broken. */
static int rx_fill(struct net *net)
{
	struct virtq *q = &net->vdev.queues[NET_RXQ];
	struct virtq_chain chain;
	unsigned int n;
	int r = 1;

	for (n = 0; r > 0 && n < NET_QUEUE_SIZE && !rx_has_enough(net) && !rx_is_full(net); n++) {
		r = virtq_pop_or_wait(q, &chain);
		if (r > 0)
			rx_add(net, q, &chain);
	}
	if (n == NET_QUEUE_SIZE)
		virtio_kick(&net->vdev,
			    NET_RXQ); /* most were no buffers, and the driver was not asked to tell of others */
	return r < 0 ? r : 0;
}

/* The first chain: its leases end. */
static void rx_drop_first(struct net *net)
{
	struct net_rx *rx = &net->rx;
	const struct net_rx_chain *chain = rx_chain(rx, 0);

	virtq_release(&net->vdev.queues[NET_RXQ], rx->iov + rx->iov_first, chain->num_iov);
	rx->iov_first += chain->num_iov;
	rx->iov_num -= chain->num_iov;
	rx->len -= chain->len;
	rx->first = (rx->first + 1) % NET_QUEUE_SIZE;
	rx->num--;
}

void net_rx_put_back(struct net *net)
{
	for (; net->rx.num; rx_drop_first(net))
		virtq_unpop(&net->vdev.queues[NET_RXQ]);
}

void net_rx_forget(struct net *net)
{
	while (net->rx.num)
		rx_drop_first(net);
	net->rx.held_len = 0;
}

/* Frames that the backend had before it learned what the driver can make of them may be of another kind. */
static bool rx_is_negotiated(const struct net *net, const struct virtio_net_hdr_v1 *hdr)
{
	switch (hdr->gso_type) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return true;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return virtio_has(&net->vdev, VIRTIO_NET_F_GUEST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return virtio_has(&net->vdev, VIRTIO_NET_F_GUEST_TSO6);
	case VIRTIO_NET_HDR_GSO_UDP:
		return virtio_has(&net->vdev, VIRTIO_NET_F_GUEST_UFO);
	default:
		return false;
	}
}

/* Section 5.1.6.4.1. False: not a frame for this driver. */
static bool rx_finish_header(const struct net *net, uint16_t num_buffers)
{
	const struct net_rx *rx = &net->rx;
	const struct iovec *iov = rx->iov + rx->iov_first;
	struct virtio_net_hdr_v1 hdr;

	net_iov_get(iov, (int)rx->iov_num, &hdr, sizeof(hdr));
	if (!rx_is_negotiated(net, &hdr))
		return false;
	if (!virtio_has(&net->vdev, VIRTIO_NET_F_GUEST_CSUM)) {
		if (hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
			return false;
		hdr.flags = 0;
	}
	hdr.num_buffers = htole16(num_buffers);
	net_iov_put(iov, (int)rx->iov_num, &hdr, sizeof(hdr));
	return true;
}

/* How many chains a frame of so many bytes takes; 0: more than there are. */
static uint16_t rx_count_chains(struct net *net, uint64_t len)
{
	struct net_rx *rx = &net->rx;
	uint16_t num = 0;

	if (!rx_is_merged(net))
		return rx->num && rx_chain(rx, 0)->len >= len;
	while (len) {
		uint32_t room;

		if (num == rx->num)
			return 0;
		room = rx_chain(rx, num++)->len;
		len -= room < len ? room : len;
	}
	return num;
}

/* A frame of len bytes is in the buffers: the driver gets those that it fills. */
static void rx_deliver(struct net *net, uint64_t len)
{
	struct virtq *q = &net->vdev.queues[NET_RXQ];
	uint16_t num = rx_count_chains(net, len);
	uint64_t left = len;

	if (len < NET_HDR_LEN + NET_ETH_LEN || !num || !rx_finish_header(net, num)) {
		metric_inc_of(net->counters, rx_fails);
		return;
	}
	for (; num; num--) {
		const struct net_rx_chain *chain = rx_chain(&net->rx, 0);
		uint32_t used = chain->len < left ? chain->len : (uint32_t)left;

		virtq_stage(q, chain->head, used);
		left -= used;
		rx_drop_first(net);
	}
	virtq_publish(q);
	if (len > NET_SHORT_FRAME)
		net->rx.short_frames = 0;
	else if (net->rx.short_frames < NET_EXPECT_SHORT)
		net->rx.short_frames++;
	net->rx.frames++;
	net->rx.bytes += len;
}

/* The next frame of whoever has one: its length, or -errno. */
static ssize_t rx_receive(struct net *net, const struct iovec *iov, int num)
{
	ssize_t n = -EAGAIN;

	if (net->service)
		n = net->service->ops->receive(net->service, iov, num);
	if (n == -EAGAIN)
		n = net->backend->ops->receive(net->backend, iov, num);
	if (n < 0 && n != -EAGAIN)
		metric_inc_of(net->counters, tap_read_fails);
	if (n > 0)
		throttle_charge(&net->rx_throttle, (uint64_t)n);
	return n;
}

/* A frame that waited: 1 when it is gone, 0 when it waits on. */
static int rx_deliver_held(struct net *net)
{
	struct net_rx *rx = &net->rx;

	if (!rx_count_chains(net, rx->held_len)) {
		if (!rx_is_full(net))
			return 0;
		metric_inc_of(net->counters, rx_fails);
		rx->held_len = 0;
		return 1;
	}
	net_iov_put(rx->iov + rx->iov_first, (int)rx->iov_num, rx->spill, rx->held_len);
	rx_deliver(net, rx->held_len);
	rx->held_len = 0;
	return 1;
}

static int rx_hold_next(struct net *net)
{
	const struct iovec spill = { .iov_base = net->rx.spill, .iov_len = NET_MAX_FRAME };
	ssize_t n = rx_receive(net, &spill, 1);

	if (n <= 0)
		return 0;
	net->rx.held_len = n <= NET_MAX_FRAME ? (uint32_t)n : NET_MAX_FRAME;
	return rx_deliver_held(net);
}

/*
 * The first pieces of the buffers, as many as the next frame is likely to take: their number, and their bytes. The kernel
 * looks at all pieces that it is given, which for the longest frame takes it a sixth of what a short one does.
 */
static int rx_expect(struct net *net, uint64_t *room)
{
	struct net_rx *rx = &net->rx;
	const struct iovec *iov = rx->iov + rx->iov_first;
	int num = 0;

	if (!rx_is_merged(net)) {
		*room = rx_chain(rx, 0)->len;
		return rx_chain(rx, 0)->num_iov;
	}
	*room = rx->len;
	if (rx->short_frames < NET_EXPECT_SHORT)
		return (int)rx->iov_num;
	for (*room = 0; *room < NET_SHORT_FRAME; num++)
		*room += iov[num].iov_len;
	return num;
}

/* What is longer than was expected ends in the spill; if the driver merges buffers, those behind get it from there (some 10 us). */
static int rx_read_next(struct net *net)
{
	struct net_rx *rx = &net->rx;
	struct iovec *iov = rx->iov + rx->iov_first;
	uint64_t room;
	int num = rx_expect(net, &room);
	const struct iovec behind = iov[num];
	ssize_t n;

	iov[num] = (struct iovec){ .iov_base = rx->spill, .iov_len = NET_MAX_FRAME };
	n = rx_receive(net, iov, num + 1);
	iov[num] = behind;
	if (n <= 0)
		return 0;
	if ((uint64_t)n > room && rx_is_merged(net))
		net_iov_put(iov + num, (int)rx->iov_num - num, rx->spill, (size_t)n - room);
	rx_deliver(net, (uint64_t)n);
	return 1;
}

/* One frame: 1 when it was delivered or dropped, 0 when there is none or it has to wait, -EINVAL. */
static int rx_serve(struct net *net)
{
	int r = rx_fill(net);

	if (r < 0)
		return r;
	if (net->rx.held_len)
		return rx_deliver_held(net);
	if (!net->rx.num) {
		metric_inc_of(net->counters, no_rx_avail_buffer);
		return 0;
	}
	return rx_has_enough(net) ? rx_read_next(net) : rx_hold_next(net);
}

/* A turn's frames at once. */
static void rx_count(struct net *net)
{
	struct net_rx *rx = &net->rx;

	metric_add_of(net->counters, rx_count, rx->frames);
	metric_add_of(net->counters, rx_packets_count, rx->frames);
	metric_add_of(net->counters, rx_bytes_count, rx->bytes);
	rx->frames = rx->bytes = 0;
}

int net_rx_run(struct net *net)
{
	struct virtq *q = &net->vdev.queues[NET_RXQ];
	unsigned int n;
	int r = 0;

	for (n = 0; n < NET_BATCH && !throttle_holds(&net->rx_throttle, NET_RXQ); n++) {
		if (!throttle_is_open(&net->rx_throttle, NET_RXQ))
			break;
		r = rx_serve(net);
		if (r <= 0)
			break;
	}
	virtq_publish(q);
	rx_count(net);
	net_tell_used(net);
	if (n == NET_BATCH)
		virtio_kick(&net->vdev, NET_RXQ);
	return r < 0 ? r : 0;
}
