// SPDX-License-Identifier: Apache-2.0
/*
 * All system calls are the loop thread's, and none waits: both sockets are
 * nonblocking. A vCPU that prints puts its byte into the ring and, if nobody has
 * been told yet, tells the loop by an eventfd.
 *
 * The lock is for vCPUs among each other. The loop takes none: it copies what
 * lies between tail and head, and looks at tail once more; a vCPU that found no
 * room has moved it before it wrote over the oldest byte, so that what was
 * changed under the copy is known, and left out.
 *
 * A client that has ended its sending half still gets the output. A second
 * client is turned away: two would share the guest's input byte by byte.
 */
#include "devices/serial_socket.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/unix_listener.h"
#include "devices/devices.h"

#define SERIAL_SOCKET_CHUNK 4096u

struct serial_socket {
	struct loop *loop; /* borrowed */
	struct unix_listener listener;
	struct loop_source *listen_source;
	struct loop_source *told_source;
	int told_fd; /* eventfd, owned: there is something to do */
	loop_fn *on_input;
	void *ctx;

	int client;			   /* owned, -1: nobody is there */
	struct loop_source *client_source; /* NULL: it has gone, but may have left something to be taken */
	bool wanted;			   /* the guest has room for input */
	bool no_more;			   /* the client has ended its sending half */
	bool full;			   /* it takes no more output now */

	_Atomic bool tell; /* the loop waits for something to send */

	pthread_mutex_t lock;	     /* vCPUs': guards head, and who may move tail for want of room */
	_Atomic uint64_t head, tail; /* bytes put and bytes gone since the beginning */
	_Atomic uint8_t ring[SERIAL_SOCKET_KEPT];
};

/* tail is at end, or beyond. True if it was not yet. */
static bool socket_forget(struct serial_socket *s, uint64_t end)
{
	uint64_t tail = atomic_load(&s->tail);

	while (tail < end) {
		if (atomic_compare_exchange_weak(&s->tail, &tail, end))
			return true;
	}
	return false;
}

int serial_socket_put(struct serial_socket *s, uint8_t byte)
{
	uint64_t head;
	bool lost;

	pthread_mutex_lock(&s->lock);
	head = atomic_load(&s->head);
	lost = head >= SERIAL_SOCKET_KEPT && socket_forget(s, head - SERIAL_SOCKET_KEPT + 1);
	atomic_store_explicit(&s->ring[head % SERIAL_SOCKET_KEPT], byte, memory_order_release);
	atomic_store(&s->head, head + 1);
	pthread_mutex_unlock(&s->lock);
	if (atomic_load(&s->tell) && atomic_exchange(&s->tell, false))
		(void)eventfd_write(s->told_fd, 1);
	if (lost)
		metric_inc(uart, missed_write_count);
	return lost ? -EAGAIN : 0;
}

static void socket_drop_client(struct serial_socket *s)
{
	loop_remove(s->client_source);
	s->client_source = NULL;
	cleanup_close(&s->client);
	s->client = -1;
}

static void socket_watch_client(struct serial_socket *s)
{
	if (s->client_source)
		loop_set_events(s->client_source,
				(s->wanted && !s->no_more ? EPOLLIN : 0u) | (s->full ? EPOLLOUT : 0u));
}

/* Bytes from the front of the ring, which stay there: their number, and which they are. */
static size_t socket_peek(struct serial_socket *s, uint8_t chunk[SERIAL_SOCKET_CHUNK], uint64_t *at)
{
	uint64_t begin = atomic_load(&s->tail), end = atomic_load(&s->head), now;
	size_t n = 0;

	while (n < SERIAL_SOCKET_CHUNK && begin + n < end) {
		chunk[n] = atomic_load_explicit(&s->ring[(begin + n) % SERIAL_SOCKET_KEPT], memory_order_acquire);
		n++;
	}
	now = atomic_load(&s->tail);
	*at = now;
	if (now - begin >= n)
		return 0;
	memmove(chunk, chunk + (now - begin), n - (now - begin));
	return n - (now - begin);
}

/* One chunk. True if the client may take more. */
static bool socket_send(struct serial_socket *s)
{
	uint8_t chunk[SERIAL_SOCKET_CHUNK];
	uint64_t at;
	size_t len = socket_peek(s, chunk, &at);
	ssize_t n = len ? send(s->client, chunk, len, MSG_NOSIGNAL) : 0;

	if (n > 0)
		(void)socket_forget(s, at + (uint64_t)n);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		socket_drop_client(s);
	return n > 0;
}

/* As much as the client takes now, within a bound: a guest that prints on and on keeps nobody from the loop. */
static void socket_flush(struct serial_socket *s)
{
	bool more = s->client_source;

	for (unsigned int i = 0; more && i < SERIAL_SOCKET_KEPT / SERIAL_SOCKET_CHUNK; i++)
		more = socket_send(s);
	/* What comes after this look is told. */
	s->tell = s->client_source != NULL;
	s->full = s->client_source && s->head != s->tail;
	if (s->full)
		s->tell = false;
	socket_watch_client(s);
}

static void socket_on_told(void *ctx, uint32_t events)
{
	struct serial_socket *s = ctx;
	eventfd_t ignored;

	(void)eventfd_read(s->told_fd, &ignored);
	socket_flush(s);
	if (s->client >= 0 && !s->client_source && s->wanted)
		s->on_input(s->ctx, events);
}

static void socket_on_client(void *ctx, uint32_t events)
{
	struct serial_socket *s = ctx;

	if (!(events & EPOLLIN) && events & (EPOLLHUP | EPOLLERR)) {
		/* What it has typed and the guest has no room for yet is still there. */
		loop_remove(s->client_source);
		s->client_source = NULL;
		if (s->no_more)
			socket_drop_client(s);
		return;
	}
	if (events & EPOLLOUT)
		socket_flush(s);
	if (events & EPOLLIN)
		s->on_input(s->ctx, events);
}

/* The loop may not have heard of its end yet. */
static bool socket_has_client(const struct serial_socket *s)
{
	struct pollfd client = { .fd = s->client };

	return s->client_source && (poll(&client, 1, 0) <= 0 || !(client.revents & (POLLHUP | POLLERR)));
}

static void socket_on_connect(void *ctx, uint32_t events)
{
	struct serial_socket *s = ctx;
	int fd = accept4(s->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0)
		return;
	if (socket_has_client(s)) {
		log_warn("serial console: a client of \"%s\" was turned away: there is one already", s->listener.path);
		close(fd);
		return;
	}
	socket_drop_client(s);
	s->client = fd;
	s->no_more = false;
	s->client_source = loop_add(s->loop, fd, 0, socket_on_client, s);
	if (!s->client_source)
		socket_drop_client(s);
	socket_flush(s);
}

void serial_socket_want(struct serial_socket *s, bool wanted)
{
	s->wanted = wanted;
	socket_watch_client(s);
	if (wanted && s->client >= 0 && !s->client_source)
		(void)eventfd_write(s->told_fd, 1);
}

ssize_t serial_socket_take(struct serial_socket *s, void *data, size_t max)
{
	ssize_t n = s->client >= 0 ? recv(s->client, data, max, 0) : 0;

	if (n > 0 || s->client < 0)
		return n;
	s->no_more = n == 0;
	if ((n == 0 && !s->client_source) || (n < 0 && errno != EAGAIN && errno != EINTR))
		socket_drop_client(s);
	socket_watch_client(s);
	return 0;
}

/* Accepts half-built. */
void serial_socket_free(struct serial_socket *s)
{
	if (!s)
		return;
	socket_flush(s);
	socket_drop_client(s);
	loop_remove(s->listen_source);
	loop_remove(s->told_source);
	cleanup_close(&s->told_fd);
	unix_listener_close(&s->listener);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static int socket_watch(struct serial_socket *s, struct err *e)
{
	s->told_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->told_fd >= 0)
		s->told_source = loop_add(s->loop, s->told_fd, EPOLLIN, socket_on_told, s);
	if (s->told_source)
		s->listen_source = loop_add(s->loop, s->listener.fd, EPOLLIN, socket_on_connect, s);
	return s->listen_source ? 0 : err_errno(e, errno, "serial console");
}

int serial_socket_new(const char *path, struct loop *loop, loop_fn *on_input, void *ctx, struct serial_socket **out,
		      struct err *e)
{
	struct serial_socket *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_errno(e, ENOMEM, "serial console");
	s->loop = loop;
	s->on_input = on_input;
	s->ctx = ctx;
	s->listener.fd = s->told_fd = s->client = -1;
	pthread_mutex_init(&s->lock, NULL);
	r = unix_listener_open(&s->listener, "serial_socket_path", path, e);
	if (!r)
		r = socket_watch(s, e);
	if (r)
		serial_socket_free(s);
	else
		*out = s;
	return r;
}
