// SPDX-License-Identifier: Apache-2.0
/*
 * The host's side of a connection: bytes between a Unix stream socket and guest
 * memory, without a copy of ours, unless the socket does not take what the guest
 * has sent.
 *
 * No call waits. Events are edges, each of which says that calls are worth
 * trying again: so a stream of which the guest wants nothing costs nothing, be
 * it readable or closed.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "virtio/vsock.h"
#include "virtio/vsock_internal.h"

#define STREAM_EVENTS ((uint32_t)(EPOLLIN | EPOLLRDHUP) | EPOLLET)

static void stream_on_event(void *ctx, uint32_t events)
{
	struct vsock_conn *c = ctx;
	struct vsock *v = c->vsock;
	bool is_void;

	virtio_lock(&v->vdev);
	is_void = v->cut && c->is_hashed;
	vsock_catch_up(v);
	if (!is_void) {
		c->readable = true;
		c->sendable |= (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0;
		c->hung_up |= (events & EPOLLHUP) != 0;
		vsock_conn_go_on(c);
	}
	vsock_serve(v);
	virtio_unlock(&v->vdev);
}

int vsock_stream_open(struct vsock_conn *c, int fd)
{
	c->source = loop_add(c->vsock->vdev.loop, fd, STREAM_EVENTS, stream_on_event, c);
	if (!c->source) {
		int r = -errno;

		close(fd);
		return r;
	}
	c->fd = fd;
	c->readable = true;
	c->sendable = true;
	return 0;
}

static void stream_drop_buffer(struct vsock_conn *c)
{
	free(c->buf);
	c->buf = NULL;
	c->fwd_cnt += c->buf_len;
	c->buf_len = 0;
}

void vsock_stream_close(struct vsock_conn *c)
{
	loop_remove(c->source);
	c->source = NULL;
	cleanup_close(&c->fd);
	c->fd = -1;
	stream_drop_buffer(c);
}

/* Nobody reads any more: the guest's bytes go nowhere, and it learns that (vsock_conn.c). */
static void stream_sink(struct vsock_conn *c)
{
	c->sink = true;
	stream_drop_buffer(c);
}

uint32_t vsock_stream_read(struct vsock_conn *c, const struct virtq_chain *chain, uint64_t offset, uint32_t len)
{
	const struct virtq *q = &c->vsock->vdev.queues[VSOCK_RXQ];
	struct iovec iov[VIRTQ_MAX_SIZE];
	int num = virtq_chain_lease(q, chain, offset, len, iov);
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = (size_t)num };
	ssize_t n;

	if (num <= 0)
		return 0; /* never: its place was looked at before (vsock_queue.c) */
	n = recvmsg(c->fd, &msg, 0);
	virtq_release(q, iov, num);
	if (n > 0)
		return (uint32_t)n;
	if (n < 0 && errno == EINTR)
		return 0;
	c->readable = false;
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n < 0) /* such as ECONNRESET: closed with bytes of ours in it that nobody has read */
		metric_inc(vsock, rx_read_fails);
	c->eof = true;
	if (n < 0 || c->hung_up)
		stream_sink(c);
	return 0;
}

/* The number of bytes that the socket has taken; -EPIPE: it never takes any more. */
static ssize_t stream_send(struct vsock_conn *c, struct iovec *iov, int num)
{
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = (size_t)num };
	ssize_t n = sendmsg(c->fd, &msg, MSG_NOSIGNAL);

	if (n >= 0)
		return n;
	if (errno == EINTR)
		return 0;
	if (errno != EAGAIN && errno != ENOBUFS && errno != ENOMEM)
		return -EPIPE;
	c->sendable = false;
	return 0;
}

/* The rest of what the guest has sent stays here. */
static bool stream_keep(struct vsock_conn *c, const struct virtq_chain *chain, uint64_t offset, uint32_t len)
{
	const struct virtq *q = &c->vsock->vdev.queues[VSOCK_TXQ];
	uint32_t end = (c->buf_at + c->buf_len) % VSOCK_BUF_ALLOC;
	uint32_t first = len < VSOCK_BUF_ALLOC - end ? len : VSOCK_BUF_ALLOC - end;

	if (len > VSOCK_BUF_ALLOC - c->buf_len)
		return false;
	if (!c->buf) {
		c->buf = malloc(VSOCK_BUF_ALLOC);
		if (!c->buf)
			return false;
		loop_set_events(c->source, STREAM_EVENTS | EPOLLOUT);
	}
	(void)!virtq_chain_read(q, chain, offset, c->buf + end, first);
	(void)!virtq_chain_read(q, chain, offset + first, c->buf, len - first);
	c->buf_len += len;
	return true;
}

bool vsock_stream_write(struct vsock_conn *c, const struct virtq_chain *chain, uint64_t offset, uint32_t len)
{
	struct iovec iov[VIRTQ_MAX_SIZE];
	ssize_t n = 0;

	if (!c->sink && !c->buf_len && c->sendable) {
		int num = virtq_chain_source(&c->vsock->vdev.queues[VSOCK_TXQ], chain, offset, len, iov);

		if (num > 0)
			n = stream_send(c, iov, num);
		if (n < 0) {
			metric_inc(vsock, tx_write_fails);
			stream_sink(c);
		}
	}
	if (c->sink) {
		c->fwd_cnt += len;
		return true;
	}
	c->fwd_cnt += (uint32_t)n;
	return (uint32_t)n == len || stream_keep(c, chain, offset + (uint32_t)n, len - (uint32_t)n);
}

void vsock_stream_flush(struct vsock_conn *c)
{
	/* What the host has sent before it closed is the guest's, if it wants it. */
	if (c->hung_up && (c->eof || c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV)) {
		c->eof = true;
		stream_sink(c);
	}
	while (c->buf_len && c->sendable) {
		uint32_t first = VSOCK_BUF_ALLOC - c->buf_at;
		struct iovec iov[2] = { { .iov_base = c->buf + c->buf_at, .iov_len = first },
					{ .iov_base = c->buf, .iov_len = c->buf_len - first } };
		ssize_t n;

		if (c->buf_len <= first)
			iov[0].iov_len = c->buf_len;
		n = stream_send(c, iov, c->buf_len <= first ? 1 : 2);
		if (n < 0) {
			metric_inc(vsock, tx_flush_fails);
			stream_sink(c);
			return;
		}
		c->fwd_cnt += (uint32_t)n;
		c->buf_at = (c->buf_at + (uint32_t)n) % VSOCK_BUF_ALLOC;
		c->buf_len -= (uint32_t)n;
	}
	if (c->buf && !c->buf_len) {
		stream_drop_buffer(c);
		loop_set_events(c->source, STREAM_EVENTS);
	}
}

void vsock_stream_pass_shutdown(struct vsock_conn *c)
{
	/* Errors mean that the other side has closed, of which an event tells. */
	if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV && !c->host_told_deaf) {
		c->host_told_deaf = true;
		(void)shutdown(c->fd, SHUT_RD);
	}
	if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND && !c->host_told_eof && !c->buf_len) {
		c->host_told_eof = true;
		(void)shutdown(c->fd, SHUT_WR);
	}
}
