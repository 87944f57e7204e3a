// SPDX-License-Identifier: Apache-2.0
/*
 * The set of connections, and which of them a packet of the guest's is for.
 *
 * There are VSOCK_MAX_CONNS at most. When there are, the oldest client that has
 * not said CONNECT yet makes room, else the oldest that reads what the guest
 * has left behind; the others stay, and a new one is refused.
 */
#include <endian.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/loop.h"
#include "virtio/vsock.h"
#include "virtio/vsock_internal.h"

static struct vsock_bucket *mux_bucket(struct vsock *v, uint32_t host_port, uint32_t guest_port)
{
	return &v->buckets[(host_port ^ guest_port) % VSOCK_NUM_BUCKETS];
}

struct vsock_conn *vsock_find(struct vsock *v, uint32_t host_port, uint32_t guest_port)
{
	struct vsock_conn *c;

	LIST_FOREACH(c, mux_bucket(v, host_port, guest_port), bucket)
	{
		if (c->host_port == host_port && c->guest_port == guest_port)
			return c;
	}
	return NULL;
}

static bool mux_evict(struct vsock *v, enum vsock_state state)
{
	struct vsock_conn *c;

	TAILQ_FOREACH(c, &v->conns, all)
	{
		if (c->state != state || c->is_hashed)
			continue;
		metric_inc(vsock, conns_killed);
		vsock_remove(c);
		return true;
	}
	return false;
}

struct vsock_conn *vsock_add(struct vsock *v, enum vsock_state state)
{
	struct vsock_conn *c;

	if (v->num_conns >= VSOCK_MAX_CONNS && !mux_evict(v, VSOCK_GREETING) && !mux_evict(v, VSOCK_DRAINING)) {
		log_warn("vsock: there are %u connections already: one more is refused", v->num_conns);
		return NULL;
	}
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->vsock = v;
	c->state = state;
	c->fd = -1;
	TAILQ_INSERT_TAIL(&v->conns, c, all);
	v->num_conns++;
	metric_inc(vsock, conns_added);
	return c;
}

void vsock_hash(struct vsock_conn *c, uint32_t host_port, uint32_t guest_port)
{
	c->host_port = host_port;
	c->guest_port = guest_port;
	c->is_hashed = true;
	LIST_INSERT_HEAD(mux_bucket(c->vsock, host_port, guest_port), c, bucket);
}

void vsock_unhash(struct vsock_conn *c)
{
	if (!c->is_hashed)
		return;
	c->is_hashed = false;
	LIST_REMOVE(c, bucket);
}

void vsock_remove(struct vsock_conn *c)
{
	struct vsock *v = c->vsock;

	vsock_stream_close(c);
	vsock_unhash(c);
	vsock_not_ready(c);
	TAILQ_REMOVE(&v->conns, c, all);
	v->num_conns--;
	metric_inc(vsock, conns_removed);
	free(c);
}

void vsock_make_ready(struct vsock_conn *c)
{
	if (c->is_ready)
		return;
	c->is_ready = true;
	TAILQ_INSERT_TAIL(&c->vsock->ready, c, ready);
}

void vsock_not_ready(struct vsock_conn *c)
{
	if (!c->is_ready)
		return;
	c->is_ready = false;
	TAILQ_REMOVE(&c->vsock->ready, c, ready);
}

static void mux_refuse(struct vsock *v, uint32_t host_port, uint32_t guest_port)
{
	v->rsts[(v->rst_at + v->num_rsts) % VSOCK_MAX_RSTS] = (struct vsock_rst){ host_port, guest_port };
	v->num_rsts++;
}

static void mux_open(struct vsock *v, uint32_t host_port, uint32_t guest_port, const struct virtio_vsock_hdr *hdr)
{
	struct vsock_conn *c = vsock_add(v, VSOCK_CONNECTING);

	if (!c) {
		mux_refuse(v, host_port, guest_port);
		return;
	}
	vsock_hash(c, host_port, guest_port);
	c->peer_buf_alloc = le32toh(hdr->buf_alloc);
	c->peer_fwd_cnt = le32toh(hdr->fwd_cnt);
	c->ticks = VSOCK_CONNECT_TICKS;
	vsock_tick_on(v);
	v->to_connect = true;
}

bool vsock_receive(struct vsock *v, const struct virtio_vsock_hdr *hdr, const struct virtq_chain *chain)
{
	uint32_t host_port = le32toh(hdr->dst_port), guest_port = le32toh(hdr->src_port);
	uint16_t op = le16toh(hdr->op);
	struct vsock_conn *c;

	/* Section 5.10.6.4: who sends it, and whom it is for; nobody could be answered. */
	if (le64toh(hdr->src_cid) != v->cid || le64toh(hdr->dst_cid) != VSOCK_HOST_CID)
		return true;
	c = le16toh(hdr->type) == VIRTIO_VSOCK_TYPE_STREAM ? vsock_find(v, host_port, guest_port) : NULL;
	if (!c && v->num_rsts == VSOCK_MAX_RSTS)
		return false;
	if (c)
		vsock_conn_receive(c, hdr, chain);
	else if (le16toh(hdr->type) == VIRTIO_VSOCK_TYPE_STREAM && op == VIRTIO_VSOCK_OP_REQUEST)
		mux_open(v, host_port, guest_port, hdr);
	else if (op != VIRTIO_VSOCK_OP_RST) /* two sides that answer RSTs would go on for ever */
		mux_refuse(v, host_port, guest_port);
	return true;
}

/* Those that the guest knew. Clients that have not said CONNECT yet wait on, and what it had left behind is still read. */
void vsock_catch_up(struct vsock *v)
{
	struct vsock_conn *c, *next;

	if (!v->cut)
		return;
	v->cut = false;
	for (c = TAILQ_FIRST(&v->conns); c; c = next) {
		next = TAILQ_NEXT(c, all);
		if (c->is_hashed)
			vsock_remove(c);
	}
	v->num_rsts = 0;
	v->tx_held = false;
	v->to_connect = false;
}

void vsock_tick_on(struct vsock *v)
{
	if (v->ticking)
		return;
	v->ticking = true;
	loop_set_timer(v->timer, VSOCK_TICK_NS, 0);
}

/* Connections to a server whose queue was full are tried again. */
static void mux_tick_conns(struct vsock *v)
{
	struct vsock_conn *c, *next;

	for (c = TAILQ_FIRST(&v->conns); c; c = next) {
		next = TAILQ_NEXT(c, all);
		vsock_conn_tick(c);
	}
	TAILQ_FOREACH(c, &v->conns, all)
	v->to_connect |= c->state == VSOCK_CONNECTING && c->fd < 0;
	if (v->to_connect)
		virtio_kick(&v->vdev, VSOCK_TXQ); /* work is done there */
}

static bool mux_waits_for_time(const struct vsock *v)
{
	const struct vsock_conn *c;

	if (v->accept_failed || v->ack_ticks)
		return true;
	TAILQ_FOREACH(c, &v->conns, all)
	{
		if (c->ticks)
			return true;
	}
	return false;
}

void vsock_on_tick(void *ctx, uint32_t events)
{
	struct vsock *v = ctx;

	(void)events;
	virtio_lock(&v->vdev);
	v->ticking = false;
	vsock_catch_up(v);
	if (virtio_may_use(&v->vdev, VSOCK_RXQ)) {
		mux_tick_conns(v);
		v->acceptable |= v->accept_failed;
		v->accept_failed = false;
		if (v->ack_ticks && --v->ack_ticks == 0)
			v->told = 0; /* it never answers, or not to all */
		vsock_serve(v);
	}
	if (mux_waits_for_time(v))
		vsock_tick_on(v);
	virtio_unlock(&v->vdev);
}
