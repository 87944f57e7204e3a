// SPDX-License-Identifier: Apache-2.0
/* The network device over a socket pair, through the transport: the rules of virtio 1.2, section 5.1. */
#include "virtio/net.h"

#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/virtio_net.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "guest_ram.h"
#include "net_peer.h"
#include "virtio/net_internal.h"
#include "virtio_driver.h"

#define RXQ	 NET_RXQ
#define TXQ	 NET_TXQ
#define RX_GPA	 DRV_DATA_GPA
#define TX_GPA	 0x800000u
#define RX_SIZE	 1536u
#define FRAME	 200u /* with its header */
#define MRG	 FEATURE(VIRTIO_NET_F_MRG_RXBUF)
#define G_CSUM	 FEATURE(VIRTIO_NET_F_GUEST_CSUM)
#define G_TSO4	 FEATURE(VIRTIO_NET_F_GUEST_TSO4)
#define G_TSO6	 FEATURE(VIRTIO_NET_F_GUEST_TSO6)
#define G_UFO	 FEATURE(VIRTIO_NET_F_GUEST_UFO)
#define INDIRECT FEATURE(VIRTIO_RING_F_INDIRECT_DESC)
#define EVENTS	 FEATURE(VIRTIO_RING_F_EVENT_IDX)

struct fixture {
	struct fake_platform fp;
	struct virtio_driver drv;
	struct network_config config;
	struct net_backend *backend; /* the device's */
	int peer;
	uint16_t num_rx; /* buffers that were given */
};

static void plug(struct fixture *f)
{
	struct virtio_dev *vdev;
	struct err e;

	fake_platform_init(&f->fp);
	f->fp.p.one_loop = true;
	f->backend = net_peer_new(&f->peer);
	assert_int_equal(net_new_over(&f->config, f->backend, &f->fp.p, &vdev, &e), 0);
	drv_plug(&f->drv, &f->fp, vdev, "net.eth0");
	f->num_rx = 0;
}

static void unplug(struct fixture *f)
{
	drv_unplug(&f->drv);
	fake_platform_fini(&f->fp);
	close(f->peer);
}

static void replug(struct fixture *f)
{
	unplug(f);
	plug(f);
}

static int setup(void **state)
{
	static char id[] = "eth0", mac[] = "06:00:ac:10:00:02";
	struct fixture *f = calloc(1, sizeof(*f));

	f->config.iface_id = id;
	f->config.guest_mac = mac;
	f->config.mtu = 1400;
	plug(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	unplug(*state);
	free(*state);
	return 0;
}

static struct ring_buf buf(gpa_t gpa, uint32_t len)
{
	return (struct ring_buf){ .gpa = gpa, .len = len };
}

static uint8_t *at(struct fixture *f, gpa_t gpa)
{
	return guest_ram(&f->fp.mem, gpa, 1);
}

/* A frame of len bytes with its header, each byte of the frame known by its place and by seed. */
static void make_frame(uint8_t *frame, size_t len, uint8_t seed)
{
	memset(frame, 0, NET_HDR_LEN);
	for (size_t i = NET_HDR_LEN; i < len; i++)
		frame[i] = (uint8_t)(seed + i * 7 + (i >> 8));
}

static gpa_t rx_gpa(unsigned int i)
{
	return RX_GPA + i * 4096u;
}

/* Gives num buffers of size bytes each, at rx_gpa(). */
static void give_rx(struct fixture *f, unsigned int num, uint32_t size)
{
	for (unsigned int i = 0; i < num; i++) {
		struct ring_buf in = buf(rx_gpa(f->num_rx++ % 256u), size);

		ring_add(&f->drv.rings[RXQ], NULL, 0, &in, 1);
	}
	drv_kick(&f->drv, RXQ);
}

static void peer_sends(struct fixture *f, const uint8_t *frame, size_t len)
{
	assert_int_equal(write(f->peer, frame, len), len);
	fake_run(&f->fp);
}

static void peer_sends_seed(struct fixture *f, size_t len, uint8_t seed)
{
	static uint8_t frame[NET_MAX_FRAME];

	make_frame(frame, len, seed);
	peer_sends(f, frame, len);
}

/* The peer gets exactly this, or (len 0) nothing. */
static void expect_at_peer(struct fixture *f, const uint8_t *frame, size_t len)
{
	static uint8_t got[2 * NET_MAX_FRAME];
	ssize_t n = read(f->peer, got, sizeof(got));

	assert_int_equal(n, len ? (ssize_t)len : -1);
	if (len)
		assert_memory_equal(got, frame, len);
}

/* The next used buffers hold a frame of len bytes: as make_frame() makes it, with num_buffers set. Gives how many there were. */
static unsigned int expect_rx(struct fixture *f, size_t len, uint8_t seed, uint32_t size)
{
	static uint8_t expected[NET_MAX_FRAME], got[NET_MAX_FRAME + 4096];
	struct virtio_net_hdr_v1 hdr;
	unsigned int num = 0;
	struct ring_used used;
	size_t have = 0;

	make_frame(expected, len, seed);
	while (have < len) {
		assert_true(ring_get_used(&f->drv.rings[RXQ], &used));
		assert_true(used.len > 0 && used.len <= size);
		assert_int_equal(used.len, len - have < size ? len - have : size);
		memcpy(got + have, at(f, rx_gpa(used.id)), used.len);
		have += used.len;
		num++;
	}
	memcpy(&hdr, got, sizeof(hdr));
	assert_int_equal(le16toh(hdr.num_buffers), num);
	assert_memory_equal(got + NET_HDR_LEN, expected + NET_HDR_LEN, len - NET_HDR_LEN);
	return num;
}

static void expect_no_rx(struct fixture *f)
{
	struct ring_used used;

	assert_false(ring_get_used(&f->drv.rings[RXQ], &used));
}

/* 5.1.3, 5.1.4: what is offered, and the configuration space. */
static void the_device_describes_itself(void **state)
{
	struct fixture *f = *state;
	const uint64_t always = FEATURE(VIRTIO_F_VERSION_1) | INDIRECT | EVENTS | MRG | G_CSUM | G_TSO4 | G_TSO6 |
				G_UFO | FEATURE(VIRTIO_NET_F_CSUM) | FEATURE(VIRTIO_NET_F_HOST_TSO4) |
				FEATURE(VIRTIO_NET_F_HOST_TSO6) | FEATURE(VIRTIO_NET_F_HOST_UFO);
	const gpa_t config = f->drv.base + VIRTIO_MMIO_CONFIG;

	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_DEVICE_ID), 1);
	assert_int_equal(f->drv.vdev->offered, always | FEATURE(VIRTIO_NET_F_MAC) | FEATURE(VIRTIO_NET_F_MTU));
	assert_int_equal(fake_read(&f->fp, config, 4), 0x10ac0006);
	assert_int_equal(fake_read(&f->fp, config + 4, 2), 0x0200);
	assert_int_equal(fake_read(&f->fp, config + 6, 4), 0);
	assert_int_equal(fake_read(&f->fp, config + 10, 2), 1400);
	assert_int_equal(fake_read(&f->fp, config + 12, 8), 0);
	fake_write(&f->fp, config, 0xffffffff, 4);
	assert_int_equal(fake_read(&f->fp, config, 4), 0x10ac0006);
	f->config.guest_mac = NULL;
	f->config.mtu = 0;
	replug(f);
	assert_int_equal(f->drv.vdev->offered, always);
	assert_int_equal(fake_read(&f->fp, config, 8), 0);
}

/* 5.1.6.2: the driver's header and frame reach the host as they are, however they are cut. */
static void a_frame_is_sent_as_it_is_however_it_is_cut(void **state)
{
	static const uint32_t cuts[][8] = { { 200 }, { 12, 188 }, { 1, 11, 188 }, { 10, 4, 100, 86 }, { 12, 14, 174 } };
	struct fixture *f = *state;
	uint8_t frame[FRAME];

	drv_start(&f->drv, INDIRECT, 2);
	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(cuts); i++) {
		struct ring_buf bufs[8];
		struct ring_used used;
		unsigned int num;
		gpa_t gpa = TX_GPA;

		make_frame(frame, FRAME, (uint8_t)i);
		frame[0] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		frame[6] = 34;
		memcpy(at(f, TX_GPA), frame, FRAME);
		for (num = 0; cuts[i / 2][num]; gpa += cuts[i / 2][num++])
			bufs[num] = buf(gpa, cuts[i / 2][num]);
		if (i % 2)
			ring_add_indirect(&f->drv.rings[TXQ], 0xa0000, bufs, num, NULL, 0);
		else
			ring_add(&f->drv.rings[TXQ], bufs, num, NULL, 0);
		drv_kick(&f->drv, TXQ);
		expect_at_peer(f, frame, FRAME);
		assert_true(ring_get_used(&f->drv.rings[TXQ], &used));
		assert_int_equal(used.len, 0);
	}
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 2 * ARRAY_SIZE(cuts));
}

static void what_is_no_frame_is_given_back_and_not_sent(void **state)
{
	struct fixture *f = *state;
	const struct {
		struct ring_buf out[2], in[1];
		unsigned int num_out, num_in;
	} rows[] = {
		{ { buf(TX_GPA, 11) }, { buf(0, 0) }, 1, 0 },
		{ { buf(TX_GPA, 25) }, { buf(0, 0) }, 1, 0 },
		{ { buf(TX_GPA, NET_MAX_FRAME + 1) }, { buf(0, 0) }, 1, 0 },
		{ { buf(TX_GPA, 0xffffffff) }, { buf(0, 0) }, 1, 0 },
		{ { buf(TX_GPA, 12), buf(FAKE_MEM_SIZE, 60) }, { buf(0, 0) }, 2, 0 },
		{ { buf(TX_GPA, FRAME) }, { buf(RX_GPA, 100) }, 1, 1 },
		{ { buf(0, 0) }, { buf(RX_GPA, FRAME) }, 0, 1 },
	};
	uint8_t frame[FRAME];

	drv_start(&f->drv, 0, 2);
	make_frame(frame, FRAME, 1);
	memcpy(at(f, TX_GPA), frame, FRAME);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ring_used used;

		ring_add(&f->drv.rings[TXQ], rows[i].out, rows[i].num_out, rows[i].in, rows[i].num_in);
		drv_kick(&f->drv, TXQ);
		assert_true(ring_get_used(&f->drv.rings[TXQ], &used));
		assert_int_equal(used.len, 0);
		expect_at_peer(f, NULL, 0);
	}
	ring_add(&f->drv.rings[TXQ], &(struct ring_buf){ TX_GPA, FRAME }, 1, NULL, 0);
	drv_kick(&f->drv, TXQ);
	expect_at_peer(f, frame, FRAME);
}

static void a_frame_that_the_host_does_not_take_is_lost(void **state)
{
	struct fixture *f = *state;
	uint64_t fails = net_from_vdev(f->drv.vdev)->counters->tap_write_fails;
	struct ring_buf out = buf(TX_GPA, FRAME);
	struct ring_used used;

	drv_start(&f->drv, 0, 2);
	net_peer_fail_sends(f->backend, EIO);
	ring_add(&f->drv.rings[TXQ], &out, 1, NULL, 0);
	drv_kick(&f->drv, TXQ);
	assert_true(ring_get_used(&f->drv.rings[TXQ], &used));
	assert_int_equal(net_from_vdev(f->drv.vdev)->counters->tap_write_fails, fails + 1);
	assert_true(f->drv.vdev->driver_ok);
}

/* The queue is served to its end, in order, in several turns. */
static void many_frames_are_sent_in_order(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[FRAME];

	drv_start(&f->drv, 0, 2);
	for (unsigned int i = 0; i < 255; i++) {
		struct ring_buf out = buf(TX_GPA + i * FRAME, FRAME);

		make_frame(frame, FRAME, (uint8_t)i);
		memcpy(at(f, out.gpa), frame, FRAME);
		ring_add(&f->drv.rings[TXQ], &out, 1, NULL, 0);
	}
	drv_kick(&f->drv, TXQ);
	for (unsigned int i = 0; i < 255; i++) {
		make_frame(frame, FRAME, (uint8_t)i);
		expect_at_peer(f, frame, FRAME);
	}
	assert_int_equal(ring_used_idx(&f->drv.rings[TXQ]), 255);
}

/* 5.1.6.3.1, 5.1.6.4: without merged buffers a frame is in one, and num_buffers is 1. */
static void without_merged_buffers_a_frame_takes_one(void **state)
{
	struct fixture *f = *state;

	drv_start(&f->drv, 0, 2);
	give_rx(f, 3, RX_SIZE);
	peer_sends_seed(f, FRAME, 1);
	peer_sends_seed(f, RX_SIZE, 2);
	assert_int_equal(expect_rx(f, FRAME, 1, RX_SIZE), 1);
	assert_int_equal(expect_rx(f, RX_SIZE, 2, RX_SIZE), 1);
	assert_true(fake_irqs(&f->fp, f->drv.gsi) >= 1);
}

static void without_merged_buffers_what_is_too_long_is_dropped(void **state)
{
	struct fixture *f = *state;
	uint64_t fails = net_from_vdev(f->drv.vdev)->counters->rx_fails;

	drv_start(&f->drv, 0, 2);
	give_rx(f, 3, RX_SIZE);
	peer_sends_seed(f, RX_SIZE + 1, 1);
	peer_sends_seed(f, 60000, 2);
	expect_no_rx(f);
	assert_int_equal(net_from_vdev(f->drv.vdev)->counters->rx_fails, fails + 2);
	peer_sends_seed(f, FRAME, 3);
	assert_int_equal(expect_rx(f, FRAME, 3, RX_SIZE), 1);
}

/* 5.1.6.4.1: with merged buffers a frame takes as many as it fills, and no more. */
static void with_merged_buffers_a_frame_takes_what_it_fills(void **state)
{
	static const size_t lens[] = { 26, 60, FRAME, RX_SIZE, RX_SIZE + 1, 2 * RX_SIZE, 20000, NET_MAX_FRAME - 30 };
	struct fixture *f = *state;

	drv_start(&f->drv, MRG | EVENTS, 2);
	for (unsigned int round = 0; round < 5; round++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(lens); i++) {
			give_rx(f, 60, RX_SIZE);
			peer_sends_seed(f, lens[i], (uint8_t)(i + round));
			assert_int_equal(expect_rx(f, lens[i], (uint8_t)(i + round), RX_SIZE),
					 (lens[i] + RX_SIZE - 1) / RX_SIZE);
			expect_no_rx(f);
			/* Those that are left serve the next one. */
			if (round % 2 == 0)
				peer_sends_seed(f, FRAME, 99), (void)expect_rx(f, FRAME, 99, RX_SIZE);
			drv_reset(&f->drv);
			f->num_rx = 0;
			drv_start(&f->drv, MRG | EVENTS, 2);
		}
	}
}

/* After many short ones no frame but a short one is expected. */
static void a_long_frame_after_many_short_ones_is_whole(void **state)
{
	static const size_t lens[] = { 1500, NET_SHORT_FRAME,	NET_SHORT_FRAME + 1, 2 * RX_SIZE, 2 * RX_SIZE + 1,
				       9000, NET_MAX_FRAME - 30 };
	static const uint32_t sizes[] = { RX_SIZE, 700, 4096 };
	struct fixture *f = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(lens) * ARRAY_SIZE(sizes); i++) {
		uint32_t size = sizes[i % ARRAY_SIZE(sizes)];
		size_t len = lens[i / ARRAY_SIZE(sizes)];

		drv_start(&f->drv, MRG | EVENTS, 2);
		f->num_rx = 0;
		give_rx(f, 200, size);
		for (unsigned int n = 0; n < NET_EXPECT_SHORT + 1; n++) {
			peer_sends_seed(f, FRAME, (uint8_t)n);
			assert_int_equal(expect_rx(f, FRAME, (uint8_t)n, size), 1);
			give_rx(f, 1, size);
		}
		for (unsigned int n = 0; n < 2; n++) {
			peer_sends_seed(f, len, (uint8_t)(i + n));
			assert_int_equal(expect_rx(f, len, (uint8_t)(i + n), size), (len + size - 1) / size);
			expect_no_rx(f);
			give_rx(f, (unsigned int)((len + size - 1) / size), size);
		}
		drv_reset(&f->drv);
	}
}

/* A driver sees all buffers of a frame at once: Linux drops a frame whose buffers are not all there. */
static void buffers_of_a_frame_are_used_at_once(void **state)
{
	struct fixture *f = *state;
	uint16_t before;

	drv_start(&f->drv, MRG, 2);
	give_rx(f, 60, RX_SIZE);
	before = ring_used_idx(&f->drv.rings[RXQ]);
	peer_sends_seed(f, 10 * RX_SIZE, 1);
	assert_int_equal((uint16_t)(ring_used_idx(&f->drv.rings[RXQ]) - before), 10);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 1);
}

static void a_frame_waits_until_there_are_buffers_enough(void **state)
{
	struct fixture *f = *state;

	drv_start(&f->drv, MRG | EVENTS, 2);
	give_rx(f, 2, RX_SIZE);
	peer_sends_seed(f, FRAME, 1); /* fits in what is there */
	assert_int_equal(expect_rx(f, FRAME, 1, RX_SIZE), 1);
	peer_sends_seed(f, 3 * RX_SIZE, 2);
	peer_sends_seed(f, FRAME, 3);
	expect_no_rx(f);
	give_rx(f, 1, RX_SIZE);
	expect_no_rx(f);
	give_rx(f, 1, RX_SIZE);
	assert_int_equal(expect_rx(f, 3 * RX_SIZE, 2, RX_SIZE), 3);
	give_rx(f, 1, RX_SIZE);
	assert_int_equal(expect_rx(f, FRAME, 3, RX_SIZE), 1);
}

static void a_frame_that_no_ring_could_hold_is_dropped(void **state)
{
	struct fixture *f = *state;

	drv_start(&f->drv, MRG, 0);
	drv_reset(&f->drv);
	assert_true(drv_negotiate(&f->drv, MRG));
	assert_true(drv_set_up_queue(&f->drv, RXQ, 2) && drv_set_up_queue(&f->drv, TXQ, 2));
	drv_ready(&f->drv);
	give_rx(f, 2, 100);
	peer_sends_seed(f, 201, 1);
	peer_sends_seed(f, 199, 2);
	assert_int_equal(expect_rx(f, 199, 2, 100), 2);
}

/* 5.1.6.4.1: flags are zero unless GUEST_CSUM was negotiated; frames of kinds that were not do not get there. */
static void headers_say_only_what_was_negotiated(void **state)
{
	static const struct {
		uint64_t features;
		uint8_t flags, gso, seen;
		bool arrives;
	} rows[] = {
		{ 0, 0, VIRTIO_NET_HDR_GSO_NONE, 0, true },
		{ 0, VIRTIO_NET_HDR_F_DATA_VALID, VIRTIO_NET_HDR_GSO_NONE, 0, true },
		{ G_CSUM, VIRTIO_NET_HDR_F_DATA_VALID, VIRTIO_NET_HDR_GSO_NONE, VIRTIO_NET_HDR_F_DATA_VALID, true },
		{ G_CSUM, VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_NONE, VIRTIO_NET_HDR_F_NEEDS_CSUM, true },
		{ 0, VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_NONE, 0, false },
		{ G_CSUM, 0, VIRTIO_NET_HDR_GSO_TCPV4, 0, false },
		{ G_CSUM | G_TSO4, 0, VIRTIO_NET_HDR_GSO_TCPV4, 0, true },
		{ G_CSUM | G_TSO4, 0, VIRTIO_NET_HDR_GSO_TCPV6, 0, false },
		{ G_CSUM | G_TSO6, 0, VIRTIO_NET_HDR_GSO_TCPV6, 0, true },
		{ G_CSUM | G_TSO6, 0, VIRTIO_NET_HDR_GSO_UDP, 0, false },
		{ G_CSUM | G_UFO, 0, VIRTIO_NET_HDR_GSO_UDP, 0, true },
		{ G_CSUM | G_UFO | G_TSO4, 0, VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN, 0, false },
		{ G_CSUM | G_UFO | G_TSO4, 0, 77, 0, false },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t frame[FRAME];
		struct ring_used used;

		drv_start(&f->drv, MRG | rows[i].features, 2);
		f->num_rx = 0;
		give_rx(f, 60, RX_SIZE);
		make_frame(frame, FRAME, 1);
		frame[0] = rows[i].flags;
		frame[1] = rows[i].gso;
		peer_sends(f, frame, FRAME);
		assert_int_equal(ring_get_used(&f->drv.rings[RXQ], &used), rows[i].arrives);
		if (rows[i].arrives)
			assert_int_equal(at(f, rx_gpa(used.id))[0], rows[i].seen);
		drv_reset(&f->drv);
	}
}

static void bad_buffers_are_given_back_empty(void **state)
{
	struct fixture *f = *state;
	const struct ring_buf small = buf(RX_GPA, 11), outside = buf(FAKE_MEM_SIZE - 100, 200), good = buf(RX_GPA, 200);
	struct ring_used used;

	drv_start(&f->drv, MRG, 2);
	ring_add(&f->drv.rings[RXQ], NULL, 0, &small, 1);
	ring_add(&f->drv.rings[RXQ], NULL, 0, &outside, 1);
	ring_add(&f->drv.rings[RXQ], &good, 1, NULL, 0);
	ring_add(&f->drv.rings[RXQ], &good, 1, &good, 1);
	drv_kick(&f->drv, RXQ);
	for (unsigned int i = 0; i < 4; i++) {
		assert_true(ring_get_used(&f->drv.rings[RXQ], &used));
		assert_int_equal(used.len, 0);
	}
	give_rx(f, 1, RX_SIZE);
	peer_sends_seed(f, FRAME, 1);
	assert_true(ring_get_used(&f->drv.rings[RXQ], &used));
	assert_int_equal(used.len, FRAME);
}

/* A header may be cut anywhere, too. */
static void a_buffer_may_be_cut_anywhere(void **state)
{
	struct fixture *f = *state;

	drv_start(&f->drv, MRG | INDIRECT, 2);
	for (uint32_t first = 1; first < 20; first++) {
		struct ring_buf in[3] = { buf(RX_GPA, first), buf(RX_GPA + first, 1), buf(RX_GPA + first + 1, 2000) };
		uint8_t frame[FRAME];
		struct ring_used used;

		make_frame(frame, FRAME, (uint8_t)first);
		ring_add(&f->drv.rings[RXQ], NULL, 0, in, 3);
		drv_kick(&f->drv, RXQ);
		peer_sends(f, frame, FRAME);
		frame[10] = 1; /* num_buffers */
		assert_true(ring_get_used(&f->drv.rings[RXQ], &used));
		assert_int_equal(used.len, FRAME);
		assert_memory_equal(at(f, RX_GPA), frame, FRAME);
	}
}

static void the_backend_learns_what_was_negotiated(void **state)
{
	struct fixture *f = *state;

	drv_start(&f->drv, MRG | G_CSUM | G_TSO4, 2);
	fake_run(&f->fp);
	assert_int_equal(net_peer_features(f->backend), MRG | G_CSUM | G_TSO4 | FEATURE(VIRTIO_F_VERSION_1));
	drv_reset(&f->drv);
	drv_start(&f->drv, 0, 2);
	fake_run(&f->fp);
	assert_int_equal(net_peer_features(f->backend), FEATURE(VIRTIO_F_VERSION_1));
	drv_reset(&f->drv);
	net_peer_refuse_features(f->backend, EINVAL);
	drv_start(&f->drv, 0, 2);
	fake_run(&f->fp);
	assert_true(drv_read(&f->drv, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void a_paused_device_leaves_the_ring_as_the_driver_made_it(void **state)
{
	struct fixture *f = *state;
	struct virtq *q = &f->drv.vdev->queues[RXQ];

	drv_start(&f->drv, MRG, 2);
	give_rx(f, 60, RX_SIZE);
	peer_sends_seed(f, FRAME, 1);
	assert_true(q->next_avail != q->next_used);
	drv_pause(&f->drv);
	assert_int_equal(q->next_avail, q->next_used);
	assert_int_equal(f->fp.mem.num_leases, 0);
	peer_sends_seed(f, FRAME, 2);
	assert_int_equal(expect_rx(f, FRAME, 1, RX_SIZE), 1);
	expect_no_rx(f);
	drv_resume(&f->drv);
	fake_run(&f->fp);
	assert_int_equal(expect_rx(f, FRAME, 2, RX_SIZE), 1);
}

static void a_restored_device_goes_on(void **state)
{
	struct fixture *f = *state, clone = { .config = f->config };
	_cleanup_free_ uint8_t *saved = NULL;
	struct ring_buf out = buf(TX_GPA, FRAME);
	uint8_t frame[FRAME];
	size_t len;
	struct err e;

	plug(&clone);
	drv_start(&f->drv, MRG | G_CSUM | EVENTS, 2);
	give_rx(f, 60, RX_SIZE);
	peer_sends_seed(f, FRAME, 1);
	assert_int_equal(expect_rx(f, FRAME, 1, RX_SIZE), 1);
	drv_pause(&f->drv);
	make_frame(frame, FRAME, 5);
	memcpy(at(f, TX_GPA), frame, FRAME);
	ring_add(&f->drv.rings[TXQ], &out, 1, NULL, 0); /* nobody has seen it yet */
	saved = drv_save(&f->drv, &len);
	guest_copy(&clone.fp.mem, &f->fp.mem);
	assert_int_equal(drv_load(&clone.drv, &f->drv, saved, len, &e), 0);
	assert_int_equal(write(clone.peer, frame, FRAME), FRAME);
	drv_resume(&clone.drv);
	fake_run(&clone.fp);
	assert_int_equal(net_peer_features(clone.backend), MRG | G_CSUM | EVENTS | FEATURE(VIRTIO_F_VERSION_1));
	expect_at_peer(&clone, frame, FRAME);
	assert_int_equal(expect_rx(&clone, FRAME, 5, RX_SIZE), 1);
	assert_true(fake_irqs(&clone.fp, clone.drv.gsi) >= 1);
	unplug(&clone);
}

static void limits_hold_in_both_directions(void **state)
{
	struct fixture *f = *state;
	const struct network_update none = { .has_rx_ops = true, .has_tx_ops = true };
	struct ring_buf out = buf(TX_GPA, FRAME);
	uint8_t got[FRAME];

	f->config.rx_rate_limiter.ops = (struct token_bucket_config){ .size = 2, .refill_time_ms = 3600000 };
	f->config.tx_rate_limiter.ops = (struct token_bucket_config){ .size = 3, .refill_time_ms = 3600000 };
	replug(f);
	drv_start(&f->drv, MRG, 2);
	give_rx(f, 60, RX_SIZE);
	for (unsigned int i = 0; i < 5; i++) {
		peer_sends_seed(f, FRAME, (uint8_t)i);
		ring_add(&f->drv.rings[TXQ], &out, 1, NULL, 0);
		drv_kick(&f->drv, TXQ);
	}
	assert_int_equal(expect_rx(f, FRAME, 0, RX_SIZE), 1);
	assert_int_equal(expect_rx(f, FRAME, 1, RX_SIZE), 1);
	expect_no_rx(f);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(read(f->peer, got, FRAME), i < 3 ? (int)FRAME : -1);
	net_update(f->drv.vdev, &none);
	fake_run(&f->fp);
	for (unsigned int i = 2; i < 5; i++)
		assert_int_equal(expect_rx(f, FRAME, (uint8_t)i, RX_SIZE), 1);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(read(f->peer, got, FRAME), FRAME);
	memset(&f->config.rx_rate_limiter, 0, sizeof(f->config.rx_rate_limiter));
	memset(&f->config.tx_rate_limiter, 0, sizeof(f->config.tx_rate_limiter));
}

/* A bucket that fills in 10 ms is looked at more often than every 100 ms. */
static void a_limit_over_a_short_time_is_reached(void **state)
{
	struct fixture *f = *state;
	struct ring_used used;
	unsigned int n = 0;

	f->config.rx_rate_limiter.ops = (struct token_bucket_config){ .size = 1, .refill_time_ms = 10 };
	replug(f);
	drv_start(&f->drv, MRG, 2);
	give_rx(f, 100, RX_SIZE);
	for (unsigned int i = 0; i < 50; i++)
		peer_sends_seed(f, FRAME, 1);
	fake_run_ms(&f->fp, 300);
	while (ring_get_used(&f->drv.rings[RXQ], &used))
		n++;
	assert_in_range(n, 12, 50);
	memset(&f->config.rx_rate_limiter, 0, sizeof(f->config.rx_rate_limiter));
}

struct follow {
	uint64_t begin_ns;
	double passed, best; /* operations; the largest part of what the limit lets pass */
};

/* Never more than the limit lets pass; how much less depends on when this looks, so the best moment counts. */
static void follow(struct follow *w, const struct token_bucket_config *limit)
{
	double seconds = (double)(clock_now_ns() - w->begin_ns) / 1e9;
	double later = seconds * 1000 / (double)limit->refill_time_ms * (double)limit->size;

	assert_true(w->passed <= (double)limit->size + later + 1);
	if (seconds >= 1 && (w->passed - (double)limit->size) / later > w->best)
		w->best = (w->passed - (double)limit->size) / later;
}

/* A bucket of a second's tokens: a test that is kept from running for less than that loses none. */
static void a_rate_is_kept_within_five_percent(void **state)
{
	struct fixture *f = *state;
	const struct token_bucket_config rx_limit = { .size = 400, .refill_time_ms = 1000 };
	const struct token_bucket_config tx_limit = { .size = 300 * FRAME, .refill_time_ms = 1000 };
	struct ring_buf out = buf(TX_GPA, FRAME);
	struct follow rx = { 0 }, tx = { 0 };
	uint8_t frame[FRAME];
	struct ring_used used;

	f->config.rx_rate_limiter.ops = rx_limit;
	f->config.tx_rate_limiter.bandwidth = tx_limit;
	rx.begin_ns = tx.begin_ns = clock_now_ns();
	replug(f);
	drv_start(&f->drv, MRG, 2);
	give_rx(f, 200, RX_SIZE);
	make_frame(frame, FRAME, 1);
	for (unsigned int sent = 0; clock_now_ns() - rx.begin_ns < 2000000000u;) {
		while (sent < (unsigned int)rx.passed + 200 && write(f->peer, frame, FRAME) == FRAME)
			sent++;
		for (; (uint16_t)(f->drv.rings[TXQ].avail_idx - ring_used_idx(&f->drv.rings[TXQ])) < 100;)
			ring_add(&f->drv.rings[TXQ], &out, 1, NULL, 0);
		drv_kick(&f->drv, TXQ);
		fake_run_ms(&f->fp, 5);
		while (read(f->peer, frame, FRAME) == FRAME)
			tx.passed += FRAME;
		while (ring_get_used(&f->drv.rings[RXQ], &used)) {
			rx.passed++;
			give_rx(f, 1, RX_SIZE);
		}
		follow(&rx, &rx_limit);
		follow(&tx, &tx_limit);
	}
	assert_true(rx.best > 0.95 && tx.best > 0.95);
	memset(&f->config.rx_rate_limiter, 0, sizeof(f->config.rx_rate_limiter));
	memset(&f->config.tx_rate_limiter, 0, sizeof(f->config.tx_rate_limiter));
}

/* A service that wants frames to one destination, and echoes them. */
struct echo {
	struct net_backend backend; /* must be first */
	uint8_t frame[NET_MAX_FRAME];
	size_t len, asked;
	bool freed;
	bool slow; /* says nothing by itself */
};

static bool echo_wants(struct net_backend *backend, const uint8_t *frame, size_t len)
{
	((struct echo *)backend)->asked = len;
	return frame[NET_HDR_LEN] == 0xee;
}

static ssize_t echo_send(struct net_backend *backend, const struct iovec *iov, int num)
{
	struct echo *echo = (struct echo *)backend;

	echo->len = 0;
	for (int i = 0; i < num; i++) {
		memcpy(echo->frame + echo->len, iov[i].iov_base, iov[i].iov_len);
		echo->len += iov[i].iov_len;
	}
	if (!echo->slow)
		net_backend_ready(backend);
	return (ssize_t)echo->len;
}

static ssize_t echo_receive(struct net_backend *backend, const struct iovec *iov, int num)
{
	struct echo *echo = (struct echo *)backend;
	size_t done = 0;

	if (!echo->len)
		return -EAGAIN;
	for (int i = 0; i < num && done < echo->len; i++) {
		size_t n = iov[i].iov_len < echo->len - done ? iov[i].iov_len : echo->len - done;

		memcpy(iov[i].iov_base, echo->frame + done, n);
		done += n;
	}
	echo->len = 0;
	return (ssize_t)done;
}

static void echo_free(struct net_backend *backend)
{
	((struct echo *)backend)->freed = true;
}

static const struct net_backend_ops echo_ops = {
	.wants = echo_wants, .send = echo_send, .receive = echo_receive, .free = echo_free
};

static void a_service_gets_what_it_wants_and_answers(void **state)
{
	static struct echo echo;
	struct fixture *f = *state;
	struct ring_buf out = buf(TX_GPA, FRAME);
	uint8_t frame[FRAME];

	echo = (struct echo){ .backend = { .ops = &echo_ops, .fd = -1 } };
	net_add_service(f->drv.vdev, &echo.backend);
	drv_start(&f->drv, MRG, 2);
	give_rx(f, 60, RX_SIZE);
	make_frame(frame, FRAME, 1);
	memcpy(at(f, TX_GPA), frame, FRAME);
	ring_add(&f->drv.rings[TXQ], &out, 1, NULL, 0);
	drv_kick(&f->drv, TXQ);
	expect_at_peer(f, frame, FRAME);
	assert_int_equal(echo.asked, NET_FRAME_PEEK);

	make_frame(frame, FRAME, (uint8_t)(0xee - NET_HDR_LEN * 7));
	memcpy(at(f, TX_GPA), frame, FRAME);
	ring_add(&f->drv.rings[TXQ], &out, 1, NULL, 0);
	drv_kick(&f->drv, TXQ);
	expect_at_peer(f, NULL, 0);
	assert_int_equal(expect_rx(f, FRAME, (uint8_t)(0xee - NET_HDR_LEN * 7), RX_SIZE), 1);
	replug(f);
	assert_true(echo.freed);
}

static void send_to_service(struct fixture *f)
{
	struct ring_buf out = buf(TX_GPA, FRAME);
	uint8_t frame[FRAME];

	make_frame(frame, FRAME, (uint8_t)(0xee - NET_HDR_LEN * 7));
	memcpy(at(f, TX_GPA), frame, FRAME);
	ring_add(&f->drv.rings[TXQ], &out, 1, NULL, 0);
	drv_kick(&f->drv, TXQ);
}

/* The buffer of a frame and the answer to it: one interrupt; also where there is no answer, or a frame for the tap beside it. */
static void a_frame_for_a_service_and_its_answer_are_one_interrupt(void **state)
{
	static struct echo echo;
	struct fixture *f = *state;
	struct ring_buf out = buf(TX_GPA + 0x10000, FRAME);
	uint8_t frame[FRAME];

	echo = (struct echo){ .backend = { .ops = &echo_ops, .fd = -1 }, .slow = true };
	net_add_service(f->drv.vdev, &echo.backend);
	drv_start(&f->drv, MRG, 2);
	give_rx(f, 60, RX_SIZE);
	fake_irqs(&f->fp, f->drv.gsi);
	for (unsigned int round = 0; round < 3; round++) {
		send_to_service(f);
		assert_int_equal(ring_used_idx(&f->drv.rings[TXQ]), round + 1);
		assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 0);
		if (round == 2)
			echo.len = 0; /* there is none */
		net_backend_ready(&echo.backend);
		fake_run(&f->fp);
		assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 1);
	}
	assert_int_equal(ring_used_idx(&f->drv.rings[RXQ]), 2);

	send_to_service(f);
	make_frame(frame, FRAME, 1);
	memcpy(at(f, TX_GPA + 0x10000), frame, FRAME);
	ring_add(&f->drv.rings[TXQ], &out, 1, NULL, 0);
	drv_kick(&f->drv, TXQ);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 1);
	replug(f);
}

/* What has not been told when the machine is paused is told when it goes on. */
static void a_frame_for_a_service_is_not_forgotten_over_a_pause(void **state)
{
	static struct echo echo;
	struct fixture *f = *state;

	echo = (struct echo){ .backend = { .ops = &echo_ops, .fd = -1 }, .slow = true };
	net_add_service(f->drv.vdev, &echo.backend);
	drv_start(&f->drv, MRG, 2);
	give_rx(f, 60, RX_SIZE);
	fake_irqs(&f->fp, f->drv.gsi);
	send_to_service(f);
	drv_pause(&f->drv);
	echo.len = 0;
	net_backend_ready(&echo.backend);
	fake_run(&f->fp);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 0);
	drv_resume(&f->drv);
	fake_run(&f->fp);
	assert_true(fake_irqs(&f->fp, f->drv.gsi) >= 1);
	replug(f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_device_describes_itself),
		TEST(a_frame_is_sent_as_it_is_however_it_is_cut),
		TEST(what_is_no_frame_is_given_back_and_not_sent),
		TEST(a_frame_that_the_host_does_not_take_is_lost),
		TEST(many_frames_are_sent_in_order),
		TEST(without_merged_buffers_a_frame_takes_one),
		TEST(without_merged_buffers_what_is_too_long_is_dropped),
		TEST(with_merged_buffers_a_frame_takes_what_it_fills),
		TEST(a_long_frame_after_many_short_ones_is_whole),
		TEST(buffers_of_a_frame_are_used_at_once),
		TEST(a_frame_waits_until_there_are_buffers_enough),
		TEST(a_frame_that_no_ring_could_hold_is_dropped),
		TEST(headers_say_only_what_was_negotiated),
		TEST(bad_buffers_are_given_back_empty),
		TEST(a_buffer_may_be_cut_anywhere),
		TEST(the_backend_learns_what_was_negotiated),
		TEST(a_paused_device_leaves_the_ring_as_the_driver_made_it),
		TEST(a_restored_device_goes_on),
		TEST(limits_hold_in_both_directions),
		TEST(a_limit_over_a_short_time_is_reached),
		TEST(a_rate_is_kept_within_five_percent),
		TEST(a_service_gets_what_it_wants_and_answers),
		TEST(a_frame_for_a_service_and_its_answer_are_one_interrupt),
		TEST(a_frame_for_a_service_is_not_forgotten_over_a_pause),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
