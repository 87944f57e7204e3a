// SPDX-License-Identifier: Apache-2.0
/*
 * A connection as the guest sees it (virtio 1.2, section 5.10.6): who may send
 * how much, and how it ends.
 *
 * Credit. Towards the guest at most peer_buf_alloc bytes are under way that it
 * has not counted in fwd_cnt. Towards the host the guest is promised
 * VSOCK_BUF_ALLOC bytes, which is what the buffer holds; it is told what has
 * gone on when half of it has.
 *
 * Closing. Each side is half-closed by itself: the guest's SHUTDOWN with SEND
 * becomes shutdown(2) of our sending half when the buffer is empty; the end of
 * what the host has sent becomes a SHUTDOWN with SEND. When both halves are
 * closed an RST ends it. What the guest has sent before goes to the host all
 * the same, without a limit of time.
 */
#include <endian.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "virtio/vsock.h"
#include "virtio/vsock_internal.h"

static uint32_t conn_credit(const struct vsock_conn *c)
{
	uint32_t under_way = c->sent - c->peer_fwd_cnt;

	return under_way < c->peer_buf_alloc ? c->peer_buf_alloc - under_way : 0;
}

static bool conn_can_read(const struct vsock_conn *c)
{
	return c->state == VSOCK_OPEN && c->readable && !c->eof && !(c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV);
}

bool vsock_conn_has_packet(const struct vsock_conn *c)
{
	return c->wants || (conn_can_read(c) && (conn_credit(c) || !c->credit_asked));
}

void vsock_conn_want(struct vsock_conn *c, unsigned int wants)
{
	c->wants |= wants;
	vsock_make_ready(c);
}

/* Ends it on the host: the guest gets an RST, and nothing else any more. */
static void conn_close(struct vsock_conn *c)
{
	vsock_stream_close(c);
	c->state = VSOCK_CLOSING;
	c->ticks = 0;
	c->wants = 0;
	vsock_conn_want(c, VSOCK_WANTS_RST);
}

void vsock_conn_kill(struct vsock_conn *c)
{
	metric_inc(vsock, conns_killed);
	log_debug("vsock: the connection of ports %u and %u (guest) is ended here, in state %d", c->host_port,
		  c->guest_port, (int)c->state);
	conn_close(c);
}

/* The guest knows it no longer. */
static void conn_forget_guest(struct vsock_conn *c)
{
	vsock_unhash(c);
	vsock_not_ready(c);
	c->wants = 0;
	if (c->buf_len)
		c->state = VSOCK_DRAINING;
	else
		vsock_remove(c);
}

/* The guest is to know what the host does not do any more. */
static void conn_shut(struct vsock_conn *c, uint32_t flags)
{
	if ((c->host_shut & flags) == flags)
		return;
	c->host_shut |= flags;
	vsock_conn_want(c, VSOCK_WANTS_SHUTDOWN);
}

/* After anything that may have changed what an open connection owes to either side. */
static void conn_settle(struct vsock_conn *c)
{
	if (c->sink)
		conn_shut(c, VIRTIO_VSOCK_SHUTDOWN_RCV);
	if (c->eof)
		conn_shut(c, VIRTIO_VSOCK_SHUTDOWN_SEND);
	if (c->fwd_cnt - c->told_fwd_cnt >= VSOCK_BUF_ALLOC / 2)
		vsock_conn_want(c, VSOCK_WANTS_CREDIT_UPDATE);
	if (c->guest_shut == VSOCK_SHUTDOWN_BOTH && !c->buf_len) {
		conn_close(c);
		return;
	}
	vsock_stream_pass_shutdown(c);
	if (vsock_conn_has_packet(c))
		vsock_make_ready(c);
}

void vsock_conn_go_on(struct vsock_conn *c)
{
	switch (c->state) {
	case VSOCK_GREETING:
		vsock_host_greet(c);
		return;
	case VSOCK_REQUESTING:
		/* The client has gone; the guest may not even have heard of it. */
		if (c->hung_up && c->wants & VSOCK_WANTS_REQUEST)
			vsock_remove(c);
		else if (c->hung_up)
			vsock_conn_kill(c);
		return;
	case VSOCK_OPEN:
		vsock_stream_flush(c);
		conn_settle(c);
		return;
	case VSOCK_DRAINING:
		vsock_stream_flush(c);
		if (!c->buf_len && c->is_hashed)
			conn_close(c);
		else if (!c->buf_len)
			vsock_remove(c);
		return;
	case VSOCK_CONNECTING:
	case VSOCK_CLOSING:
		return;
	}
}

static void conn_expire(struct vsock_conn *c)
{
	if (c->state != VSOCK_OPEN || c->guest_shut != VSOCK_SHUTDOWN_BOTH) {
		vsock_conn_kill(c);
		return;
	}
	/* The host reads slowly; the guest need not wait for that. */
	c->state = VSOCK_DRAINING;
	c->wants = 0;
	vsock_conn_want(c, VSOCK_WANTS_RST);
}

void vsock_conn_tick(struct vsock_conn *c)
{
	if (c->ticks && --c->ticks == 0)
		conn_expire(c);
}

/* To the guest. */

/* The packets of one connection, in their order; data comes where the gap is. */
static const struct {
	unsigned int wants;
	uint16_t op;
} conn_packets[] = {
	{ VSOCK_WANTS_RST, VIRTIO_VSOCK_OP_RST },
	{ VSOCK_WANTS_RESPONSE, VIRTIO_VSOCK_OP_RESPONSE },
	{ VSOCK_WANTS_REQUEST, VIRTIO_VSOCK_OP_REQUEST },
	{ VSOCK_WANTS_CREDIT_REQUEST, VIRTIO_VSOCK_OP_CREDIT_REQUEST },

	{ VSOCK_WANTS_SHUTDOWN, VIRTIO_VSOCK_OP_SHUTDOWN },
	{ VSOCK_WANTS_CREDIT_UPDATE, VIRTIO_VSOCK_OP_CREDIT_UPDATE },
};
#define CONN_BEFORE_DATA 4u

/* The first of num kinds that is wanted, which it is not any more; 0: none. */
static uint16_t conn_take_op(struct vsock_conn *c, unsigned int num)
{
	for (unsigned int i = 0; i < num; i++) {
		if (!(c->wants & conn_packets[i].wants))
			continue;
		c->wants &= ~conn_packets[i].wants;
		return conn_packets[i].op;
	}
	return 0;
}

/* Bytes of the host into the chain, behind the header. 0: none, and what is wanted instead is noted. */
static uint32_t conn_read(struct vsock_conn *c, const struct virtq_chain *chain)
{
	uint64_t room = chain->writable_len - VSOCK_HDR_LEN;
	uint32_t len = conn_credit(c);

	if (!conn_can_read(c))
		return 0;
	if (!len && !c->credit_asked)
		c->wants |= VSOCK_WANTS_CREDIT_REQUEST;
	if (len && !room)
		c->wants |= VSOCK_WANTS_CREDIT_UPDATE; /* the buffer is good for that at least */
	if (len > room)
		len = (uint32_t)room;
	if (len > VSOCK_MAX_DATA)
		len = VSOCK_MAX_DATA;
	if (len)
		len = vsock_stream_read(c, chain, VSOCK_HDR_LEN, len);
	if (c->eof)
		conn_settle(c);
	return len;
}

/* What follows from a packet that the guest has now. False: the connection is gone. */
static bool conn_sent(struct vsock_conn *c, uint16_t op, uint32_t len)
{
	c->sent += len;
	c->told_fwd_cnt = c->fwd_cnt;
	c->wants &= ~(unsigned int)VSOCK_WANTS_CREDIT_UPDATE;
	switch (op) {
	case VIRTIO_VSOCK_OP_RST:
		conn_forget_guest(c);
		return false;
	case VIRTIO_VSOCK_OP_RESPONSE:
		c->state = VSOCK_OPEN;
		c->ticks = 0;
		break;
	case VIRTIO_VSOCK_OP_REQUEST:
		c->ticks = VSOCK_CONNECT_TICKS;
		vsock_tick_on(c->vsock);
		break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		if (c->host_shut != VSOCK_SHUTDOWN_BOTH)
			break;
		c->ticks = VSOCK_SHUTDOWN_TICKS;
		vsock_tick_on(c->vsock);
		break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		c->credit_asked = true;
		break;
	}
	return true;
}

uint32_t vsock_conn_send(struct vsock_conn *c, const struct virtq_chain *chain)
{
	struct virtio_vsock_hdr hdr;
	uint16_t op = conn_take_op(c, CONN_BEFORE_DATA);
	uint32_t len = op ? 0 : conn_read(c, chain);

	if (len)
		op = VIRTIO_VSOCK_OP_RW;
	if (!op)
		op = conn_take_op(c, ARRAY_SIZE(conn_packets));
	if (!op) {
		vsock_not_ready(c);
		return 0;
	}
	vsock_header(c->vsock, c->host_port, c->guest_port, op, &hdr);
	hdr.len = htole32(len);
	if (op == VIRTIO_VSOCK_OP_SHUTDOWN)
		hdr.flags = htole32(c->host_shut);
	if (op != VIRTIO_VSOCK_OP_RST) {
		hdr.buf_alloc = htole32(VSOCK_BUF_ALLOC);
		hdr.fwd_cnt = htole32(c->fwd_cnt);
	}
	/* Its place was looked at before (vsock_queue.c). */
	(void)!virtq_chain_write(&c->vsock->vdev.queues[VSOCK_RXQ], chain, 0, &hdr, sizeof(hdr));
	if (!conn_sent(c, op, len))
		return VSOCK_HDR_LEN;
	vsock_not_ready(c);
	if (vsock_conn_has_packet(c))
		vsock_make_ready(c); /* behind the others */
	return (uint32_t)VSOCK_HDR_LEN + len;
}

/* From the guest. Each of these may be the end of the connection. */

static void conn_on_response(struct vsock_conn *c)
{
	if (c->state != VSOCK_REQUESTING || c->wants & VSOCK_WANTS_REQUEST)
		return;
	c->state = VSOCK_OPEN;
	c->ticks = 0;
	if (vsock_host_welcome(c))
		conn_settle(c);
	else
		vsock_conn_kill(c);
}

static void conn_on_shutdown(struct vsock_conn *c, uint32_t flags)
{
	if (c->state == VSOCK_CONNECTING && (flags & VSOCK_SHUTDOWN_BOTH) == VSOCK_SHUTDOWN_BOTH)
		vsock_conn_kill(c);
	if (c->state != VSOCK_OPEN)
		return;
	log_debug("vsock: the guest shuts the connection of ports %u and %u (guest): %u", c->host_port, c->guest_port,
		  flags);
	c->guest_shut |= flags & VSOCK_SHUTDOWN_BOTH;
	if (c->guest_shut == VSOCK_SHUTDOWN_BOTH) {
		c->ticks = VSOCK_SHUTDOWN_TICKS;
		vsock_tick_on(c->vsock);
	}
	conn_settle(c);
}

static void conn_on_data(struct vsock_conn *c, const struct virtq_chain *chain, uint32_t len)
{
	if (c->state != VSOCK_OPEN || c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND || !len)
		return;
	if (vsock_stream_write(c, chain, VSOCK_HDR_LEN, len)) {
		conn_settle(c);
		return;
	}
	log_warn("vsock: the guest has sent more than it may from port %u to port %u: the connection is closed",
		 c->guest_port, c->host_port);
	vsock_conn_kill(c);
}

void vsock_conn_receive(struct vsock_conn *c, const struct virtio_vsock_hdr *hdr, const struct virtq_chain *chain)
{
	uint16_t op = le16toh(hdr->op);

	if (op == VIRTIO_VSOCK_OP_RST) {
		log_debug("vsock: the guest ends the connection of ports %u and %u (guest) in state %d", c->host_port,
			  c->guest_port, (int)c->state);
		conn_forget_guest(c);
		return;
	}
	if (c->state == VSOCK_CLOSING || c->state == VSOCK_DRAINING)
		return; /* the RST is under way */
	c->peer_buf_alloc = le32toh(hdr->buf_alloc);
	c->peer_fwd_cnt = le32toh(hdr->fwd_cnt);
	if (conn_credit(c))
		c->credit_asked = false;
	switch (op) {
	case VIRTIO_VSOCK_OP_REQUEST:
		/* The guest has forgotten the connection, and its ports are taken until it learns that. */
		vsock_conn_kill(c);
		break;
	case VIRTIO_VSOCK_OP_RESPONSE:
		conn_on_response(c);
		break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		conn_on_shutdown(c, le32toh(hdr->flags));
		break;
	case VIRTIO_VSOCK_OP_RW:
		conn_on_data(c, chain, le32toh(hdr->len));
		break;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		if (vsock_conn_has_packet(c))
			vsock_make_ready(c);
		break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		if (c->state == VSOCK_OPEN)
			vsock_conn_want(c, VSOCK_WANTS_CREDIT_UPDATE);
		break;
	default:
		log_warn("vsock: the guest has sent a packet of the unknown operation %u: ignored", op);
		break;
	}
}
