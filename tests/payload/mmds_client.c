// SPDX-License-Identifier: Apache-2.0
#include "mmds_client.h"

#include <stddef.h>

#include <linux/virtio_net.h>

#include "hostile.h"

/* As host/arch/x86_64/layout.h and the order of the devices have it. */
#define NET_WINDOW  0xC0001000ull
#define RX	    0u
#define TX	    1u
#define VNET_LEN    ((uint32_t)sizeof(struct virtio_net_hdr_v1))
#define SLOT_LEN    0x10000u
#define TX_ARENA    VIRTIO_DATA
#define RX_ARENA    (VIRTIO_DATA + VIRTIO_QUEUE_SIZE * SLOT_LEN)
#define BUFFER_LEN  4096u
#define SEGMENT_MAX 1460u
#define MAX_TCPS    256u
#define LOOKS	    100000u /* each look at a register leaves the guest: seconds in any case */
#define FIRST_PORT  2000

static struct virtio_device net = { .base = NET_WINDOW, .num_queues = 2 };
static uint16_t rx_seen;
static struct mmds_tcp *tcps[MAX_TCPS];
static unsigned int num_tcps;
static uint16_t next_port = FIRST_PORT;
static bool arp_answered;
static const struct mmds_tcp *heard_by;
static char heard[MMDS_HEARD_MAX];
static uint32_t heard_len;

static void look(void)
{
	(void)*virtio_reg(&net, VIRTIO_MMIO_STATUS);
}

static void give_buffer(unsigned int i)
{
	virtio_set_desc(&net.rings[RX], i, RX_ARENA + i * BUFFER_LEN, BUFFER_LEN, VRING_DESC_F_WRITE, 0);
	virtio_publish(&net.rings[RX], (uint16_t)i);
}

bool mmds_begin(void)
{
	num_tcps = 0;
	heard_by = NULL;
	rx_seen = 0;
	if (!virtio_start(&net, 0))
		return false;
	for (unsigned int i = 0; i < VIRTIO_QUEUE_SIZE; i++)
		give_buffer(i);
	virtio_kick(&net, RX);
	return true;
}

unsigned int mmds_num_used(void)
{
	return net.rings[TX].used ? net.rings[TX].used[1] : 0;
}

static uint64_t slot(void)
{
	return TX_ARENA + net.rings[TX].avail_idx % VIRTIO_QUEUE_SIZE * (uint64_t)SLOT_LEN;
}

volatile uint8_t *mmds_frame(void)
{
	return (volatile uint8_t *)(slot() + VNET_LEN);
}

bool mmds_send(uint32_t len)
{
	struct virtio_ring *ring = &net.rings[TX];
	volatile uint8_t *header = (volatile uint8_t *)slot();

	for (uint32_t i = 0; i < VNET_LEN; i++)
		header[i] = 0;
	virtio_set_desc(ring, ring->avail_idx, slot(), VNET_LEN + len, 0, 0);
	virtio_publish(ring, ring->avail_idx % VIRTIO_QUEUE_SIZE);
	virtio_kick(&net, TX);
	mmds_take();
	for (unsigned int i = 0; i < LOOKS; i++) {
		if (ring->used[1] == ring->avail_idx)
			return true;
		look();
		mmds_take();
	}
	return false;
}

void mmds_put16(volatile uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

void mmds_put32(volatile uint8_t *at, uint32_t value)
{
	mmds_put16(at, value >> 16);
	mmds_put16(at + 2, value);
}

static uint32_t get16(const volatile uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

static uint32_t get32(const volatile uint8_t *at)
{
	return get16(at) << 16 | get16(at + 2);
}

static void hear_tcp(const volatile uint8_t *frame)
{
	uint32_t header = 34 + (frame[46] >> 4) * 4u, end = 14 + get16(frame + 16), port = get16(frame + 36);
	uint32_t seq = get32(frame + 38), len = end > header ? end - header : 0;
	uint8_t flags = frame[47];
	struct mmds_tcp *t = NULL;

	for (unsigned int i = 0; i < num_tcps && !t; i++)
		t = tcps[i]->port == port ? tcps[i] : NULL;
	if (!t)
		return;
	t->seen++;
	t->over = t->over || flags & TCP_RST;
	if (flags & TCP_RST)
		return;
	t->asked = get32(frame + 42);
	if (flags & TCP_SYN) {
		t->accepted = true;
		t->ack = seq + 1;
		return;
	}
	if (seq != t->ack)
		return;
	t->ack += len + (flags & TCP_FIN);
	for (uint32_t i = header; i < end && t == heard_by && heard_len < MMDS_HEARD_MAX; i++)
		heard[heard_len++] = (char)frame[i];
}

static void hear(const volatile uint8_t *frame, uint32_t len)
{
	if (len >= MMDS_ARP_LEN && get16(frame + 12) == 0x0806 && get16(frame + 20) == 2 &&
	    get32(frame + 28) == MMDS_SERVICE)
		arp_answered = true;
	if (len >= MMDS_HEADERS && get16(frame + 12) == 0x0800 && frame[14] == 0x45 && frame[23] == 6 &&
	    get32(frame + 26) == MMDS_SERVICE && 14 + get16(frame + 16) <= len)
		hear_tcp(frame);
}

void mmds_take(void)
{
	const volatile uint32_t *entries = (const volatile uint32_t *)(net.rings[RX].used + 2);
	uint16_t before = rx_seen;

	while (rx_seen != net.rings[RX].used[1]) {
		uint32_t id = entries[rx_seen % VIRTIO_QUEUE_SIZE * 2u] % VIRTIO_QUEUE_SIZE;
		uint32_t len = entries[rx_seen % VIRTIO_QUEUE_SIZE * 2u + 1];

		rx_seen++;
		if (len > VNET_LEN && len <= BUFFER_LEN)
			hear((const volatile uint8_t *)(RX_ARENA + id * BUFFER_LEN + VNET_LEN), len - VNET_LEN);
		give_buffer(id);
	}
	if (rx_seen != before)
		virtio_kick(&net, RX);
}

static void build_ethernet(volatile uint8_t *frame, uint32_t type)
{
	for (unsigned int i = 0; i < MMDS_HEADERS; i++)
		frame[i] = i < 6 ? 0xff : 0;
	frame[6] = 2;
	mmds_put16(frame + 12, type);
}

void mmds_build_arp(volatile uint8_t *frame)
{
	build_ethernet(frame, 0x0806);
	mmds_put16(frame + 14, 1);
	mmds_put16(frame + 16, 0x0800);
	mmds_put16(frame + 18, 0x0604);
	mmds_put16(frame + 20, 1);
	frame[22] = 2;
	mmds_put32(frame + 28, MMDS_GUEST);
	mmds_put32(frame + 38, MMDS_SERVICE);
}

void mmds_sum_ipv4(volatile uint8_t *frame)
{
	uint32_t sum = 0;

	mmds_put16(frame + 24, 0);
	for (unsigned int i = 0; i < (frame[14] & 15) * 4u; i += 2)
		sum += get16(frame + 14 + i);
	sum = (sum & 0xffff) + (sum >> 16);
	mmds_put16(frame + 24, ~(sum + (sum >> 16)));
}

void mmds_build_tcp(volatile uint8_t *frame, const struct mmds_tcp *t, uint32_t seq, uint8_t flags, uint32_t len)
{
	build_ethernet(frame, 0x0800);
	frame[14] = 0x45;
	mmds_put16(frame + 16, 40 + len);
	frame[22] = 64;
	frame[23] = 6;
	mmds_put32(frame + 26, MMDS_GUEST);
	mmds_put32(frame + 30, MMDS_SERVICE);
	mmds_sum_ipv4(frame);
	mmds_put16(frame + 34, t->port);
	mmds_put16(frame + 36, 80);
	mmds_put32(frame + 38, seq);
	mmds_put32(frame + 42, t->ack);
	frame[46] = 0x50;
	frame[47] = flags;
	mmds_put16(frame + 48, t->window);
}

bool mmds_call(struct mmds_tcp *t, uint16_t window)
{
	volatile uint8_t *frame = mmds_frame();

	*t = (struct mmds_tcp){ .port = next_port, .window = window, .seq = (uint32_t)hostile_random() };
	next_port = (uint16_t)(next_port < 60000 ? next_port + 1 : FIRST_PORT);
	if (num_tcps == MAX_TCPS)
		return false;
	tcps[num_tcps++] = t;
	mmds_build_tcp(frame, t, t->seq++, TCP_SYN, 0);
	return mmds_send(MMDS_HEADERS);
}

void mmds_await(struct mmds_tcp *t)
{
	for (unsigned int i = 0; i < LOOKS && !t->accepted && !t->over; i++) {
		look();
		mmds_take();
	}
}

bool mmds_open(struct mmds_tcp *t, uint16_t window)
{
	if (!mmds_call(t, window))
		return false;
	mmds_await(t);
	return t->accepted && mmds_segment(t, 0, TCP_ACK, "", 0);
}

bool mmds_segment(struct mmds_tcp *t, uint32_t offset, uint8_t flags, const char *data, uint32_t len)
{
	volatile uint8_t *frame = mmds_frame();

	for (uint32_t i = 0; i < len; i++)
		frame[MMDS_HEADERS + i] = (uint8_t)(data ? data[i] : (char)hostile_random());
	mmds_build_tcp(frame, t, t->seq + offset, flags, len);
	return mmds_send(MMDS_HEADERS + len);
}

bool mmds_say(struct mmds_tcp *t, const char *data, uint32_t len)
{
	while (len > 0) {
		uint32_t n = len < SEGMENT_MAX ? len : SEGMENT_MAX;

		if (!mmds_segment(t, 0, TCP_ACK | TCP_PSH, data, n))
			return false;
		t->seq += n;
		data += n;
		len -= n;
	}
	return true;
}

/* What is out of the window is answered by what would be in it, and by a RST where there is nothing any more. */
bool mmds_drop(struct mmds_tcp *t)
{
	for (unsigned int tries = 0; tries < 4; tries++) {
		uint32_t seen = t->seen;

		if (!mmds_segment(t, 0, TCP_RST | TCP_ACK, "", 0))
			return false;
		t->over = false;
		if (!mmds_segment(t, 0x40000000, TCP_ACK, "", 0))
			return false;
		for (unsigned int i = 0; i < 1000 && (t->seen == seen || (!t->over && t->asked == t->seq)); i++) {
			look();
			mmds_take();
		}
		if (t->over)
			return true;
		t->seq = t->asked;
	}
	return true;
}

uint32_t mmds_text_len(const char *text)
{
	uint32_t len = 0;

	while (((const volatile char *)text)[len] != '\0')
		len++;
	return len;
}

void mmds_listen(const struct mmds_tcp *t)
{
	heard_by = t;
	heard_len = 0;
}

static bool has_heard(const char *text, uint32_t len)
{
	for (uint32_t at = 0; at + len <= heard_len; at++) {
		uint32_t n = 0;

		while (n < len && heard[at + n] == text[n])
			n++;
		if (n == len)
			return true;
	}
	return false;
}

bool mmds_hears(const char *text)
{
	uint32_t len = mmds_text_len(text);

	for (unsigned int i = 0; i < LOOKS; i++) {
		mmds_take();
		if (has_heard(text, len))
			return true;
		look();
	}
	return false;
}

bool mmds_works(void)
{
	static const char request[] = "GET /a HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n";
	static struct mmds_tcp t;

	mmds_take();
	arp_answered = false;
	mmds_build_arp(mmds_frame());
	if (!mmds_send(MMDS_ARP_LEN))
		return false;
	for (unsigned int i = 0; i < LOOKS && !arp_answered; i++) {
		look();
		mmds_take();
	}
	if (!arp_answered || !mmds_open(&t, MMDS_WINDOW))
		return false;
	mmds_listen(&t);
	return mmds_say(&t, request, sizeof(request) - 1) && mmds_hears("HTTP/1.1 200 OK\r\n") &&
	       mmds_hears("\r\n\r\nb") && mmds_drop(&t);
}
