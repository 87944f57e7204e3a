// SPDX-License-Identifier: Apache-2.0
/*
 * How streams come into being, as Firecracker does it:
 *
 *  - a client of the host connects to uds_path and says "CONNECT <port>\n"; when
 *    the guest has accepted it gets "OK <host's port>\n", and from then on the
 *    stream is the connection. It is closed without a word if anything is wrong;
 *  - the guest connects to a port of the host, which is a Unix socket at
 *    <uds_path>_<port>.
 *
 * connect(2) looks up a path, which may take its time: it is called by the
 * device's thread without the device's lock. It does not wait for the server,
 * though: if its queue is full it is tried again for a while.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "virtio/vsock.h"
#include "virtio/vsock_internal.h"

#define HOST_ACCEPT_BATCH 64u

/* Clients of the host. */

static void host_admit(struct vsock *v, int fd)
{
	struct vsock_conn *c = vsock_add(v, VSOCK_GREETING);

	if (!c) {
		close(fd);
		return;
	}
	if (vsock_stream_open(c, fd)) {
		metric_inc(vsock, muxer_event_fails);
		vsock_remove(c);
	}
}

/* Edge-triggered: goes on until there is nobody, or nothing to accept them with. */
void vsock_host_accept(struct vsock *v)
{
	for (unsigned int n = 0; n < HOST_ACCEPT_BATCH && v->acceptable; n++) {
		int fd = accept4(v->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			host_admit(v, fd);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		v->acceptable = false;
		if (errno == EAGAIN)
			return;
		metric_inc(vsock, muxer_event_fails);
		log_warn("vsock: cannot accept a connection: %s; it waits", strerror(errno));
		v->accept_failed = true;
		vsock_tick_on(v);
	}
	if (v->acceptable)
		virtio_kick(&v->vdev, VSOCK_RXQ);
}

void vsock_on_accept(void *ctx, uint32_t events)
{
	struct vsock *v = ctx;

	(void)events;
	virtio_lock(&v->vdev);
	vsock_catch_up(v);
	v->acceptable = true;
	vsock_serve(v);
	virtio_unlock(&v->vdev);
}

/* The next word of a line, and its length; 0 at the end. */
static size_t greeting_word(const char **at)
{
	size_t len = 0;

	while (isspace((unsigned char)**at))
		(*at)++;
	while ((*at)[len] && !isspace((unsigned char)(*at)[len]))
		len++;
	return len;
}

static bool greeting_port(const char *word, size_t len, uint32_t *port)
{
	uint64_t number = 0;

	if (!len)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!isdigit((unsigned char)word[i]))
			return false;
		number = number * 10 + (uint64_t)(word[i] - '0');
		if (number > UINT32_MAX)
			return false;
	}
	*port = (uint32_t)number;
	return true;
}

/* line ends with a NUL. What follows the port means nothing. */
static bool greeting_parse(const char *line, uint32_t *port)
{
	size_t len = greeting_word(&line);

	if (len != strlen("CONNECT") || strncasecmp(line, "CONNECT", len) != 0)
		return false;
	line += len;
	len = greeting_word(&line);
	return greeting_port(line, len, port);
}

static ssize_t greeting_receive(struct vsock_conn *c, char *text, size_t len, int flags)
{
	struct iovec iov = { .iov_base = text, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	return recvmsg(c->fd, &msg, flags);
}

/* The bytes of the line that the client has sent, which are taken; 0: it is not whole yet; -1: it never will be. */
static ssize_t greeting_take_line(struct vsock_conn *c, char text[VSOCK_MAX_GREETING + 1])
{
	ssize_t n = greeting_receive(c, text, VSOCK_MAX_GREETING, MSG_PEEK);
	const char *end;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	end = memchr(text, '\n', (size_t)n);
	if (!end)
		return n == 0 || n == VSOCK_MAX_GREETING || c->hung_up ? -1 : 0;
	n = greeting_receive(c, text, (size_t)(end - text) + 1, 0);
	return n == end - text + 1 ? n : -1;
}

static uint32_t host_new_port(struct vsock *v, uint32_t guest_port)
{
	do {
		v->last_port = ((v->last_port + 1) & ~(1u << 31)) | VSOCK_FIRST_PORT;
	} while (vsock_find(v, v->last_port, guest_port));
	return v->last_port;
}

void vsock_host_greet(struct vsock_conn *c)
{
	char text[VSOCK_MAX_GREETING + 1];
	ssize_t n = greeting_take_line(c, text);
	uint32_t port;

	if (n == 0)
		return;
	if (n > 0)
		text[n] = '\0';
	if (n < 0 || !greeting_parse(text, &port)) {
		metric_inc(vsock, conn_event_fails);
		vsock_remove(c);
		return;
	}
	c->state = VSOCK_REQUESTING;
	vsock_hash(c, host_new_port(c->vsock, port), port);
	vsock_conn_want(c, VSOCK_WANTS_REQUEST);
}

bool vsock_host_welcome(struct vsock_conn *c)
{
	char text[32];
	struct iovec iov = { .iov_base = text };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int len = snprintf(text, sizeof(text), "OK %u\n", c->host_port);

	iov.iov_len = (size_t)len;
	return sendmsg(c->fd, &msg, MSG_NOSIGNAL) == len;
}

/* Servers of the host. */

/* A descriptor, or -errno. */
static int host_connect(const char *uds_path, uint32_t port)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;
	char path[UNIX_PATH_MAX + sizeof("_4294967295")];

	snprintf(path, sizeof(path), "%s_%u", uds_path, port);
	if (strlen(path) > UNIX_PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	return take_fd(&fd);
}

/* fd: what host_connect() returned. */
static void host_connected(struct vsock_conn *c, int fd)
{
	if (fd == -EAGAIN || fd == -EINTR)
		return; /* the next tick tries again */
	if (fd >= 0)
		fd = vsock_stream_open(c, fd);
	if (fd < 0) {
		log_debug("vsock: the guest's connection to port %u is refused: %s", c->host_port, strerror(-fd));
		vsock_conn_kill(c);
		return;
	}
	vsock_conn_want(c, VSOCK_WANTS_RESPONSE);
}

bool vsock_host_work(struct virtio_dev *vdev)
{
	struct vsock *v = vsock_from_vdev(vdev);
	struct vsock_conn *c;

	virtio_lock(vdev);
	vsock_catch_up(v);
	if (!v->to_connect) {
		virtio_unlock(vdev);
		return false;
	}
	v->to_connect = false;
	/* Nobody else changes the list meanwhile. */
	TAILQ_FOREACH(c, &v->conns, all)
	{
		int fd;

		if (c->state != VSOCK_CONNECTING || c->fd >= 0)
			continue;
		virtio_unlock(vdev);
		fd = host_connect(v->listener.path, c->host_port);
		virtio_lock(vdev);
		host_connected(c, fd);
	}
	vsock_catch_up(v); /* of what was cut meanwhile */
	vsock_serve(v);
	virtio_unlock(vdev);
	return false;
}
