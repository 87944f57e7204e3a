// SPDX-License-Identifier: Apache-2.0
/*
 * What a guest sends to the metadata service: frames as they come, segments of
 * connections that fit or nearly, requests, time, and a guest that takes nothing.
 * Goes through lwIP, http-parser, the store's paths and tokens.
 */
#include <endian.h>
#include <string.h>

#include <lwip/priv/tcp_priv.h>

#include "fuzz.h"
#include "mmds/frame_ring.h"
#include "mmds/stack.h"

#define PORTS	   4 /* of the guest's connections */
#define FIRST_PORT 1000
#define GOOD_PORT  9999
#define HEADERS	   54
#define SERVICE	   0xa9fea9feu
#define GUEST	   0xac100002u

enum step { RAW, IPV4, SEGMENT, TALK, OPEN, TICKS, DEAFNESS, RETRY, NUM_STEPS };

struct half {
	uint32_t seq, ack; /* what the service expects next, what comes next from it */
};

struct fuzz_mmds {
	struct mmds_stack stack;
	struct mmds_site site;
	struct mmds_store store;
	struct half tcps[PORTS + 1]; /* and the good guest's */
	bool deaf;
	char heard[512]; /* by the good guest: the beginning */
	size_t heard_len;
};

static struct fuzz_mmds *current; /* for the callback that knows a link only */
static char links[2];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return be32toh(value);
}

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value);
}

static struct half *half_of(struct fuzz_mmds *f, unsigned int port)
{
	if (port == GOOD_PORT)
		return &f->tcps[PORTS];
	return port >= FIRST_PORT && port < FIRST_PORT + PORTS ? &f->tcps[port - FIRST_PORT] : NULL;
}

/* The guest takes a frame: notes where the connection stands. */
static bool transmit(struct mmds_link *link, uint8_t *frame, size_t len)
{
	struct fuzz_mmds *f = current;
	unsigned int port = (unsigned int)frame[36] << 8 | frame[37];
	struct half *half = half_of(f, port);
	size_t header;

	fuzz_expect((char *)link == &links[0] || (char *)link == &links[1]);
	fuzz_expect(len <= 1514);
	if (f->deaf)
		return false;
	if (frame[12] != 0x08 || frame[13] != 0x00 || !half || frame[47] & TCP_RST)
		return true;
	header = 34 + (size_t)(frame[46] >> 4) * 4;
	fuzz_expect(len >= header);
	half->seq = get32(frame + 42);
	half->ack = get32(frame + 38) + (uint32_t)(len - header) + !!(frame[47] & (TCP_SYN | TCP_FIN));
	for (size_t i = header; i < len && port == GOOD_PORT && f->heard_len < sizeof(f->heard) - 1; i++)
		f->heard[f->heard_len++] = (char)frame[i];
	return true;
}

/* Ethernet, IPv4 and TCP in front of what is at frame + HEADERS. */
static void send_tcp(struct fuzz_mmds *f, unsigned int port, uint32_t seq, uint32_t ack, uint8_t offset, uint8_t flags,
		     uint8_t *frame, size_t len)
{
	uint32_t sum = 0;

	memset(frame, 0, HEADERS);
	frame[6] = 2;
	frame[12] = 0x08;
	frame[14] = 0x45;
	put16(frame + 16, (uint32_t)(40 + len));
	frame[22] = 64;
	frame[23] = 6;
	put32(frame + 26, GUEST);
	put32(frame + 30, SERVICE);
	for (size_t i = 14; i < 34; i += 2)
		sum += (uint32_t)frame[i] << 8 | frame[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	put16(frame + 24, ~(sum + (sum >> 16)));
	put16(frame + 34, port);
	put16(frame + 36, MMDS_PORT);
	put32(frame + 38, seq);
	put32(frame + 42, ack);
	frame[46] = offset;
	frame[47] = flags;
	put16(frame + 48, 0xffff);
	mmds_stack_input(&f->stack, (struct mmds_link *)&links[0], frame, HEADERS + len);
}

static void open_tcp(struct fuzz_mmds *f, unsigned int port)
{
	uint8_t frame[HEADERS];
	struct half *half = half_of(f, port);

	*half = (struct half){ .seq = 77u * port };
	send_tcp(f, port, half->seq, 0, 0x50, TCP_SYN, frame, 0);
	send_tcp(f, port, half->seq, half->ack, 0x50, TCP_ACK, frame, 0);
}

/* Data that the service expects now; then all that it has sent is acknowledged. */
static void talk(struct fuzz_mmds *f, unsigned int port, const void *data, size_t len)
{
	static uint8_t frame[HEADERS + 4096];
	const struct half *half = half_of(f, port);

	memcpy(frame + HEADERS, data, len);
	send_tcp(f, port, half->seq, half->ack, 0x50, TCP_ACK | TCP_PSH, frame, len);
	send_tcp(f, port, half->seq, half->ack, 0x50, TCP_ACK, frame, 0);
}

static void send_raw(struct fuzz_mmds *f, struct fuzz_input *in, bool is_ipv4)
{
	static uint8_t frame[1024];
	size_t len;
	const uint8_t *data = fuzz_bytes(in, fuzz_u8(in) + 1u, &len);

	memset(frame, 0, 34);
	if (is_ipv4) {
		frame[12] = 0x08;
		frame[14] = 0x45;
		frame[23] = 6;
		put32(frame + 26, GUEST);
		put32(frame + 30, SERVICE);
	}
	for (size_t i = 0; i < len; i++)
		frame[(is_ipv4 ? 14 : 0) + i] ^= data[i];
	mmds_stack_input(&f->stack, (struct mmds_link *)&links[fuzz_u8(in) & 1], frame, (is_ipv4 ? 14 : 0) + len);
}

static void send_segment(struct fuzz_mmds *f, struct fuzz_input *in)
{
	static uint8_t frame[HEADERS + 256];
	unsigned int port = FIRST_PORT + (fuzz_u8(in) & (PORTS - 1));
	const struct half *half = half_of(f, port);
	uint8_t flags = fuzz_u8(in), offset = fuzz_u8(in), what = fuzz_u8(in);
	uint32_t seq = half->seq + (what & 1 ? (uint32_t)fuzz_value(in) : 0);
	uint32_t ack = half->ack + (what & 2 ? (uint32_t)fuzz_value(in) : 0);
	const uint8_t *data;
	size_t len;

	data = fuzz_bytes(in, what >> 2, &len);
	memcpy(frame + HEADERS, data, len);
	send_tcp(f, port, seq, ack, offset & 1 ? offset : 0x50, flags, frame, len);
}

static void step(struct fuzz_mmds *f, struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in);
	unsigned int port = FIRST_PORT + ((what >> 4) & (PORTS - 1));
	const uint8_t *data;
	size_t len;

	switch ((enum step)(what % NUM_STEPS)) {
	case RAW:
		send_raw(f, in, false);
		break;
	case IPV4:
		send_raw(f, in, true);
		break;
	case SEGMENT:
		send_segment(f, in);
		break;
	case TALK:
		data = fuzz_bytes(in, fuzz_u16(in) & 4095, &len);
		talk(f, port, data, len);
		break;
	case OPEN:
		open_tcp(f, port);
		break;
	case TICKS:
		for (unsigned int n = fuzz_u8(in); n; n--)
			mmds_stack_tick();
		break;
	case DEAFNESS:
		f->deaf = !f->deaf;
		break;
	case RETRY:
		mmds_stack_retry();
		break;
	case NUM_STEPS:
		break;
	}
}

static unsigned int count_pcbs(const struct tcp_pcb *pcb)
{
	unsigned int n = 0;

	for (; pcb; pcb = pcb->next)
		n++;
	return n;
}

/* Whatever happened, a guest that behaves is served after a while. */
static void expect_good_service(struct fuzz_mmds *f)
{
	static const char request[] = "GET /a HTTP/1.1\r\n\r\n";

	f->deaf = false;
	for (unsigned int n = 0; n < MMDS_IDLE_S * 4 + 8; n++)
		mmds_stack_tick();
	f->heard_len = 0;
	open_tcp(f, GOOD_PORT);
	talk(f, GOOD_PORT, request, sizeof(request) - 1);
	fuzz_expect(!strncmp(f->heard, "HTTP/1.1 200 OK\r\n", 17));
	fuzz_expect(strstr(f->heard, "\r\n\r\nb"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	static struct fuzz_mmds f;
	uint8_t kind = fuzz_u8(&in);
	json_t *root = json_pack("{sss{s[iis]}}", "a", "b", "c", "d", 1, 2, "x");
	struct err e;

	memset(&f, 0, sizeof(f));
	current = &f;
	fuzz_rand_start();
	tcp_ticks = 0;
	mmds_store_init(&f.store, 1000);
	fuzz_expect(root && mmds_store_put(&f.store, root, &e) == 0);
	json_decref(root);
	fuzz_expect(mmds_tokens_init(&f.site.tokens) == 0);
	f.site.store = &f.store;
	f.site.imds_compat = kind & 1;
	f.stack.transmit = transmit;
	fuzz_expect(mmds_stack_init(&f.stack, htobe32(SERVICE), &f.site) == 0);
	while (!fuzz_done(&in)) {
		f.site.version = kind & 2 ? MMDS_V2 : MMDS_V1;
		step(&f, &in);
		fuzz_expect(count_pcbs(tcp_active_pcbs) <= MMDS_MAX_CONNECTIONS);
		fuzz_expect(count_pcbs(tcp_tw_pcbs) <= MMDS_MAX_REMEMBERED + MMDS_MAX_CONNECTIONS);
	}
	f.site.version = MMDS_V1;
	expect_good_service(&f);
	fuzz_expect(f.stack.answers_len < 1u << 20);
	mmds_stack_fini(&f.stack);
	fuzz_expect(!tcp_active_pcbs && !tcp_tw_pcbs);
	mmds_store_fini(&f.store);
	return 0;
}
