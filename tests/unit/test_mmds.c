// SPDX-License-Identifier: Apache-2.0
/* The metadata service as the guest's network has it: frames in, frames out, connections, and what a hostile guest gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <lwip/priv/tcp_priv.h>

#include "base/cleanup.h"
#include "mmds/frame_ring.h"
#include "mmds/mmds.h"
#include "mmds/stack.h"
#include "tcp_guest.h"

#define GET_ID	 "GET /id HTTP/1.1\r\n\r\n"
#define GET_ONCE "GET /id HTTP/1.1\r\nConnection: close\r\n\r\n"
#define GET_BIG	 "GET /big HTTP/1.1\r\n\r\n"
#define BIG	 50000

static struct fake_platform fp;
static struct mmds_store store;
static struct mmds_config config;
static struct mmds *mmds;
static struct net_backend *links[2];
static struct tcp_guest guest, other;

static void start_service(void)
{
	struct err e;

	assert_int_equal(mmds_new(&config, &store, fp.p.loop, &mmds, &e), 0);
	assert_int_equal(mmds_new_link(mmds, "eth0", &links[0], &e), 0);
	assert_int_equal(mmds_new_link(mmds, "eth1", &links[1], &e), 0);
	guest.backend = links[0];
}

static void stop_service(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		links[i]->ops->free(links[i]);
	mmds_free(mmds);
	assert_null(tcp_active_pcbs);
	assert_null(tcp_tw_pcbs);
}

static int setup(void **state)
{
	static char address[] = "169.254.169.254", eth0[] = "eth0", eth1[] = "eth1";
	char *big = malloc(BIG + 1);
	json_t *root;
	struct err e;

	(void)state;
	memset(big, 'b', BIG);
	big[BIG] = '\0';
	root = json_pack("{ssss}", "id", "i-1", "big", big);
	free(big);
	fake_platform_init(&fp);
	mmds_store_init(&store, 51200);
	assert_int_equal(mmds_store_put(&store, root, &e), 0);
	json_decref(root);
	config = (struct mmds_config){
		.present = true,
		.ipv4_address = address,
		.network_interfaces = { 2, { eth0, eth1 } },
	};
	start_service();
	guest_init(&guest, &fp, links[0]);
	guest_init(&other, &fp, links[1]);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	guest_fini(&guest);
	guest_fini(&other);
	stop_service();
	mmds_store_fini(&store);
	fake_platform_fini(&fp);
	return 0;
}

static void assert_ends(const struct guest_tcp *t, const char *end)
{
	size_t len = strlen(end);

	if (t->input_len < len || strcmp(t->input + t->input_len - len, end) != 0)
		fail_msg("expected an answer that ends with \"%s\": %s", end, t->input);
}

static unsigned int count(const char *text, const char *what)
{
	unsigned int n = 0;

	for (; (text = strstr(text, what)); text += strlen(what))
		n++;
	return n;
}

static unsigned int active(void)
{
	unsigned int n = 0;

	for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next)
		n++;
	return n;
}

static void its_address_is_found_by_arp(void **state)
{
	uint8_t frame[64];

	(void)state;
	assert_true(guest_send_frame(&guest, frame, guest_make_arp(&guest, SERVICE_ADDRESS, frame)));
	guest_run(&guest);
	assert_int_equal(guest.arp_replies, 1);
	assert_int_equal(guest.ready, 1);
	assert_false(guest_send_frame(&guest, frame, guest_make_arp(&guest, SERVICE_ADDRESS + 1, frame)));
	assert_false(guest_send_frame(&guest, frame, guest_make_arp(&guest, GUEST_ADDRESS, frame)));
	guest_run(&guest);
	assert_int_equal(guest.arp_replies, 1);
}

static void frames_for_others_are_not_wanted(void **state)
{
	uint8_t frame[64];
	size_t len = guest_make_tcp(&guest, 1000, 0, 0, GUEST_SYN, NULL, 0, frame);

	(void)state;
	for (size_t cut = NET_ETH_LEN; cut < 34; cut++)
		assert_false(guest_send_frame(&guest, frame, cut));
	frame[33]++; /* 169.254.169.255 */
	assert_false(guest_send_frame(&guest, frame, len));
	frame[33]--;
	frame[12] = 0x86; /* IPv6 */
	frame[13] = 0xdd;
	assert_false(guest_send_frame(&guest, frame, len));
	frame[12] = 0x81; /* a VLAN */
	frame[13] = 0x00;
	assert_false(guest_send_frame(&guest, frame, len));
}

static void only_named_interfaces_lead_to_it(void **state)
{
	struct net_backend *link = links[0];
	struct err e;

	(void)state;
	assert_int_equal(mmds_new_link(mmds, "eth2", &link, &e), 0);
	assert_null(link);
	link = links[0];
	assert_int_equal(mmds_new_link(NULL, "eth0", &link, &e), 0);
	assert_null(link);
}

static void metadata_are_read_by_http(void **state)
{
	uint64_t created = mmds_metrics.connections_created, destroyed = mmds_metrics.connections_destroyed;
	struct guest_tcp *t = guest_connect(&guest, 2000);

	(void)state;
	assert_true(t->established);
	guest_say(&guest, t, GET_ID);
	assert_ends(t, "\r\n\r\ni-1");
	guest_say(&guest, t, GET_BIG);
	assert_int_equal(count(t->input, "HTTP/1.1 200 OK"), 2);
	assert_ends(t, "bbb");
	assert_true(t->input_len > BIG);
	assert_false(t->finished);
	guest_say(&guest, t, GET_ONCE);
	assert_ends(t, "\r\n\r\ni-1");
	assert_true(t->finished);
	guest_segment(&guest, t, GUEST_FIN | GUEST_ACK, NULL, 0);
	guest_run(&guest);
	assert_int_equal(active(), 0);
	assert_int_equal(mmds_metrics.connections_created, created + 1);
	assert_int_equal(mmds_metrics.connections_destroyed, destroyed + 1);
}

/* The interface waits for it before it interrupts the guest. */
static void there_is_a_word_about_each_frame(void **state)
{
	static uint8_t frame[NET_MAX_FRAME - NET_HDR_LEN];
	struct guest_tcp *t = guest_connect(&guest, 2000);
	unsigned int before = guest.ready;

	(void)state;
	guest_segment(&guest, t, GUEST_ACK, NULL, 0); /* no answer */
	guest_run(&guest);
	assert_int_equal(guest.ready, before + 1);
	guest_say(&guest, t, GET_ID);
	assert_int_equal(guest.ready, before + 3); /* with the acknowledgement of the answer */
	(void)guest_make_tcp(&guest, 2000, 0, 0, GUEST_ACK, NULL, 0, frame);
	assert_true(guest_send_frame(&guest, frame, sizeof(frame))); /* is lost */
	assert_int_equal(guest.ready, before + 4);
	guest_segment(&guest, t, GUEST_ACK, GET_BIG, strlen(GET_BIG)); /* several frames: once */
	fake_run(&fp);
	assert_int_equal(guest.ready, before + 5);
	guest_run(&guest);
	assert_ends(t, "bbb");
	assert_int_equal(other.ready, 0);
}

static void requests_may_come_in_any_pieces(void **state)
{
	static const char two[] = GET_ID "GET /nothing HTTP/1.1\r\n\r\n";
	struct guest_tcp *t = guest_connect(&guest, 2000);

	(void)state;
	for (size_t i = 0; i < sizeof(two) - 1; i++)
		guest_segment(&guest, t, GUEST_ACK, two + i, 1);
	guest_run(&guest);
	assert_int_equal(count(t->input, "HTTP/1.1 200 OK"), 1);
	assert_ends(t, "Resource not found: /nothing.");
	guest_say(&guest, t, GET_ID GET_BIG GET_ID GET_BIG GET_ID);
	assert_int_equal(count(t->input, "HTTP/1.1 200 OK"), 6);
	assert_ends(t, "\r\n\r\ni-1");
}

/* What is behind a request waits until its answer is sent; the guest may have closed its half by then. */
static void a_guest_that_asks_and_closes_is_answered(void **state)
{
	struct guest_tcp *t = guest_connect(&guest, 2000);

	(void)state;
	guest_segment(&guest, t, GUEST_ACK, GET_BIG GET_ID, strlen(GET_BIG GET_ID));
	guest_segment(&guest, t, GUEST_FIN | GUEST_ACK, NULL, 0);
	guest_run(&guest);
	assert_int_equal(count(t->input, "HTTP/1.1 200 OK"), 2);
	assert_ends(t, "\r\n\r\ni-1");
	assert_true(t->finished);
	assert_false(t->reset);
	assert_int_equal(active(), 0);
}

static void two_interfaces_have_their_own_traffic(void **state)
{
	struct guest_tcp *a, *b;

	(void)state;
	other.address = GUEST_ADDRESS + 0x100;
	other.mac[5] = 9;
	a = guest_connect(&guest, 2000);
	b = guest_connect(&other, 2000);
	guest_segment(&guest, a, GUEST_ACK, GET_ID, strlen(GET_ID));
	guest_say(&other, b, GET_BIG);
	guest_run(&guest);
	assert_ends(a, "\r\n\r\ni-1");
	assert_ends(b, "bbb");
	assert_int_equal(guest.strays + other.strays, 0);
}

static void what_gets_lost_is_sent_again(void **state)
{
	struct guest_tcp *t = guest_connect(&guest, 2000);

	(void)state;
	guest.lose = 1;
	guest_say(&guest, t, GET_ID);
	assert_int_equal(t->input_len, 0);
	for (unsigned int i = 0; i < 60 && !t->input_len; i++) {
		mmds_stack_tick();
		guest_run(&guest);
	}
	assert_ends(t, "\r\n\r\ni-1");
}

/* The ring between loop and interface is smaller than what 30 connections want to send. */
static void nothing_is_lost_where_a_guest_is_slow(void **state)
{
	struct guest_tcp *t[MMDS_MAX_CONNECTIONS];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		t[i] = guest_connect(&guest, (uint16_t)(2000 + i));
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		guest_segment(&guest, t[i], GUEST_ACK, GET_BIG, strlen(GET_BIG));
	guest_run(&guest);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		assert_true(t[i]->input_len > BIG);
		assert_ends(t[i], "bbb");
	}
}

static void there_are_as_many_connections_as_there_may_be(void **state)
{
	struct guest_tcp *t;

	(void)state;
	for (uint16_t i = 0; i < MMDS_MAX_CONNECTIONS; i++)
		assert_true(guest_connect(&guest, (uint16_t)(2000 + i))->established);
	t = guest_connect(&guest, 3000);
	assert_false(t->established);
	assert_true(t->reset);
	assert_int_equal(active(), MMDS_MAX_CONNECTIONS);
	t = guest.tcps[0];
	for (unsigned int s = 0; s < MMDS_IDLE_S * 4; s++) {
		if (s % 8 == 0) {
			for (size_t i = 0; i < MMDS_MAX_CONNECTIONS; i++)
				if (i != 7)
					guest_segment(&guest, guest.tcps[i], GUEST_ACK, "\r\n", 2);
			guest_run(&guest);
		}
		mmds_stack_tick();
	}
	assert_true(guest_connect(&guest, 3001)->established); /* in the place of the one that was idle */
	assert_true(guest.tcps[7]->reset);
	assert_false(t->reset);
	assert_int_equal(active(), MMDS_MAX_CONNECTIONS);
}

/* Connections that are never finished, and those that are over, take their places, too. */
static void a_flood_of_connections_is_bounded(void **state)
{
	uint8_t frame[64];
	unsigned int remembered = 0;

	(void)state;
	for (uint16_t port = 1; port < 1000; port++) {
		assert_true(
			guest_send_frame(&guest, frame, guest_make_tcp(&guest, port, 7, 0, GUEST_SYN, NULL, 0, frame)));
		guest_run(&guest);
	}
	assert_int_equal(active(), MMDS_MAX_CONNECTIONS);
	stop_service();
	start_service();
	guest_fini(&guest);
	guest_init(&guest, &fp, links[0]);
	for (uint16_t i = 0; i < 500; i++) {
		struct guest_tcp *t;

		if (i)
			guest.tcps[0]->port = (uint16_t)(2000 + i);
		t = guest_connect(&guest, (uint16_t)(2000 + i));
		guest_say(&guest, t, GET_ONCE);
		assert_true(t->finished);
		guest_segment(&guest, t, GUEST_FIN | GUEST_ACK, NULL, 0);
		guest_run(&guest);
	}
	for (struct tcp_pcb *pcb = tcp_tw_pcbs; pcb; pcb = pcb->next)
		remembered++;
	assert_in_range(remembered, 1, MMDS_MAX_REMEMBERED);
	assert_int_equal(active(), 0);
}

static void segments_that_come_too_early_are_not_kept(void **state)
{
	struct guest_tcp *t = guest_connect(&guest, 2000);
	uint32_t seq = t->seq;

	(void)state;
	for (unsigned int i = 1; i < 1000; i++) {
		t->seq = seq + 2 * i;
		guest_segment(&guest, t, GUEST_ACK, "x", 1);
		guest_run(&guest);
	}
	assert_null(tcp_active_pcbs->ooseq);
	t->seq = seq;
	guest_say(&guest, t, GET_ID);
	assert_ends(t, "\r\n\r\ni-1");
}

static void what_is_no_request_ends_its_connection(void **state)
{
	static char text[20000];
	struct guest_tcp *t = guest_connect(&guest, 2000);

	(void)state;
	guest_say(&guest, t, "NONSENSE\r\n\r\n" GET_ID);
	assert_non_null(strstr(t->input, "HTTP/1.1 501 Not Implemented"));
	assert_int_equal(count(t->input, "HTTP/1.1"), 1);
	assert_true(t->finished);
	memset(text, 'a', MMDS_REQUEST_MAX + 1);
	t = guest_connect(&guest, 2001);
	guest_say(&guest, t, "GET /");
	guest_say(&guest, t, text);
	assert_true(t->reset);
	assert_int_equal(t->input_len, 0);
	/* One segment, as a driver with segmentation offload sends it. */
	memset(text, '\n', sizeof(text) - 1);
	t = guest_connect(&guest, 2002);
	guest_segment(&guest, t, GUEST_ACK, text, 12000);
	guest_run(&guest);
	assert_true(t->reset);
}

/* Requests as fast as the guest can send them, and no byte of an answer taken: what is kept for it ends somewhere. */
static void a_guest_that_never_reads_is_bounded(void **state)
{
	struct guest_tcp *t = guest_connect(&guest, 2000);
	uint32_t sent = 0;

	(void)state;
	guest_say(&guest, t, GET_ID);
	t->mute = true;
	for (unsigned int i = 0; i < 5000; i++, sent += (uint32_t)strlen(GET_BIG)) {
		guest_segment(&guest, t, GUEST_ACK, GET_BIG, strlen(GET_BIG));
		guest_run(&guest);
	}
	assert_true(t->reset || (tcp_active_pcbs->rcv_nxt - (t->seq - sent)) < 3 * MMDS_REQUEST_MAX * 4);
	for (unsigned int i = 0; i < 4 * 3600 && !t->reset && active(); i++) {
		mmds_stack_tick();
		guest_run(&guest);
	}
	assert_int_equal(
		active(),
		0); /* given up after twelve times, less and less often; before, whoever needs its place gets it */
}

struct bad_frame {
	size_t at;
	uint8_t byte;
	_Atomic uint64_t *counter;
};

/* One byte of a good frame is wrong: counted, and no answer; what makes the service talk to itself above all. */
static void what_is_unsound_is_dropped_and_counted(void **state)
{
	const struct bad_frame rows[] = {
		{ 6, 0x07, &mmds_metrics.rx_bad_eth },		 /* a source that is many */
		{ 14, 0x65, &mmds_metrics.rx_bad_eth },		 /* version 6 */
		{ 14, 0x44, &mmds_metrics.rx_bad_eth },		 /* a header of 16 bytes */
		{ 14, 0x4f, &mmds_metrics.rx_bad_eth },		 /* of 60 */
		{ 16, 0x10, &mmds_metrics.rx_bad_eth },		 /* longer than the frame */
		{ 17, 39, &mmds_metrics.rx_accepted_unusual },	 /* half a TCP header */
		{ 17, 19, &mmds_metrics.rx_bad_eth },		 /* half an IP header */
		{ 20, 0x20, &mmds_metrics.rx_accepted_unusual }, /* a fragment */
		{ 21, 0x01, &mmds_metrics.rx_accepted_unusual }, /* another */
		{ 23, 1, &mmds_metrics.rx_accepted_unusual },	 /* ICMP */
		{ 23, 17, &mmds_metrics.rx_accepted_unusual },	 /* UDP */
		{ 26, 127, &mmds_metrics.rx_accepted_unusual },	 /* from loopback */
		{ 26, 224, &mmds_metrics.rx_accepted_unusual },	 /* from a group */
		{ 26, 0xff, &mmds_metrics.rx_accepted_unusual }, /* from class E */
	};
	uint8_t frame[64], wrong[64];
	size_t len = guest_make_tcp(&guest, 2000, 0, 0, GUEST_SYN, NULL, 0, frame);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t before = *rows[i].counter;

		memcpy(wrong, frame, len);
		wrong[rows[i].at] = rows[i].byte;
		assert_true(guest_send_frame(&guest, wrong, len));
		guest_run(&guest);
		if (*rows[i].counter != before + 1)
			fail_msg("row %zu", i);
		assert_int_equal(active(), 0);
	}
	guest.address = SERVICE_ADDRESS;
	assert_true(guest_send_frame(&guest, wrong, guest_make_tcp(&guest, 80, 0, 0, GUEST_SYN, NULL, 0, wrong)));
	guest.address = 0;
	assert_true(guest_send_frame(&guest, wrong, guest_make_tcp(&guest, 80, 0, 0, GUEST_SYN, NULL, 0, wrong)));
	guest.address = 0xffffffff;
	assert_true(guest_send_frame(&guest, wrong, guest_make_tcp(&guest, 80, 0, 0, GUEST_SYN, NULL, 0, wrong)));
	guest_run(&guest);
	assert_int_equal(active(), 0);
	assert_int_equal(guest.strays, 0);
}

static void unsound_arp_is_dropped(void **state)
{
	static const struct {
		size_t at;
		uint8_t byte;
	} rows[] = { { 15, 2 }, { 16, 9 }, { 18, 5 }, { 19, 16 }, { 21, 2 }, { 21, 9 }, { 6, 1 } };
	uint8_t frame[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		size_t len = guest_make_arp(&guest, SERVICE_ADDRESS, frame);

		frame[rows[i].at] = rows[i].byte;
		assert_true(guest_send_frame(&guest, frame, len));
		guest_run(&guest);
		assert_int_equal(guest.arp_replies, 0);
	}
}

static void what_is_too_long_or_too_much_is_lost(void **state)
{
	static uint8_t frame[FRAME_MAX + 1], data[FRAME_MAX];
	uint64_t lost = mmds_metrics.rx_accepted_err;
	size_t len;

	(void)state;
	len = guest_make_tcp(&guest, 2000, 0, 0, GUEST_ACK, data, FRAME_MAX - 54, frame);
	assert_int_equal(len, FRAME_MAX);
	assert_true(guest_send_frame(&guest, frame, len + 1));
	assert_int_equal(mmds_metrics.rx_accepted_err, lost + 1);
	for (unsigned int i = 0; i < FRAME_RING_SIZE / FRAME_MAX; i++)
		assert_true(guest_send_frame(&guest, frame, len));
	assert_int_equal(mmds_metrics.rx_accepted_err, lost + 2); /* with their lengths they do not fit */
	guest_run(&guest);
	assert_true(guest_connect(&guest, 2001)->established);
}

/* A restored machine goes on with connections that nobody knows. */
static void a_connection_of_the_original_is_reset(void **state)
{
	struct guest_tcp *t = guest_connect(&guest, 2000);

	(void)state;
	guest_say(&guest, t, GET_ID);
	stop_service();
	start_service();
	guest_init(&other, &fp, links[1]);
	guest.backend->ready = other.backend->ready;
	guest.backend->ctx = &guest;
	guest_say(&guest, t, GET_ID);
	assert_true(t->reset);
	t = guest_connect(&guest, 2001);
	guest_say(&guest, t, GET_ID);
	assert_ends(t, "\r\n\r\ni-1");
}

static void only_its_port_is_open(void **state)
{
	uint8_t frame[64];
	size_t len;

	(void)state;
	guest_connect(&guest, 2000);
	len = guest_make_tcp(&guest, 2001, 0, 0, GUEST_SYN, NULL, 0, frame);
	frame[37] = 22;
	assert_true(guest_send_frame(&guest, frame, len));
	fake_run(&fp);
	assert_int_equal(active(), 1);
}

static void frames_pass_a_ring_in_order(void **state)
{
	static uint8_t sent[FRAME_MAX], got[FRAME_MAX];
	struct frame_ring ring;
	uint8_t next_in = 0, next_out = 0;
	unsigned int inside = 0;
	bool was_empty;

	(void)state;
	assert_int_equal(frame_ring_init(&ring), 0);
	srand(1);
	for (unsigned int i = 0; i < 20000; i++) {
		size_t len = 1 + (size_t)rand() % (i % 7 ? 1500 : FRAME_MAX);
		struct iovec iov[3] = { { sent, len / 3 }, { sent + len / 3, 0 }, { sent + len / 3, len - len / 3 } };

		memset(sent, next_in, len);
		if (rand() % 2) {
			if (frame_ring_push(&ring, iov, 3, 0, &was_empty)) {
				assert_int_equal(was_empty, inside == 0);
				inside++;
				next_in++;
			}
		} else if ((len = frame_ring_pop(&ring, got))) {
			for (size_t k = 0; k < len; k++)
				assert_int_equal(got[k], next_out);
			inside--;
			next_out++;
		} else {
			assert_int_equal(inside, 0);
		}
	}
	frame_ring_fini(&ring);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(its_address_is_found_by_arp),
		TEST(frames_for_others_are_not_wanted),
		TEST(only_named_interfaces_lead_to_it),
		TEST(metadata_are_read_by_http),
		TEST(there_is_a_word_about_each_frame),
		TEST(requests_may_come_in_any_pieces),
		TEST(a_guest_that_asks_and_closes_is_answered),
		TEST(two_interfaces_have_their_own_traffic),
		TEST(what_gets_lost_is_sent_again),
		TEST(nothing_is_lost_where_a_guest_is_slow),
		TEST(there_are_as_many_connections_as_there_may_be),
		TEST(a_flood_of_connections_is_bounded),
		TEST(segments_that_come_too_early_are_not_kept),
		TEST(what_is_no_request_ends_its_connection),
		TEST(a_guest_that_never_reads_is_bounded),
		TEST(what_is_unsound_is_dropped_and_counted),
		TEST(unsound_arp_is_dropped),
		TEST(what_is_too_long_or_too_much_is_lost),
		TEST(a_connection_of_the_original_is_reset),
		TEST(only_its_port_is_open),
		cmocka_unit_test(frames_pass_a_ring_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
