// SPDX-License-Identifier: Apache-2.0
/* The socket device: packets of a guest, clients and servers of the host. */
#include "guest.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/virtio_vsock.h>

#include "base/cleanup.h"
#include "virtio/vsock.h"
#include "virtio/vsock_internal.h"

#define CID	    3u
#define NUM_FDS	    8u
#define SERVER_PORT 1u /* of the host */
#define RX_LEN	    4096u

static char directory[] = "/tmp/snapsafe-fuzz-XXXXXX";
static char uds_path[64], server_path[80];

/* Of the input that runs. */
static int fds[NUM_FDS];
static int server;
static struct sockaddr_un addr;

static void remove_directory(void)
{
	rmdir(directory);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_expect(mkdtemp(directory));
	atexit(remove_directory);
	snprintf(uds_path, sizeof(uds_path), "%s/v", directory);
	snprintf(server_path, sizeof(server_path), "%s_%u", uds_path, SERVER_PORT);
	return 0;
}

static int unix_socket(const char *path)
{
	addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(addr.sun_path, path, strlen(path));
	return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static void open_server(void)
{
	server = unix_socket(server_path);
	fuzz_expect(bind(server, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	fuzz_expect(listen(server, 1) == 0);
}

static void put_fd(unsigned int slot, int fd)
{
	if (fds[slot] >= 0)
		close(fds[slot]);
	fds[slot] = fd;
}

/* The guest sends a packet: a header with what the input says, or likely values, and data. */
static void step_packet(struct fuzz_guest *g, struct fuzz_input *in)
{
	struct ring_driver *ring = &g->drv.rings[VSOCK_TXQ];
	uint8_t kind = fuzz_u8(in);
	struct virtio_vsock_hdr hdr = {
		.src_cid = CID,
		.dst_cid = 2,
		.src_port = fuzz_u8(in) & 3,
		.type = 1,
		.op = kind & 7,
		.flags = kind >> 3 & 3,
		.buf_alloc = 1u << 18,
	};
	uint8_t where = fuzz_u8(in);
	struct ring_buf bufs[] = { { DRV_DATA_GPA, sizeof(hdr) }, { DRV_DATA_GPA + 0x1000, 0 } };

	hdr.dst_port = where & 1 ? SERVER_PORT : VSOCK_FIRST_PORT + (where >> 1 & 15);
	if (kind & 0x20)
		hdr.fwd_cnt = fuzz_u32(in);
	if (kind & 0x40)
		hdr.buf_alloc = (uint32_t)fuzz_value(in);
	if (hdr.op == VIRTIO_VSOCK_OP_RW)
		bufs[1].len = fuzz_u16(in);
	hdr.len = bufs[1].len;
	if (kind & 0x80) { /* one byte is another */
		uint8_t at = fuzz_u8(in);

		((uint8_t *)&hdr)[at % sizeof(hdr)] ^= fuzz_u8(in);
	}
	if (ring->size < 2)
		return;
	(void)!mem_write(&g->fp.mem, bufs[0].gpa, &hdr, sizeof(hdr));
	ring_add(ring, bufs, bufs[1].len ? 2 : 1, NULL, 0);
	drv_write(&g->drv, VIRTIO_MMIO_QUEUE_NOTIFY, VSOCK_TXQ);
	fuzz_run(&g->fp);
}

/* Receive or event buffers. */
static void step_give(struct fuzz_guest *g, struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in);
	unsigned int q = what & 0x80 ? VSOCK_EVQ : VSOCK_RXQ;
	struct ring_driver *ring = &g->drv.rings[q];

	for (unsigned int i = 0; ring->size && i < (what & 15); i++)
		ring_add(ring, NULL, 0, &(struct ring_buf){ DRV_DATA_GPA + 0x20000 + i * RX_LEN, RX_LEN }, 1);
	drv_write(&g->drv, VIRTIO_MMIO_QUEUE_NOTIFY, q);
	fuzz_run(&g->fp);
}

/* A client of the host, which says what the input does, or a good CONNECT. */
static void step_client(struct fuzz_guest *g, struct fuzz_input *in)
{
	uint8_t kind = fuzz_u8(in);
	int fd = unix_socket(uds_path);
	const uint8_t *data;
	char text[32];
	size_t len;

	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		close(fd);
		return;
	}
	put_fd(kind % NUM_FDS, fd);
	if (kind & 0x80) {
		data = fuzz_bytes(in, kind >> 3 & 15, &len);
	} else {
		data = (const uint8_t *)text;
		len = (size_t)snprintf(text, sizeof(text), "CONNECT %u\n", kind >> 3 & 3);
	}
	(void)!send(fd, data, len, MSG_NOSIGNAL);
	fuzz_run(&g->fp);
}

static void step_accept(struct fuzz_guest *g, struct fuzz_input *in)
{
	int fd = accept4(server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	uint8_t slot = fuzz_u8(in);

	if (fd >= 0)
		put_fd(slot % NUM_FDS, fd);
	fuzz_run(&g->fp);
}

/* Something with a stream of the host. */
static void step_stream(struct fuzz_guest *g, struct fuzz_input *in)
{
	static uint8_t data[1 << 16];
	uint8_t kind = fuzz_u8(in);
	unsigned int slot = kind % NUM_FDS;
	int fd = fds[slot];

	if (fd < 0)
		return;
	switch (kind >> 3 & 7) {
	case 0:
	case 1:
	case 2:
		(void)!send(fd, data, fuzz_u16(in), MSG_NOSIGNAL);
		break;
	case 3:
	case 4:
		(void)!recv(fd, data, fuzz_u16(in), 0);
		break;
	case 5:
		shutdown(fd, SHUT_WR);
		break;
	case 6:
		shutdown(fd, SHUT_RD);
		break;
	default:
		put_fd(slot, -1);
	}
	fuzz_run(&g->fp);
}

static void step_tick(struct fuzz_guest *g, struct fuzz_input *in)
{
	uint8_t num = fuzz_u8(in);

	for (unsigned int i = 0; i < num; i++)
		vsock_on_tick((struct vsock *)g->drv.vdev, 0);
	fuzz_run(&g->fp);
}

/* What must hold at any time. */
static void check_device(struct vsock *v)
{
	const struct vsock_conn *c;
	unsigned int num = 0, ready = 0;

	TAILQ_FOREACH(c, &v->conns, all)
	{
		num++;
		ready += c->is_ready;
		fuzz_expect(c->buf_len <= VSOCK_BUF_ALLOC && (c->buf || !c->buf_len));
		fuzz_expect(!c->wants || c->is_ready);
		fuzz_expect(c->state != VSOCK_GREETING || !c->is_hashed);
		fuzz_expect((c->fd >= 0) == (c->source != NULL));
	}
	fuzz_expect(num == v->num_conns && num <= VSOCK_MAX_CONNS);
	TAILQ_FOREACH(c, &v->ready, ready)
	ready--;
	fuzz_expect(ready == 0);
	fuzz_expect(v->num_rsts <= VSOCK_MAX_RSTS);
}

static void step_check(struct fuzz_guest *g, struct fuzz_input *in)
{
	(void)in;
	check_device((struct vsock *)g->drv.vdev);
}

/* Receive buffers that are given back at once; the header of the last packet. False: none has come. */
static bool take_packets(struct fuzz_guest *g, struct virtio_vsock_hdr *hdr)
{
	struct ring_driver *ring = &g->drv.rings[VSOCK_RXQ];
	struct ring_used used;
	bool any = false;

	while (ring_get_used(ring, &used)) {
		fuzz_expect(mem_read(&g->fp.mem, DRV_DATA_GPA + used.id % 16 * RX_LEN, hdr, sizeof(*hdr)));
		ring_add(ring, NULL, 0, &(struct ring_buf){ DRV_DATA_GPA + used.id % 16 * RX_LEN, RX_LEN }, 1);
		any = true;
	}
	drv_write(&g->drv, VIRTIO_MMIO_QUEUE_NOTIFY, VSOCK_RXQ);
	fuzz_run(&g->fp);
	return any;
}

static void expect_good_device(struct fuzz_guest *g)
{
	struct vsock *v = (struct vsock *)g->drv.vdev;
	struct virtio_vsock_hdr hdr;
	int fd = unix_socket(uds_path);

	check_device(v);
	fuzz_guest_restart(g, 1ull << VIRTIO_RING_F_EVENT_IDX);
	for (unsigned int i = 0; i < 256; i++)
		ring_add(&g->drv.rings[VSOCK_RXQ], NULL, 0,
			 &(struct ring_buf){ DRV_DATA_GPA + i % 16 * RX_LEN, RX_LEN }, 1);
	for (unsigned int i = 0; i < NUM_FDS; i++)
		put_fd(i, -1);
	/* Clients of before have their turn, and end. */
	for (unsigned int i = 0, quiet = 0; i < 64 && quiet < 3; i++)
		quiet = take_packets(g, &hdr) ? 0 : quiet + 1;
	for (unsigned int i = 0; i <= VSOCK_CONNECT_TICKS; i++)
		vsock_on_tick(v, 0);
	while (take_packets(g, &hdr)) {
	}
	fuzz_expect(v->num_conns == 0);
	fuzz_expect(connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	fuzz_expect(send(fd, "CONNECT 9\n", 10, MSG_NOSIGNAL) == 10);
	fuzz_run(&g->fp);
	fuzz_expect(take_packets(g, &hdr));
	fuzz_expect(hdr.op == VIRTIO_VSOCK_OP_REQUEST && hdr.dst_port == 9);
	close(fd);
	fuzz_run(&g->fp);
	fuzz_expect(take_packets(g, &hdr));
	fuzz_expect(hdr.op == VIRTIO_VSOCK_OP_RST && v->num_conns == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static fuzz_step_fn *const extra[] = { step_packet, step_packet, step_packet, step_packet,
					       step_packet, step_packet, step_give,   step_give,
					       step_client, step_client, step_stream, step_stream,
					       step_stream, step_accept, step_tick,   step_check };
	struct vsock_config config = { .guest_cid = CID, .uds_path = uds_path };
	struct fuzz_input in = { data, size };
	struct virtio_dev *vdev;
	struct fuzz_guest g;
	struct err e;

	for (unsigned int i = 0; i < NUM_FDS; i++)
		fds[i] = -1;
	open_server();
	fuzz_guest_init(&g);
	fuzz_expect(vsock_new(&config, &g.fp.p, &vdev, &e) == 0);
	drv_plug(&g.drv, &g.fp, vdev, "vsock");
	g.num_queues = VSOCK_NUM_QUEUES;
	fuzz_guest_play(&g, &in, extra, ARRAY_SIZE(extra));
	if (!g.gone)
		expect_good_device(&g);
	fuzz_guest_fini(&g);
	for (unsigned int i = 0; i < NUM_FDS; i++)
		put_fd(i, -1);
	close(server);
	unlink(server_path);
	return 0;
}
