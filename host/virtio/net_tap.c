// SPDX-License-Identifier: Apache-2.0
/*
 * A tap of the host (Linux: Documentation/networking/tuntap.rst). One system
 * call a frame is what the kernel has; the frame goes between its socket buffer
 * and guest memory with one copy, the kernel's.
 *
 * Nobody but the tap's owner, or CAP_NET_ADMIN over its network namespace, may
 * attach, so that the monitor needs no privilege for a tap that was made for it:
 * ip tuntap add NAME mode tap user USER.
 */
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/if_tun.h>
#include <linux/virtio_net.h>

#include "base/cleanup.h"
#include "virtio/net_backend.h"

#define TUN_PATH	"/dev/net/tun"
#define INTERFACES_PATH "/proc/self/net/dev"
#define INTERFACES_ROOM 65536u
#define TAP_FLAGS	(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)

_Static_assert(NET_TAP_NAME_MAX + 1 == IFNAMSIZ, "the kernel's limit");

static ssize_t tap_send(struct net_backend *backend, const struct iovec *iov, int num)
{
	/* Of one piece the kernel need not read a list first. */
	ssize_t n = num == 1 ? write(backend->fd, iov->iov_base, iov->iov_len) : writev(backend->fd, iov, num);

	return n < 0 ? -errno : n;
}

static ssize_t tap_receive(struct net_backend *backend, const struct iovec *iov, int num)
{
	ssize_t n = readv(backend->fd, iov, num);

	return n < 0 ? -errno : n;
}

/* What a frame for the guest may look like; the kernel makes others of those that are not like that. */
static unsigned int tap_offloads(uint64_t features)
{
	static const struct {
		unsigned int feature, offload;
	} pairs[] = {
		{ VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4 },
		{ VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6 },
		{ VIRTIO_NET_F_GUEST_UFO, TUN_F_UFO },
	};
	unsigned int offloads = TUN_F_CSUM;

	/* Section 5.1.3.1: the others need it. */
	if (!(features >> VIRTIO_NET_F_GUEST_CSUM & 1))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
		if (features >> pairs[i].feature & 1)
			offloads |= pairs[i].offload;
	return offloads;
}

static int tap_set_features(struct net_backend *backend, uint64_t features)
{
	return ioctl(backend->fd, TUNSETOFFLOAD, (unsigned long)tap_offloads(features)) < 0 ? -errno : 0;
}

static void tap_free(struct net_backend *backend)
{
	cleanup_close(&backend->fd);
	free(backend);
}

static const struct net_backend_ops tap_ops = {
	.send = tap_send,
	.receive = tap_receive,
	.set_features = tap_set_features,
	.free = tap_free,
};

/* Is there an interface of this name in our network namespace? True also where one cannot tell. */
static bool tap_may_be_there(const char *name)
{
	_cleanup_close_ int fd = open(INTERFACES_PATH, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *text = malloc(INTERFACES_ROOM);
	char line[IFNAMSIZ + 2];
	size_t len = 0;
	ssize_t n;

	if (fd < 0 || !text)
		return true;
	while (len < INTERFACES_ROOM - 1 && (n = read(fd, text + len, INTERFACES_ROOM - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	snprintf(line, sizeof(line), "%s:", name);
	for (char *at = text; (at = strstr(at, line)); at++)
		if (at > text && (at[-1] == ' ' || at[-1] == '\n'))
			return true;
	return len == INTERFACES_ROOM - 1;
}

static int tap_refuse_missing(const char *name, struct err *e)
{
	return err_set(e, ENODEV,
		       "there is no network interface \"%s\" on the host: it must be made before (ip tuntap)", name);
}

static int tap_refuse(const char *name, int error, struct err *e)
{
	switch (error) {
	case EPERM:
		return err_set(e, EPERM,
			       "tap \"%s\" belongs to another user: it must be made for the one that the monitor runs "
			       "as (ip tuntap add ... user)",
			       name);
	case EBUSY:
		return err_set(e, EBUSY, "tap \"%s\" is in use by another process", name);
	case EINVAL:
		return err_set(
			e, EINVAL,
			"network interface \"%s\" cannot be attached to: it must be a tap (not a tun, or another "
			"device) with one queue",
			name);
	default:
		return err_errno(e, error, "cannot attach to tap \"%s\"", name);
	}
}

/* Attaches to it, or says why not. One that is not there the kernel would create, if we may: it is gone again at close(). */
static int tap_attach(int fd, const char *name, struct err *e)
{
	struct ifreq request = { .ifr_flags = TAP_FLAGS };
	const int header_len = NET_HDR_LEN, little_endian = 1;

	if (!tap_may_be_there(name))
		return tap_refuse_missing(name, e);
	memcpy(request.ifr_name, name, strnlen(name, NET_TAP_NAME_MAX));
	if (ioctl(fd, TUNSETIFF, &request) < 0)
		return tap_refuse(name, errno, e);
	if (ioctl(fd, TUNGETIFF, &request) < 0)
		return err_errno(e, errno, "cannot look at tap \"%s\"", name);
	if (!(request.ifr_flags & IFF_PERSIST))
		return tap_refuse_missing(name, e);
	if (ioctl(fd, TUNSETVNETHDRSZ, &header_len) < 0 || ioctl(fd, TUNSETVNETLE, &little_endian) < 0 ||
	    ioctl(fd, TUNSETOFFLOAD, 0ul) < 0)
		return err_errno(e, errno, "cannot set up tap \"%s\"", name);
	return 0;
}

int net_tap_new(const char *name, struct net_backend **tap, struct err *e)
{
	_cleanup_close_ int fd = open(TUN_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	struct net_backend *made;
	int r;

	if (fd < 0)
		return err_errno(e, errno, "cannot open " TUN_PATH);
	r = tap_attach(fd, name, e);
	if (r)
		return r;
	made = calloc(1, sizeof(*made));
	if (!made)
		return err_set(e, ENOMEM, "out of memory");
	made->ops = &tap_ops;
	made->fd = take_fd(&fd);
	*tap = made;
	return 0;
}
