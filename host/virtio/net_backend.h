/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the frames of a network interface go to and come from: a tap, or a
 * service of the monitor's own. Frames have a vnet header of NET_HDR_LEN bytes in
 * front (virtio 1.2, section 5.1.6); num_buffers in it is the device's affair.
 *
 * All calls but free come from the device's loop, with the device's lock held:
 * none may wait. What a backend does on its own (timers) belongs on the same
 * loop, and takes the lock (virtio_lock()).
 */
#ifndef VIRTIO_NET_BACKEND_H
#define VIRTIO_NET_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"

#define NET_HDR_LEN	 12u
#define NET_ETH_LEN	 14u
#define NET_MAX_FRAME	 65562u /* with its header: section 5.1.6.3.1 */
#define NET_FRAME_PEEK	 54u	/* header, and what Ethernet and ARP or the beginning of IPv4 and TCP take */
#define NET_TAP_NAME_MAX 15u	/* bytes; the kernel's limit of an interface's name */

struct net_backend;

struct net_backend_ops {
	/*
	 * For a service: is this frame for it? Only the first len bytes of the frame (with its header; NET_FRAME_PEEK at most) are
	 * shown, a copy. The guest may change the rest until send() has read it.
	 */
	bool (*wants)(struct net_backend *backend, const uint8_t *frame, size_t len);
	/* A frame of the guest's, NET_HDR_LEN + NET_ETH_LEN to NET_MAX_FRAME bytes in guest memory: the number that was taken, or -errno. */
	ssize_t (*send)(struct net_backend *backend, const struct iovec *iov, int num);
	/*
	 * The next frame for the guest, to iov, which has room for NET_MAX_FRAME bytes: its length, or -errno; -EAGAIN: there is
	 * none. What is put into iov may be seen by the guest at once.
	 */
	ssize_t (*receive)(struct net_backend *backend, const struct iovec *iov, int num);
	/* What the driver has negotiated (feature bits): what it can make of frames for it. Optional. */
	int (*set_features)(struct net_backend *backend, uint64_t features);
	void (*free)(struct net_backend *backend);
};

/* Embedded first in a backend's struct. */
struct net_backend {
	const struct net_backend_ops *ops;
	/* Readable when there are frames for the guest; the backend's. -1: there is none, it calls net_backend_ready(). */
	int fd;
	/* The device's, set when it takes the backend. */
	void (*ready)(void *ctx);
	void *ctx;
};

/*
 * There are frames for the guest again, after there were none. A service says so soon after each frame that it was sent, too,
 * be there an answer or not: until then the driver is not interrupted for the buffers of that frame. Any thread.
 */
static inline void net_backend_ready(struct net_backend *backend)
{
	backend->ready(backend->ctx);
}

/*
 * Attaches to the tap of this name, which must be there: nothing is created. Takes the vnet header off and on, and no
 * offloads until set_features().
 */
int net_tap_new(const char *name, struct net_backend **tap, struct err *e) must_check;

#endif
