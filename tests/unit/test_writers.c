// SPDX-License-Identifier: Apache-2.0
/*
 * Everything that the monitor writes to guest memory is noted: after each thing
 * that a device does, the pages that differ from before are among those that
 * mem_changed_since_mark() names. (That it is written by mem/ at all, each test
 * with a fake platform shows: elsewhere the memory is read-only.)
 */
#include "virtio/blk_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/virtio_blk.h>
#include <linux/virtio_net.h>

#include "devices/devices.h"
#include "guest_ram.h"
#include "mem/track.h"
#include "net_peer.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/net_internal.h"
#include "virtio/rng.h"
#include "virtio/vsock.h"
#include "virtio_driver.h"
#include "vsock_driver.h"
#include "virtio_rng_leak.h"

#define PAGE	    MEM_PAGE_SIZE
#define DISK	    "writers-disk"
#define SOCKET	    "writers-socket"
#define HEADER	    0x80000u
#define STATUS	    0x90fffu
#define VMGENID_GPA 0xdf000u
#define VMCLOCK_GPA 0xde000u

struct fixture {
	struct fake_platform fp;
	struct virtio_driver drv;
	uint8_t *before; /* memory at the mark, region after region */
};

static int no_guest(void *ctx, unsigned int region, uint64_t *bitmap)
{
	(void)ctx;
	(void)region;
	(void)bitmap;
	return 0;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	fake_platform_init(&f->fp);
	mem_set_guest_log(&f->fp.mem, &(struct mem_guest_log){ .collect = no_guest });
	f->before = malloc(f->fp.mem.size);
	assert_non_null(f->before);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->drv.vdev)
		drv_unplug(&f->drv);
	fake_platform_fini(&f->fp);
	free(f->before);
	free(f);
	unlink(DISK);
	return 0;
}

/* What the guest has written up to here is not the device's. */
static void mark(struct fixture *f)
{
	struct err e;

	for (unsigned int i = 0; i < f->fp.mem.num_regions; i++)
		memcpy(f->before + f->fp.mem.regions[i].file_offset, f->fp.mem.regions[i].host,
		       f->fp.mem.regions[i].size);
	assert_int_equal(mem_mark(&f->fp.mem, &e), 0);
}

/* The pages that have changed since the mark, all of which are noted; and how many are noted that have not changed. */
static unsigned int count_changed(struct fixture *f, unsigned int *noted_only)
{
	unsigned int changed = 0;
	struct err e;

	*noted_only = 0;
	for (unsigned int i = 0; i < f->fp.mem.num_regions; i++) {
		const struct mem_region *region = &f->fp.mem.regions[i];
		uint64_t *bitmap = calloc(mem_bitmap_len(region), sizeof(*bitmap));

		assert_non_null(bitmap);
		assert_int_equal(mem_changed_since_mark(&f->fp.mem, i, bitmap, &e), 0);
		for (uint64_t page = 0; page < region->size / PAGE; page++) {
			bool noted = bitmap[page / 64] >> page % 64 & 1;
			bool differs = memcmp(f->before + region->file_offset + page * PAGE, region->host + page * PAGE,
					      PAGE) != 0;

			if (differs && !noted)
				fail_msg("page 0x%llx has changed, and nobody noted it",
					 (unsigned long long)(region->gpa + page * PAGE));
			changed += differs;
			*noted_only += noted && !differs;
		}
		free(bitmap);
	}
	assert_int_equal(f->fp.mem.num_leases, 0);
	return changed;
}

static void assert_changed(struct fixture *f, unsigned int pages)
{
	unsigned int noted_only;

	assert_int_equal(count_changed(f, &noted_only), pages);
	assert_int_equal(noted_only, 0);
}

static void plug_disk(struct fixture *f, enum io_engine engine)
{
	struct drive_config config = { .drive_id = (char[]){ "disk" },
				       .path_on_host = (char[]){ DISK },
				       .io_engine = engine };
	int fd = open(DISK, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct virtio_dev *vdev;
	uint8_t block[PAGE];
	struct err e;

	memset(block, 0xd1, sizeof(block));
	for (unsigned int i = 0; i < 16; i++)
		assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
	close(fd);
	if (blk_new(&config, &f->fp.p, &vdev, &e))
		fail_msg("%s", e.text);
	drv_plug(&f->drv, &f->fp, vdev, "drive.disk");
	drv_start(&f->drv, FEATURE(VIRTIO_RING_F_EVENT_IDX), 1);
}

static void request(struct fixture *f, uint32_t type, uint64_t sector, struct ring_buf data)
{
	struct virtio_blk_outhdr header = { .type = type, .sector = sector };
	struct ring_buf head = { HEADER, sizeof(header) }, status = { STATUS, 1 };

	assert_true(guest_write(&f->fp.mem, HEADER, &header, sizeof(header)));
	assert_true(guest_write(&f->fp.mem, STATUS, "\xff", 1));
	if (type == VIRTIO_BLK_T_OUT)
		ring_add(&f->drv.rings[0], (struct ring_buf[]){ head, data }, 2, &status, 1);
	else
		ring_add(&f->drv.rings[0], &head, 1, (struct ring_buf[]){ data, status }, 2);
	mark(f);
	drv_kick(&f->drv, 0);
	drv_settle(&f->drv);
}

static void a_disk_by(struct fixture *f, enum io_engine engine)
{
	unsigned int noted_only;

	plug_disk(f, engine);
	/* Used entry and index, avail_event: one page, the ring's. The status, and three pages of data. */
	request(f, VIRTIO_BLK_T_IN, 0, (struct ring_buf){ DRV_DATA_GPA + 512, 2 * PAGE });
	assert_changed(f, 1 + 1 + 3);
	request(f, VIRTIO_BLK_T_OUT, 0, (struct ring_buf){ DRV_DATA_GPA + 512, 2 * PAGE });
	assert_changed(f, 1 + 1);
	request(f, VIRTIO_BLK_T_GET_ID, 0, (struct ring_buf){ FAKE_HIGH_GPA + PAGE - 10, 20 });
	assert_changed(f, 1 + 1 + 2);
	request(f, VIRTIO_BLK_T_IN, 1000, (struct ring_buf){ DRV_DATA_GPA, PAGE }); /* beyond the end */
	assert_int_equal(count_changed(f, &noted_only), 1 + 1);
	assert_in_range(noted_only, 0, 1); /* it could have been written */
}

static void a_disk_by_a_thread(void **state)
{
	a_disk_by(*state, IO_ENGINE_SYNC);
}

static void a_disk_by_io_uring(void **state)
{
	a_disk_by(*state, IO_ENGINE_ASYNC);
}

/* The file has become shorter: what came before its end is there, and the request fails. */
static void a_read_that_comes_out_short(void **state)
{
	struct fixture *f = *state;
	unsigned int noted_only;

	plug_disk(f, IO_ENGINE_SYNC);
	assert_int_equal(truncate(DISK, PAGE + 512), 0);
	request(f, VIRTIO_BLK_T_IN, 0, (struct ring_buf){ DRV_DATA_GPA, 4 * PAGE });
	assert_int_equal(count_changed(f, &noted_only), 1 + 1 + 2);
	assert_int_equal(*(const uint8_t *)mem_host(&f->fp.mem, STATUS, 1), VIRTIO_BLK_S_IOERR);
}

/* A transfer that goes on in the middle of a buffer: the buffer is noted whole. */
static void pieces_that_were_cut_are_whole_again(void **state)
{
	static uint8_t data[100];
	static struct blk_request req = { .op = BLK_IO_READ, .len = 100, .num_iov = 2, .num_left = 2 };

	(void)state;
	req.iov[0] = (struct iovec){ .iov_base = data, .iov_len = 40 };
	req.iov[1] = (struct iovec){ .iov_base = data + 40, .iov_len = 60 };
	req.at = req.iov;
	for (unsigned int done = 0; done < 100; done += 10) {
		req.result = 10;
		assert_int_equal(blk_io_goes_on(&req), done < 90);
		if (done < 90)
			assert_ptr_equal(req.at->iov_base, data + done + 10);
	}
	assert_ptr_equal(req.iov[0].iov_base, data);
	assert_int_equal(req.iov[0].iov_len, 40);
	assert_ptr_equal(req.iov[1].iov_base, data + 40);
	assert_int_equal(req.iov[1].iov_len, 60);
	req = (struct blk_request){ .op = BLK_IO_READ,
				    .len = 100,
				    .num_iov = 2,
				    .num_left = 2,
				    .at = req.iov,
				    .iov = { req.iov[0], req.iov[1] } };
	req.result = 70;
	assert_true(blk_io_goes_on(&req));
	assert_int_equal(req.iov[1].iov_len, 30);
	blk_io_uncut(&req);
	assert_ptr_equal(req.iov[1].iov_base, data + 40);
	assert_int_equal(req.iov[1].iov_len, 60);
}

static void plug_rng(struct fixture *f)
{
	const struct entropy_config config = { .leak_reporting = true };
	struct virtio_dev *vdev;
	struct err e;

	assert_int_equal(rng_new(&config, &f->fp.p, &vdev, &e), 0);
	drv_plug(&f->drv, &f->fp, vdev, "entropy");
	drv_start(&f->drv, FEATURE(VIRTIO_RNG_F_LEAK), VIRTIO_RNG_NUM_QUEUES);
}

static void random_bytes(void **state)
{
	struct fixture *f = *state;

	plug_rng(f);
	ring_add(&f->drv.rings[VIRTIO_RNG_REQUESTQ], NULL, 0,
		 (struct ring_buf[]){ { DRV_DATA_GPA + 100, PAGE }, { FAKE_HIGH_GPA, 64 } }, 2);
	mark(f);
	drv_kick(&f->drv, VIRTIO_RNG_REQUESTQ);
	assert_changed(f, 1 + 2 + 1);
}

static void fills_and_copies_of_a_leak(void **state)
{
	struct ring_buf from = { DRV_DATA_GPA + 10 * PAGE, 2 * PAGE }, to = { DRV_DATA_GPA + 20 * PAGE, 2 * PAGE };
	struct ring_buf fill = { DRV_DATA_GPA + 30 * PAGE + 5, PAGE };
	struct fixture *f = *state;
	struct err e;

	plug_rng(f);
	memset(guest_ram(&f->fp.mem, from.gpa, from.len), 0xcc, from.len);
	ring_add(&f->drv.rings[VIRTIO_RNG_LEAKQ1], &from, 1, &to, 1);
	ring_add(&f->drv.rings[VIRTIO_RNG_LEAKQ1], NULL, 0, &fill, 1);
	drv_kick(&f->drv, VIRTIO_RNG_LEAKQ1);
	drv_pause(&f->drv);
	mark(f);
	assert_int_equal(drv_leak(&f->drv, &e), 0);
	assert_changed(f, 1 + 2 + 2);
	drv_resume(&f->drv);
}

static void pages_that_are_given_back(void **state)
{
	const struct balloon_config config = { .present = true };
	const uint32_t pfns[] = { DRV_DATA_GPA / PAGE + 3, DRV_DATA_GPA / PAGE + 4, DRV_DATA_GPA / PAGE + 9 };
	struct ring_buf list = { DRV_DATA_GPA, sizeof(pfns) };
	struct fixture *f = *state;
	struct virtio_dev *vdev;
	struct err e;

	fake_platform_anonymous_mem(&f->fp);
	mem_set_guest_log(&f->fp.mem, &(struct mem_guest_log){ .collect = no_guest });
	assert_int_equal(balloon_new(&config, &f->fp.p, &vdev, &e), 0);
	drv_plug(&f->drv, &f->fp, vdev, "balloon");
	drv_start(&f->drv, 0, 2);
	memset(guest_ram(&f->fp.mem, DRV_DATA_GPA, 10 * PAGE), 0xcc, 10 * PAGE);
	assert_true(guest_write(&f->fp.mem, list.gpa, pfns, sizeof(pfns)));
	ring_add(&f->drv.rings[0], &list, 1, NULL, 0);
	mark(f);
	drv_kick(&f->drv, 0);
	assert_changed(f, 1 + 3);
}

static void the_vm_generation_id(void **state)
{
	struct fixture *f = *state;
	struct device *dev;
	struct err e;

	mark(f);
	assert_int_equal(vmgenid_new(VMGENID_GPA, FAKE_FIRST_GSI, &f->fp.p, &dev, &e), 0);
	assert_changed(f, 1);
	mark(f);
	assert_int_equal(dev->ops->leak(dev, &e), 0);
	assert_changed(f, 1);
	dev->ops->free(dev);
}

static void vmclock(void **state)
{
	struct fixture *f = *state;
	struct device *dev;
	struct err e;

	mark(f);
	assert_int_equal(vmclock_new(VMCLOCK_GPA, FAKE_FIRST_GSI, &f->fp.p, &dev, &e), 0);
	assert_changed(f, 1);
	mark(f);
	assert_int_equal(device_leak(dev, &e), 0);
	assert_changed(f, 1);
	dev->ops->free(dev);
}

/* Packets with what a socket of the host has, an answer, and the event after a snapshot. */
static void packets_of_the_host(void **state)
{
	struct vsock_config config = { .guest_cid = GUEST_CID, .uds_path = (char[]){ SOCKET } };
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = SOCKET };
	static struct vsock_guest g;
	struct fixture *f = *state;
	unsigned int noted_only;
	struct virtio_dev *vdev;
	struct err e;
	size_t len;
	int fd;

	if (vsock_new(&config, &f->fp.p, &vdev, &e))
		fail_msg("%s", e.text);
	drv_plug(&g.drv, &f->fp, vdev, "vsock");
	f->drv = g.drv; /* for the end */
	vg_start(&g, FEATURE(VIRTIO_RING_F_EVENT_IDX));
	vg_give(&g, 8);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(write(fd, "CONNECT 1\n0123456789", 20), 20);
	mark(f);
	fake_run(&f->fp); /* a request: a used entry, and a buffer of its own */
	assert_changed(f, 1 + 1);
	drv_pause(&g.drv);
	vg_send(&g, VIRTIO_VSOCK_OP_RESPONSE, 1u << 30, 1, 0, NULL, 0);
	mark(f);
	drv_resume(&g.drv);
	fake_run(&f->fp); /* two rings, and a buffer with the ten bytes */
	assert_int_equal(count_changed(f, &noted_only), 2 + 1);
	assert_in_range(noted_only, 0, 3); /* the rest of it, and another one, could have been written */
	drv_pause(&g.drv);
	free(drv_save(&g.drv, &len));
	memset(guest_ram(&f->fp.mem, VSOCK_EV_GPA, 512), 0xff, 512);
	mark(f);
	drv_resume(&g.drv);
	fake_run(&f->fp);
	assert_int_equal(count_changed(f, &noted_only), 1 + 1);
	assert_in_range(noted_only, 0, 2); /* the other queues are looked at, and notifications asked for as before */
	close(fd);
}

/* A frame that takes three buffers, whose header is written once more at the end, and one to the peer. */
static void frames_of_the_network(void **state)
{
	struct network_config config = { .iface_id = (char[]){ "eth0" } };
	static uint8_t frame[NET_HDR_LEN + 2 * PAGE];
	struct fixture *f = *state;
	struct virtio_dev *vdev;
	unsigned int noted_only;
	struct err e;
	int peer;

	f->fp.p.one_loop = true;
	assert_int_equal(net_new_over(&config, net_peer_new(&peer), &f->fp.p, &vdev, &e), 0);
	drv_plug(&f->drv, &f->fp, vdev, "net.eth0");
	drv_start(&f->drv, FEATURE(VIRTIO_NET_F_MRG_RXBUF), 2);
	for (unsigned int i = 0; i < 4; i++)
		ring_add(&f->drv.rings[NET_RXQ], NULL, 0, &(struct ring_buf){ DRV_DATA_GPA + 2 * i * PAGE, PAGE }, 1);
	drv_kick(&f->drv, NET_RXQ);
	drv_pause(&f->drv); /* while it runs it holds the next buffer out to the peer */
	mark(f);
	drv_resume(&f->drv);
	memset(frame + NET_HDR_LEN, 0xf1, sizeof(frame) - NET_HDR_LEN);
	assert_int_equal(write(peer, frame, sizeof(frame)), sizeof(frame));
	fake_run(&f->fp);
	drv_pause(&f->drv);
	assert_int_equal(count_changed(f, &noted_only), 1 + 3);
	assert_in_range(noted_only, 0, 1); /* the fourth buffer: the frame could have been longer */

	memset(guest_ram(&f->fp.mem, DRV_DATA_GPA + 20 * PAGE, 100), 0, 100);
	ring_add(&f->drv.rings[NET_TXQ], &(struct ring_buf){ DRV_DATA_GPA + 20 * PAGE, 100 }, 1, NULL, 0);
	mark(f);
	drv_resume(&f->drv);
	drv_kick(&f->drv, NET_TXQ);
	fake_run(&f->fp);
	assert_int_equal(read(peer, frame, sizeof(frame)), 100);
	drv_pause(&f->drv);
	assert_int_equal(count_changed(f, &noted_only), 1);
	assert_in_range(noted_only, 0, 1); /* the same, and the peer had nothing more */
	close(peer);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_disk_by_a_thread),
		TEST(a_disk_by_io_uring),
		TEST(a_read_that_comes_out_short),
		cmocka_unit_test(pieces_that_were_cut_are_whole_again),
		TEST(random_bytes),
		TEST(fills_and_copies_of_a_leak),
		TEST(pages_that_are_given_back),
		TEST(the_vm_generation_id),
		TEST(vmclock),
		TEST(packets_of_the_host),
		TEST(frames_of_the_network),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
