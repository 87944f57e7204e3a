// SPDX-License-Identifier: Apache-2.0
/*
 * A hostile driver of a network interface and of a socket device (hostile.h), while the host sends to both: broken rings,
 * rings of garbage that change while they are read, frames with headers that are anything, receive buffers that are none,
 * socket packets with each field wrong, resets in the middle. After each attack both devices are reset, and must work:
 * tests/system/test_hostile_guest.py has a peer that sends frames, and a server on VSOCK_SERVER_PORT.
 */
#include "guest.h"
#include "hostile.h"

#include <linux/virtio_net.h>
#include <linux/virtio_vsock.h>

/* As host/arch/x86_64/layout.h and the order of the devices have it. */
#define NET_WINDOW	  0xC0001000ull
#define VSOCK_WINDOW	  0xC0002000ull
#define VSOCK_GUEST_CID	  3u
#define VSOCK_SERVER_PORT 77u
#define RX		  0u
#define TX		  1u
#define EV		  2u
#define FRAME_MAX	  70000u /* more than the device takes */
#define BUFFER_LEN	  4096u
#define TX_ARENA	  VIRTIO_DATA
#define RX_ARENA	  (VIRTIO_DATA + 0x300000)

static struct virtio_device net = { .base = NET_WINDOW, .num_queues = 2 };
static struct virtio_device vsock = { .base = VSOCK_WINDOW, .num_queues = 3, .number = 1 };
static unsigned int num_needs_reset;
static unsigned int num_used;

static uint16_t used_idx(const struct virtio_device *dev, unsigned int q)
{
	return dev->rings[q].used[1];
}

/* Entry number i of the used ring: 32 bits of id, 32 of length. */
static const volatile uint32_t *used_entry(const struct virtio_device *dev, unsigned int q, uint16_t i)
{
	return (const volatile uint32_t *)(dev->rings[q].used + 2) + (i % VIRTIO_QUEUE_SIZE) * 2u;
}

/* One buffer of BUFFER_LEN bytes for the device to write to, in descriptor and place i. */
static void give_buffer(struct virtio_device *dev, unsigned int q, unsigned int i)
{
	i %= VIRTIO_QUEUE_SIZE;
	virtio_set_desc(&dev->rings[q], i, RX_ARENA + i * BUFFER_LEN, BUFFER_LEN, VRING_DESC_F_WRITE, 0);
	virtio_publish(&dev->rings[q], (uint16_t)i);
}

/* Gives back each receive buffer that was used, until the device has used so many of the transmit queue's, or for some seconds. */
static bool drain(struct virtio_device *dev, uint16_t tx_used)
{
	uint16_t seen = dev->rings[RX].avail_idx;

	for (unsigned int i = 0; i < 100000; i++) {
		if (used_idx(dev, TX) == tx_used)
			return true;
		for (; (uint16_t)(seen - used_idx(dev, RX)) < VIRTIO_QUEUE_SIZE; seen++)
			give_buffer(dev, RX, seen);
		virtio_kick(dev, RX);
		(void)*virtio_reg(dev, VIRTIO_MMIO_STATUS);
	}
	return false;
}

/* Garbage in rings and tables, and it goes on changing while the device looks. */
static void attack_rings(struct virtio_device *dev)
{
	(void)virtio_start(dev, hostile_below(2) ? ~0ull : hostile_random());
	for (unsigned int i = 0; i < 256; i++)
		hostile_desc((struct vring_desc *)VIRTIO_TABLES + i);
	for (unsigned int i = 0; i < 60; i++) {
		unsigned int q = hostile_below(dev->num_queues);
		struct virtio_ring *ring = &dev->rings[q];

		if (hostile_below(4))
			hostile_chain(ring, hostile_below(VIRTIO_QUEUE_SIZE));
		else
			hostile_desc(&ring->desc[hostile_below(VIRTIO_QUEUE_SIZE)]);
		if (hostile_below(30) == 0)
			virtio_publish(ring, (uint16_t)hostile_random());
		virtio_kick(dev, q);
	}
	for (unsigned int i = 0; i < 1000; i++)
		hostile_desc(&dev->rings[hostile_below(2)].desc[hostile_below(VIRTIO_QUEUE_SIZE)]);
}

/* A frame's header and the beginning of the frame: most look like some, and each field may be anything. */
static void wild_frame(uint64_t at)
{
	static const uint16_t sizes[] = { 0, 1, 54, 1460, 65535 };
	volatile struct virtio_net_hdr_v1 *hdr = (volatile struct virtio_net_hdr_v1 *)at;
	volatile uint8_t *frame = (volatile uint8_t *)(at + sizeof(*hdr));

	hdr->flags = (uint8_t)(hostile_below(2) ? VIRTIO_NET_HDR_F_NEEDS_CSUM : hostile_random());
	hdr->gso_type = (uint8_t)(hostile_below(2) ? hostile_below(6) : hostile_random());
	hdr->hdr_len = sizes[hostile_below(5)];
	hdr->gso_size = hostile_below(2) ? sizes[hostile_below(5)] : (uint16_t)hostile_random();
	hdr->csum_start = hostile_below(2) ? sizes[hostile_below(5)] : (uint16_t)hostile_below(100);
	hdr->csum_offset = hostile_below(2) ? 16 : (uint16_t)hostile_random();
	hdr->num_buffers = (uint16_t)hostile_random();
	for (unsigned int i = 0; i < 80; i++)
		frame[i] = (uint8_t)hostile_random();
	for (unsigned int i = 0; i < 6; i++)
		frame[i] = 0xff;
	frame[12] = hostile_below(4) ? 8 : 0x86; /* IPv4, and what may be IPv6 */
	frame[13] = hostile_below(4) ? 0 : 0xdd;
	frame[14] = hostile_below(4) ? 0x45 : 0x60;
	frame[23] = hostile_below(2) ? 6 : 17;
}

/* Frames of any length in any number of pieces: each of them must come back, and the device goes on. */
static bool attack_by_frames(void)
{
	struct virtio_ring *ring = &net.rings[TX];

	if (!virtio_start(&net, ~0ull))
		return false;
	for (unsigned int i = 0; i < HOSTILE_CHAINS; i++) {
		unsigned int head = i * HOSTILE_CHAIN_MAX, num = 1 + hostile_below(HOSTILE_CHAIN_MAX);
		uint64_t at = TX_ARENA + i * 0x20000;
		uint32_t left = hostile_below(3) ? hostile_below(2000) : hostile_below(FRAME_MAX);

		wild_frame(at);
		for (unsigned int n = 0; n < num; n++) {
			uint32_t len = n + 1 < num ? hostile_below(left + 1) : left;
			uint16_t flags = (uint16_t)(n + 1 < num ? VRING_DESC_F_NEXT : 0);

			if (hostile_below(30) == 0)
				flags |= VRING_DESC_F_WRITE;
			virtio_set_desc(ring, head + n, hostile_below(30) ? at : hostile_address(), len, flags,
					(uint16_t)(head + n + 1));
			at += len;
			left -= len;
		}
		/* What is readable after what is writable is a broken ring, which attack_by_broken_ring() has. */
		for (unsigned int n = 1; n < num; n++)
			if (ring->desc[head + n - 1].flags & VRING_DESC_F_WRITE)
				ring->desc[head + n].flags |= VRING_DESC_F_WRITE;
		virtio_publish(ring, (uint16_t)head);
	}
	virtio_kick(&net, TX);
	return virtio_wait_used(&net, TX, HOSTILE_CHAINS) &&
	       !(*virtio_reg(&net, VIRTIO_MMIO_STATUS) & STATUS_NEEDS_RESET);
}

/* Receive buffers that are too short, too long, nowhere, or to be read, while frames come. */
static bool attack_by_buffers(struct virtio_device *dev)
{
	static const uint32_t lengths[] = { 0, 1, 11, 12, 13, 26, 44, 45, 1514, 0xffffffff };

	if (!virtio_start(dev, hostile_below(2) ? ~0ull : 0))
		return false;
	for (unsigned int i = 0; i < VIRTIO_QUEUE_SIZE; i++) {
		uint64_t at = hostile_below(4) ? RX_ARENA + i * BUFFER_LEN : hostile_address();

		virtio_set_desc(&dev->rings[RX], i, at, lengths[hostile_below(10)],
				hostile_below(5) ? VRING_DESC_F_WRITE : 0, 0);
		virtio_publish(&dev->rings[RX], (uint16_t)i);
		virtio_kick(dev, RX);
	}
	for (unsigned int i = 0; i < 500; i++)
		(void)*virtio_reg(dev, VIRTIO_MMIO_STATUS);
	return !(*virtio_reg(dev, VIRTIO_MMIO_STATUS) & STATUS_NEEDS_RESET);
}

/* Queues that have just got buffers, and are taken away while frames and packets are on the way. */
static bool attack_by_resets(struct virtio_device *dev)
{
	for (unsigned int n = 0; n < 10; n++) {
		if (!virtio_start(dev, ~0ull))
			return false;
		for (unsigned int i = 0; i < VIRTIO_QUEUE_SIZE; i++) {
			give_buffer(dev, RX, i);
			if (hostile_below(4) == 0)
				virtio_kick(dev, RX);
		}
		for (unsigned int i = hostile_below(200); i; i--)
			(void)*virtio_reg(dev, VIRTIO_MMIO_STATUS);
	}
	return true;
}

static void set_packet(uint64_t at, uint16_t op, uint32_t guest_port, uint32_t host_port)
{
	*(struct virtio_vsock_hdr *)at = (struct virtio_vsock_hdr){
		.src_cid = VSOCK_GUEST_CID,
		.dst_cid = 2,
		.src_port = guest_port,
		.dst_port = host_port,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = op,
		.buf_alloc = 0x40000,
	};
}

/* One field of a packet that would have been right. */
static void spoil(struct virtio_vsock_hdr *hdr)
{
	switch (hostile_below(11)) {
	case 0:
		hdr->src_cid = hostile_random();
		break;
	case 1:
		hdr->dst_cid = hostile_below(2) ? VSOCK_GUEST_CID : hostile_random();
		break;
	case 2:
		hdr->src_port = (uint32_t)hostile_random();
		break;
	case 3:
		hdr->dst_port = (uint32_t)hostile_random();
		break;
	case 4:
		hdr->len = hostile_below(2) ? hostile_below(0x20000) : (uint32_t)hostile_random();
		break;
	case 5:
		hdr->type = (uint16_t)hostile_random();
		break;
	case 6:
		hdr->op = (uint16_t)hostile_random();
		break;
	case 7:
		hdr->flags = (uint32_t)hostile_random();
		break;
	case 8:
		hdr->buf_alloc = (uint32_t)hostile_random();
		break;
	case 9:
		hdr->fwd_cnt = (uint32_t)hostile_random();
		break;
	}
}

/*
 * Packets of a few connections, in any order and with wrong fields. As long as the guest takes what it is told, each of its
 * packets must come back.
 */
static bool attack_by_packets(void)
{
	struct virtio_ring *ring = &vsock.rings[TX];

	if (!virtio_start(&vsock, ~0ull))
		return false;
	for (unsigned int turn = 0; turn < 8; turn++) {
		for (unsigned int i = 0; i < VIRTIO_QUEUE_SIZE; i++) {
			uint64_t at = TX_ARENA + i * 0x1000;
			struct virtio_vsock_hdr *hdr = (struct virtio_vsock_hdr *)at;
			uint32_t len = hostile_below(4) ? 0 : hostile_below(3000);

			set_packet(at, (uint16_t)hostile_below(9), 1000 + hostile_below(hostile_below(2) ? 4 : 500),
				   hostile_below(3) ? VSOCK_SERVER_PORT : hostile_below(200));
			hdr->len = len;
			hdr->flags = hostile_below(4);
			spoil(hdr);
			len = hostile_below(20) ? len + (uint32_t)sizeof(*hdr) : hostile_below(200);
			virtio_set_desc(ring, i, at, len, hostile_below(40) ? 0 : VRING_DESC_F_WRITE, 0);
			virtio_publish(ring, (uint16_t)i);
		}
		virtio_kick(&vsock, TX);
		if (hostile_below(2) && !drain(&vsock, ring->avail_idx))
			return false;
		if (used_idx(&vsock, TX) != ring->avail_idx)
			return drain(&vsock, ring->avail_idx);
	}
	return true;
}

/* A frame goes out, and one comes in. */
static bool net_works(void)
{
	volatile uint8_t *frame = (volatile uint8_t *)TX_ARENA;

	if (!virtio_start(&net, 1ull << VIRTIO_NET_F_MRG_RXBUF))
		return false;
	for (unsigned int i = 0; i < 72; i++)
		frame[i] = i >= 12 && i < 18 ? 0xff : 0;
	for (unsigned int i = 0; i < 32; i++)
		give_buffer(&net, RX, i);
	virtio_kick(&net, RX);
	virtio_set_desc(&net.rings[TX], 0, TX_ARENA, 72, 0, 0);
	virtio_publish(&net.rings[TX], 0);
	virtio_kick(&net, TX);
	if (!virtio_wait_used(&net, TX, 1))
		return false;
	for (unsigned int i = 0; i < 100000 && used_idx(&net, RX) == 0; i++)
		(void)*virtio_reg(&net, VIRTIO_MMIO_STATUS);
	return used_idx(&net, RX) && used_entry(&net, RX, 0)[1] >= 26;
}

/* A connection to the host's server is accepted; what else comes is others'. */
static bool vsock_works(void)
{
	const uint32_t port = 5000 + hostile_below(1000);
	uint16_t seen = 0;

	if (!virtio_start(&vsock, 0))
		return false;
	for (unsigned int i = 0; i < VIRTIO_QUEUE_SIZE; i++)
		give_buffer(&vsock, RX, i);
	virtio_kick(&vsock, RX);
	set_packet(TX_ARENA, VIRTIO_VSOCK_OP_REQUEST, port, VSOCK_SERVER_PORT);
	virtio_set_desc(&vsock.rings[TX], 0, TX_ARENA, sizeof(struct virtio_vsock_hdr), 0, 0);
	virtio_publish(&vsock.rings[TX], 0);
	virtio_kick(&vsock, TX);
	for (unsigned int i = 0; i < 100000; i++) {
		for (; seen != used_idx(&vsock, RX); seen++) {
			uint32_t id = used_entry(&vsock, RX, seen)[0];
			const struct virtio_vsock_hdr *hdr =
				(const struct virtio_vsock_hdr *)(RX_ARENA + id * BUFFER_LEN);

			if (hdr->dst_port == port && hdr->src_port == VSOCK_SERVER_PORT)
				return hdr->op == VIRTIO_VSOCK_OP_RESPONSE;
			give_buffer(&vsock, RX, id);
		}
		virtio_kick(&vsock, RX);
	}
	return false;
}

/* NULL, or what went wrong. */
static const char *hostile_round(void)
{
	static unsigned int round; /* each attack has its turn */
	struct virtio_device *dev = hostile_below(2) ? &net : &vsock;
	const char *wrong = NULL;

	switch (round++ % 7) {
	case 0:
		attack_window(dev->base);
		break;
	case 1:
		if (!attack_by_broken_ring(dev, TX))
			wrong = "a broken ring did not make the device need a reset";
		break;
	case 2:
		dev = &net;
		if (!attack_by_frames())
			wrong = "the network interface did not give back all frames";
		break;
	case 3:
		dev = &vsock;
		if (!attack_by_packets())
			wrong = "the socket device did not give back all packets";
		break;
	case 4:
		if (!attack_by_buffers(dev))
			wrong = "a device did not bear buffers that are none";
		break;
	case 5:
		if (!attack_by_resets(dev))
			wrong = "a device could not be reset";
		break;
	default:
		attack_rings(dev);
	}
	if (*virtio_reg(dev, VIRTIO_MMIO_STATUS) & STATUS_NEEDS_RESET)
		num_needs_reset++;
	if (dev->rings[TX].used)
		num_used += used_idx(dev, TX);
	if (wrong)
		return wrong;
	if (!net_works())
		return "the network interface does not work after a reset";
	return vsock_works() ? NULL : "the socket device does not work after a reset";
}

void guest_main(const uint8_t *zero_page)
{
	const struct hostile h = {
		.round = hostile_round,
		.num_needs_reset = &num_needs_reset,
		.num_used = &num_used,
		.waits = true,
	};

	hostile_run(zero_page, &h);
}
