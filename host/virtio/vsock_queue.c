// SPDX-License-Identifier: Apache-2.0
/*
 * The queues of the socket device (virtio 1.2, section 5.10.6). A buffer is used
 * as soon as it is taken, so that they are used in order (VIRTIO_F_IN_ORDER) and
 * a paused device holds none.
 *
 * Section 5.10.6.1.2: packets of the guest are taken also while it has no
 * buffers for ours. What there is to say is a bit of a connection, or one of
 * VSOCK_MAX_RSTS answers; when those are used up the guest has to take them first.
 *
 * After its memory was copied a guest is told that its connections are gone
 * (VIRTIO_VSOCK_EVENT_TRANSPORT_RESET), and gets no packet before it has done
 * with that, which it shows by a new buffer: a connection that began in between
 * would go with the others. If it had not come to the event of an earlier
 * snapshot it has several before it, and is waited for until the last: told and
 * ack_avail are saved.
 */
#include <endian.h>
#include <string.h>

#include "base/log.h"
#include "virtio/vsock.h"
#include "virtio/vsock_internal.h"

#define VSOCK_BATCH	 64u		/* packets a turn */
#define VSOCK_TURN_BYTES (1024u * 1024) /* of data */

void vsock_header(const struct vsock *v, uint32_t host_port, uint32_t guest_port, uint16_t op,
		  struct virtio_vsock_hdr *hdr)
{
	*hdr = (struct virtio_vsock_hdr){
		.src_cid = htole64(VSOCK_HOST_CID),
		.dst_cid = htole64(v->cid),
		.src_port = htole32(host_port),
		.dst_port = htole32(guest_port),
		.type = htole16(VIRTIO_VSOCK_TYPE_STREAM),
		.op = htole16(op),
	};
}

/* The driver notifies only of what comes after our last look. */
static int queue_next(struct virtq *q, struct virtq_chain *chain)
{
	int r = virtq_pop(q, chain);

	if (r)
		return r;
	virtq_enable_notify(q);
	return virtq_pop(q, chain);
}

/* Receive queue: to the guest. */

static uint32_t rx_send_rst(struct vsock *v, const struct virtq_chain *chain)
{
	const struct vsock_rst *rst = &v->rsts[v->rst_at];
	struct virtio_vsock_hdr hdr;

	vsock_header(v, rst->host_port, rst->guest_port, VIRTIO_VSOCK_OP_RST, &hdr);
	(void)!virtq_chain_write(&v->vdev.queues[VSOCK_RXQ], chain, 0, &hdr, sizeof(hdr));
	v->rst_at = (v->rst_at + 1) % VSOCK_MAX_RSTS;
	v->num_rsts--;
	if (v->tx_held) {
		v->tx_held = false;
		virtio_kick(&v->vdev, VSOCK_TXQ);
	}
	return sizeof(hdr);
}

/* One packet, if there is one after all, into the chain. Its bytes. */
static uint32_t rx_fill(struct vsock *v, const struct virtq_chain *chain)
{
	struct virtq *q = &v->vdev.queues[VSOCK_RXQ];
	uint32_t len;

	if (chain->num_readable || chain->writable_len < VSOCK_HDR_LEN || !virtq_chain_ok(q, chain)) {
		metric_inc(vsock, rx_queue_event_fails);
		log_warn("vsock: a receive buffer with room for %llu bytes and %u readable parts, or outside guest "
			 "memory: used with length 0",
			 (unsigned long long)chain->writable_len, chain->num_readable);
		virtq_push(q, chain->head, 0);
		return 0;
	}
	len = v->num_rsts ? rx_send_rst(v, chain) : vsock_conn_send(TAILQ_FIRST(&v->ready), chain);
	if (!len) {
		virtq_unpop(q);
		return 0;
	}
	metric_inc(vsock, rx_packets_count);
	metric_add(vsock, rx_bytes_count, len - VSOCK_HDR_LEN);
	virtq_push(q, chain->head, len);
	return len;
}

static int rx_turn(struct vsock *v)
{
	struct virtq *q = &v->vdev.queues[VSOCK_RXQ];
	struct virtq_chain chain;
	uint32_t bytes = 0;
	unsigned int n;
	int r = 1;

	for (n = 0; n < VSOCK_BATCH && bytes < VSOCK_TURN_BYTES && (v->num_rsts || TAILQ_FIRST(&v->ready)); n++) {
		r = queue_next(q, &chain);
		if (r <= 0)
			break;
		bytes += rx_fill(v, &chain);
	}
	virtio_notify_used(&v->vdev, q);
	if (n == VSOCK_BATCH || bytes >= VSOCK_TURN_BYTES)
		virtio_kick(&v->vdev, VSOCK_RXQ);
	return r < 0 ? r : 0;
}

/* Event queue. */

/* Each buffer that has come since is the answer to an event. */
static void ev_count_answers(struct vsock *v)
{
	uint16_t avail = virtq_watch_available(&v->vdev.queues[VSOCK_EVQ]);
	uint16_t answers = (uint16_t)(avail - v->ack_avail);

	v->told = v->told > answers ? v->told - answers : 0;
	v->ack_avail = avail;
}

static int ev_tell_reset(struct vsock *v)
{
	const struct virtio_vsock_event event = { .id = htole32(VIRTIO_VSOCK_EVENT_TRANSPORT_RESET) };
	struct virtq *q = &v->vdev.queues[VSOCK_EVQ];
	struct virtq_chain chain;
	int r;

	if (v->told)
		ev_count_answers(v);
	r = queue_next(q, &chain);
	while (r > 0 && !virtq_chain_write(q, &chain, 0, &event, sizeof(event))) {
		metric_inc(vsock, ev_queue_event_fails);
		virtq_push(q, chain.head, 0);
		r = queue_next(q, &chain);
	}
	if (r == 0 && !v->reset_late) {
		v->reset_late = true;
		metric_inc(vsock, ev_queue_event_fails);
		log_warn("vsock: the guest has no buffer in the event queue: it learns later that its connections are "
			 "gone");
	}
	if (r > 0) {
		v->reset_wanted = false;
		v->ack_ticks = VSOCK_ACK_TICKS;
		v->ack_avail = virtq_watch_available(q);
		v->told++;
		vsock_tick_on(v);
		virtq_push(q, chain.head, sizeof(event));
	}
	virtio_notify_used(&v->vdev, q);
	return r < 0 ? r : 0;
}

/* Does the guest know where it stands? */
static int ev_turn(struct vsock *v)
{
	if (v->reset_wanted && virtio_may_use(&v->vdev, VSOCK_EVQ))
		return ev_tell_reset(v);
	v->reset_wanted = false; /* a driver without an event queue cannot be told */
	if (v->ack_ticks)
		ev_count_answers(v);
	if (!v->told)
		v->ack_ticks = 0;
	return 0;
}

void vsock_serve(struct vsock *v)
{
	int r;

	if (!virtio_may_use(&v->vdev, VSOCK_RXQ))
		return;
	vsock_host_accept(v);
	r = ev_turn(v);
	if (!r && !v->reset_wanted && !v->ack_ticks)
		r = rx_turn(v);
	if (r < 0) {
		log_warn("vsock: a ring is broken");
		virtio_fail(&v->vdev);
	}
}

/* Transmit queue: from the guest. */

/* False: the guest has to take our answers first. */
static bool tx_take(struct vsock *v, const struct virtq_chain *chain, uint32_t *bytes)
{
	struct virtq *q = &v->vdev.queues[VSOCK_TXQ];
	struct virtio_vsock_hdr hdr;
	uint32_t len = 0;

	if (chain->num_writable || !virtq_chain_ok(q, chain) || !virtq_chain_read(q, chain, 0, &hdr, sizeof(hdr))) {
		metric_inc(vsock, tx_queue_event_fails);
		log_warn("vsock: a packet of the guest's of %llu bytes, with %u writable parts or outside guest "
			 "memory: ignored",
			 (unsigned long long)chain->readable_len, chain->num_writable);
		return true;
	}
	len = le32toh(hdr.len);
	if (len > VSOCK_MAX_DATA || len > chain->readable_len - sizeof(hdr)) {
		metric_inc(vsock, tx_queue_event_fails);
		log_warn("vsock: a packet of the guest's says that it has %u bytes, and has %llu: ignored", len,
			 (unsigned long long)(chain->readable_len - sizeof(hdr)));
		return true;
	}
	if (!vsock_receive(v, &hdr, chain))
		return false;
	metric_inc(vsock, tx_packets_count);
	metric_add(vsock, tx_bytes_count, len);
	*bytes += len;
	return true;
}

static int tx_turn(struct vsock *v)
{
	struct virtq *q = &v->vdev.queues[VSOCK_TXQ];
	struct virtq_chain chain;
	uint32_t bytes = 0;
	unsigned int n;
	int r = 0;

	for (n = 0; n < VSOCK_BATCH && bytes < VSOCK_TURN_BYTES && !v->tx_held; n++) {
		r = queue_next(q, &chain);
		if (r <= 0)
			break;
		if (tx_take(v, &chain, &bytes)) {
			virtq_push(q, chain.head, 0);
			continue;
		}
		virtq_unpop(q);
		v->tx_held = true;
	}
	virtio_notify_used(&v->vdev, q);
	if (n == VSOCK_BATCH || bytes >= VSOCK_TURN_BYTES)
		virtio_kick(&v->vdev, VSOCK_TXQ);
	return r < 0 ? r : 0;
}

int vsock_notify(struct virtio_dev *vdev, unsigned int q)
{
	struct vsock *v = vsock_from_vdev(vdev);
	int r = 0;

	vsock_catch_up(v);
	if (q == VSOCK_RXQ)
		metric_inc(vsock, rx_queue_event_count);
	if (q == VSOCK_TXQ) {
		metric_inc(vsock, tx_queue_event_count);
		r = tx_turn(v);
	}
	if (r < 0)
		metric_inc(vsock, tx_queue_event_fails);
	else
		vsock_serve(v);
	return r;
}
