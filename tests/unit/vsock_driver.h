/* SPDX-License-Identifier: Apache-2.0 */
/* A driver of the socket device: packets in and out, over virtio_driver.h. */
#ifndef VSOCK_DRIVER_H
#define VSOCK_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_vsock.h>

#include "virtio_driver.h"

#define GUEST_CID	  52u
#define VSOCK_RX	  0u
#define VSOCK_TX	  1u
#define VSOCK_EV	  2u
#define VSOCK_RX_LEN	  8192u /* bytes of a receive buffer */
#define VSOCK_RX_NUM	  64u	/* of them */
#define VSOCK_RX_GPA	  0x100000u
#define VSOCK_TX_GPA	  0x400000u
#define VSOCK_EV_GPA	  0x300000u
#define VSOCK_PEER_BUFFER (256u * 1024) /* what the guest's sockets take, as Linux has it */

struct vsock_guest {
	struct virtio_driver drv;
	unsigned int rx_slot, tx_slot;
	uint32_t buf_alloc; /* in packets that it sends */
	uint32_t fwd_cnt;
};

/* A packet that the guest has got. */
struct vsock_packet {
	struct virtio_vsock_hdr hdr;
	uint32_t len; /* of data */
	uint8_t data[VSOCK_RX_LEN];
};

/* Features, queues, 8 event buffers; no receive buffers. */
void vg_start(struct vsock_guest *g, uint64_t features);
/* num receive buffers more. */
void vg_give(struct vsock_guest *g, unsigned int num);
void vg_give_event(struct vsock_guest *g);
/* The next packet; false: there is none. Its buffer is given back. */
bool vg_get(struct vsock_guest *g, struct vsock_packet *p);
/* The next event: its id; -1: none. Its buffer is not given back. */
int vg_get_event(struct vsock_guest *g);
/* Sends a packet, and lets the device see it. The first takes any header. */
void vg_send_raw(struct vsock_guest *g, const struct virtio_vsock_hdr *hdr, const void *data, uint32_t len);
void vg_send(struct vsock_guest *g, uint16_t op, uint32_t host_port, uint32_t guest_port, uint32_t flags,
	     const void *data, uint32_t len);

#endif
