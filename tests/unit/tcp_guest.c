// SPDX-License-Identifier: Apache-2.0
#include "tcp_guest.h"

#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ETH_LEN	  14
#define IP_LEN	  20
#define TCP_LEN	  20
#define HEADERS	  (ETH_LEN + IP_LEN + TCP_LEN)
#define ARP_LEN	  42
#define MAX_FRAME 1514
#define MSS	  1460

static const uint8_t service_mac[6] = { 0x06, 0x01, 0x23, 0x45, 0x67, 0x01 };

static void put16(uint8_t *at, uint16_t value)
{
	value = htobe16(value);
	memcpy(at, &value, sizeof(value));
}

static void put32(uint8_t *at, uint32_t value)
{
	value = htobe32(value);
	memcpy(at, &value, sizeof(value));
}

static uint16_t get16(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return be16toh(value);
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return be32toh(value);
}

static uint32_t sum(const uint8_t *data, size_t len, uint32_t start)
{
	for (size_t i = 0; i < len; i++)
		start += i & 1 ? data[i] : (uint32_t)data[i] << 8;
	return start;
}

static uint16_t fold(uint32_t n)
{
	while (n >> 16)
		n = (n & 0xffff) + (n >> 16);
	return (uint16_t)~n;
}

static void on_ready(void *ctx)
{
	((struct tcp_guest *)ctx)->ready++;
}

void guest_init(struct tcp_guest *g, struct fake_platform *fp, struct net_backend *backend)
{
	*g = (struct tcp_guest){
		.fp = fp,
		.backend = backend,
		.address = GUEST_ADDRESS,
		.mac = { 0x06, 0x00, 0xac, 0x10, 0x00, 0x02 },
	};
	backend->ready = on_ready;
	backend->ctx = g;
}

void guest_fini(struct tcp_guest *g)
{
	for (size_t i = 0; i < GUEST_TCPS; i++) {
		if (g->tcps[i])
			free(g->tcps[i]->input);
		free(g->tcps[i]);
	}
}

bool guest_send_frame(struct tcp_guest *g, const void *frame, size_t len)
{
	uint8_t *bytes = malloc(NET_HDR_LEN + len);
	struct iovec iov[3] = { { bytes, 5 }, { bytes + 5, NET_HDR_LEN }, { bytes + 5 + NET_HDR_LEN, 0 } };
	size_t total = NET_HDR_LEN + len, peek = total < NET_FRAME_PEEK ? total : NET_FRAME_PEEK;
	bool wanted;

	assert_true(len >= NET_ETH_LEN);
	memset(bytes, 0, NET_HDR_LEN);
	memcpy(bytes + NET_HDR_LEN, frame, len);
	iov[2].iov_len = total - 5 - NET_HDR_LEN;
	wanted = g->backend->ops->wants(g->backend, bytes, peek);
	if (wanted)
		assert_int_equal(g->backend->ops->send(g->backend, iov, 3), total);
	free(bytes);
	return wanted;
}

static void make_eth(struct tcp_guest *g, uint16_t type, uint8_t *frame)
{
	memcpy(frame, service_mac, 6);
	memcpy(frame + 6, g->mac, 6);
	put16(frame + 12, type);
}

size_t guest_make_arp(struct tcp_guest *g, uint32_t target, uint8_t frame[64])
{
	memset(frame, 0, 64);
	make_eth(g, 0x0806, frame);
	memset(frame, 0xff, 6);
	put16(frame + 14, 1);
	put16(frame + 16, 0x0800);
	frame[18] = 6;
	frame[19] = 4;
	put16(frame + 20, 1);
	memcpy(frame + 22, g->mac, 6);
	put32(frame + 28, g->address);
	put32(frame + 38, target);
	return ARP_LEN;
}

size_t guest_make_tcp(struct tcp_guest *g, uint16_t port, uint32_t seq, uint32_t ack, uint8_t flags, const void *data,
		      size_t len, uint8_t *frame)
{
	uint8_t *ip = frame + ETH_LEN, *tcp = ip + IP_LEN;

	memset(frame, 0, HEADERS);
	make_eth(g, 0x0800, frame);
	ip[0] = 0x45;
	put16(ip + 2, (uint16_t)(IP_LEN + TCP_LEN + len));
	ip[8] = 64;
	ip[9] = 6;
	put32(ip + 12, g->address);
	put32(ip + 16, SERVICE_ADDRESS);
	put16(ip + 10, fold(sum(ip, IP_LEN, 0)));
	put16(tcp, port);
	put16(tcp + 2, 80);
	put32(tcp + 4, seq);
	put32(tcp + 8, ack);
	tcp[12] = TCP_LEN / 4 << 4;
	tcp[13] = flags;
	put16(tcp + 14, 0xffff);
	put16(tcp + 16, 0x1234); /* left to the device */
	if (len)
		memcpy(tcp + TCP_LEN, data, len);
	return HEADERS + len;
}

void guest_segment(struct tcp_guest *g, struct guest_tcp *t, uint8_t flags, const void *data, size_t len)
{
	uint8_t *frame = malloc(HEADERS + len);
	size_t n = guest_make_tcp(g, t->port, t->seq, t->ack, flags, data, len, frame);

	assert_true(guest_send_frame(g, frame, n));
	free(frame);
	t->seq += (uint32_t)len + !!(flags & (GUEST_SYN | GUEST_FIN));
}

static struct guest_tcp *find(struct tcp_guest *g, uint16_t port)
{
	for (size_t i = 0; i < GUEST_TCPS; i++) {
		if (g->tcps[i] && g->tcps[i]->port == port)
			return g->tcps[i];
	}
	return NULL;
}

static void take_data(struct tcp_guest *g, struct guest_tcp *t, const uint8_t *data, size_t len, uint8_t flags)
{
	assert_true(t->input_len + len < GUEST_INPUT);
	memcpy(t->input + t->input_len, data, len);
	t->input_len += len;
	t->input[t->input_len] = '\0';
	t->ack += (uint32_t)len;
	if (flags & GUEST_FIN) {
		t->finished = true;
		t->ack++;
	}
	guest_segment(g, t, GUEST_ACK, NULL, 0);
}

static void take_tcp(struct tcp_guest *g, const uint8_t *tcp, size_t len)
{
	struct guest_tcp *t = find(g, get16(tcp + 2));
	uint8_t flags = tcp[13];
	size_t header = (size_t)(tcp[12] >> 4) * 4;

	assert_int_equal(get16(tcp), 80);
	if (!t) {
		g->strays++;
		return;
	}
	t->frames++;
	if (flags & GUEST_RST) {
		t->reset = true;
	} else if (t->mute) {
		return;
	} else if (flags & GUEST_SYN) {
		t->established = true;
		t->ack = get32(tcp + 4) + 1;
		guest_segment(g, t, GUEST_ACK, NULL, 0);
	} else if (get32(tcp + 4) == t->ack && (len > header || flags & GUEST_FIN)) {
		take_data(g, t, tcp + header, len - header, flags);
	} else if (len > header) {
		guest_segment(g, t, GUEST_ACK, NULL, 0); /* what is there twice, or too early */
	}
}

static void take_ipv4(struct tcp_guest *g, const uint8_t *ip, size_t len)
{
	size_t total = get16(ip + 2);
	uint8_t pseudo[12];

	assert_true(total >= IP_LEN + TCP_LEN && total <= len);
	assert_int_equal(fold(sum(ip, IP_LEN, 0)), 0);
	assert_int_equal(get32(ip + 12), SERVICE_ADDRESS);
	assert_int_equal(get32(ip + 16), g->address);
	memcpy(pseudo, ip + 12, 8);
	put16(pseudo + 8, 6);
	put16(pseudo + 10, (uint16_t)(total - IP_LEN));
	assert_int_equal(fold(sum(ip + IP_LEN, total - IP_LEN, sum(pseudo, sizeof(pseudo), 0))), 0);
	take_tcp(g, ip + IP_LEN, total - IP_LEN);
}

static void take_frame(struct tcp_guest *g, const uint8_t *frame, size_t len)
{
	assert_memory_equal(frame, g->mac, 6);
	assert_memory_equal(frame + 6, service_mac, 6);
	if (get16(frame + 12) == 0x0800) {
		take_ipv4(g, frame + ETH_LEN, len - ETH_LEN);
		return;
	}
	assert_int_equal(get16(frame + 12), 0x0806);
	assert_int_equal(get16(frame + 20), 2);
	assert_memory_equal(frame + 22, service_mac, 6);
	assert_int_equal(get32(frame + 28), SERVICE_ADDRESS);
	assert_int_equal(get32(frame + 38), g->address);
	g->arp_replies++;
}

/* 0: there is none. */
static size_t receive(struct tcp_guest *g, uint8_t frame[MAX_FRAME])
{
	static const uint8_t no_offloads[NET_HDR_LEN];
	uint8_t header[NET_HDR_LEN + 1], rest[MAX_FRAME];
	struct iovec iov[2] = { { header, sizeof(header) }, { rest, sizeof(rest) } };
	ssize_t n = g->backend->ops->receive(g->backend, iov, 2);

	if (n == -EAGAIN)
		return 0;
	assert_true(n > (ssize_t)(NET_HDR_LEN + ETH_LEN) && n <= (ssize_t)(NET_HDR_LEN + MAX_FRAME));
	assert_memory_equal(header, no_offloads, NET_HDR_LEN);
	frame[0] = header[NET_HDR_LEN];
	memcpy(frame + 1, rest, (size_t)n - sizeof(header));
	return (size_t)n - NET_HDR_LEN;
}

void guest_run(struct tcp_guest *g)
{
	uint8_t frame[MAX_FRAME];
	bool any = true;

	while (any) {
		any = false;
		fake_run(g->fp);
		for (size_t len; (len = receive(g, frame)); any = true) {
			if (g->lose)
				g->lose--;
			else
				take_frame(g, frame, len);
		}
	}
}

struct guest_tcp *guest_connect(struct tcp_guest *g, uint16_t port)
{
	struct guest_tcp *t = find(g, port);

	for (size_t i = 0; i < GUEST_TCPS && !t; i++) {
		if (!g->tcps[i])
			t = g->tcps[i] = calloc(1, sizeof(*t));
	}
	assert_non_null(t);
	free(t->input);
	*t = (struct guest_tcp){ .port = port, .seq = 1000u * port, .input = calloc(1, GUEST_INPUT) };
	guest_segment(g, t, GUEST_SYN, NULL, 0);
	guest_run(g);
	return t;
}

void guest_say(struct tcp_guest *g, struct guest_tcp *t, const char *text)
{
	for (size_t left = strlen(text); left;) {
		size_t n = left < MSS ? left : MSS;

		guest_segment(g, t, GUEST_ACK, text, n);
		text += n;
		left -= n;
	}
	guest_run(g);
}
