// SPDX-License-Identifier: Apache-2.0
/*
 * The socket device between a driver and real Unix sockets, through the
 * transport. Sections are those of virtio 1.2.
 */
#include "virtio/vsock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "guest_ram.h"
#include "tmpdir.h"
#include "virtio/vsock_internal.h"
#include "vsock_driver.h"

#define FIRST_PORT 1073741824u
#define EVENT_IDX  FEATURE(VIRTIO_RING_F_EVENT_IDX)
#define RCV	   VIRTIO_VSOCK_SHUTDOWN_RCV
#define SEND	   VIRTIO_VSOCK_SHUTDOWN_SEND

struct fixture {
	struct fake_platform fp;
	struct vsock_guest g;
	struct tmpdir dir;
	char path[PATH_MAX];
	struct vsock_config config;
	struct vsock_packet p;
};

static void plug(struct fixture *f)
{
	struct virtio_dev *vdev;
	struct err e;

	if (vsock_new(&f->config, &f->fp.p, &vdev, &e))
		fail_msg("%s", e.text);
	drv_plug(&f->g.drv, &f->fp, vdev, "vsock");
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(tmpdir_make(&f->dir), 0);
	snprintf(f->path, sizeof(f->path), "%s/v", f->dir.path);
	f->config = (struct vsock_config){ .present = true, .guest_cid = GUEST_CID, .uds_path = f->path };
	fake_platform_init(&f->fp);
	plug(f);
	*state = f;
	return 0;
}

static int setup_started(void **state)
{
	struct fixture *f;

	setup(state);
	f = *state;
	vg_start(&f->g, EVENT_IDX);
	vg_give(&f->g, 32);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	drv_unplug(&f->g.drv);
	assert_int_equal(access(f->path, F_OK), -1);
	fake_platform_fini(&f->fp);
	tmpdir_remove(&f->dir);
	free(f);
	return 0;
}

static struct vsock *device(struct fixture *f)
{
	return (struct vsock *)f->g.drv.vdev;
}

static void run(struct fixture *f)
{
	fake_run(&f->fp);
}

/* The host's side: nonblocking sockets. */

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	assert_true(strlen(path) < sizeof(addr.sun_path));
	memcpy(addr.sun_path, path, strlen(path));
	return addr;
}

static int client(struct fixture *f)
{
	struct sockaddr_un addr = address(f->path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static int host_listen(struct fixture *f, uint32_t port, int backlog)
{
	char path[PATH_MAX + 20];
	struct sockaddr_un addr;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(path, sizeof(path), "%s_%u", f->path, port);
	addr = address(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static void host_say(struct fixture *f, int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	run(f);
}

static void expect_text(int fd, const char *text)
{
	char got[64] = "";

	assert_int_equal(read(fd, got, sizeof(got) - 1), strlen(text));
	assert_string_equal(got, text);
}

static void expect_nothing(int fd)
{
	char c;

	assert_int_equal(read(fd, &c, 1), -1);
	assert_int_equal(errno, EAGAIN);
}

static void expect_eof(int fd)
{
	char c;

	assert_int_equal(read(fd, &c, 1), 0);
}

/* The guest's side. */

static void expect_packet(struct fixture *f, uint16_t op, uint32_t host_port, uint32_t guest_port)
{
	if (!vg_get(&f->g, &f->p))
		fail_msg("no packet; operation %u was expected", op);
	assert_int_equal(f->p.hdr.src_cid, 2);
	assert_int_equal(f->p.hdr.dst_cid, GUEST_CID);
	assert_int_equal(f->p.hdr.type, VIRTIO_VSOCK_TYPE_STREAM);
	assert_int_equal(f->p.hdr.op, op);
	assert_int_equal(f->p.hdr.src_port, host_port);
	assert_int_equal(f->p.hdr.dst_port, guest_port);
}

static void expect_no_packet(struct fixture *f)
{
	if (vg_get(&f->g, &f->p))
		fail_msg("a packet of operation %u, which nobody expected", f->p.hdr.op);
}

static void expect_data(struct fixture *f, uint32_t host_port, uint32_t guest_port, const char *text)
{
	expect_packet(f, VIRTIO_VSOCK_OP_RW, host_port, guest_port);
	assert_int_equal(f->p.len, strlen(text));
	assert_memory_equal(f->p.data, text, f->p.len);
}

/* A connection that the host has begun; its descriptor. */
static int open_to_guest(struct fixture *f, uint32_t host_port, uint32_t guest_port)
{
	int fd = client(f);
	char text[64];

	snprintf(text, sizeof(text), "CONNECT %u\n", guest_port);
	host_say(f, fd, text);
	expect_packet(f, VIRTIO_VSOCK_OP_REQUEST, host_port, guest_port);
	vg_send(&f->g, VIRTIO_VSOCK_OP_RESPONSE, host_port, guest_port, 0, NULL, 0);
	snprintf(text, sizeof(text), "OK %u\n", host_port);
	expect_text(fd, text);
	return fd;
}

/* A connection that the guest has begun; its descriptor. */
static int open_to_host(struct fixture *f, int server, uint32_t host_port, uint32_t guest_port)
{
	int fd;

	vg_send(&f->g, VIRTIO_VSOCK_OP_REQUEST, host_port, guest_port, 0, NULL, 0);
	fd = accept4(server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(fd >= 0);
	expect_packet(f, VIRTIO_VSOCK_OP_RESPONSE, host_port, guest_port);
	assert_int_equal(f->p.hdr.buf_alloc, 65536);
	return fd;
}

/* Time goes on for the device. */
static void pass_ticks(struct fixture *f, unsigned int ticks)
{
	for (unsigned int i = 0; i < ticks; i++) {
		device(f)->ticking = true; /* as the timer's callback finds it */
		vsock_on_tick(device(f), 0);
		run(f);
	}
}

/* 5.10.3 and 5.10.4. */
static void the_device_is_what_firecrackers_is(void **state)
{
	struct fixture *f = *state;
	struct virtio_driver *drv = &f->g.drv;
	uint64_t cid = 0;

	assert_int_equal(drv->vdev->offered, FEATURE(VIRTIO_F_VERSION_1) | EVENT_IDX | FEATURE(VIRTIO_F_IN_ORDER));
	assert_int_equal(drv_read(drv, VIRTIO_MMIO_DEVICE_ID), 19);
	cid = fake_read(&f->fp, drv->base + VIRTIO_MMIO_CONFIG, 8);
	assert_int_equal(cid, GUEST_CID);
	fake_write(&f->fp, drv->base + VIRTIO_MMIO_CONFIG, 77, 4);
	assert_int_equal(fake_read(&f->fp, drv->base + VIRTIO_MMIO_CONFIG, 4), GUEST_CID);
	assert_int_equal(fake_read(&f->fp, drv->base + VIRTIO_MMIO_CONFIG + 4, 4), 0);
	assert_int_equal(fake_read(&f->fp, drv->base + VIRTIO_MMIO_CONFIG + 8, 4), 0);
	assert_int_equal(fake_read(&f->fp, drv->base + VIRTIO_MMIO_CONFIG + 6, 4), 0);
}

/* The hybrid protocol. */

static void a_client_of_the_host_reaches_the_guest(void **state)
{
	struct fixture *f = *state;
	int fd = client(f), second;

	host_say(f, fd, "CONNECT 52\nfirst bytes");
	expect_packet(f, VIRTIO_VSOCK_OP_REQUEST, FIRST_PORT, 52);
	assert_int_equal(f->p.hdr.buf_alloc, 65536);
	assert_int_equal(f->p.hdr.fwd_cnt, 0);
	expect_no_packet(f); /* no data before the guest has agreed */
	expect_nothing(fd);
	vg_send(&f->g, VIRTIO_VSOCK_OP_RESPONSE, FIRST_PORT, 52, 0, NULL, 0);
	expect_text(fd, "OK 1073741824\n");
	expect_data(f, FIRST_PORT, 52, "first bytes");
	vg_send(&f->g, VIRTIO_VSOCK_OP_RW, FIRST_PORT, 52, 0, "hello", 5);
	expect_text(fd, "hello");
	host_say(f, fd, "hello yourself");
	expect_data(f, FIRST_PORT, 52, "hello yourself");
	second = open_to_guest(f, FIRST_PORT + 1, 52);
	host_say(f, second, "second");
	expect_data(f, FIRST_PORT + 1, 52, "second");
	close(fd);
	close(second);
}

static void a_refusal_is_the_end_of_the_stream(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	host_say(f, fd, "CONNECT 1\n");
	expect_packet(f, VIRTIO_VSOCK_OP_REQUEST, FIRST_PORT, 1);
	vg_send(&f->g, VIRTIO_VSOCK_OP_RST, FIRST_PORT, 1, 0, NULL, 0);
	expect_eof(fd);
	expect_no_packet(f);
	assert_int_equal(device(f)->num_conns, 0);
	close(fd);
}

static void what_is_no_connect_is_closed_without_a_word(void **state)
{
	static const char *const bad[] = { "\n",
					   "CONNECT\n",
					   "CONNECT x\n",
					   "CONNECT -1\n",
					   "CONNECT 4294967296\n",
					   "CONNECT 0x10\n",
					   "CONNECTED 1\n",
					   "CONNEC 1\n",
					   "GET / HTTP/1.1\n",
					   "CONNECT                        1\n",
					   "CONNECT 99999999999999999999999999999999" };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int fd = client(f);

		host_say(f, fd, bad[i]);
		errno = 0;
		if (read(fd, &(char){ 0 }, 1) > 0 || errno == EAGAIN)
			fail_msg("\"%s\" is not refused", bad[i]);
		close(fd);
	}
	expect_no_packet(f);
	assert_int_equal(device(f)->num_conns, 0);
}

static void connect_may_be_written_in_several_ways(void **state)
{
	static const char *const good[] = { "CONNECT 7\n", "connect 7\n", "Connect\t7 \r\n", "  CONNECT  7 and more\n",
					    "CONNECT 0000000007\n" };
	struct fixture *f = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(good); i++) {
		int fd = client(f);

		host_say(f, fd, good[i]);
		expect_packet(f, VIRTIO_VSOCK_OP_REQUEST, FIRST_PORT + i, 7);
		close(fd);
		run(f);
		expect_packet(f, VIRTIO_VSOCK_OP_RST, FIRST_PORT + i, 7); /* the client has gone */
	}
}

static void connect_may_come_in_pieces(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	for (const char *at = "CONNECT 4294967295\n"; *at; at++) {
		expect_no_packet(f);
		host_say(f, fd, (char[]){ *at, '\0' });
	}
	expect_packet(f, VIRTIO_VSOCK_OP_REQUEST, FIRST_PORT, UINT32_MAX);
	close(fd);
}

static void the_guest_reaches_a_server_of_the_host(void **state)
{
	struct fixture *f = *state;
	int server = host_listen(f, 1234, 5), fd;

	fd = open_to_host(f, server, 1234, 5000);
	vg_send(&f->g, VIRTIO_VSOCK_OP_RW, 1234, 5000, 0, "ping", 4);
	expect_text(fd, "ping");
	host_say(f, fd, "pong");
	expect_data(f, 1234, 5000, "pong");
	close(fd);
	close(server);
}

static void a_port_that_nobody_listens_on_is_refused(void **state)
{
	struct fixture *f = *state;

	vg_send(&f->g, VIRTIO_VSOCK_OP_REQUEST, 99, 5000, 0, NULL, 0);
	expect_packet(f, VIRTIO_VSOCK_OP_RST, 99, 5000);
	assert_int_equal(f->p.hdr.buf_alloc, 0);
	assert_int_equal(f->p.hdr.fwd_cnt, 0);
	assert_int_equal(device(f)->num_conns, 0);
}

/* The kernel's queue of a server: the device does not wait in connect(2), and the guest does not notice. */
static void a_server_whose_queue_is_full_is_tried_again(void **state)
{
	struct fixture *f = *state;
	int server = host_listen(f, 7, 0), fd[3];

	for (uint32_t i = 0; i < 3; i++)
		vg_send(&f->g, VIRTIO_VSOCK_OP_REQUEST, 7, 100 + i, 0, NULL, 0);
	expect_packet(f, VIRTIO_VSOCK_OP_RESPONSE, 7, 100);
	expect_no_packet(f);
	for (uint32_t i = 0; i < 3; i++) {
		fd[i] = accept(server, NULL, NULL);
		assert_true(fd[i] >= 0);
		pass_ticks(f, 1);
		if (i < 2)
			expect_packet(f, VIRTIO_VSOCK_OP_RESPONSE, 7, 101 + i);
	}
	for (uint32_t i = 0; i < 3; i++)
		close(fd[i]);
	close(server);
}

static void a_server_that_never_accepts_is_given_up(void **state)
{
	struct fixture *f = *state;
	int server = host_listen(f, 7, 0);

	vg_send(&f->g, VIRTIO_VSOCK_OP_REQUEST, 7, 100, 0, NULL, 0);
	expect_packet(f, VIRTIO_VSOCK_OP_RESPONSE, 7, 100);
	vg_send(&f->g, VIRTIO_VSOCK_OP_REQUEST, 7, 101, 0, NULL, 0);
	pass_ticks(f, VSOCK_CONNECT_TICKS - 1);
	expect_no_packet(f);
	pass_ticks(f, 1);
	expect_packet(f, VIRTIO_VSOCK_OP_RST, 7, 101);
	close(server);
}

static void a_guest_that_does_not_answer_is_given_up(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	host_say(f, fd, "CONNECT 52\n");
	expect_packet(f, VIRTIO_VSOCK_OP_REQUEST, FIRST_PORT, 52);
	pass_ticks(f, VSOCK_CONNECT_TICKS);
	expect_packet(f, VIRTIO_VSOCK_OP_RST, FIRST_PORT, 52);
	expect_eof(fd);
	close(fd);
}

/* 5.10.6: who gets which answer. */

static struct virtio_vsock_hdr odd_header(uint16_t op)
{
	return (struct virtio_vsock_hdr){ .src_cid = GUEST_CID,
					  .dst_cid = 2,
					  .src_port = 9,
					  .dst_port = 8,
					  .type = VIRTIO_VSOCK_TYPE_STREAM,
					  .op = op };
}

static void an_unknown_type_is_answered_by_rst(void **state)
{
	struct virtio_vsock_hdr hdr = odd_header(VIRTIO_VSOCK_OP_REQUEST);
	struct fixture *f = *state;

	for (unsigned int type = 0; type < 4; type++) {
		if (type == VIRTIO_VSOCK_TYPE_STREAM)
			continue;
		hdr.type = (uint16_t)type;
		vg_send_raw(&f->g, &hdr, NULL, 0);
		expect_packet(f, VIRTIO_VSOCK_OP_RST, 8, 9);
	}
}

static void a_packet_of_no_connection_is_answered_by_rst(void **state)
{
	struct virtio_vsock_hdr hdr;
	struct fixture *f = *state;

	for (uint16_t op = 0; op < 10; op++) {
		hdr = odd_header(op);
		if (op == VIRTIO_VSOCK_OP_REQUEST)
			continue;
		vg_send_raw(&f->g, &hdr, NULL, 0);
		if (op != VIRTIO_VSOCK_OP_RST) /* or two sides would answer each other for ever */
			expect_packet(f, VIRTIO_VSOCK_OP_RST, 8, 9);
		expect_no_packet(f);
	}
}

static void a_packet_with_other_addresses_is_dropped(void **state)
{
	struct virtio_vsock_hdr hdr = odd_header(VIRTIO_VSOCK_OP_RW);
	struct fixture *f = *state;

	hdr.dst_cid = 1;
	vg_send_raw(&f->g, &hdr, NULL, 0);
	hdr.dst_cid = 2;
	hdr.src_cid = GUEST_CID + 1;
	vg_send_raw(&f->g, &hdr, NULL, 0);
	expect_no_packet(f);
}

static void a_request_for_ports_in_use_ends_what_was_there(void **state)
{
	struct fixture *f = *state;
	int server = host_listen(f, 7, 5), fd;

	fd = open_to_host(f, server, 7, 100);
	vg_send(&f->g, VIRTIO_VSOCK_OP_REQUEST, 7, 100, 0, NULL, 0);
	expect_eof(fd);
	expect_packet(f, VIRTIO_VSOCK_OP_RST, 7, 100);
	close(fd);
	fd = open_to_host(f, server, 7, 100);
	close(fd);
	close(server);
}

static void operations_that_a_state_does_not_have_are_ignored(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	host_say(f, fd, "CONNECT 52\n");
	expect_packet(f, VIRTIO_VSOCK_OP_REQUEST, FIRST_PORT, 52);
	vg_send(&f->g, VIRTIO_VSOCK_OP_RW, FIRST_PORT, 52, 0, "early", 5);
	vg_send(&f->g, VIRTIO_VSOCK_OP_SHUTDOWN, FIRST_PORT, 52, RCV | SEND, NULL, 0);
	vg_send(&f->g, VIRTIO_VSOCK_OP_CREDIT_REQUEST, FIRST_PORT, 52, 0, NULL, 0);
	expect_nothing(fd);
	vg_send(&f->g, VIRTIO_VSOCK_OP_RESPONSE, FIRST_PORT, 52, 0, NULL, 0);
	expect_text(fd, "OK 1073741824\n");
	vg_send(&f->g, VIRTIO_VSOCK_OP_RESPONSE, FIRST_PORT, 52, 0, NULL, 0);
	vg_send(&f->g, 77, FIRST_PORT, 52, 0, NULL, 0);
	vg_send(&f->g, VIRTIO_VSOCK_OP_RW, FIRST_PORT, 52, 0, "in time", 7);
	expect_text(fd, "in time");
	expect_no_packet(f);
	close(fd);
}

/* 5.10.6.3: credit. */

static void the_guest_gets_no_more_than_it_has_room_for(void **state)
{
	static char data[10000];
	struct fixture *f = *state;
	int fd;

	f->g.buf_alloc = 6000;
	fd = open_to_guest(f, FIRST_PORT, 52);
	memset(data, 'x', sizeof(data));
	assert_int_equal(write(fd, data, sizeof(data)), sizeof(data));
	run(f);
	expect_packet(f, VIRTIO_VSOCK_OP_RW, FIRST_PORT, 52);
	assert_int_equal(f->p.len, 6000);
	expect_packet(f, VIRTIO_VSOCK_OP_CREDIT_REQUEST, FIRST_PORT, 52);
	expect_no_packet(f); /* once is enough */
	host_say(f, fd, "more");
	expect_no_packet(f);
	f->g.fwd_cnt = 1500;
	vg_send(&f->g, VIRTIO_VSOCK_OP_CREDIT_UPDATE, FIRST_PORT, 52, 0, NULL, 0);
	expect_packet(f, VIRTIO_VSOCK_OP_RW, FIRST_PORT, 52);
	assert_int_equal(f->p.len, 1500);
	expect_packet(f, VIRTIO_VSOCK_OP_CREDIT_REQUEST, FIRST_PORT, 52);
	f->g.fwd_cnt = 7501; /* more than it was sent */
	vg_send(&f->g, VIRTIO_VSOCK_OP_CREDIT_UPDATE, FIRST_PORT, 52, 0, NULL, 0);
	expect_no_packet(f);
	f->g.fwd_cnt = 7500;
	vg_send(&f->g, VIRTIO_VSOCK_OP_CREDIT_UPDATE, FIRST_PORT, 52, 0, NULL, 0);
	expect_packet(f, VIRTIO_VSOCK_OP_RW, FIRST_PORT, 52);
	assert_int_equal(f->p.len, 2504);
	close(fd);
}

static void the_guest_is_told_what_has_gone_on(void **state)
{
	static const char data[40000];
	struct fixture *f = *state;
	int fd = open_to_guest(f, FIRST_PORT, 52);

	vg_send(&f->g, VIRTIO_VSOCK_OP_RW, FIRST_PORT, 52, 0, data, 1000);
	expect_no_packet(f);
	vg_send(&f->g, VIRTIO_VSOCK_OP_CREDIT_REQUEST, FIRST_PORT, 52, 0, NULL, 0);
	expect_packet(f, VIRTIO_VSOCK_OP_CREDIT_UPDATE, FIRST_PORT, 52);
	assert_int_equal(f->p.hdr.fwd_cnt, 1000);
	assert_int_equal(f->p.hdr.buf_alloc, 65536);
	vg_send(&f->g, VIRTIO_VSOCK_OP_RW, FIRST_PORT, 52, 0, data, 40000);
	expect_packet(f, VIRTIO_VSOCK_OP_CREDIT_UPDATE, FIRST_PORT, 52);
	assert_int_equal(f->p.hdr.fwd_cnt, 41000);
	expect_no_packet(f);
	close(fd);
}

/* As a well-behaved guest: never more under way than buf_alloc. Returns what it could send of num bytes. */
static uint32_t send_within_credit(struct fixture *f, uint32_t num, uint32_t *sent, uint32_t *fwd_cnt)
{
	static uint8_t data[4096];
	uint32_t begin = *sent;

	while (*sent - begin < num) {
		uint32_t room = 65536 - (*sent - *fwd_cnt), len = sizeof(data);

		if (room == 0) {
			vg_send(&f->g, VIRTIO_VSOCK_OP_CREDIT_REQUEST, FIRST_PORT, 52, 0, NULL, 0);
			expect_packet(f, VIRTIO_VSOCK_OP_CREDIT_UPDATE, FIRST_PORT, 52);
			if (f->p.hdr.fwd_cnt == *fwd_cnt)
				break;
			*fwd_cnt = f->p.hdr.fwd_cnt;
			continue;
		}
		if (len > room)
			len = room;
		for (uint32_t i = 0; i < len; i++)
			data[i] = (uint8_t)((*sent + i) % 251);
		vg_send(&f->g, VIRTIO_VSOCK_OP_RW, FIRST_PORT, 52, 0, data, len);
		*sent += len;
		while (vg_get(&f->g, &f->p))
			*fwd_cnt = f->p.hdr.fwd_cnt;
	}
	return *sent - begin;
}

static uint32_t read_and_check(int fd, uint32_t from, uint32_t num)
{
	static uint8_t data[4096];
	uint32_t at = from;
	ssize_t n;

	while (at - from < num &&
	       (n = read(fd, data, num - (at - from) < sizeof(data) ? num - (at - from) : sizeof(data))) > 0) {
		for (ssize_t i = 0; i < n; i++, at++)
			assert_int_equal(data[i], (uint8_t)(at % 251));
	}
	return at - from;
}

static void a_peer_that_never_reads_costs_a_bounded_amount(void **state)
{
	struct fixture *f = *state;
	int fd = open_to_guest(f, FIRST_PORT, 52);
	uint32_t sent = 0, fwd_cnt = 0, got = 0, more;
	struct vsock_conn *c = TAILQ_FIRST(&device(f)->conns);

	send_within_credit(f, 4u << 20, &sent, &fwd_cnt);
	assert_in_range(sent, 65536, 2u << 20); /* the socket's buffer, and ours */
	assert_int_equal(sent - fwd_cnt, 65536);
	assert_int_equal(c->buf_len, 65536);
	/* What the host takes, the guest may send. */
	for (unsigned int i = 0; i < 40; i++) {
		got += read_and_check(fd, got, 30000);
		run(f);
		more = send_within_credit(f, 20000, &sent, &fwd_cnt);
		assert_in_range(more, 0, 24000); /* whole packets */
	}
	for (unsigned int i = 0; i < 100 && got < sent; i++) {
		got += read_and_check(fd, got, sent - got);
		run(f);
	}
	assert_int_equal(got, sent);
	assert_null(c->buf); /* it is gone with its need */
	close(fd);
}

static void a_guest_that_ignores_credit_loses_the_connection(void **state)
{
	static uint8_t data[65536];
	struct fixture *f = *state;
	int fd = open_to_guest(f, FIRST_PORT, 52);

	for (unsigned int i = 0; i < 100 && device(f)->num_conns; i++) {
		vg_send(&f->g, VIRTIO_VSOCK_OP_RW, FIRST_PORT, 52, 0, data, sizeof(data));
		while (vg_get(&f->g, &f->p)) {
			if (f->p.hdr.op == VIRTIO_VSOCK_OP_RST)
				goto reset;
		}
	}
	fail();
reset:
	run(f);
	assert_int_equal(device(f)->num_conns, 0);
	close(fd);
}

/* 5.10.6.5: how connections end. */

static void the_guest_may_close_its_sending_half(void **state)
{
	struct fixture *f = *state;
	int fd = open_to_guest(f, FIRST_PORT, 52);

	vg_send(&f->g, VIRTIO_VSOCK_OP_RW, FIRST_PORT, 52, 0, "last", 4);
	vg_send(&f->g, VIRTIO_VSOCK_OP_SHUTDOWN, FIRST_PORT, 52, SEND, NULL, 0);
	expect_text(fd, "last");
	expect_eof(fd);
	host_say(f, fd, "answer");
	expect_data(f, FIRST_PORT, 52, "answer");
	vg_send(&f->g, VIRTIO_VSOCK_OP_RW, FIRST_PORT, 52, 0, "after", 5); /* ignored */
	expect_no_packet(f);
	close(fd);
	run(f);
	expect_packet(f, VIRTIO_VSOCK_OP_SHUTDOWN, FIRST_PORT, 52);
	assert_int_equal(f->p.hdr.flags, RCV | SEND);
}

static void the_guest_may_close_its_receiving_half(void **state)
{
	struct fixture *f = *state;
	int fd = open_to_guest(f, FIRST_PORT, 52);

	vg_send(&f->g, VIRTIO_VSOCK_OP_SHUTDOWN, FIRST_PORT, 52, RCV, NULL, 0);
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	vg_send(&f->g, VIRTIO_VSOCK_OP_RW, FIRST_PORT, 52, 0, "still", 5);
	expect_text(fd, "still");
	expect_no_packet(f);
	close(fd);
	run(f);
	expect_packet(f, VIRTIO_VSOCK_OP_SHUTDOWN, FIRST_PORT, 52);
	assert_int_equal(f->p.hdr.flags, RCV | SEND);
}

static void the_host_may_close_its_sending_half(void **state)
{
	struct fixture *f = *state;
	int fd = open_to_guest(f, FIRST_PORT, 52);

	host_say(f, fd, "last");
	shutdown(fd, SHUT_WR);
	run(f);
	expect_data(f, FIRST_PORT, 52, "last");
	expect_packet(f, VIRTIO_VSOCK_OP_SHUTDOWN, FIRST_PORT, 52);
	assert_int_equal(f->p.hdr.flags, SEND);
	vg_send(&f->g, VIRTIO_VSOCK_OP_RW, FIRST_PORT, 52, 0, "answer", 6);
	expect_text(fd, "answer");
	pass_ticks(f, 2 * VSOCK_SHUTDOWN_TICKS); /* it is no end */
	expect_no_packet(f);
	close(fd);
	run(f);
	expect_packet(f, VIRTIO_VSOCK_OP_SHUTDOWN, FIRST_PORT, 52);
	assert_int_equal(f->p.hdr.flags, RCV | SEND);
}

static void the_host_closes_and_the_guest_agrees(void **state)
{
	struct fixture *f = *state;
	int fd = open_to_guest(f, FIRST_PORT, 52);

	host_say(f, fd, "last");
	close(fd);
	run(f);
	expect_data(f, FIRST_PORT, 52, "last");
	expect_packet(f, VIRTIO_VSOCK_OP_SHUTDOWN, FIRST_PORT, 52);
	assert_int_equal(f->p.hdr.flags, RCV | SEND);
	vg_send(&f->g, VIRTIO_VSOCK_OP_RST, FIRST_PORT, 52, 0, NULL, 0);
	expect_no_packet(f);
	assert_int_equal(device(f)->num_conns, 0);
}

static void the_host_closes_and_the_guest_does_not_care(void **state)
{
	struct fixture *f = *state;
	int fd = open_to_guest(f, FIRST_PORT, 52);

	close(fd);
	run(f);
	expect_packet(f, VIRTIO_VSOCK_OP_SHUTDOWN, FIRST_PORT, 52);
	vg_send(&f->g, VIRTIO_VSOCK_OP_RW, FIRST_PORT, 52, 0, "nobody", 6);
	pass_ticks(f, VSOCK_SHUTDOWN_TICKS - 1);
	expect_no_packet(f);
	pass_ticks(f, 1);
	expect_packet(f, VIRTIO_VSOCK_OP_RST, FIRST_PORT, 52);
	assert_int_equal(device(f)->num_conns, 0);
}

/* The server has closed with the guest's bytes unread: the guest learns that nobody listens, and still gets what was sent. */
static void the_host_closes_without_having_read(void **state)
{
	struct fixture *f = *state;
	int fd = open_to_guest(f, FIRST_PORT, 52);

	host_say(f, fd, "goodbye");
	vg_send(&f->g, VIRTIO_VSOCK_OP_RW, FIRST_PORT, 52, 0, "unread", 6);
	close(fd);
	run(f);
	expect_data(f, FIRST_PORT, 52, "goodbye");
	expect_packet(f, VIRTIO_VSOCK_OP_SHUTDOWN, FIRST_PORT, 52);
	assert_int_equal(f->p.hdr.flags, RCV | SEND);
}

static void the_guest_closes(void **state)
{
	struct fixture *f = *state;
	int fd = open_to_guest(f, FIRST_PORT, 52);

	vg_send(&f->g, VIRTIO_VSOCK_OP_RW, FIRST_PORT, 52, 0, "last", 4);
	vg_send(&f->g, VIRTIO_VSOCK_OP_SHUTDOWN, FIRST_PORT, 52, RCV | SEND, NULL, 0);
	expect_packet(f, VIRTIO_VSOCK_OP_RST, FIRST_PORT, 52);
	expect_text(fd, "last");
	expect_eof(fd);
	assert_int_equal(device(f)->num_conns, 0);
	close(fd);
}

static void what_a_guest_has_sent_before_it_closed_is_not_lost(void **state)
{
	struct fixture *f = *state;
	int fd = open_to_guest(f, FIRST_PORT, 52);
	uint32_t sent = 0, fwd_cnt = 0, got = 0;

	send_within_credit(f, 4u << 20, &sent, &fwd_cnt);
	vg_send(&f->g, VIRTIO_VSOCK_OP_SHUTDOWN, FIRST_PORT, 52, RCV | SEND, NULL, 0);
	expect_no_packet(f); /* the host may be about to read */
	pass_ticks(f, VSOCK_SHUTDOWN_TICKS);
	expect_packet(f, VIRTIO_VSOCK_OP_RST, FIRST_PORT, 52);
	for (unsigned int i = 0; i < 100 && got < sent; i++) {
		got += read_and_check(fd, got, sent - got);
		run(f);
	}
	assert_int_equal(got, sent);
	expect_eof(fd);
	run(f);
	assert_int_equal(device(f)->num_conns, 0);
	close(fd);
}

static void an_rst_of_the_guest_ends_it(void **state)
{
	struct fixture *f = *state;
	int fd = open_to_guest(f, FIRST_PORT, 52);

	vg_send(&f->g, VIRTIO_VSOCK_OP_RST, FIRST_PORT, 52, 0, NULL, 0);
	expect_eof(fd);
	expect_no_packet(f);
	assert_int_equal(device(f)->num_conns, 0);
	close(fd);
}

/* Many. */

static void allow_descriptors(unsigned int num)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max < num)
		skip();
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static void there_are_1023_connections_at_most(void **state)
{
	static int fds[VSOCK_MAX_CONNS];
	struct fixture *f = *state;
	int server, fd;

	allow_descriptors(3000);
	server = host_listen(f, 7, 5);
	for (uint32_t i = 0; i < VSOCK_MAX_CONNS; i++)
		fds[i] = open_to_guest(f, FIRST_PORT + i, 52);
	assert_int_equal(device(f)->num_conns, 1023);
	fd = client(f); /* accepted and closed, as Firecracker does */
	run(f);
	expect_eof(fd);
	close(fd);
	vg_send(&f->g, VIRTIO_VSOCK_OP_REQUEST, 7, 100, 0, NULL, 0);
	expect_packet(f, VIRTIO_VSOCK_OP_RST, 7, 100);
	for (uint32_t i = 0; i < VSOCK_MAX_CONNS; i += 100) {
		host_say(f, fds[i], "still there");
		expect_data(f, FIRST_PORT + i, 52, "still there");
	}
	close(fds[0]);
	run(f);
	expect_packet(f, VIRTIO_VSOCK_OP_SHUTDOWN, FIRST_PORT, 52);
	vg_send(&f->g, VIRTIO_VSOCK_OP_RST, FIRST_PORT, 52, 0, NULL, 0);
	fds[0] = open_to_guest(f, FIRST_PORT + VSOCK_MAX_CONNS, 52);
	for (uint32_t i = 0; i < VSOCK_MAX_CONNS; i++)
		close(fds[i]);
	close(server);
}

static void clients_that_say_nothing_do_not_keep_others_out(void **state)
{
	static int fds[VSOCK_MAX_CONNS];
	struct fixture *f = *state;
	int fd;

	allow_descriptors(3000);
	for (uint32_t i = 0; i < VSOCK_MAX_CONNS; i++) {
		fds[i] = client(f);
		run(f);
	}
	fd = open_to_guest(f, FIRST_PORT, 52);
	expect_eof(fds[0]); /* the oldest */
	expect_nothing(fds[1]);
	close(fd);
	for (uint32_t i = 0; i < VSOCK_MAX_CONNS; i++)
		close(fds[i]);
}

static void connections_take_turns(void **state)
{
	static char data[60000];
	struct fixture *f = *state;
	int fd[2] = { open_to_guest(f, FIRST_PORT, 52), open_to_guest(f, FIRST_PORT + 1, 52) };
	unsigned int packets[2] = { 0, 0 };

	drv_pause(&f->g.drv);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(write(fd[i], data, sizeof(data)), sizeof(data));
	run(f);
	drv_resume(&f->g.drv);
	run(f);
	for (unsigned int i = 0; i < 10; i++) {
		assert_true(vg_get(&f->g, &f->p));
		assert_int_equal(f->p.hdr.op, VIRTIO_VSOCK_OP_RW);
		packets[f->p.hdr.src_port - FIRST_PORT]++;
	}
	assert_in_range(packets[0], 4, 6);
	close(fd[0]);
	close(fd[1]);
}

/* 5.10.6.1.2. */

static void the_guests_packets_are_taken_while_it_has_no_buffers(void **state)
{
	struct fixture *f = *state;
	struct ring_driver *tx = &f->g.drv.rings[VSOCK_TX];
	unsigned int answers = 0;
	struct virtio_vsock_hdr hdr = odd_header(VIRTIO_VSOCK_OP_RW);
	struct ring_buf buf = { VSOCK_TX_GPA, sizeof(hdr) };

	vg_start(&f->g, EVENT_IDX); /* without receive buffers */
	assert_true(guest_write(&f->fp.mem, VSOCK_TX_GPA, &hdr, sizeof(hdr)));
	for (unsigned int i = 0; i < 3 * VSOCK_MAX_RSTS; i++) {
		ring_add(tx, &buf, 1, NULL, 0);
		drv_kick(&f->g.drv, VSOCK_TX);
		if (i == 255)
			assert_int_equal(ring_used_idx(tx), 256);
		if (i == 400)
			break;
	}
	/* As many answers as there is room for; then it is the guest's turn. */
	assert_int_equal(ring_used_idx(tx), VSOCK_MAX_RSTS);
	vg_give(&f->g, 60);
	while (vg_get(&f->g, &f->p)) {
		assert_int_equal(f->p.hdr.op, VIRTIO_VSOCK_OP_RST);
		answers++;
	}
	assert_int_equal(answers, 401);
	assert_int_equal(ring_used_idx(tx), 401);
}

static void a_ring_driver_may_misuse_its_buffers(void **state)
{
	struct fixture *f = *state;
	struct virtio_vsock_hdr hdr = odd_header(VIRTIO_VSOCK_OP_RW);
	struct ring_buf good = { VSOCK_TX_GPA, sizeof(hdr) }, small = { VSOCK_TX_GPA, sizeof(hdr) - 1 };
	struct ring_buf outside = { 0xc0000000, 100 }, write = { VSOCK_RX_GPA, 4096 };
	struct ring_driver *rx = &f->g.drv.rings[VSOCK_RX], *tx = &f->g.drv.rings[VSOCK_TX];
	struct ring_used used;

	vg_start(&f->g, 0);
	assert_true(guest_write(&f->fp.mem, VSOCK_TX_GPA, &hdr, sizeof(hdr)));
	ring_add(tx, &small, 1, NULL, 0);
	ring_add(tx, &outside, 1, NULL, 0);
	ring_add(tx, NULL, 0, &write, 1);
	ring_add(tx, &good, 1, &write, 1);
	drv_kick(&f->g.drv, VSOCK_TX);
	hdr.len = 1; /* which is not there */
	assert_true(guest_write(&f->fp.mem, VSOCK_TX_GPA, &hdr, sizeof(hdr)));
	ring_add(tx, &good, 1, NULL, 0);
	drv_kick(&f->g.drv, VSOCK_TX);
	for (unsigned int i = 0; i < 5; i++) {
		assert_true(ring_get_used(tx, &used));
		assert_int_equal(used.len, 0);
	}
	hdr.len = 0;
	assert_true(guest_write(&f->fp.mem, VSOCK_TX_GPA, &hdr, sizeof(hdr)));
	ring_add(tx, &good, 1, NULL, 0); /* is answered, for which there are only bad buffers */
	drv_kick(&f->g.drv, VSOCK_TX);
	ring_add(rx, NULL, 0, &(struct ring_buf){ VSOCK_RX_GPA, 43 }, 1);
	ring_add(rx, NULL, 0, &outside, 1);
	ring_add(rx, &good, 1, NULL, 0);
	ring_add(rx, &good, 1, &write, 1);
	drv_kick(&f->g.drv, VSOCK_RX);
	for (unsigned int i = 0; i < 4; i++) {
		assert_true(ring_get_used(rx, &used));
		assert_int_equal(used.len, 0);
	}
	ring_add(rx, NULL, 0, &(struct ring_buf){ VSOCK_RX_GPA, 44 }, 1); /* just enough */
	drv_kick(&f->g.drv, VSOCK_RX);
	assert_true(ring_get_used(rx, &used));
	assert_int_equal(used.len, 44);
	assert_int_equal(drv_read(&f->g.drv, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
}

static void a_buffer_without_room_for_data_is_no_trap(void **state)
{
	struct fixture *f = *state;
	struct ring_driver *rx = &f->g.drv.rings[VSOCK_RX];
	struct ring_used used;
	int fd;

	vg_start(&f->g, 0);
	vg_give(&f->g, 1);
	fd = client(f);
	host_say(f, fd, "CONNECT 52\n");
	assert_true(ring_get_used(rx, &used)); /* the request; the buffer is not given back */
	vg_send(&f->g, VIRTIO_VSOCK_OP_RESPONSE, FIRST_PORT, 52, 0, NULL, 0);
	host_say(f, fd, "data");
	ring_add(rx, NULL, 0, &(struct ring_buf){ VSOCK_RX_GPA, 44 }, 1);
	drv_kick(&f->g.drv, VSOCK_RX);
	assert_true(ring_get_used(rx, &used));
	assert_int_equal(used.len, 44);
	assert_false(ring_get_used(rx, &used));
	vg_give(&f->g, 1);
	expect_data(f, FIRST_PORT, 52, "data");
	close(fd);
}

static void a_broken_ring_needs_a_reset(void **state)
{
	struct fixture *f = *state;
	int fd = open_to_guest(f, FIRST_PORT, 52);

	ring_set_avail_idx(&f->g.drv.rings[VSOCK_RX], (uint16_t)(f->g.drv.rings[VSOCK_RX].avail_idx + 1000));
	host_say(f, fd, "is looked for in the receive queue");
	assert_true(drv_read(&f->g.drv, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
	drv_reset(&f->g.drv);
	vg_start(&f->g, EVENT_IDX);
	vg_give(&f->g, 32);
	assert_int_equal(read(fd, &(char){ 0 }, 1), -1);
	assert_int_equal(errno, ECONNRESET); /* it had sent what nobody got */
	close(fd);
	fd = open_to_guest(f, FIRST_PORT + 1, 52);
	close(fd);
}

/* Pause, snapshot, restore: 5.10.6.6. */

static void a_reset_closes_connections_and_not_the_socket(void **state)
{
	struct fixture *f = *state;
	int fd = open_to_guest(f, FIRST_PORT, 52);

	drv_reset(&f->g.drv);
	run(f);
	expect_eof(fd);
	close(fd);
	fd = client(f);
	host_say(f, fd, "CONNECT 52\n"); /* waits for a driver */
	vg_start(&f->g, EVENT_IDX);
	vg_give(&f->g, 32);
	assert_int_equal(vg_get_event(&f->g), -1);
	expect_packet(f, VIRTIO_VSOCK_OP_REQUEST, FIRST_PORT + 1, 52);
	close(fd);
}

static void a_paused_device_leaves_the_guests_memory_alone(void **state)
{
	struct fixture *f = *state;
	int fd = open_to_guest(f, FIRST_PORT, 52), other;
	uint16_t used = ring_used_idx(&f->g.drv.rings[VSOCK_RX]);

	drv_pause(&f->g.drv);
	host_say(f, fd, "meanwhile");
	other = client(f);
	host_say(f, other, "CONNECT 53\n");
	pass_ticks(f, 2 * VSOCK_CONNECT_TICKS); /* time that does not count */
	assert_int_equal(ring_used_idx(&f->g.drv.rings[VSOCK_RX]), used);
	drv_resume(&f->g.drv);
	run(f);
	expect_data(f, FIRST_PORT, 52, "meanwhile");
	expect_packet(f, VIRTIO_VSOCK_OP_REQUEST, FIRST_PORT + 1, 53);
	close(fd);
	close(other);
}

/* A guest that has got the event, and does what Linux does. */
static void take_reset(struct fixture *f)
{
	assert_int_equal(vg_get_event(&f->g), VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
	assert_int_equal(vg_get_event(&f->g), -1);
	expect_no_packet(f); /* before the guest has dealt with it */
	vg_give_event(&f->g);
}

static void a_snapshot_ends_connections_for_whoever_goes_on(void **state)
{
	struct fixture *f = *state;
	int fd = open_to_guest(f, FIRST_PORT, 52);
	size_t len;

	drv_pause(&f->g.drv);
	free(drv_save(&f->g.drv, &len));
	run(f);
	expect_eof(fd); /* at once: the machine may never run again */
	close(fd);
	assert_int_equal(vg_get_event(&f->g), -1);
	drv_resume(&f->g.drv);
	fd = client(f);
	host_say(f, fd, "CONNECT 52\n");
	take_reset(f);
	expect_packet(f, VIRTIO_VSOCK_OP_REQUEST, FIRST_PORT + 1, 52);
	vg_send(&f->g, VIRTIO_VSOCK_OP_RW, FIRST_PORT, 52, 0, "of before", 9);
	expect_packet(f, VIRTIO_VSOCK_OP_RST, FIRST_PORT, 52);
	close(fd);
}

/* A clone in a platform of its own, with the same memory. */
static void make_clone(struct fixture *f, struct fixture *to)
{
	uint8_t *data;
	struct err e;
	size_t len;

	data = drv_save(&f->g.drv, &len);
	assert_int_equal(tmpdir_make(&to->dir), 0);
	snprintf(to->path, sizeof(to->path), "%s/clone", to->dir.path);
	to->config = f->config;
	to->config.uds_path = to->path;
	fake_platform_init(&to->fp);
	plug(to);
	drv_pause(&to->g.drv);
	guest_copy(&to->fp.mem, &f->fp.mem);
	if (drv_load(&to->g.drv, &f->g.drv, data, len, &e))
		fail_msg("%s", e.text);
	to->g.buf_alloc = f->g.buf_alloc;
	free(data);
}

static void a_clone_has_none_of_the_connections_and_is_told_so(void **state)
{
	static struct fixture to;
	struct fixture *f = *state;
	int fd = open_to_guest(f, FIRST_PORT, 52), other;

	memset(&to, 0, sizeof(to));
	drv_pause(&f->g.drv);
	make_clone(f, &to);
	other = client(&to);
	host_say(&to, other, "CONNECT 52\n");
	assert_int_equal(vg_get_event(&to.g), -1);
	drv_resume(&to.g.drv);
	run(&to);
	take_reset(&to);
	expect_packet(&to, VIRTIO_VSOCK_OP_REQUEST, FIRST_PORT + 1, 52); /* ports go on, too */
	vg_send(&to.g, VIRTIO_VSOCK_OP_RESPONSE, FIRST_PORT + 1, 52, 0, NULL, 0);
	expect_text(other, "OK 1073741825\n");
	close(other);
	close(fd);
	drv_unplug(&to.g.drv);
	fake_platform_fini(&to.fp);
	tmpdir_remove(&to.dir);
}

/* Saves the machine, which goes on; its guest has not looked at the event that follows from it. */
static void go_through_a_snapshot(struct fixture *f)
{
	size_t len;

	drv_pause(&f->g.drv);
	free(drv_save(&f->g.drv, &len));
	drv_resume(&f->g.drv);
	run(f);
}

/* Linux closes what is connected once for each event: one that it has still to come to would close what began after the first. */
static void expect_to_wait_for_answers_to(struct fixture *f, unsigned int events)
{
	int fd = client(f);

	host_say(f, fd, "CONNECT 52\n");
	for (unsigned int i = 0; i < events; i++) {
		assert_int_equal(vg_get_event(&f->g), VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
		expect_no_packet(f);
		vg_give_event(&f->g);
	}
	assert_int_equal(vg_get_event(&f->g), -1);
	expect_packet(f, VIRTIO_VSOCK_OP_REQUEST, FIRST_PORT, 52);
	close(fd);
}

/* Of a machine that is paused. */
static void expect_clone_to_wait_for_answers_to(struct fixture *f, unsigned int events)
{
	static struct fixture to;

	memset(&to, 0, sizeof(to));
	make_clone(f, &to);
	drv_resume(&to.g.drv);
	run(&to);
	expect_to_wait_for_answers_to(&to, events);
	drv_unplug(&to.g.drv);
	fake_platform_fini(&to.fp);
	tmpdir_remove(&to.dir);
}

static void a_guest_with_several_resets_before_it_is_waited_for_until_the_last(void **state)
{
	struct fixture *f = *state;

	go_through_a_snapshot(f);
	go_through_a_snapshot(f);
	go_through_a_snapshot(f);
	expect_to_wait_for_answers_to(f, 3);
}

static void a_clone_of_a_guest_that_had_a_reset_before_it_is_waited_for_until_the_last(void **state)
{
	struct fixture *f = *state;

	go_through_a_snapshot(f);
	drv_pause(&f->g.drv);
	expect_clone_to_wait_for_answers_to(f, 2);
}

/* What was answered while nobody looked is not waited for. */
static void a_clone_of_a_guest_that_has_just_answered_is_waited_for_once(void **state)
{
	struct fixture *f = *state;

	go_through_a_snapshot(f);
	assert_int_equal(vg_get_event(&f->g), VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
	drv_pause(&f->g.drv);
	vg_give_event(&f->g);
	expect_clone_to_wait_for_answers_to(f, 1);
}

static void a_guest_without_event_buffers_is_told_later(void **state)
{
	struct fixture *f = *state;
	int fd;

	for (unsigned int i = 0; i < 8; i++) { /* all that it has given */
		go_through_a_snapshot(f);
		assert_int_equal(vg_get_event(&f->g), 0);
	}
	go_through_a_snapshot(f);
	fd = client(f);
	host_say(f, fd, "CONNECT 52\n");
	assert_int_equal(vg_get_event(&f->g), -1);
	pass_ticks(f, 2 * VSOCK_ACK_TICKS);
	expect_no_packet(f);
	for (unsigned int i = 0; i < 8; i++)
		vg_give_event(&f->g);
	take_reset(f);
	expect_packet(f, VIRTIO_VSOCK_OP_REQUEST, FIRST_PORT, 52);
	close(fd);
}

static void a_guest_that_gives_no_event_buffer_back_is_not_waited_for_for_ever(void **state)
{
	struct fixture *f = *state;
	size_t len;
	int fd;

	drv_pause(&f->g.drv);
	free(drv_save(&f->g.drv, &len));
	drv_resume(&f->g.drv);
	fd = client(f);
	host_say(f, fd, "CONNECT 52\n");
	assert_int_equal(vg_get_event(&f->g), 0);
	expect_no_packet(f);
	pass_ticks(f, VSOCK_ACK_TICKS);
	expect_packet(f, VIRTIO_VSOCK_OP_REQUEST, FIRST_PORT, 52);
	close(fd);
}

static void forged_state_is_refused(void **state)
{
	struct fixture *f = *state;
	uint8_t *data, *at;
	struct err e;
	size_t len;

	drv_pause(&f->g.drv);
	data = drv_save(&f->g.drv, &len);
	at = memmem(data, len, "last_port", 9);
	assert_non_null(at);
	assert_int_equal(at[9], 0x1a); /* CBOR: an unsigned number of four bytes */
	memset(at + 10, 0xff, 4);
	assert_int_equal(drv_load(&f->g.drv, &f->g.drv, data, len, &e), -EINVAL);
	assert_non_null(strstr(e.text, "last_port"));
	free(data);
}

/* The socket's file. */

static void a_path_that_is_taken_is_refused(void **state)
{
	struct fixture *f = *state;
	struct virtio_dev *vdev;
	struct stat st;
	struct err e;

	assert_int_equal(vsock_new(&f->config, &f->fp.p, &vdev, &e), -EADDRINUSE);
	assert_non_null(strstr(e.text, "vsock: uds_path"));
	assert_int_equal(lstat(f->path, &st), 0);
	f->config.uds_path = (char[]){ "/no/such/directory/v" };
	assert_int_equal(vsock_new(&f->config, &f->fp.p, &vdev, &e), -ENOENT);
	f->config.uds_path = f->path;
}

/* With a thread, as in a machine: one thread of ours is the guest, another the host. */

static void wait_for_packet(struct fixture *f)
{
	uint64_t end_ns = clock_now_ns() + 60000000000ull;

	while (!vg_get(&f->g, &f->p)) {
		assert_true(clock_now_ns() < end_ns);
		usleep(100);
	}
}

static void it_works_in_a_thread_of_its_own(void **state)
{
	static uint8_t data[3000], got[3000];
	struct fixture *f = *state;
	uint32_t fwd_cnt = 0;
	char text[32] = "";
	int fd;

	drv_unplug(&f->g.drv);
	f->fp.p.one_loop = false;
	memset(&f->g, 0, sizeof(f->g));
	plug(f);
	vg_start(&f->g, EVENT_IDX);
	vg_give(&f->g, 32);
	fd = client(f);
	assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
	assert_int_equal(write(fd, "CONNECT 52\n", 11), 11);
	wait_for_packet(f);
	assert_int_equal(f->p.hdr.op, VIRTIO_VSOCK_OP_REQUEST);
	vg_send(&f->g, VIRTIO_VSOCK_OP_RESPONSE, FIRST_PORT, 52, 0, NULL, 0);
	assert_int_equal(read(fd, text, sizeof(text)), 14);
	for (unsigned int round = 0; round < 200; round++) {
		size_t len = 0;

		memset(data, (int)round, sizeof(data));
		assert_int_equal(write(fd, data, sizeof(data)), sizeof(data));
		while (len < sizeof(data)) {
			wait_for_packet(f);
			if (f->p.hdr.op != VIRTIO_VSOCK_OP_RW)
				continue;
			memcpy(got + len, f->p.data, f->p.len);
			len += f->p.len;
		}
		assert_memory_equal(got, data, len);
		fwd_cnt += (uint32_t)len;
		f->g.fwd_cnt = fwd_cnt;
		vg_send(&f->g, VIRTIO_VSOCK_OP_RW, FIRST_PORT, 52, 0, got, sizeof(got));
		assert_int_equal(recv(fd, data, sizeof(data), MSG_WAITALL), sizeof(data));
		assert_memory_equal(got, data, sizeof(data));
		if (round % 50 == 0) {
			drv_pause(&f->g.drv);
			drv_resume(&f->g.drv);
		}
	}
	close(fd);
}

#define TEST(name)    cmocka_unit_test_setup_teardown(name, setup, teardown)
#define STARTED(name) cmocka_unit_test_setup_teardown(name, setup_started, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_device_is_what_firecrackers_is),
		STARTED(a_client_of_the_host_reaches_the_guest),
		STARTED(a_refusal_is_the_end_of_the_stream),
		STARTED(what_is_no_connect_is_closed_without_a_word),
		STARTED(connect_may_be_written_in_several_ways),
		STARTED(connect_may_come_in_pieces),
		STARTED(the_guest_reaches_a_server_of_the_host),
		STARTED(a_port_that_nobody_listens_on_is_refused),
		STARTED(a_server_whose_queue_is_full_is_tried_again),
		STARTED(a_server_that_never_accepts_is_given_up),
		STARTED(a_guest_that_does_not_answer_is_given_up),
		STARTED(an_unknown_type_is_answered_by_rst),
		STARTED(a_packet_of_no_connection_is_answered_by_rst),
		STARTED(a_packet_with_other_addresses_is_dropped),
		STARTED(a_request_for_ports_in_use_ends_what_was_there),
		STARTED(operations_that_a_state_does_not_have_are_ignored),
		STARTED(the_guest_gets_no_more_than_it_has_room_for),
		STARTED(the_guest_is_told_what_has_gone_on),
		STARTED(a_peer_that_never_reads_costs_a_bounded_amount),
		STARTED(a_guest_that_ignores_credit_loses_the_connection),
		STARTED(the_guest_may_close_its_sending_half),
		STARTED(the_guest_may_close_its_receiving_half),
		STARTED(the_host_may_close_its_sending_half),
		STARTED(the_host_closes_and_the_guest_agrees),
		STARTED(the_host_closes_and_the_guest_does_not_care),
		STARTED(the_host_closes_without_having_read),
		STARTED(the_guest_closes),
		STARTED(what_a_guest_has_sent_before_it_closed_is_not_lost),
		STARTED(an_rst_of_the_guest_ends_it),
		STARTED(there_are_1023_connections_at_most),
		STARTED(clients_that_say_nothing_do_not_keep_others_out),
		STARTED(connections_take_turns),
		TEST(the_guests_packets_are_taken_while_it_has_no_buffers),
		TEST(a_ring_driver_may_misuse_its_buffers),
		TEST(a_buffer_without_room_for_data_is_no_trap),
		STARTED(a_broken_ring_needs_a_reset),
		STARTED(a_reset_closes_connections_and_not_the_socket),
		STARTED(a_paused_device_leaves_the_guests_memory_alone),
		STARTED(a_snapshot_ends_connections_for_whoever_goes_on),
		STARTED(a_clone_has_none_of_the_connections_and_is_told_so),
		STARTED(a_guest_with_several_resets_before_it_is_waited_for_until_the_last),
		STARTED(a_clone_of_a_guest_that_had_a_reset_before_it_is_waited_for_until_the_last),
		STARTED(a_clone_of_a_guest_that_has_just_answered_is_waited_for_once),
		STARTED(a_guest_without_event_buffers_is_told_later),
		STARTED(a_guest_that_gives_no_event_buffer_back_is_not_waited_for_for_ever),
		STARTED(forged_state_is_refused),
		STARTED(a_path_that_is_taken_is_refused),
		TEST(it_works_in_a_thread_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
