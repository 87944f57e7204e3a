// SPDX-License-Identifier: Apache-2.0
/*
 * The socket device without a machine around it: the device's own code, a
 * driver-side ring, Unix sockets of the host. Against a plain pair of Unix
 * sockets with a copy between the guest's memory and a buffer.
 *
 * Usage: bench_vsock
 *
 * guest to host  Packets of 64 KiB, which is what a guest may send ahead: from
 *                the doorbell until the host's server has read it all.
 * host to guest  A client writes 64 KiB; until they are in the driver's buffers
 *                of 4 KiB, which are Linux's, and the device knows that the
 *                guest has taken them.
 *
 * All of it by one thread, in turns. Prints "name: median unit min max" a line, as bench/run wants it.
 */
#include "virtio/vsock.h"

#include <endian.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/virtio_vsock.h>

#include "base/clock.h"
#include "base/log.h"
#include "bench.h"
#include "guest_ram.h"
#include "tmpdir.h"
#include "virtio_driver.h"

#define ROUNDS	   301
#define TURN	   16u /* blocks a round */
#define BLOCK	   (64u * 1024)
#define CID	   3u
#define RXQ	   0u
#define TXQ	   1u
#define RX_BUFFER  4096u
#define RX_NUM	   256u
#define RX_GPA	   DRV_DATA_GPA
#define TX_GPA	   (DRV_DATA_GPA + 0x200000u)
#define DATA_GPA   (TX_GPA + 0x1000u)
#define HOST_PORT  77u
#define GUEST_PORT 52u
#define GUEST_ROOM (256u * 1024) /* of its sockets */
#define HDR_LEN	   ((uint32_t)sizeof(struct virtio_vsock_hdr))

struct bench {
	struct fake_platform fp;
	struct virtio_driver drv;
	struct tmpdir dir;
	char path[PATH_MAX];
	int server, client; /* the host's ends of the two connections */
	uint32_t client_port;
	int plain[2];
	uint32_t taken; /* bytes of the client's that the guest has taken */
	uint8_t buf[BLOCK];
};

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	expect(strlen(path) < sizeof(addr.sun_path), "a short path for temporary files");
	memcpy(addr.sun_path, path, strlen(path));
	return addr;
}

static void write_all(int fd, const void *data, size_t len)
{
	expect(write(fd, data, len) == (ssize_t)len, "write to a socket");
}

static void read_all(int fd, void *data, size_t len)
{
	uint8_t *to = data;

	while (len) {
		ssize_t n = read(fd, to, len);

		expect(n > 0, "read from a socket");
		to += n;
		len -= (size_t)n;
	}
}

static void give(struct bench *b, uint32_t id)
{
	struct ring_buf in = { RX_GPA + id * RX_BUFFER, RX_BUFFER };

	ring_add(&b->drv.rings[RXQ], NULL, 0, &in, 1);
}

static void send_packet(struct bench *b, uint16_t op, uint32_t host_port, uint32_t guest_port, uint32_t len)
{
	const struct virtio_vsock_hdr hdr = {
		.src_cid = CID,
		.dst_cid = 2,
		.src_port = guest_port,
		.dst_port = host_port,
		.len = len,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = op,
		.buf_alloc = GUEST_ROOM,
		.fwd_cnt = host_port == HOST_PORT ? 0 : b->taken,
	};
	const struct ring_buf out[] = { { TX_GPA, HDR_LEN }, { DATA_GPA, len } };
	struct ring_driver *ring = &b->drv.rings[TXQ];
	struct ring_used used;

	expect(guest_write(&b->fp.mem, TX_GPA, &hdr, sizeof(hdr)), "guest memory");
	ring_add(ring, out, len ? 2 : 1, NULL, 0);
	serve(&b->drv, TXQ, ring->avail_idx);
	while (ring_get_used(ring, &used)) {
	}
}

/* The next packet, if there is one: its header, and its buffer is given back. */
static bool get_packet(struct bench *b, struct virtio_vsock_hdr *hdr)
{
	struct ring_used used;

	if (!ring_get_used(&b->drv.rings[RXQ], &used))
		return false;
	expect(mem_read(&b->fp.mem, RX_GPA + used.id % RX_NUM * RX_BUFFER, hdr, sizeof(*hdr)), "guest memory");
	give(b, used.id % RX_NUM);
	return true;
}

static struct virtio_vsock_hdr wait_packet(struct bench *b, uint16_t op)
{
	struct virtio_vsock_hdr hdr;

	for (unsigned int i = 0; i < 1000; i++) {
		while (get_packet(b, &hdr))
			if (hdr.op == op)
				return hdr;
		loop_once(&b->fp);
	}
	expect(false, "a packet of the device's did not come");
	return hdr;
}

/* The guest connects to a server of the host's, and a client of the host's to the guest. */
static void connect_both(struct bench *b)
{
	struct sockaddr_un to_guest = address(b->path), to_host;
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char path[PATH_MAX + 16], answer[32] = "";

	snprintf(path, sizeof(path), "%s_%u", b->path, HOST_PORT);
	to_host = address(path);
	expect(!bind(listener, (struct sockaddr *)&to_host, sizeof(to_host)) && !listen(listener, 1), "listen");
	send_packet(b, VIRTIO_VSOCK_OP_REQUEST, HOST_PORT, GUEST_PORT, 0);
	(void)wait_packet(b, VIRTIO_VSOCK_OP_RESPONSE);
	b->server = accept(listener, NULL, NULL);
	expect(b->server >= 0, "accept");
	close(listener);

	b->client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	expect(!connect(b->client, (struct sockaddr *)&to_guest, sizeof(to_guest)), "connect");
	write_all(b->client, "CONNECT 52\n", 11);
	b->client_port = wait_packet(b, VIRTIO_VSOCK_OP_REQUEST).src_port;
	send_packet(b, VIRTIO_VSOCK_OP_RESPONSE, b->client_port, GUEST_PORT, 0);
	for (size_t n = 0; n < sizeof(answer) - 1 && (!n || answer[n - 1] != '\n'); n++)
		read_all(b->client, answer + n, 1);
	expect(!strncmp(answer, "OK ", 3), "CONNECT");
}

static double mib_s(uint64_t start_ns)
{
	return TURN * BLOCK / 1048576.0 * 1e9 / (double)(clock_now_ns() - start_ns);
}

static double to_host_device(struct bench *b)
{
	uint64_t start_ns = clock_now_ns();
	struct virtio_vsock_hdr hdr;

	for (unsigned int i = 0; i < TURN; i++) {
		send_packet(b, VIRTIO_VSOCK_OP_RW, HOST_PORT, GUEST_PORT, BLOCK);
		read_all(b->server, b->buf, BLOCK);
		while (get_packet(b, &hdr)) { /* updates of what the guest may send */
		}
	}
	return mib_s(start_ns);
}

static double to_host_plain(struct bench *b)
{
	uint64_t start_ns = clock_now_ns();

	for (unsigned int i = 0; i < TURN; i++) {
		expect(mem_read(&b->fp.mem, DATA_GPA, b->buf, BLOCK), "guest memory");
		write_all(b->plain[0], b->buf, BLOCK);
		read_all(b->plain[1], b->buf, BLOCK);
	}
	return mib_s(start_ns);
}

static double to_guest_device(struct bench *b)
{
	uint64_t start_ns = clock_now_ns();
	struct virtio_vsock_hdr hdr;

	for (unsigned int i = 0; i < TURN; i++) {
		uint32_t got = 0;

		write_all(b->client, b->buf, BLOCK);
		while (got < BLOCK) {
			loop_once(&b->fp);
			while (get_packet(b, &hdr))
				got += hdr.src_port == b->client_port ? le32toh(hdr.len) : 0;
		}
		b->taken += got;
		send_packet(b, VIRTIO_VSOCK_OP_CREDIT_UPDATE, b->client_port, GUEST_PORT, 0);
	}
	return mib_s(start_ns);
}

static double to_guest_plain(struct bench *b)
{
	uint64_t start_ns = clock_now_ns();

	for (unsigned int i = 0; i < TURN; i++) {
		write_all(b->plain[0], b->buf, BLOCK);
		read_all(b->plain[1], b->buf, BLOCK);
		expect(guest_write(&b->fp.mem, RX_GPA + i * BLOCK, b->buf, BLOCK), "guest memory");
	}
	return mib_s(start_ns);
}

static void bench_way(struct bench *b, const char *name, double (*device)(struct bench *),
		      double (*plain)(struct bench *))
{
	double ours[ROUNDS], theirs[ROUNDS];

	for (int round = -20; round < ROUNDS; round++) {
		int i = round < 0 ? 0 : round;

		ours[i] = device(b);
		theirs[i] = plain(b);
	}
	report_against(name, ours, "sockets and a copy", theirs, ROUNDS, "MiB/s");
}

int main(void)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct vsock_config config = { .present = true, .guest_cid = CID };
	struct virtio_dev *vdev;
	struct err e;

	log_set_level(LOG_LEVEL_ERROR);
	if (!b || tmpdir_make(&b->dir)) {
		perror("a directory for temporary files");
		return EXIT_FAILURE;
	}
	expect(snprintf(b->path, sizeof(b->path), "%s/v", b->dir.path) < (int)sizeof(b->path), "a path");
	config.uds_path = b->path;
	expect(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b->plain), "socketpair");
	fake_platform_init(&b->fp);
	b->fp.p.one_loop = true;
	if (vsock_new(&config, &b->fp.p, &vdev, &e)) {
		fprintf(stderr, "bench: %s\n", e.text);
		return EXIT_FAILURE;
	}
	drv_plug(&b->drv, &b->fp, vdev, "vsock");
	drv_start(&b->drv, FEATURE(VIRTIO_RING_F_EVENT_IDX), 3);
	for (uint32_t i = 0; i < RX_NUM; i++)
		give(b, i);
	drv_write(&b->drv, VIRTIO_MMIO_QUEUE_NOTIFY, RXQ);
	loop_once(&b->fp);
	connect_both(b);
	bench_way(b, "vsock, guest to host", to_host_device, to_host_plain);
	bench_way(b, "vsock, host to guest", to_guest_device, to_guest_plain);
	drv_unplug(&b->drv);
	fake_platform_fini(&b->fp);
	tmpdir_remove(&b->dir);
	free(b);
	return EXIT_SUCCESS;
}
