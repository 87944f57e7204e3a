// SPDX-License-Identifier: Apache-2.0
/* The network device: frames of a guest, frames of its network, and buffers of any kind. */
#include "guest.h"

#include <endian.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "net_peer.h"
#include "virtio/net.h"
#include "virtio/net_internal.h"

#define RX_LEN	  2048u
#define RX_GPA	  (DRV_DATA_GPA + 0x100000u)
#define TX_GPA	  DRV_DATA_GPA
#define GOOD_LEN  100u
#define SEED_BYTE 0x5a

/* Of the input that runs. */
static int peer;
static struct net_backend *backend;

/* What the host's kernel could say of a frame, or anything. */
static struct virtio_net_hdr_v1 make_header(struct fuzz_input *in)
{
	static const uint8_t kinds[] = { VIRTIO_NET_HDR_GSO_NONE, VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6,
					 VIRTIO_NET_HDR_GSO_UDP };
	struct virtio_net_hdr_v1 hdr = { .flags = 0 };
	uint8_t what = fuzz_u8(in);

	hdr.flags = what & 3;
	hdr.gso_type = kinds[what >> 2 & 3];
	if (what & 0x10)
		hdr.hdr_len = htole16(54);
	if (what & 0x20)
		hdr.gso_size = htole16(1448);
	if (what & 0x40)
		hdr.num_buffers = htole16(fuzz_u16(in));
	if (what & 0x80) { /* one byte is another */
		uint8_t at = fuzz_u8(in);

		((uint8_t *)&hdr)[at % sizeof(hdr)] ^= fuzz_u8(in);
	}
	return hdr;
}

/* The network has a frame, of any length that a socket takes. */
static void step_arrive(struct fuzz_guest *g, struct fuzz_input *in)
{
	static uint8_t frame[1 << 16];
	struct virtio_net_hdr_v1 hdr = make_header(in);
	size_t len = fuzz_u16(in);

	memcpy(frame, &hdr, sizeof(hdr));
	(void)!write(peer, frame, len ? len : 1);
	fuzz_run(&g->fp);
}

/* The guest sends a frame, in one piece or two. */
static void step_send(struct fuzz_guest *g, struct fuzz_input *in)
{
	struct ring_driver *ring = &g->drv.rings[NET_TXQ];
	struct virtio_net_hdr_v1 hdr = make_header(in);
	uint16_t len = fuzz_u16(in);
	uint8_t cut = fuzz_u8(in);
	struct ring_buf bufs[] = { { TX_GPA, cut }, { TX_GPA + cut, len } };

	if (ring->size < 2)
		return;
	(void)!mem_write(&g->fp.mem, TX_GPA, &hdr, sizeof(hdr));
	ring_add(ring, cut ? bufs : bufs + 1, cut ? 2 : 1, NULL, 0);
	drv_write(&g->drv, VIRTIO_MMIO_QUEUE_NOTIFY, NET_TXQ);
	fuzz_run(&g->fp);
}

/* Receive buffers of a size and cut as the input says. */
static void step_give(struct fuzz_guest *g, struct fuzz_input *in)
{
	struct ring_driver *ring = &g->drv.rings[NET_RXQ];
	uint8_t what = fuzz_u8(in);
	uint32_t len = what & 0x80 ? fuzz_u16(in) : RX_LEN;
	uint32_t first = what & 0x40 ? fuzz_u8(in) : 0;

	for (unsigned int i = 0; ring->size > 1 && i < (what & 63); i++) {
		struct ring_buf bufs[] = { { RX_GPA + i * RX_LEN, first }, { RX_GPA + i * RX_LEN + first, len } };

		ring_add(ring, NULL, 0, first ? bufs : bufs + 1, first ? 2 : 1);
	}
	drv_write(&g->drv, VIRTIO_MMIO_QUEUE_NOTIFY, NET_RXQ);
	fuzz_run(&g->fp);
}

/* New limits, or none. */
static void step_limit(struct fuzz_guest *g, struct fuzz_input *in)
{
	struct network_update update = { .has_rx_bandwidth = true, .has_tx_ops = true };
	uint8_t what = fuzz_u8(in);

	if (what & 1)
		update.rx_rate_limiter.bandwidth =
			(struct token_bucket_config){ .size = 1u << (what & 15), .refill_time_ms = 1000 };
	if (what & 2)
		update.tx_rate_limiter.ops = (struct token_bucket_config){ .size = what, .refill_time_ms = 1000 };
	net_update(g->drv.vdev, &update);
	fuzz_run(&g->fp);
}

/* The peer, or the backend, does not do its part any more, or does it again. */
static void step_backend(struct fuzz_guest *g, struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in);

	(void)g;
	net_peer_fail_sends(backend, what & 1 ? 5 : 0);
	net_peer_refuse_features(backend, (what & 14) == 14 ? 22 : 0);
}

static void drain_peer(void)
{
	static uint8_t frame[1 << 16];

	while (read(peer, frame, sizeof(frame)) > 0) {
	}
}

static void step_take(struct fuzz_guest *g, struct fuzz_input *in)
{
	(void)in;
	drain_peer();
	fuzz_run(&g->fp);
}

/* What must hold at any time. */
static void check_device(const struct fuzz_guest *g)
{
	const struct net_rx *rx = &((struct net *)g->drv.vdev)->rx;
	const struct virtq *q = &g->drv.vdev->queues[NET_RXQ];
	unsigned int num_iov = 0;
	uint64_t len = 0;

	fuzz_expect(rx->num <= NET_QUEUE_SIZE && rx->iov_num <= NET_MAX_IOV);
	fuzz_expect(rx->iov_first + rx->iov_num < NET_IOV_ROOM);
	fuzz_expect(rx->held_len <= NET_MAX_FRAME);
	for (unsigned int i = 0; i < rx->num; i++) {
		const struct net_rx_chain *chain = &rx->chains[(rx->first + i) % NET_QUEUE_SIZE];

		num_iov += chain->num_iov;
		len += chain->len;
	}
	fuzz_expect(num_iov == rx->iov_num && len == rx->len);
	if (!g->running)
		fuzz_expect(!rx->num);
	if (g->drv.vdev->driver_ok && q->ready && !g->forged)
		fuzz_expect((uint16_t)(q->next_avail - q->next_used) == rx->num);
}

static void step_check(struct fuzz_guest *g, struct fuzz_input *in)
{
	(void)in;
	check_device(g);
}

static void expect_good_device(struct fuzz_guest *g)
{
	static const struct network_update no_limits = {
		NULL, true, true, true, true, { { 0 }, { 0 } }, { { 0 }, { 0 } }
	};
	struct ring_buf out = { TX_GPA, NET_HDR_LEN + GOOD_LEN };
	uint8_t frame[NET_HDR_LEN + GOOD_LEN], got[NET_HDR_LEN + GOOD_LEN];
	struct ring_used used;

	check_device(g);
	net_peer_fail_sends(backend, 0);
	net_peer_refuse_features(backend, 0);
	net_update(g->drv.vdev, &no_limits);
	fuzz_guest_restart(g, 1ull << VIRTIO_NET_F_MRG_RXBUF | 1ull << VIRTIO_RING_F_EVENT_IDX);
	/* Frames of before arrive, as far as they are for such a driver. */
	for (unsigned int round = 0; round < 100; round++) {
		for (unsigned int i = 0; i < 64; i++)
			ring_add(&g->drv.rings[NET_RXQ], NULL, 0, &(struct ring_buf){ RX_GPA + i * RX_LEN, RX_LEN }, 1);
		drv_write(&g->drv, VIRTIO_MMIO_QUEUE_NOTIFY, NET_RXQ);
		fuzz_run(&g->fp);
		if (!ring_get_used(&g->drv.rings[NET_RXQ], &used))
			break;
		while (ring_get_used(&g->drv.rings[NET_RXQ], &used)) {
		}
		fuzz_guest_restart(g, 1ull << VIRTIO_NET_F_MRG_RXBUF | 1ull << VIRTIO_RING_F_EVENT_IDX);
	}
	drain_peer();
	memset(frame, 0, NET_HDR_LEN);
	memset(frame + NET_HDR_LEN, SEED_BYTE, GOOD_LEN);
	fuzz_expect(write(peer, frame, sizeof(frame)) == sizeof(frame));
	fuzz_run(&g->fp);
	fuzz_guest_expect_used(g, NET_RXQ, sizeof(frame));
	fuzz_expect(mem_write(&g->fp.mem, TX_GPA, frame, sizeof(frame)));
	ring_add(&g->drv.rings[NET_TXQ], &out, 1, NULL, 0);
	drv_write(&g->drv, VIRTIO_MMIO_QUEUE_NOTIFY, NET_TXQ);
	fuzz_run(&g->fp);
	fuzz_guest_expect_used(g, NET_TXQ, 0);
	fuzz_expect(read(peer, got, sizeof(got)) == sizeof(got) && !memcmp(got, frame, sizeof(got)));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static fuzz_step_fn *const extra[] = { step_arrive, step_arrive,  step_arrive, step_arrive, step_send,
					       step_send,   step_send,	  step_give,   step_give,   step_give,
					       step_limit,  step_backend, step_take,   step_check };
	static char id[] = "eth0", mac[] = "06:00:ac:10:00:02";
	struct network_config config = { .iface_id = id, .guest_mac = mac };
	struct fuzz_input in = { data, size };
	struct virtio_dev *vdev;
	struct fuzz_guest g;
	struct err e;

	fuzz_guest_init(&g);
	backend = net_peer_new(&peer);
	fuzz_expect(net_new_over(&config, backend, &g.fp.p, &vdev, &e) == 0);
	drv_plug(&g.drv, &g.fp, vdev, "net.eth0");
	g.num_queues = NET_NUM_QUEUES;
	g.takes_ahead = 1u << NET_RXQ;
	fuzz_guest_play(&g, &in, extra, ARRAY_SIZE(extra));
	if (!g.gone)
		expect_good_device(&g);
	fuzz_guest_fini(&g);
	close(peer);
	return 0;
}
