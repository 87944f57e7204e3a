// SPDX-License-Identifier: Apache-2.0
#include "net_peer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct net_peer {
	struct net_backend backend; /* must be first */
	uint64_t features;
	int features_error, send_error;
};

static ssize_t peer_send(struct net_backend *backend, const struct iovec *iov, int num)
{
	const struct net_peer *peer = (struct net_peer *)backend;
	ssize_t n;

	if (peer->send_error)
		return -peer->send_error;
	n = writev(backend->fd, iov, num);
	return n < 0 ? -errno : n;
}

static ssize_t peer_receive(struct net_backend *backend, const struct iovec *iov, int num)
{
	ssize_t n = readv(backend->fd, iov, num);

	return n < 0 ? -errno : n;
}

static int peer_set_features(struct net_backend *backend, uint64_t features)
{
	struct net_peer *peer = (struct net_peer *)backend;

	if (peer->features_error)
		return -peer->features_error;
	peer->features = features;
	return 0;
}

static void peer_free(struct net_backend *backend)
{
	close(backend->fd);
	free(backend);
}

static const struct net_backend_ops peer_ops = {
	.send = peer_send,
	.receive = peer_receive,
	.set_features = peer_set_features,
	.free = peer_free,
};

struct net_backend *net_peer_new(int *other)
{
	struct net_peer *peer = calloc(1, sizeof(*peer));
	const int room = 8 << 20;
	int fds[2], r;

	assert(peer);
	r = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds);
	assert(r == 0);
	(void)r;
	for (unsigned int i = 0; i < 2; i++)
		(void)setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	peer->backend.ops = &peer_ops;
	peer->backend.fd = fds[0];
	*other = fds[1];
	return &peer->backend;
}

uint64_t net_peer_features(const struct net_backend *backend)
{
	return ((const struct net_peer *)backend)->features;
}

void net_peer_refuse_features(struct net_backend *backend, int error)
{
	((struct net_peer *)backend)->features_error = error;
}

void net_peer_fail_sends(struct net_backend *backend, int error)
{
	((struct net_peer *)backend)->send_error = error;
}
