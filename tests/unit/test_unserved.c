// SPDX-License-Identifier: Apache-2.0
/*
 * Devices of a machine whose page-fault handler does not answer. The test is the driver and, by the descriptor that the pager sends
 * it, the handler: it serves what a test says and nothing else. All devices run on the thread of the test, so whoever waited
 * for a page would wait for ever; an alarm ends that.
 */
#include "machine/pager.h"

#include "base/unix_listener.h"
#include "mem/populated.h"
#include "mem/pages.h"
#include "userfault_permitted.h"
#include "virtio/balloon.h"
#include "virtio/rng.h"
#include "virtio_driver.h"
#include "virtio_rng_leak.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/userfaultfd.h>
#include <linux/virtio_balloon.h>

#define PAGE	 MEM_PAGE_SIZE
#define FAR_GPA	 0x800000u /* nobody serves it before a test does */
#define PFNS_GPA 0x900000u
#define TRIES	 200
#define ALARM_S	 60

static const struct mem_layout layout = { .num_regions = 1, .regions = { { 0, FAKE_MEM_SIZE } } };

static struct fixture {
	char path[64];
	struct unix_listener listener;
	struct fake_platform fp;
	struct virtio_driver drv;
	struct loop *loop; /* the pager's: never run, the devices have theirs */
	struct pager *pager;
	int connection, uffd; /* as a handler has them */
	struct err e;
} f;

static int receive_descriptor(int connection)
{
	char text[1024];
	union {
		struct cmsghdr header;
		uint8_t room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { text, sizeof(text) };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	int fd;

	assert_true(recvmsg(connection, &message, 0) > 0);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return fd;
}

/* The handler serves zeroes. */
static void serve(gpa_t gpa, uint64_t len)
{
	struct uffdio_zeropage zero = {
		.range = { .start = (uintptr_t)f.fp.mem.regions[0].writable + gpa, .len = len },
	};

	assert_int_equal(ioctl(f.uffd, UFFDIO_ZEROPAGE, &zero), 0);
}

static int setup(void **state)
{
	static const struct guest_mem none;

	(void)state;
	memset(&f, 0, sizeof(f));
	f.connection = f.uffd = -1;
	if (!userfault_is_permitted())
		return 0;
	alarm(ALARM_S);
	snprintf(f.path, sizeof(f.path), "/tmp/snapsafe-unserved-%d", getpid());
	fake_platform_init(&f.fp);
	f.loop = loop_new();
	assert_non_null(f.loop);
	assert_int_equal(unix_listener_open(&f.listener, "socket", f.path, &f.e), 0);
	assert_int_equal(pager_new(f.path, f.loop, &f.pager, &f.e), 0);
	fake_platform_set_mem(&f.fp, &none);
	assert_int_equal(pager_map(f.pager, &layout, &f.fp.mem, &f.e), 0);
	f.connection = accept(f.listener.fd, NULL, NULL);
	f.uffd = receive_descriptor(f.connection);
	serve(DRV_RINGS_GPA, VIRTIO_MAX_QUEUES * 0x10000u);
	return 0;
}

/* Whatever still waits goes on: the memory is let go. */
static int teardown(void **state)
{
	(void)state;
	if (!f.pager)
		return 0;
	if (f.drv.dev)
		drv_unplug(&f.drv);
	pager_stop(f.pager);
	fake_platform_fini(&f.fp);
	pager_free(f.pager);
	loop_free(f.loop);
	close(f.uffd);
	close(f.connection);
	unix_listener_close(&f.listener);
	alarm(0);
	return 0;
}

static void plug_rng(uint64_t features, unsigned int num)
{
	const struct entropy_config config = { .present = true, .leak_reporting = true };
	struct virtio_dev *vdev;

	assert_int_equal(rng_new(&config, &f.fp.p, &vdev, &f.e), 0);
	drv_plug(&f.drv, &f.fp, vdev, "entropy");
	drv_start(&f.drv, features, num);
}

static void plug_balloon(void)
{
	const struct balloon_config config = { .present = true,
					       .free_page_reporting = true,
					       .free_page_hinting = true };
	struct virtio_dev *vdev;

	assert_int_equal(balloon_new(&config, &f.fp.p, &vdev, &f.e), 0);
	drv_plug(&f.drv, &f.fp, vdev, "balloon");
	drv_start(&f.drv, 0, 2);
}

/* Until queue q has used num buffers, or for seconds. */
static bool uses(unsigned int q, uint16_t num)
{
	for (unsigned int i = 0; i < TRIES && ring_used_idx(&f.drv.rings[q]) != num; i++)
		fake_run_ms(&f.fp, 10);
	return ring_used_idx(&f.drv.rings[q]) == num;
}

static void assert_nothing_is_used(unsigned int q, uint16_t num)
{
	fake_run_ms(&f.fp, 100);
	assert_int_equal(ring_used_idx(&f.drv.rings[q]), num);
}

static void random_bytes_wait_for_their_page_and_the_loop_does_not(void **state)
{
	const struct ring_buf buf = { FAR_GPA + 0x800, 2 * PAGE }, early = { DRV_RINGS_GPA + 0xf000, 16 };

	(void)state;
	if (!f.pager)
		skip();
	plug_rng(0, 1);
	ring_add(&f.drv.rings[0], NULL, 0, &early, 1);
	drv_kick(&f.drv, 0);
	assert_int_equal(ring_used_idx(&f.drv.rings[0]), 1);
	ring_add(&f.drv.rings[0], NULL, 0, &buf, 1);
	drv_kick(&f.drv, 0);
	assert_nothing_is_used(0, 1);
	/* Who wants what is there does not wait for what others lack. */
	assert_int_equal(mem_prepare(&f.fp.mem, DRV_RINGS_GPA, 0x10000), 0);
	serve(FAR_GPA, PAGE);
	assert_nothing_is_used(0, 1);
	serve(FAR_GPA + PAGE, 2 * PAGE);
	assert_true(uses(0, 2));
	assert_true(mem_is_populated(&f.fp.mem, FAR_GPA, 3 * PAGE));
	assert_false(mem_is_populated(&f.fp.mem, FAR_GPA, 4 * PAGE));
}

/* More of them than are had at a time, in a table that is not there either; what the device does not fill is left alone. */
static void a_request_of_many_pages_is_served_in_the_end(void **state)
{
	struct ring_buf bufs[3 * VIRTQ_MAX_WANTED];

	(void)state;
	if (!f.pager)
		skip();
	for (unsigned int i = 0; i < 3 * VIRTQ_MAX_WANTED; i++)
		bufs[i] = (struct ring_buf){ FAR_GPA + 2 * i * PAGE, i < 2 * VIRTQ_MAX_WANTED ? 512 : PAGE };
	plug_rng(FEATURE(VIRTIO_RING_F_INDIRECT_DESC), 1);
	serve(PFNS_GPA + PAGE, PAGE);
	ring_add_indirect(&f.drv.rings[0], PFNS_GPA + PAGE, NULL, 0, bufs, 3 * VIRTQ_MAX_WANTED);
	drv_kick(&f.drv, 0);
	assert_nothing_is_used(0, 0);
	for (unsigned int i = 0; i < 2 * VIRTQ_MAX_WANTED + 8; i++)
		serve(FAR_GPA + 2 * i * PAGE, PAGE);
	assert_true(uses(0, 1));
	assert_false(mem_is_populated(&f.fp.mem, FAR_GPA + 4 * VIRTQ_MAX_WANTED * PAGE + 16 * PAGE, 1));
}

static void rings_that_are_not_here_are_a_queue_without_work(void **state)
{
	struct virtq *q;

	(void)state;
	if (!f.pager)
		skip();
	plug_rng(0, 1);
	q = &f.drv.vdev->queues[0];
	/* As a hostile driver sets it up: it has never touched them. */
	assert_int_equal(virtq_enable(q, 0), 0);
	q->used = FAR_GPA;
	drv_kick(&f.drv, 0);
	drv_kick(&f.drv, 0);
	assert_int_equal(drv_read(&f.drv, VIRTIO_MMIO_STATUS), 15);
	assert_true(q->lacks);
	serve(FAR_GPA, PAGE);
	for (unsigned int i = 0; i < TRIES && !q->rings_populated; i++)
		fake_run_ms(&f.fp, 10);
	assert_true(q->rings_populated);
}

/* All or nothing: what could be carried out is as if nobody had touched it, and the event is run again. */
static void a_leak_event_is_not_carried_out_in_part(void **state)
{
	const struct ring_buf here = { DRV_RINGS_GPA + 0xf000, 16 }, gone = { FAR_GPA, 16 };
	struct leak_progress progress;
	uint32_t generation;

	(void)state;
	if (!f.pager)
		skip();
	plug_rng(FEATURE(VIRTIO_RNG_F_LEAK), 3);
	ring_add(&f.drv.rings[VIRTIO_RNG_LEAKQ1], NULL, 0, &here, 1);
	ring_add(&f.drv.rings[VIRTIO_RNG_LEAKQ1], NULL, 0, &gone, 1);
	drv_kick(&f.drv, VIRTIO_RNG_LEAKQ1);
	drv_pause(&f.drv);
	assert_true(device_leak_progress(f.drv.dev, &progress));
	generation = progress.generation;
	assert_int_equal(drv_leak(&f.drv, &f.e), -EAGAIN);
	assert_non_null(strstr(f.e.text, "in memory that was not served yet"));
	assert_int_equal(ring_used_idx(&f.drv.rings[VIRTIO_RNG_LEAKQ1]), 0);
	assert_true(device_leak_progress(f.drv.dev, &progress));
	assert_int_equal(progress.generation, generation);
	assert_false(progress.late);
	serve(FAR_GPA, PAGE);
	assert_int_equal(f.drv.dev->ops->prepare(f.drv.dev), 0);
	assert_int_equal(drv_leak(&f.drv, &f.e), 0);
	assert_int_equal(ring_used_idx(&f.drv.rings[VIRTIO_RNG_LEAKQ1]), 2);
	drv_resume(&f.drv);
}

static void add_pfns(const uint32_t *pfns, unsigned int num)
{
	const struct ring_buf buf = { PFNS_GPA, num * (uint32_t)sizeof(*pfns) };

	assert_true(mem_write(&f.fp.mem, PFNS_GPA, pfns, buf.len));
	ring_add(&f.drv.rings[0], &buf, 1, NULL, 0);
	drv_write(&f.drv, VIRTIO_MMIO_QUEUE_NOTIFY, 0); /* drv_kick() would wait for what is in flight */
	fake_run(&f.fp);
}

/* Pages from FAR_GPA on, which had been served and written to. */
static void plug_balloon_that_gives_back(unsigned int num)
{
	static const uint32_t pfns[] = { FAR_GPA / PAGE, FAR_GPA / PAGE + 1 };
	const uint8_t byte = 0x47;

	plug_balloon();
	serve(PFNS_GPA, PAGE);
	serve(FAR_GPA, num * PAGE);
	assert_true(mem_write(&f.fp.mem, FAR_GPA, &byte, 1));
	add_pfns(pfns, num);
}

static void read_event(void)
{
	struct uffd_msg msg;

	for (unsigned int i = 0; i < TRIES; i++, usleep(10000)) {
		if (read(f.uffd, &msg, sizeof(msg)) == sizeof(msg) && msg.event == UFFD_EVENT_REMOVE)
			return;
	}
	fail_msg("there is no event");
}

/* Until the handler has read that they are gone, pages are the balloon's; nobody else waits for that. */
static void pages_that_are_given_back_wait_for_the_handler(void **state)
{
	uint8_t byte;

	(void)state;
	if (!f.pager)
		skip();
	plug_balloon_that_gives_back(2);
	assert_nothing_is_used(0, 0);
	assert_true(drv_is_busy(&f.drv));
	read_event();
	assert_true(uses(0, 1));
	assert_false(drv_is_busy(&f.drv));
	assert_true(mem_read(&f.fp.mem, FAR_GPA, &byte, 1));
	assert_int_equal(byte, 0);
}

/* Its driver has its memory back when the reset is complete, and then nothing is written there. */
static void a_reset_waits_for_what_is_being_given_back(void **state)
{
	(void)state;
	if (!f.pager)
		skip();
	plug_balloon_that_gives_back(1);
	drv_write(&f.drv, VIRTIO_MMIO_STATUS, 0);
	assert_int_not_equal(drv_read(&f.drv, VIRTIO_MMIO_STATUS), 0);
	read_event();
	for (unsigned int i = 0; i < TRIES && drv_read(&f.drv, VIRTIO_MMIO_STATUS) != 0; i++)
		fake_run_ms(&f.fp, 10);
	assert_int_equal(drv_read(&f.drv, VIRTIO_MMIO_STATUS), 0);
	assert_int_equal(ring_used_idx(&f.drv.rings[0]), 0);
}

static void a_device_that_goes_leaves_nothing_behind(void **state)
{
	(void)state;
	if (!f.pager)
		skip();
	plug_balloon_that_gives_back(1);
	fake_run_ms(&f.fp, 100); /* it is with the handler */
	assert_true(drv_is_busy(&f.drv));
	drv_unplug(&f.drv);
	f.drv.dev = NULL;
	read_event();
	fake_run_ms(&f.fp, 50);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(random_bytes_wait_for_their_page_and_the_loop_does_not),
		TEST(a_request_of_many_pages_is_served_in_the_end),
		TEST(rings_that_are_not_here_are_a_queue_without_work),
		TEST(a_leak_event_is_not_carried_out_in_part),
		TEST(pages_that_are_given_back_wait_for_the_handler),
		TEST(a_reset_waits_for_what_is_being_given_back),
		TEST(a_device_that_goes_leaves_nothing_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
