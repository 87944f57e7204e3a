// SPDX-License-Identifier: Apache-2.0
/*
 * A hostile client of the metadata service (hostile.h): ARP, IPv4 and TCP with each field wrong and cut off at each byte,
 * segments in any order, connections by the hundred, resets at any moment, windows that never open, requests that are none.
 * After each attack, and in the middle of one, a request that is right must be answered. The metadata are in
 * tests/system/test_hostile_guest.py: /a is "b", /big is longer than what waits to be sent on a connection.
 */
#include "guest.h"
#include "hostile.h"
#include "mmds_client.h"

/* The service has places for 30. */
#define NUM_FLOOD 70u
#define NUM_STUCK 12u

static unsigned int num_needs_reset; /* nothing here breaks a ring */
static unsigned int num_used;
static const char get_a[] = "GET /a HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n";
static const char get_big[] = "GET /big HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n";

#define LEN(text) ((uint32_t)sizeof(text) - 1)

static const uint16_t wild16[] = { 0, 1, 19, 20, 39, 41, 53, 1500, 0x7fff, 0xffff };

static uint16_t any16(void)
{
	return hostile_below(3) ? wild16[hostile_below(10)] : (uint16_t)hostile_random();
}

/* Requests that are cut off at each byte, with each byte wrong, and with any operation. */
static bool attack_arp(void)
{
	for (uint32_t len = 0; len < MMDS_ARP_LEN; len++) {
		mmds_build_arp(mmds_frame());
		if (!mmds_send(len))
			return false;
		mmds_build_arp(mmds_frame());
		mmds_frame()[len] = (uint8_t)hostile_random();
		if (!mmds_send(hostile_below(4) ? MMDS_ARP_LEN : hostile_below(2000)))
			return false;
	}
	return true;
}

/* Not a SYN from an address that may be somebody's: it would take a place, and nobody knows of it. */
static bool attack_ipv4(void)
{
	static const uint32_t addresses[] = { 0, MMDS_SERVICE, 0x7f000001, 0xe0000001, 0xffffffff, 0xf0000001 };
	struct mmds_tcp t = { .port = 1500, .window = MMDS_WINDOW };

	for (uint32_t len = 0; len < MMDS_HEADERS + 8; len++) {
		mmds_build_tcp(mmds_frame(), &t, 1, TCP_SYN, 8);
		if (!mmds_send(len))
			return false;
	}
	for (unsigned int i = 0; i < 6; i++) {
		mmds_build_tcp(mmds_frame(), &t, 1, TCP_SYN, 0);
		mmds_put32(mmds_frame() + 26, addresses[i]);
		mmds_sum_ipv4(mmds_frame());
		if (!mmds_send(MMDS_HEADERS))
			return false;
	}
	for (unsigned int i = 0; i < 150; i++) {
		volatile uint8_t *frame = mmds_frame();

		mmds_build_tcp(frame, &t, (uint32_t)hostile_random(), TCP_ACK, hostile_below(100));
		switch (hostile_below(5)) {
		case 0:
			frame[14] = (uint8_t)hostile_random();
			break;
		case 1:
			mmds_put16(frame + 16, any16());
			break;
		case 2: /* fragments */
			mmds_put16(frame + 20, hostile_below(2) ? 0x2000 : (uint32_t)hostile_random());
			break;
		case 3:
			frame[14 + hostile_below(16)] = (uint8_t)hostile_random();
			break;
		default: /* options, which may reach behind the end */
			frame[14] = (uint8_t)(0x46 + hostile_below(10));
			frame[34] = (uint8_t)hostile_random();
			frame[35] = (uint8_t)hostile_below(3);
		}
		if (hostile_below(8))
			mmds_sum_ipv4(frame);
		if (!mmds_send(hostile_below(3) ? MMDS_HEADERS + 100 : hostile_below(MMDS_FRAME_MAX)))
			return false;
	}
	return true;
}

/* Segments of a connection: numbers, flags, header lengths, options and lengths that do not fit. */
static bool attack_tcp(void)
{
	static struct mmds_tcp t;

	if (!mmds_open(&t, MMDS_WINDOW) || !mmds_say(&t, get_a, 10))
		return false;
	for (unsigned int i = 0; i < 200; i++) {
		volatile uint8_t *frame = mmds_frame();
		uint8_t flags = (uint8_t)(hostile_below(2) ? TCP_ACK : hostile_random());
		uint32_t len = hostile_below(4) ? hostile_below(60) : hostile_below(16000);

		/* On a connection that is over a lone SYN begins one of which nobody knows. */
		if ((flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN)
			flags |= TCP_ACK;
		for (uint32_t k = 0; k < 60; k++)
			frame[MMDS_HEADERS + k] = (uint8_t)hostile_random();
		mmds_build_tcp(frame, &t, t.seq, flags, len);
		if (hostile_below(2))
			mmds_put32(frame + 38, hostile_below(2) ? t.seq + any16() : (uint32_t)hostile_random());
		if (hostile_below(3) == 0)
			mmds_put32(frame + 42, hostile_below(2) ? t.ack + any16() : (uint32_t)hostile_random());
		if (hostile_below(3) == 0)
			frame[46] = (uint8_t)hostile_random();
		if (hostile_below(3) == 0)
			mmds_put16(frame + 48, any16());
		mmds_put16(frame + 52, any16());
		if (!mmds_send(hostile_below(8) ? MMDS_HEADERS + len : hostile_below(MMDS_HEADERS + len)))
			return false;
	}
	return mmds_drop(&t);
}

/* Pieces of a request in any order, again and again, overlapping; in the end all of it in order: it is answered once. */
static bool attack_order(void)
{
	static struct mmds_tcp t;

	if (!mmds_open(&t, MMDS_WINDOW))
		return false;
	mmds_listen(&t);
	for (unsigned int i = 0; i < 100; i++) {
		uint32_t at = 1 + hostile_below(LEN(get_a) - 2), len = 1 + hostile_below(LEN(get_a) - 1 - at);

		if (!mmds_segment(&t, at, TCP_ACK, get_a + at, len))
			return false;
	}
	for (uint32_t at = 0; at < LEN(get_a); at += 5) {
		uint32_t from = at < 7 ? 0 : at - 7, end = at + 5 < LEN(get_a) ? at + 5 : LEN(get_a);

		if (!mmds_segment(&t, from, TCP_ACK | TCP_PSH, get_a + from, end - from))
			return false;
	}
	t.seq += LEN(get_a);
	return mmds_hears("HTTP/1.1 200 OK\r\n") && mmds_hears("\r\n\r\nb") && mmds_drop(&t);
}

/* More connections than there are places: the others are refused. Half of those that were accepted never say so. */
static bool attack_by_flood(void)
{
	static struct mmds_tcp flood[NUM_FLOOD];
	unsigned int num_accepted = 0, num_refused = 0;

	for (unsigned int i = 0; i < NUM_FLOOD; i++) {
		if (!mmds_call(&flood[i], MMDS_WINDOW))
			return false;
		if (hostile_below(2) && flood[i].accepted && !mmds_say(&flood[i], get_a, hostile_below(LEN(get_a))))
			return false;
	}
	mmds_await(&flood[NUM_FLOOD - 1]); /* on a busy machine the first refusal may be late */
	for (unsigned int i = 0; i < NUM_FLOOD; i++) {
		num_refused += flood[i].over;
		num_accepted += flood[i].accepted;
		if (flood[i].accepted && !mmds_drop(&flood[i]))
			return false;
	}
	return num_accepted > 0 && num_refused > 0;
}

/* A connection ends in the middle of the request or of the answer, and is used on. */
static bool attack_by_resets(void)
{
	static struct mmds_tcp t[10];

	for (unsigned int i = 0; i < 10; i++) {
		uint32_t len = hostile_below(2) ? LEN(get_big) : hostile_below(LEN(get_big));

		if (!mmds_open(&t[i], MMDS_WINDOW) || !mmds_say(&t[i], get_big, len))
			return false;
		if (!mmds_segment(&t[i], hostile_below(2) ? 0 : any16(), TCP_RST | (hostile_below(2) ? TCP_ACK : 0),
				  NULL, hostile_below(3)) ||
		    !mmds_segment(&t[i], 0, TCP_SYN | TCP_ACK, NULL, hostile_below(3)) ||
		    !mmds_segment(&t[i], 0, TCP_FIN | TCP_ACK, get_big, hostile_below(LEN(get_big))) ||
		    !mmds_segment(&t[i], 0, TCP_ACK, NULL, hostile_below(100)) || !mmds_drop(&t[i]))
			return false;
	}
	return true;
}

/* Answers that nobody takes: others are served meanwhile. Some of the clients say again and again that there is no room. */
static bool attack_by_closed_windows(void)
{
	static struct mmds_tcp t[NUM_STUCK];

	for (unsigned int i = 0; i < NUM_STUCK; i++) {
		uint16_t window = (uint16_t)(i % 3 == 0 ? 0 : hostile_below(3));

		if (!mmds_open(&t[i], window) || !mmds_say(&t[i], get_big, LEN(get_big)))
			return false;
	}
	for (unsigned int i = 0; i < 10 * NUM_STUCK; i++) {
		struct mmds_tcp *one = &t[hostile_below(NUM_STUCK)];

		if (hostile_below(3) ? !mmds_segment(one, 0, TCP_ACK, "", 0) : !mmds_say(one, get_big, LEN(get_big)))
			return false;
	}
	if (!mmds_works())
		return false;
	for (unsigned int i = 0; i < NUM_STUCK; i++) {
		if (!mmds_drop(&t[i]))
			return false;
	}
	return true;
}

/* A request that ends at each of its bytes, every other one in a round: by a reset, or by a FIN in its last segment. */
static bool attack_by_halves(void)
{
	static struct mmds_tcp t[LEN(get_a)];
	static uint32_t first;

	for (uint32_t len = first++ & 1; len < LEN(get_a); len += 2) {
		uint32_t half = len / 2;

		if (!mmds_open(&t[len], MMDS_WINDOW) || !mmds_say(&t[len], get_a, half) ||
		    !mmds_segment(&t[len], 0, TCP_ACK | TCP_PSH | (len & 2 ? TCP_FIN : 0), get_a + half, len - half))
			return false;
		t[len].seq += len - half + (len >> 1 & 1);
		if (!mmds_drop(&t[len]))
			return false;
	}
	return true;
}

/* Says that much of what repeats; the service may have closed the connection long before. */
static bool say_often(struct mmds_tcp *t, const char *text, unsigned int times)
{
	for (unsigned int i = 0; i < times; i++) {
		if (!mmds_say(t, text, mmds_text_len(text)))
			return false;
	}
	return true;
}

static bool attack_http(void)
{
	static const struct {
		const char *begin, *often, *end;
		unsigned int times;
	} requests[] = {
		{ "GET /", "0123456789abcdef/../%00%ff//", " HTTP/1.1\r\n\r\n", 200 },
		{ "GET /a HTTP/1.1\r\nX: ", "0123456789012345678901234567890123456789", "\r\n\r\n", 400 },
		{ "GET /a HTTP/1.1\r\n", "X-metadata-token: 01234567\r\n", "\r\n", 300 },
		{ "GET /a HTTP/1.1\r\n", "\r\n\r\nGET /a HTTP/1.1\r\n", "\r\n", 60 },
		{ "PUT /latest/api/token HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n", "body", "", 50 },
		{ "PUT /a HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 500000\r\n\r\n", "body", "", 50 },
		{ "PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", "chunk", "\r\n", 50 },
		{ "PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", "0\r\n\r\n", 300 },
		{ "PUT /latest/api/token HTTP/1.1\r\n", "X-metadata-token-ttl-seconds: -1\r\n", "\r\n", 20 },
		{ "", "\r\n", "GET /a\r\n\r\n", 100 },
		{ "\x16\x03\x01", "\xff\xfe\x80", "\r\n\r\n", 100 },
		{ "GET http://169.254.169.254:99999999999/a HTTP/9.9\r\n", ": \t\r\n ", "\r\n", 30 },
	};
	static struct mmds_tcp t[sizeof(requests) / sizeof(requests[0])];

	for (unsigned int i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		if (!mmds_open(&t[i], MMDS_WINDOW) || !say_often(&t[i], requests[i].begin, 1) ||
		    !say_often(&t[i], requests[i].often, requests[i].times) || !say_often(&t[i], requests[i].end, 1) ||
		    !mmds_segment(&t[i], 0, TCP_ACK, NULL, hostile_below(1400)) || !mmds_drop(&t[i]))
			return false;
	}
	return true;
}

/* NULL, or what went wrong. */
static const char *hostile_round(void)
{
	static const struct {
		bool (*attack)(void);
		const char *wrong;
	} attacks[] = {
		{ attack_arp, "ARP: a frame did not come back" },
		{ attack_ipv4, "IPv4: a frame did not come back" },
		{ attack_tcp, "TCP: a frame did not come back, or there was no connection" },
		{ attack_order, "a request in pieces was not answered" },
		{ attack_by_flood, "a flood of connections: none was accepted, or none refused" },
		{ attack_by_resets, "resets: a frame did not come back, or there was no connection" },
		{ attack_by_closed_windows, "while others do not take their answers nobody is served" },
		{ attack_by_halves, "half a request: a frame did not come back, or there was no connection" },
		{ attack_http, "HTTP: a frame did not come back, or there was no connection" },
	};
	static unsigned int round; /* each attack has its turn */
	unsigned int i = round++ % (sizeof(attacks) / sizeof(attacks[0]));

	if (!mmds_begin())
		return "the network interface could not be set up";
	if (!attacks[i].attack())
		return attacks[i].wrong;
	num_used += mmds_num_used();
	if (hostile_below(2) && !mmds_begin())
		return "the network interface could not be set up again";
	return mmds_works() ? NULL : "the metadata service does not answer any more";
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
