/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the network device share: net.c has the device, net_rx.c the way to the guest, net_tx.c the way from it. */
#ifndef VIRTIO_NET_INTERNAL_H
#define VIRTIO_NET_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <linux/virtio_net.h>

#include "base/cleanup.h"
#include "virtio/net.h"
#include "virtio/net_backend.h"
#include "virtio/queue.h"
#include "virtio/throttle.h"
#include "virtio/virtio.h"

struct loop_source;

enum net_queue { NET_RXQ, NET_TXQ, NET_NUM_QUEUES };

#define NET_QUEUE_SIZE 256u
/* A turn of a queue: what the other one, and a vCPU that wants the lock, wait for at most. */
#define NET_BATCH 64u

_Static_assert(sizeof(struct virtio_net_hdr_v1) == NET_HDR_LEN, "section 5.1.6");

/* After so many short frames in a row the next one is expected to be one, too (net_rx.c). */
#define NET_EXPECT_SHORT 256u
#define NET_SHORT_FRAME	 (NET_HDR_LEN + 1518u) /* of Ethernet, with a VLAN's tag */

/* Linux takes 1024 buffers in a system call; one is the spill. */
#define NET_MAX_IOV  1023u
#define NET_IOV_ROOM 2048u

/*
 * Buffers for frames, taken from the ring ahead of the frames: which the next one is going to fill is not known before it is
 * there, and looking them up again for each would cost more than the frame. They are leased (mem/mem.h), and go back into the
 * ring when the machine is paused.
 */
struct net_rx {
	struct net_rx_chain {
		uint16_t head;
		uint16_t num_iov;
		uint32_t len;
	} chains[NET_QUEUE_SIZE]; /* first in, first out: num of them from first on, round and round */
	unsigned int first, num;
	struct iovec iov[NET_IOV_ROOM]; /* of all of them, one after the other: iov_num from iov_first on */
	unsigned int iov_first, iov_num;
	uint64_t len;

	unsigned int short_frames; /* so many in a row were, the last ones; NET_EXPECT_SHORT at most */
	uint64_t frames, bytes;	   /* that were delivered and are not counted yet */

	/* What does not fit into the guest's buffers; or a whole frame of held_len bytes, that waits for more of them. */
	uint8_t *spill; /* owned, NET_MAX_FRAME bytes; untouched pages cost nothing */
	uint32_t held_len;
};

struct net {
	struct virtio_dev vdev; /* must be first */
	char *iface_id;
	struct metrics_one *metrics;  /* owned */
	struct net_metrics *counters; /* its */
	bool has_mac;
	uint8_t mac[6];
	uint16_t mtu;		     /* 0: none */
	struct net_backend *backend; /* owned */
	struct net_backend *service; /* owned; NULL: none */
	struct loop_source *source;  /* of the backend's descriptor, if it has one */
	struct throttle rx_throttle, tx_throttle;
	bool features_changed; /* the backend does not know yet */
	struct net_rx rx;
};

static inline struct net *net_from_vdev(struct virtio_dev *vdev)
{
	return (struct net *)vdev;
}

/* Copies between bytes and an iovec, from its beginning, as far as both go. */
void net_iov_get(const struct iovec *iov, int num, void *dst, size_t len);
void net_iov_put(const struct iovec *iov, int num, const void *src, size_t len);

/* virtio_ops.notify for each queue, with the device's lock. */
int net_rx_run(struct net *net) must_check;
int net_tx_run(struct net *net) must_check;

/* The driver is told of used buffers of either queue, by one interrupt. */
void net_tell_used(struct net *net);

/* Puts buffers that were taken ahead back into the ring. */
void net_rx_put_back(struct net *net);
/* The driver has taken them back. */
void net_rx_forget(struct net *net);

#endif
