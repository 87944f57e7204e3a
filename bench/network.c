// SPDX-License-Identifier: Apache-2.0
/*
 * The network device over a tap without a machine around it: the device's own
 * code, a driver-side ring, the kernel's tap in a network namespace of this
 * process's own. Against what a program has that makes one system call a frame
 * on a tap and copies each frame between the guest's memory and a buffer.
 *
 * Usage: bench_network
 *
 * guest to host  Frames from the driver's ring, from the doorbell to the used
 *                ring; the host's kernel drops them, since no protocol there
 *                wants them. The same by memcpy and write(2).
 * host to guest  As many frames as the ring has room for are waiting in the
 *                tap's queue, where a packet socket has put them; from the
 *                doorbell to the used ring. The same by read(2) and memcpy.
 *
 * All of it by one thread, in turns. Prints "name: median unit min max" a line, as bench/run wants it.
 */
#include "virtio/net.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>

#include "base/clock.h"
#include "base/log.h"
#include "bench.h"
#include "guest_ram.h"
#include "virtio/net_internal.h"
#include "virtio_driver.h"

#define ROUNDS	  301
#define TAP	  "bench0"
#define PLAIN	  "bench1"
#define ETYPE	  0x88b5 /* for experiments: no protocol wants such frames */
#define RX_BUFFER 4096u	 /* as Linux's driver gives them for long frames: a page's bytes, not a page */
/*
 * Where the next one is. Not a page further: on AMD's Zen 3 `rep movsb`, by which kernels copy, is 20 times slower if the
 * place in its page that is written to is less than 32 bytes behind the one that is read from, as it then always would be.
 */
#define RX_STRIDE (RX_BUFFER + 192u)
#define RX_GPA	  DRV_DATA_GPA
#define TX_GPA	  (DRV_DATA_GPA + 0x200000u)
#define LARGE_MTU 65521

struct bench {
	struct fake_platform fp;
	struct virtio_driver drv;
	int plain; /* a tap that the other way has */
	int to[2]; /* packet sockets onto both */
	uint8_t buf[NET_MAX_FRAME];
};

static const struct kind {
	const char *name;
	uint32_t len;	 /* with the header of virtio */
	uint32_t stride; /* in guest memory */
	unsigned int batch;
} kinds[] = {
	{ "1514 bytes", NET_HDR_LEN + 1514, 2048 + 64, 128 },
	{ "64 KiB", NET_HDR_LEN + 65535, 65536 + 4096 + 64, 12 },
};

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	expect(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), path);
	close(fd);
}

/* A network of its own, without privileges. */
static void enter_namespace(void)
{
	unsigned int uid = getuid(), gid = getgid();
	char map[64];

	expect(!unshare(CLONE_NEWUSER | CLONE_NEWNET), "unshare");
	snprintf(map, sizeof(map), "0 %u 1", uid);
	write_file("/proc/self/uid_map", map);
	write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "0 %u 1", gid);
	write_file("/proc/self/gid_map", map);
}

static int make_tap(const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), len = NET_HDR_LEN;

	snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
	expect(fd >= 0 && !ioctl(fd, TUNSETIFF, &request), "tap");
	expect(!ioctl(fd, TUNSETPERSIST, 1) && !ioctl(fd, TUNSETVNETHDRSZ, &len), "tap");
	return fd;
}

/* Up, for frames of any length, with a queue that takes a batch; and a packet socket onto it. */
static int open_host(const char *name)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), room = 64 << 20;
	struct ifreq request = { .ifr_mtu = LARGE_MTU };

	snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
	expect(fd >= 0 && !ioctl(fd, SIOCSIFMTU, &request), "MTU");
	request.ifr_flags = IFF_UP;
	expect(!ioctl(fd, SIOCSIFFLAGS, &request), "link up");
	address.sll_ifindex = (int)if_nametoindex(name);
	expect(!bind(fd, (struct sockaddr *)&address, sizeof(address)), "bind");
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	return fd;
}

static void make_frame(uint8_t *frame, uint32_t len)
{
	memset(frame, 0, len);
	memset(frame + NET_HDR_LEN, 0xff, 6);
	frame[NET_HDR_LEN + 12] = ETYPE >> 8;
	frame[NET_HDR_LEN + 13] = ETYPE & 0xff;
}

static double mib_s(const struct kind *k, unsigned int frames, uint64_t start_ns)
{
	return (k->len - NET_HDR_LEN) * frames / 1048576.0 * 1e9 / (double)(clock_now_ns() - start_ns);
}

static double tx_device(struct bench *b, const struct kind *k)
{
	struct ring_driver *ring = &b->drv.rings[NET_TXQ];
	struct ring_used used;
	uint64_t start_ns;
	double result;

	for (unsigned int i = 0; i < k->batch; i++) {
		struct ring_buf out = { TX_GPA + i * k->stride, k->len };

		ring_add(ring, &out, 1, NULL, 0);
	}
	start_ns = clock_now_ns();
	serve(&b->drv, NET_TXQ, ring->avail_idx);
	result = mib_s(k, k->batch, start_ns);
	while (ring_get_used(ring, &used)) { /* the driver's, at another time */
	}
	return result;
}

static double tx_plain(struct bench *b, const struct kind *k)
{
	uint64_t start_ns = clock_now_ns();

	for (unsigned int i = 0; i < k->batch; i++) {
		expect(mem_read(&b->fp.mem, TX_GPA + i * k->stride, b->buf, k->len), "guest memory");
		expect(write(b->plain, b->buf, k->len) == (ssize_t)k->len, "write to a tap");
	}
	return mib_s(k, k->batch, start_ns);
}

static void send_batch(struct bench *b, int fd, const struct kind *k)
{
	make_frame(b->buf, k->len);
	for (unsigned int i = 0; i < k->batch; i++)
		expect(send(fd, b->buf + NET_HDR_LEN, k->len - NET_HDR_LEN, 0) == (ssize_t)(k->len - NET_HDR_LEN),
		       "send to a tap");
}

/* Receive buffers are given back untimed, as a driver does that at another time; all of the ring but what frames are in is there. */
static void give_back(struct ring_driver *ring)
{
	struct ring_used used;

	while (ring_get_used(ring, &used)) {
		struct ring_buf in = { RX_GPA + used.id * RX_STRIDE, RX_BUFFER };

		ring_add(ring, NULL, 0, &in, 1);
	}
}

static double rx_device(struct bench *b, const struct kind *k)
{
	struct ring_driver *ring = &b->drv.rings[NET_RXQ];
	uint16_t buffers = (uint16_t)(k->batch * ((k->len + RX_BUFFER - 1) / RX_BUFFER));
	uint64_t start_ns;
	double result;

	send_batch(b, b->to[0], k);
	start_ns = clock_now_ns();
	serve(&b->drv, NET_RXQ, (uint16_t)(ring_used_idx(ring) + buffers));
	result = mib_s(k, k->batch, start_ns);
	give_back(ring);
	return result;
}

/* Round and round in the same memory as the ring's buffers, as what serves a driver's ring does, too. */
static double rx_plain(struct bench *b, const struct kind *k)
{
	const uint32_t stride = (k->len + RX_BUFFER - 1) / RX_BUFFER * RX_STRIDE;
	const uint32_t places = NET_QUEUE_SIZE * RX_STRIDE / stride;
	static uint32_t place;
	uint64_t start_ns;

	send_batch(b, b->to[1], k);
	start_ns = clock_now_ns();
	for (unsigned int i = 0; i < k->batch; i++) {
		expect(read(b->plain, b->buf, sizeof(b->buf)) == (ssize_t)k->len, "read from a tap");
		expect(guest_write(&b->fp.mem, RX_GPA + place++ % places * stride, b->buf, k->len), "guest memory");
	}
	return mib_s(k, k->batch, start_ns);
}

static void bench_kind(struct bench *b, const struct kind *k)
{
	double ours[ROUNDS], theirs[ROUNDS];
	char name[64];

	make_frame(b->buf, k->len);
	for (unsigned int i = 0; i < k->batch; i++)
		expect(guest_write(&b->fp.mem, TX_GPA + i * k->stride, b->buf, k->len), "guest memory");
	for (int round = -20; round < ROUNDS; round++) {
		int i = round < 0 ? 0 : round;

		ours[i] = tx_device(b, k);
		theirs[i] = tx_plain(b, k);
	}
	snprintf(name, sizeof(name), "guest to host, frames of %s", k->name);
	report_against(name, ours, "a tap and a copy", theirs, ROUNDS, "MiB/s");
	for (int round = -20; round < ROUNDS; round++) {
		int i = round < 0 ? 0 : round;

		ours[i] = rx_device(b, k);
		theirs[i] = rx_plain(b, k);
	}
	snprintf(name, sizeof(name), "host to guest, frames of %s", k->name);
	report_against(name, ours, "a tap and a copy", theirs, ROUNDS, "MiB/s");
}

int main(void)
{
	struct network_config config = { .iface_id = (char[]){ "eth0" }, .host_dev_name = (char[]){ TAP } };
	struct bench *b = calloc(1, sizeof(*b));
	struct virtio_dev *vdev;
	struct err e;

	log_set_level(LOG_LEVEL_ERROR);
	expect(b, "memory");
	enter_namespace();
	write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1"); /* nobody else sends there */
	close(make_tap(TAP));
	b->plain = make_tap(PLAIN);
	fake_platform_init(&b->fp);
	b->fp.p.one_loop = true;
	if (net_new(&config, &b->fp.p, &vdev, &e)) {
		fprintf(stderr, "bench: %s\n", e.text);
		return EXIT_FAILURE;
	}
	b->to[0] = open_host(TAP);
	b->to[1] = open_host(PLAIN);
	drv_plug(&b->drv, &b->fp, vdev, "net.eth0");
	drv_start(&b->drv, FEATURE(VIRTIO_NET_F_MRG_RXBUF) | FEATURE(VIRTIO_RING_F_EVENT_IDX), NET_NUM_QUEUES);
	for (unsigned int i = 0; i < NET_QUEUE_SIZE; i++) {
		struct ring_buf in = { RX_GPA + i * RX_STRIDE, RX_BUFFER };

		ring_add(&b->drv.rings[NET_RXQ], NULL, 0, &in, 1);
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		bench_kind(b, &kinds[i]);
	drv_unplug(&b->drv);
	fake_platform_fini(&b->fp);
	free(b);
	return EXIT_SUCCESS;
}
