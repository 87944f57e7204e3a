// SPDX-License-Identifier: Apache-2.0
/* Real taps, in a user and network namespace of the test's own: who may attach, what is refused, and what gets through. */
#include "virtio/net.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>

#include "base/cleanup.h"
#include "guest_ram.h"
#include "virtio/net_internal.h"
#include "virtio_driver.h"

#define RXQ    0u
#define TXQ    1u
#define RX_GPA DRV_DATA_GPA
#define TX_GPA 0x800000u
#define LEN    80u    /* of an Ethernet frame */
#define ETYPE  0x88b5 /* for experiments; nobody else here sends such frames */

static bool is_root; /* really, and not of a user namespace */

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

/* Root of a new user namespace, for who is not root anyway. */
static bool become_root(void)
{
	unsigned int uid = getuid(), gid = getgid();
	char map[64];

	if (!uid)
		return true;
	if (unshare(CLONE_NEWUSER))
		return false;
	snprintf(map, sizeof(map), "0 %u 1", uid);
	if (!write_file("/proc/self/uid_map", map) || !write_file("/proc/self/setgroups", "deny"))
		return false;
	snprintf(map, sizeof(map), "0 %u 1", gid);
	return write_file("/proc/self/gid_map", map);
}

/* A network of its own; the tests are skipped where that, or /dev/net/tun, is not to be had. */
static bool enter_namespaces(void)
{
	int fd;

	is_root = !getuid();
	if (!become_root() || unshare(CLONE_NEWNET))
		return false;
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* A lasting tap or tun, as `ip tuntap add` makes them. */
static void make_tap_of(const char *name, short flags, int owner)
{
	struct ifreq request = { .ifr_flags = flags };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
	assert_int_equal(ioctl(fd, TUNSETIFF, &request), 0);
	if (owner >= 0)
		assert_int_equal(ioctl(fd, TUNSETOWNER, (unsigned long)owner), 0);
	assert_int_equal(ioctl(fd, TUNSETPERSIST, 1), 0);
	close(fd);
}

static void make_tap(const char *name, short flags)
{
	make_tap_of(name, flags, -1);
}

/* The host's side of a tap: a packet socket that sees its experimental frames. */
static int open_host(const char *name)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ETYPE) };
	struct ifreq request = { .ifr_flags = 0 };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETYPE));

	assert_true(fd >= 0);
	snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
	assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &request), 0);
	request.ifr_flags |= IFF_UP;
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
	address.sll_ifindex = (int)if_nametoindex(name);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void expect_refused(const char *name, int error, const char *text)
{
	struct net_backend *tap = (struct net_backend *)&error;
	struct err e = { "" };

	assert_int_equal(net_tap_new(name, &tap, &e), -error);
	assert_ptr_equal(tap, &error);
	if (!strstr(e.text, text))
		fail_msg("\"%s\" is not in: %s", text, e.text);
}

static void a_tap_that_is_not_there_is_refused_and_not_made(void **state)
{
	(void)state;
	expect_refused("none0", ENODEV, "there is no network interface \"none0\" on the host");
	assert_int_equal(if_nametoindex("none0"), 0);
}

static void what_is_no_tap_is_refused(void **state)
{
	(void)state;
	make_tap("tun0", IFF_TUN | IFF_NO_PI);
	make_tap("many0", IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE);
	expect_refused("lo", EINVAL, "network interface \"lo\" cannot be attached to: it must be a tap");
	expect_refused("tun0", EINVAL, "it must be a tap (not a tun");
	expect_refused("many0", EINVAL, "with one queue");
}

static void a_tap_in_use_is_refused(void **state)
{
	struct net_backend *tap;
	struct err e;

	(void)state;
	make_tap("busy0", IFF_TAP);
	assert_int_equal(net_tap_new("busy0", &tap, &e), 0);
	expect_refused("busy0", EBUSY, "tap \"busy0\" is in use by another process");
	tap->ops->free(tap);
	assert_int_equal(net_tap_new("busy0", &tap, &e), 0);
	tap->ops->free(tap);
}

static void a_tap_of_somebody_else_is_refused(void **state)
{
	int status;
	pid_t child;

	(void)state;
	if (!is_root)
		skip(); /* who has one user id only cannot give a tap to another */
	make_tap_of("other0", IFF_TAP, 7);
	child = fork();
	if (child == 0) {
		struct net_backend *tap;
		struct err e = { "" };
		int r;

		/* In a user namespace of its own it has no rights over this network. */
		if (unshare(CLONE_NEWUSER))
			_exit(2);
		r = net_tap_new("other0", &tap, &e);
		_exit(r == -EPERM && strstr(e.text, "tap \"other0\" belongs to another user") ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
		skip(); /* no user namespaces here: in a chroot, for one */
	assert_int_equal(status, 0);
}

struct machine {
	struct fake_platform fp;
	struct virtio_driver drv;
	int host;
};

static void plug(struct machine *m, const char *name)
{
	static char id[] = "eth0";
	char tap[IFNAMSIZ];
	const struct network_config config = { .iface_id = id, .host_dev_name = tap };
	struct virtio_dev *vdev;
	struct err e;

	snprintf(tap, sizeof(tap), "%s", name);
	make_tap(name, IFF_TAP);
	fake_platform_init(&m->fp);
	assert_int_equal(net_new(&config, &m->fp.p, &vdev, &e), 0);
	drv_plug(&m->drv, &m->fp, vdev, "net.eth0");
	m->host = open_host(name);
}

static void unplug(struct machine *m)
{
	drv_unplug(&m->drv);
	fake_platform_fini(&m->fp);
	close(m->host);
}

static void make_frame(uint8_t *frame, size_t len)
{
	memset(frame, 0xff, 6);
	memcpy(frame + 6, "\x06\x00\xac\x10\x00\x02", 6);
	frame[12] = ETYPE >> 8;
	frame[13] = ETYPE & 0xff;
	for (size_t i = 14; i < len; i++)
		frame[i] = (uint8_t)i;
}

static void frames_go_both_ways(void **state)
{
	struct ring_buf out = { TX_GPA, NET_HDR_LEN + LEN };
	uint8_t frame[LEN], got[2048];
	struct machine m;
	struct ring_used used;

	(void)state;
	plug(&m, "both0");
	make_frame(frame, LEN);
	drv_start(&m.drv, FEATURE(VIRTIO_NET_F_MRG_RXBUF) | FEATURE(VIRTIO_NET_F_GUEST_CSUM), 2);
	for (unsigned int i = 0; i < 64; i++) {
		struct ring_buf in = { RX_GPA + i * 2048, 2048 };

		ring_add(&m.drv.rings[RXQ], NULL, 0, &in, 1);
	}
	drv_kick(&m.drv, RXQ);
	assert_true(guest_write(&m.fp.mem, TX_GPA + NET_HDR_LEN, frame, LEN));
	for (unsigned int i = 0; i < 10; i++) {
		ring_add(&m.drv.rings[TXQ], &out, 1, NULL, 0);
		drv_kick(&m.drv, TXQ);
		assert_int_equal(read(m.host, got, sizeof(got)), LEN);
		assert_memory_equal(got, frame, LEN);

		frame[20] = (uint8_t)i;
		assert_int_equal(write(m.host, frame, LEN), LEN);
		fake_run(&m.fp);
		/* The kernel has frames of its own for a new interface (IPv6). */
		do
			assert_true(ring_get_used(&m.drv.rings[RXQ], &used));
		while (memcmp(guest_ram(&m.fp.mem, RX_GPA + used.id * 2048 + NET_HDR_LEN, LEN), frame, LEN) != 0);
		assert_int_equal(used.len, NET_HDR_LEN + LEN);
		frame[20] = 20;
	}
	unplug(&m);
}

/* The host's kernel checks what the guest says of its frames: what makes no sense is lost, and the device goes on. */
static void the_host_refuses_headers_that_lie(void **state)
{
	static const struct virtio_net_hdr_v1 lies[] = {
		{ .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 0 },
		{ .gso_type = VIRTIO_NET_HDR_GSO_TCPV6, .hdr_len = 0xffff, .gso_size = 1 },
		{ .gso_type = 77, .gso_size = 100 },
		{ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 0xfff0, .csum_offset = 0x20 },
		{ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 14, .csum_offset = 0xffff, .hdr_len = 0xffff },
	};
	struct ring_buf out = { TX_GPA, NET_HDR_LEN + LEN };
	uint8_t frame[LEN], got[2048];
	struct machine m;

	(void)state;
	plug(&m, "lies0");
	make_frame(frame, LEN);
	drv_start(&m.drv, FEATURE(VIRTIO_NET_F_CSUM) | FEATURE(VIRTIO_NET_F_HOST_TSO4), 2);
	assert_true(guest_write(&m.fp.mem, TX_GPA + NET_HDR_LEN, frame, LEN));
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		uint64_t fails = net_from_vdev(m.drv.vdev)->counters->tap_write_fails;

		assert_true(guest_write(&m.fp.mem, TX_GPA, &lies[i], sizeof(lies[i])));
		ring_add(&m.drv.rings[TXQ], &out, 1, NULL, 0);
		drv_kick(&m.drv, TXQ);
		assert_int_equal(read(m.host, got, sizeof(got)), -1);
		assert_int_equal(net_from_vdev(m.drv.vdev)->counters->tap_write_fails, fails + 1);
	}
	assert_true(guest_write(&m.fp.mem, TX_GPA, &(struct virtio_net_hdr_v1){ 0 }, NET_HDR_LEN));
	ring_add(&m.drv.rings[TXQ], &out, 1, NULL, 0);
	drv_kick(&m.drv, TXQ);
	assert_int_equal(read(m.host, got, sizeof(got)), LEN);
	unplug(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tap_that_is_not_there_is_refused_and_not_made),
		cmocka_unit_test(what_is_no_tap_is_refused),
		cmocka_unit_test(a_tap_in_use_is_refused),
		cmocka_unit_test(a_tap_of_somebody_else_is_refused),
		cmocka_unit_test(frames_go_both_ways),
		cmocka_unit_test(the_host_refuses_headers_that_lie),
	};

	if (!enter_namespaces()) {
		puts("1..0 # SKIP no user and network namespaces, or no /dev/net/tun, for this user");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
