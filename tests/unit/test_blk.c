// SPDX-License-Identifier: Apache-2.0
/* The block device over real files, through the transport. */
#include "virtio/blk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/virtio_blk.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/syscalls.h"
#include "guest_ram.h"
#include "tmpdir.h"
#include "virtio/blk_internal.h"
#include "virtio_driver.h"

#define SECTORS	   64u
#define HEADER_GPA 0x80000u
#define STATUS_GPA 0x90000u
#define TABLE_GPA  0xa0000u
#define DATA_GPA   DRV_DATA_GPA
#define NO_STATUS  0xee /* what the status byte is before the request */

#define INDIRECT     FEATURE(VIRTIO_RING_F_INDIRECT_DESC)
#define EVENT_IDX    FEATURE(VIRTIO_RING_F_EVENT_IDX)
#define RO	     FEATURE(VIRTIO_BLK_F_RO)
#define FLUSH	     FEATURE(VIRTIO_BLK_F_FLUSH)
#define DISCARD	     FEATURE(VIRTIO_BLK_F_DISCARD)
#define WRITE_ZEROES FEATURE(VIRTIO_BLK_F_WRITE_ZEROES)

static unsigned int flushes_to_fail;

/* Takes the place of the C library's. As the kernel does, it tells of an error once. */
int fdatasync(int fd)
{
	if (!flushes_to_fail)
		return (int)syscall(SYS_fdatasync, fd);
	flushes_to_fail--;
	errno = ENOSPC;
	return -1;
}

/* While it is closed, a disk takes its time over reading, and what lies behind cold_from is not in the page cache. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static _Atomic unsigned int reads_begun, reads_asked_for;
static _Atomic off_t cold_from;
/* The file's file system does not know of RWF_NOWAIT, as overlayfs: so often it was tried. */
static bool cannot_tell;
static unsigned int cached_tried;

/* Takes the place of the C library's, in the device's thread with the engine Sync. */
ssize_t preadv(int fd, const struct iovec *iov, int num, off_t offset)
{
	atomic_fetch_add(&reads_begun, 1);
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	return syscall(SYS_preadv, fd, iov, num, offset, 0);
}

ssize_t sys_preadv2(int fd, const struct iovec *iov, int num, off_t offset, int flags)
{
	if (cannot_tell && flags & RWF_NOWAIT) {
		cached_tried++;
		errno = EOPNOTSUPP;
		return -1;
	}
	if (pthread_mutex_trylock(&gate) == 0) {
		pthread_mutex_unlock(&gate);
	} else if (flags & RWF_NOWAIT && offset >= atomic_load(&cold_from)) {
		errno = EAGAIN;
		return -1;
	}
	return syscall(SYS_preadv2, fd, iov, num, offset, 0, flags);
}

int posix_fadvise(int fd, off_t offset, off_t len, int advice)
{
	atomic_fetch_add(&reads_asked_for, 1);
	return syscall(SYS_fadvise64, fd, offset, len, advice) ? errno : 0;
}

static _Atomic unsigned int polls;
static void (*_Atomic while_polling)(const struct virtq_look *look);

/* Takes the place of the product's, which the driver would have to be quick for: what the driver does meanwhile is done here. */
bool busy_poll(struct busy_poll *bp, const struct virtq_look *look)
{
	void (*fn)(const struct virtq_look *) = while_polling;

	(void)bp;
	if (fn)
		fn(look);
	polls++;
	return virtq_has_more(look);
}

struct fixture {
	struct fake_platform fp;
	struct virtio_driver drv;
	struct tmpdir dir;
	char disk[PATH_MAX], other[PATH_MAX];
	struct drive_config config;
	bool own_thread; /* the device has one */
	uint16_t slot;	 /* where the next request's header and status are */
};

/* Each sector says its number; `mark` tells two files apart. */
static void make_disk(const char *path, uint64_t bytes, uint8_t mark)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	for (uint64_t at = 0; at < bytes; at += 512) {
		uint8_t sector[512];
		size_t n = bytes - at < 512 ? (size_t)(bytes - at) : 512;

		memset(sector, mark, sizeof(sector));
		sector[0] = (uint8_t)(at / 512);
		assert_int_equal(write(fd, sector, n), n);
	}
	close(fd);
}

static void plug(struct fixture *f)
{
	struct virtio_dev *vdev;
	struct err e;

	f->fp.p.one_loop = !f->own_thread;
	assert_int_equal(blk_new(&f->config, &f->fp.p, &vdev, &e), 0);
	drv_plug(&f->drv, &f->fp, vdev, "drive.test");
}

/* A new machine with what the configuration says now. */
static void replug(struct fixture *f)
{
	drv_unplug(&f->drv);
	fake_platform_fini(&f->fp);
	fake_platform_init(&f->fp);
	plug(f);
	f->slot = 0;
}

static int setup_engine(void **state, enum io_engine engine, bool own_thread)
{
	static char id[] = "test";
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(tmpdir_make(&f->dir), 0);
	strcpy(f->disk, tmpdir_file(&f->dir, "disk"));
	strcpy(f->other, tmpdir_file(&f->dir, "other"));
	make_disk(f->disk, SECTORS * 512, 0xd1);
	f->config.drive_id = id;
	f->config.path_on_host = f->disk;
	f->config.io_engine = engine;
	f->own_thread = own_thread;
	fake_platform_init(&f->fp);
	plug(f);
	*state = f;
	return 0;
}

static int setup(void **state)
{
	return setup_engine(state, IO_ENGINE_SYNC, false);
}

static int setup_thread(void **state)
{
	return setup_engine(state, IO_ENGINE_SYNC, true);
}

static int setup_async(void **state)
{
	return setup_engine(state, IO_ENGINE_ASYNC, false);
}

static int setup_async_thread(void **state)
{
	return setup_engine(state, IO_ENGINE_ASYNC, true);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	drv_unplug(&f->drv);
	fake_platform_fini(&f->fp);
	tmpdir_remove(&f->dir);
	free(f);
	return 0;
}

static struct ring_buf buf(gpa_t gpa, uint32_t len)
{
	return (struct ring_buf){ .gpa = gpa, .len = len };
}

static uint8_t *at(struct fixture *f, gpa_t gpa)
{
	return guest_ram(&f->fp.mem, gpa, 1);
}

static void put_header(struct fixture *f, gpa_t gpa, uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr header = { .type = type, .sector = sector };

	assert_true(mem_write(&f->fp.mem, gpa, &header, sizeof(header)));
}

static gpa_t status_gpa(uint16_t slot)
{
	return STATUS_GPA + slot % 256u;
}

/* Makes a request with these data buffers available and gives its slot, by which its status is found. */
static uint16_t submit(struct fixture *f, uint32_t type, uint64_t sector, const struct ring_buf *data, unsigned int num)
{
	uint16_t slot = f->slot++;
	gpa_t header = HEADER_GPA + slot % 256u * 16u;
	struct ring_buf bufs[258];

	put_header(f, header, type, sector);
	*at(f, status_gpa(slot)) = NO_STATUS;
	bufs[0] = buf(header, 16);
	memcpy(&bufs[1], data, num * sizeof(*data));
	bufs[1 + num] = buf(status_gpa(slot), 1);
	if (type == VIRTIO_BLK_T_OUT)
		ring_add(&f->drv.rings[0], bufs, 1 + num, &bufs[1 + num], 1);
	else
		ring_add(&f->drv.rings[0], bufs, 1, &bufs[1], num + 1);
	return slot;
}

/* Takes one used buffer and gives the status of the request in that slot; *len as the device says. */
static uint8_t status_of(struct fixture *f, uint16_t slot, uint32_t *len)
{
	struct ring_used used;
	bool there = ring_get_used(&f->drv.rings[0], &used);

	/* A thread of the device's own may not have seen the doorbell yet. */
	for (int ms = 0; !there && f->own_thread && ms < 10000; ms++) {
		usleep(1000);
		there = ring_get_used(&f->drv.rings[0], &used);
	}
	assert_true(there);
	if (len)
		*len = used.len;
	return *at(f, status_gpa(slot));
}

/* The whole way of a request with one data buffer. */
static uint8_t request(struct fixture *f, uint32_t type, uint64_t sector, gpa_t gpa, uint32_t len, uint32_t *used)
{
	struct ring_buf data = buf(gpa, len);
	uint16_t slot = submit(f, type, sector, &data, len ? 1 : 0);

	drv_kick(&f->drv, 0);
	return status_of(f, slot, used);
}

static void read_file(const char *path, uint64_t offset, void *data, size_t len)
{
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, data, len, (off_t)offset), len);
	close(fd);
}

static uint64_t capacity(struct fixture *f)
{
	return fake_read(&f->fp, f->drv.base + VIRTIO_MMIO_CONFIG, 8);
}

static void device_describes_its_disk(void **state)
{
	struct fixture *f = *state;
	const uint64_t always = FEATURE(VIRTIO_F_VERSION_1) | INDIRECT | EVENT_IDX | FEATURE(VIRTIO_BLK_F_SEG_MAX) |
				FEATURE(VIRTIO_BLK_F_SIZE_MAX);

	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_DEVICE_ID), 2);
	assert_int_equal(f->drv.vdev->offered, always | DISCARD | WRITE_ZEROES);
	assert_int_equal(capacity(f), SECTORS);
	assert_int_equal(fake_read(&f->fp, f->drv.base + VIRTIO_MMIO_CONFIG + 8, 4), 256 * 1024);
	assert_int_equal(fake_read(&f->fp, f->drv.base + VIRTIO_MMIO_CONFIG + 12, 4), 254);
	assert_int_equal(fake_read(&f->fp, f->drv.base + VIRTIO_MMIO_CONFIG + 14, 4), 0);
	assert_int_equal(fake_read(&f->fp, f->drv.base + VIRTIO_MMIO_CONFIG + 200, 8), 0);
	f->config.is_read_only = true;
	f->config.cache_type = CACHE_WRITEBACK;
	replug(f);
	assert_int_equal(f->drv.vdev->offered, always | RO | FLUSH);
}

static void sectors_are_read_and_written(void **state)
{
	struct fixture *f = *state;
	uint8_t disk[1024];
	uint32_t used;

	drv_start(&f->drv, 0, 1);
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, 3, DATA_GPA, 1024, &used), VIRTIO_BLK_S_OK);
	assert_int_equal(used, 1025);
	read_file(f->disk, 3 * 512, disk, 1024);
	assert_memory_equal(at(f, DATA_GPA), disk, 1024);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 1);

	memset(at(f, DATA_GPA), 0x5a, 1024);
	assert_int_equal(request(f, VIRTIO_BLK_T_OUT, 62, DATA_GPA, 1024, &used), VIRTIO_BLK_S_OK);
	assert_int_equal(used, 1);
	read_file(f->disk, 62 * 512, disk, 1024);
	assert_memory_equal(at(f, DATA_GPA), disk, 1024);
	read_file(f->disk, 61 * 512, disk, 512);
	assert_int_equal(disk[0], 61);
	assert_int_equal(disk[1], 0xd1);
}

static void a_file_system_that_cannot_tell_what_is_cached_is_asked_seldom(void **state)
{
	struct fixture *f = *state;

	cannot_tell = true;
	cached_tried = 0;
	drv_start(&f->drv, 0, 1);
	for (unsigned int i = 0; i < 5000; i++) {
		assert_int_equal(request(f, VIRTIO_BLK_T_IN, i % SECTORS, DATA_GPA, 512, NULL), VIRTIO_BLK_S_OK);
		assert_int_equal(*at(f, DATA_GPA), i % SECTORS);
	}
	cannot_tell = false;
	assert_int_equal(cached_tried, 2);
}

/* There is room for 256 in flight, a page or two each: whoever has two drives and a thousand clones should not pay for it. */
static void requests_that_never_were_in_flight_cost_no_memory(void **state)
{
	struct fixture *f = *state;
	unsigned int touched = 0;
	unsigned char there[1024];
	uintptr_t first, end;

	drv_start(&f->drv, 0, 1);
	for (unsigned int i = 0; i < 20; i++)
		assert_int_equal(request(f, VIRTIO_BLK_T_IN, 3, DATA_GPA, 1024, NULL), VIRTIO_BLK_S_OK);
	first = (uintptr_t)blk_from_vdev(f->drv.vdev)->pool & ~(uintptr_t)4095;
	end = (uintptr_t)(blk_from_vdev(f->drv.vdev)->pool + BLK_ENGINE_MAX_REQUESTS);
	assert_true(end - first < sizeof(there) * 4096);
	assert_int_equal(mincore((void *)first, end - first, there), 0);
	for (size_t page = 0; page < (end - first) / 4096; page++)
		touched += there[page] & 1;
	assert_in_range(touched, 1, 8);
}

static void request_may_be_cut_anywhere(void **state)
{
	/* Lengths of the descriptors: readable ones, 0 as end mark, then writable ones. The device must not care. */
	static const uint32_t reads[][16] = {
		{ 16, 0, 1024, 1 },
		{ 1, 15, 0, 1025 },
		{ 8, 8, 0, 1, 1023, 1 },
		{ 4, 4, 4, 4, 0, 1000, 25 },
		{ 16, 0, 511, 2, 500, 11, 1 },
		{ 20, 0, 1025 }, /* too much header is ignored */
	};
	struct fixture *f = *state;

	drv_start(&f->drv, INDIRECT, 1);
	for (size_t i = 0; i < 2 * ARRAY_SIZE(reads); i++) {
		const uint32_t *lens = reads[i / 2];
		struct ring_buf bufs[16];
		unsigned int num_out = 0, num_in = 0;
		gpa_t header = HEADER_GPA, data = DATA_GPA;
		struct ring_used used;

		put_header(f, HEADER_GPA, VIRTIO_BLK_T_IN, 5);
		memset(at(f, DATA_GPA), 0xee, 1100);
		for (; lens[num_out]; header += lens[num_out++])
			bufs[num_out] = buf(header, lens[num_out]);
		for (; lens[num_out + 1 + num_in]; data += lens[num_out + 1 + num_in++])
			bufs[num_out + num_in] = buf(data, lens[num_out + 1 + num_in]);
		if (i % 2)
			ring_add_indirect(&f->drv.rings[0], TABLE_GPA, bufs, num_out, &bufs[num_out], num_in);
		else
			ring_add(&f->drv.rings[0], bufs, num_out, &bufs[num_out], num_in);
		drv_kick(&f->drv, 0);
		assert_true(ring_get_used(&f->drv.rings[0], &used));
		assert_int_equal(used.len, 1025);
		assert_int_equal(at(f, DATA_GPA)[0], 5);
		assert_int_equal(at(f, DATA_GPA)[511], 0xd1);
		assert_int_equal(at(f, DATA_GPA)[512], 6);
		assert_int_equal(at(f, DATA_GPA)[1024], VIRTIO_BLK_S_OK);
		assert_int_equal(at(f, DATA_GPA)[1025], 0xee);
	}
}

static void largest_request_has_254_segments(void **state)
{
	struct fixture *f = *state;
	struct ring_buf data[254];
	uint8_t disk[SECTORS * 512];
	uint16_t slot;

	drv_start(&f->drv, 0, 1);
	for (unsigned int i = 0; i < 254; i++)
		data[i] = buf(DATA_GPA + (253 - i) * 1024u, 128); /* 31.75 KiB = 63.5 sectors */
	data[253].len = 384;
	slot = submit(f, VIRTIO_BLK_T_IN, 0, data, 254);
	drv_kick(&f->drv, 0);
	assert_int_equal(status_of(f, slot, NULL), VIRTIO_BLK_S_OK);
	read_file(f->disk, 0, disk, sizeof(disk));
	for (unsigned int i = 0; i < 254; i++)
		assert_memory_equal(at(f, data[i].gpa), disk + i * 128, data[i].len);

	for (unsigned int i = 0; i < 254; i++)
		memset(at(f, data[i].gpa), (int)i, data[i].len);
	slot = submit(f, VIRTIO_BLK_T_OUT, 0, data, 254);
	drv_kick(&f->drv, 0);
	assert_int_equal(status_of(f, slot, NULL), VIRTIO_BLK_S_OK);
	read_file(f->disk, 0, disk, sizeof(disk));
	for (unsigned int i = 0; i < 254; i++)
		assert_memory_equal(at(f, data[i].gpa), disk + i * 128, data[i].len);
}

static void requests_outside_the_disk_are_refused(void **state)
{
	static const struct {
		uint64_t sector;
		uint32_t len;
		uint8_t status;
	} cases[] = {
		{ SECTORS - 1, 512, VIRTIO_BLK_S_OK },
		{ SECTORS - 1, 1024, VIRTIO_BLK_S_IOERR },
		{ SECTORS, 512, VIRTIO_BLK_S_IOERR },
		{ SECTORS, 0, VIRTIO_BLK_S_OK },
		{ SECTORS + 1, 0, VIRTIO_BLK_S_IOERR },
		{ UINT64_MAX, 512, VIRTIO_BLK_S_IOERR },
		{ UINT64_MAX / 512, 512, VIRTIO_BLK_S_IOERR },
		{ UINT64_MAX / 512 + 1, 512, VIRTIO_BLK_S_IOERR }, /* byte offset 0, after a wrap */
		{ 1ull << 55, 512, VIRTIO_BLK_S_IOERR },
		{ 0, 511, VIRTIO_BLK_S_IOERR },
		{ 0, 513, VIRTIO_BLK_S_IOERR },
		{ 0, 1, VIRTIO_BLK_S_IOERR },
		{ 0, SECTORS * 512, VIRTIO_BLK_S_OK },
		{ 0, SECTORS * 512 + 512, VIRTIO_BLK_S_IOERR },
	};
	struct fixture *f = *state;
	uint32_t used;

	drv_start(&f->drv, 0, 1);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t in = request(f, VIRTIO_BLK_T_IN, cases[i].sector, DATA_GPA, cases[i].len, &used);

		assert_int_equal(in, cases[i].status);
		assert_int_equal(used, in ? 1 : cases[i].len + 1);
		assert_int_equal(request(f, VIRTIO_BLK_T_OUT, cases[i].sector, DATA_GPA, cases[i].len, &used),
				 cases[i].status);
	}
}

static void request_of_more_than_64_mib_is_refused(void **state)
{
	struct fixture *f = *state;
	struct ring_buf data[16];
	uint16_t slot;

	/* Sparse; the same 8 MiB of memory several times over. */
	assert_int_equal(truncate(f->disk, 1 << 30), 0);
	replug(f);
	drv_start(&f->drv, 0, 1);
	for (unsigned int i = 0; i < 16; i++)
		data[i] = buf(DATA_GPA, 8u << 20);
	slot = submit(f, VIRTIO_BLK_T_IN, 0, data, 8);
	drv_kick(&f->drv, 0);
	assert_int_equal(status_of(f, slot, NULL), VIRTIO_BLK_S_OK);
	slot = submit(f, VIRTIO_BLK_T_IN, 0, data, 9);
	drv_kick(&f->drv, 0);
	assert_int_equal(status_of(f, slot, NULL), VIRTIO_BLK_S_IOERR);
}

static void read_only_disk_is_not_written(void **state)
{
	struct fixture *f = *state;
	uint8_t disk[512];

	f->config.is_read_only = true;
	replug(f);
	drv_start(&f->drv, RO, 1);
	memset(at(f, DATA_GPA), 0x5a, 512);
	assert_int_equal(request(f, VIRTIO_BLK_T_OUT, 0, DATA_GPA, 512, NULL), VIRTIO_BLK_S_IOERR);
	read_file(f->disk, 0, disk, 512);
	assert_int_equal(disk[1], 0xd1);
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, 0, DATA_GPA, 512, NULL), VIRTIO_BLK_S_OK);
}

static void read_only_disk_may_be_a_file_that_nobody_may_write(void **state)
{
	struct fixture *f = *state;

	f->config.path_on_host = (char[]){ "/proc/self/exe" }; /* ETXTBSY for writers, whoever we are */
	f->config.is_read_only = true;
	replug(f);
	assert_true(capacity(f) > 0);
}

static void unknown_requests_are_unsupported(void **state)
{
	static const uint32_t types[] = { 2, 3, 5, 7, 9, 10, 11, 13, 14, 0x80000000u, 0x80000001u, UINT32_MAX };
	struct fixture *f = *state;
	uint32_t used;

	drv_start(&f->drv, 0, 1);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		assert_int_equal(request(f, types[i], 0, DATA_GPA, 512, &used), VIRTIO_BLK_S_UNSUPP);
		assert_int_equal(used, 1);
	}
	/* A flush is one of them if it was not negotiated. */
	assert_int_equal(request(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0, NULL), VIRTIO_BLK_S_UNSUPP);
}

/* Of the only drive that there is. */
static const struct block_metrics *counters(void)
{
	assert_non_null(block_metrics_section.ones);
	assert_null(block_metrics_section.ones->next);
	return block_metrics_section.ones->counters;
}

static void flush_is_carried_out_for_writeback(void **state)
{
	struct fixture *f = *state;

	f->config.cache_type = CACHE_WRITEBACK;
	replug(f);
	drv_start(&f->drv, FLUSH, 1);
	assert_int_equal(request(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0, NULL), VIRTIO_BLK_S_OK);
	assert_int_equal(request(f, VIRTIO_BLK_T_FLUSH, UINT64_MAX, 0, 0, NULL), VIRTIO_BLK_S_OK);
	assert_int_equal(counters()->flush_count, 2);
	drv_reset(&f->drv);
	f->slot = 0;
	drv_start(&f->drv, 0, 1); /* write-through then */
	assert_int_equal(request(f, VIRTIO_BLK_T_OUT, 0, DATA_GPA, 512, NULL), VIRTIO_BLK_S_OK);
}

static int flush_for_snapshot(struct fixture *f, struct err *e)
{
	int r;

	drv_pause(&f->drv);
	r = device_flush(f->drv.dev, e);
	drv_resume(&f->drv);
	return r;
}

static void flush_that_fails_at_a_snapshot_is_its_error_and_the_guest_learns_of_it(void **state)
{
	struct fixture *f = *state;
	struct err e;

	f->config.cache_type = CACHE_WRITEBACK;
	for (unsigned int negotiated = 0; negotiated < 2; negotiated++) {
		replug(f);
		drv_start(&f->drv, negotiated ? FLUSH : 0, 1);
		assert_int_equal(flush_for_snapshot(f, &e), 0);
		flushes_to_fail = 1;
		assert_int_equal(flush_for_snapshot(f, &e), -ENOSPC);
		assert_non_null(strstr(e.text, "drive test"));
		assert_non_null(strstr(e.text, "No space left on device"));
		/* The data may be gone, so no clone is made of a guest that does not know. */
		assert_int_equal(flush_for_snapshot(f, &e), -EIO);
		assert_non_null(strstr(e.text, "drive test"));
		assert_int_equal(request(f, negotiated ? VIRTIO_BLK_T_FLUSH : VIRTIO_BLK_T_OUT, 0, DATA_GPA,
					 negotiated ? 0 : 512, NULL),
				 VIRTIO_BLK_S_IOERR);
		assert_int_equal(flush_for_snapshot(f, &e), 0);
		assert_int_equal(request(f, VIRTIO_BLK_T_OUT, 0, DATA_GPA, 512, NULL), VIRTIO_BLK_S_OK);
	}
	f->config.cache_type = CACHE_UNSAFE;
	replug(f);
	flushes_to_fail = 1;
	assert_int_equal(flush_for_snapshot(f, &e), 0);
	flushes_to_fail = 0;
}

static void id_is_made_of_the_files_numbers(void **state)
{
	struct fixture *f = *state;
	char expected[80], id[21] = "";
	struct stat st;
	uint32_t used;

	assert_int_equal(stat(f->disk, &st), 0);
	memset(expected, 0, sizeof(expected));
	snprintf(expected, sizeof(expected), "%llu%llu%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_rdev, (unsigned long long)st.st_ino);
	drv_start(&f->drv, 0, 1);
	memset(at(f, DATA_GPA), 0xee, 64);
	assert_int_equal(request(f, VIRTIO_BLK_T_GET_ID, 0, DATA_GPA, 20, &used), VIRTIO_BLK_S_OK);
	assert_int_equal(used, 21);
	memcpy(id, at(f, DATA_GPA), 20);
	expected[20] = '\0';
	assert_string_equal(id, expected);
	assert_int_equal(at(f, DATA_GPA)[20], 0xee);
	assert_int_equal(request(f, VIRTIO_BLK_T_GET_ID, 0, DATA_GPA, 19, NULL), VIRTIO_BLK_S_IOERR);
}

static void malformed_requests_do_no_harm(void **state)
{
	struct fixture *f = *state;
	struct ring_driver *ring = &f->drv.rings[0];
	const struct ring_buf header = buf(HEADER_GPA, 16), short_header = buf(HEADER_GPA, 15),
			      data = buf(DATA_GPA, 512), outside = buf(FAKE_MEM_SIZE - 512, 1024),
			      status = buf(STATUS_GPA, 1), bad_status = buf(UINT64_MAX, 1), empty = buf(STATUS_GPA, 0);
	const struct ring_buf in[][2] = { { data, bad_status }, { outside, status }, { data, status } };
	struct ring_used used;

	drv_start(&f->drv, 0, 1);
	put_header(f, HEADER_GPA, VIRTIO_BLK_T_IN, 0);

	ring_add(ring, &header, 1, NULL, 0); /* no place for a status */
	ring_add(ring, &header, 1, &empty, 1);
	ring_add(ring, &header, 1, in[0], 2);
	drv_kick(&f->drv, 0);
	for (unsigned int i = 0; i < 3; i++) {
		assert_true(ring_get_used(ring, &used));
		assert_int_equal(used.len, 0);
	}
	for (unsigned int i = 0; i < 3; i++) {
		*at(f, STATUS_GPA) = NO_STATUS;
		memset(at(f, DATA_GPA), 0xee, 512);
		if (i == 0)
			ring_add(ring, &short_header, 1, in[2], 2);
		else if (i == 1)
			ring_add(ring, NULL, 0, in[2], 2); /* no header at all */
		else
			ring_add(ring, &header, 1, in[1], 2); /* data outside memory, status inside */
		drv_kick(&f->drv, 0);
		assert_true(ring_get_used(ring, &used));
		assert_int_equal(used.len, 1);
		assert_int_equal(*at(f, STATUS_GPA), VIRTIO_BLK_S_IOERR);
		assert_int_equal(at(f, DATA_GPA)[0], 0xee);
	}
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_STATUS), 15);
	f->slot = 8;
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, 0, DATA_GPA, 512, NULL), VIRTIO_BLK_S_OK);

	ring_publish(ring, 256);
	drv_kick(&f->drv, 0);
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_STATUS), 15 | VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void memory_that_is_gone_is_an_io_error(void **state)
{
	struct fixture *f = *state;
	struct ring_buf data[] = { buf(DATA_GPA, 4096), buf(DATA_GPA + 8192, 4096) };
	uint16_t slot;
	uint32_t used;

	drv_start(&f->drv, 0, 1);
	assert_int_equal(mprotect(at(f, DATA_GPA + 8192), 4096, PROT_NONE), 0);
	slot = submit(f, VIRTIO_BLK_T_IN, 0, data, 2);
	drv_kick(&f->drv, 0);
	assert_int_equal(status_of(f, slot, &used), VIRTIO_BLK_S_IOERR);
	assert_true(used <= 4097);
	assert_int_equal(mprotect(at(f, DATA_GPA + 8192), 4096, PROT_READ | PROT_WRITE), 0);
	slot = submit(f, VIRTIO_BLK_T_IN, 0, data, 2);
	drv_kick(&f->drv, 0);
	assert_int_equal(status_of(f, slot, &used), VIRTIO_BLK_S_OK);
}

static void file_that_shrinks_gives_io_errors(void **state)
{
	struct fixture *f = *state;
	uint32_t used;

	drv_start(&f->drv, 0, 1);
	assert_int_equal(truncate(f->disk, 10 * 512 + 100), 0);
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, 20, DATA_GPA, 512, &used), VIRTIO_BLK_S_IOERR);
	assert_int_equal(used, 1);
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, 10, DATA_GPA, 512, &used), VIRTIO_BLK_S_IOERR);
	assert_int_equal(used, 101);
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, 9, DATA_GPA, 512, &used), VIRTIO_BLK_S_OK);
}

static void bytes_behind_the_last_sector_are_not_seen(void **state)
{
	struct fixture *f = *state;

	make_disk(f->disk, 10 * 512 + 511, 1);
	replug(f);
	assert_int_equal(capacity(f), 10);
	drv_start(&f->drv, 0, 1);
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, 10, DATA_GPA, 512, NULL), VIRTIO_BLK_S_IOERR);
}

static void full_queue_is_served_with_one_notification(void **state)
{
	struct fixture *f = *state;

	for (unsigned int with_event_idx = 0; with_event_idx < 2; with_event_idx++) {
		struct ring_driver *ring = &f->drv.rings[0];
		struct ring_buf data;

		drv_reset(&f->drv);
		f->slot = 0;
		drv_start(&f->drv, with_event_idx ? EVENT_IDX : 0, 1);
		for (unsigned int i = 0; i < 85; i++) {
			data = buf(DATA_GPA + i * 512, 512);
			submit(f, VIRTIO_BLK_T_IN, i % SECTORS, &data, 1);
		}
		ring_set_used_event(ring, 84);
		(void)fake_irqs(&f->fp, f->drv.gsi);
		drv_kick(&f->drv, 0);
		assert_int_equal(ring_used_idx(ring), 85);
		if (with_event_idx) {
			assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 1);
			assert_int_equal(ring_avail_event(ring), 85);
		}
		for (unsigned int i = 0; i < 85; i++)
			assert_int_equal(at(f, DATA_GPA + i * 512)[0], i % SECTORS);
	}
}

static void throttled_request_waits_its_time(void **state)
{
	struct fixture *f = *state;
	uint64_t started_ns;
	struct ring_buf data = buf(DATA_GPA, 512);

	f->config.rate_limiter.bandwidth = (struct token_bucket_config){ .size = 1024, .refill_time_ms = 600 };
	replug(f);
	drv_start(&f->drv, EVENT_IDX, 1);
	started_ns = clock_now_ns();
	for (unsigned int i = 0; i < 3; i++)
		submit(f, VIRTIO_BLK_T_IN, i, &data, 1);
	drv_kick(&f->drv, 0);
	assert_int_equal(ring_used_idx(&f->drv.rings[0]), 2);
	/* What costs nothing has to wait behind it. */
	data.len = 20;
	submit(f, VIRTIO_BLK_T_GET_ID, 0, &data, 1);
	drv_kick(&f->drv, 0);
	assert_int_equal(ring_used_idx(&f->drv.rings[0]), 2);
	while (ring_used_idx(&f->drv.rings[0]) < 4 && clock_now_ns() - started_ns < 5000000000u)
		fake_run_ms(&f->fp, 20);
	assert_true(clock_now_ns() - started_ns >= 300000000u);
	assert_int_equal(ring_used_idx(&f->drv.rings[0]), 4);
}

static void reset_or_pause_leaves_the_timer_nothing_to_do(void **state)
{
	struct fixture *f = *state;
	struct ring_buf data = buf(DATA_GPA, 512);

	f->config.rate_limiter.ops = (struct token_bucket_config){ .size = 1, .refill_time_ms = 600 };
	for (unsigned int reset = 0; reset < 2; reset++) {
		replug(f);
		drv_start(&f->drv, 0, 1);
		submit(f, VIRTIO_BLK_T_IN, 0, &data, 1);
		submit(f, VIRTIO_BLK_T_IN, 1, &data, 1);
		drv_kick(&f->drv, 0);
		assert_int_equal(ring_used_idx(&f->drv.rings[0]), 1);
		if (reset)
			drv_reset(&f->drv);
		else
			drv_pause(&f->drv);
		fake_run_ms(&f->fp, 700);
		assert_int_equal(ring_used_idx(&f->drv.rings[0]), 1);
		if (!reset) {
			drv_resume(&f->drv);
			drv_settle(&f->drv);
		}
		assert_int_equal(ring_used_idx(&f->drv.rings[0]), reset ? 1 : 2);
	}
}

static int update(struct fixture *f, const struct drive_update *u, struct err *e)
{
	return blk_update(f->drv.vdev, u, e);
}

static void new_file_is_told_to_the_guest(void **state)
{
	struct fixture *f = *state;
	struct drive_update u = { .path_on_host = f->other };
	uint32_t generation;
	struct err e;

	make_disk(f->other, 200 * 512, 0xd2);
	drv_start(&f->drv, 0, 1);
	generation = drv_read(&f->drv, VIRTIO_MMIO_CONFIG_GENERATION);
	assert_int_equal(update(f, &u, &e), 0);
	assert_int_equal(capacity(f), 200);
	assert_int_not_equal(drv_read(&f->drv, VIRTIO_MMIO_CONFIG_GENERATION), generation);
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_INT_CONFIG);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 1);
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, 199, DATA_GPA, 512, NULL), VIRTIO_BLK_S_OK);
	assert_int_equal(at(f, DATA_GPA)[0], 199);
	assert_int_equal(at(f, DATA_GPA)[1], 0xd2);
}

static void failed_update_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct drive_update u = { .path_on_host = (char[]){ "/nonexistent/disk" }, .has_ops = true };
	struct ring_buf data = buf(DATA_GPA, 512);
	struct err e;

	u.rate_limiter.ops = (struct token_bucket_config){ .size = 1, .refill_time_ms = 3600000 };
	drv_start(&f->drv, 0, 1);
	assert_int_equal(update(f, &u, &e), -ENOENT);
	assert_non_null(strstr(e.text, "/nonexistent/disk"));
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 0);
	assert_int_equal(capacity(f), SECTORS);
	for (unsigned int i = 0; i < 4; i++)
		submit(f, VIRTIO_BLK_T_IN, 0, &data, 1);
	drv_kick(&f->drv, 0);
	assert_int_equal(ring_used_idx(&f->drv.rings[0]), 4);
}

static void file_that_cannot_be_flushed_is_not_exchanged(void **state)
{
	struct fixture *f = *state;
	struct drive_update u = { .path_on_host = f->other };
	struct err e;

	make_disk(f->other, 200 * 512, 0xd2);
	f->config.cache_type = CACHE_WRITEBACK;
	replug(f);
	drv_start(&f->drv, FLUSH, 1);
	flushes_to_fail = 1;
	assert_int_equal(update(f, &u, &e), -ENOSPC);
	assert_non_null(strstr(e.text, "drive test"));
	assert_int_equal(capacity(f), SECTORS);
	assert_int_equal(fake_irqs(&f->fp, f->drv.gsi), 0);
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, 3, DATA_GPA, 512, NULL), VIRTIO_BLK_S_OK);
	assert_int_equal(at(f, DATA_GPA)[1], 0xd1);
	/* Once the disk has room again the exchange works, and the guest's next flush says what happened to the old one. */
	assert_int_equal(update(f, &u, &e), 0);
	assert_int_equal(capacity(f), 200);
	assert_int_equal(request(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0, NULL), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0, NULL), VIRTIO_BLK_S_OK);
}

static void new_limits_hold_from_now_on(void **state)
{
	struct fixture *f = *state;
	struct drive_update u = { .has_ops = true };
	struct ring_buf data = buf(DATA_GPA, 512);
	struct err e;

	drv_start(&f->drv, 0, 1);
	u.rate_limiter.ops = (struct token_bucket_config){ .size = 2, .refill_time_ms = 3600000 };
	assert_int_equal(update(f, &u, &e), 0);
	for (unsigned int i = 0; i < 5; i++)
		submit(f, VIRTIO_BLK_T_IN, 0, &data, 1);
	drv_kick(&f->drv, 0);
	assert_int_equal(ring_used_idx(&f->drv.rings[0]), 2);
	/* A limit that is lifted lets go what waits. */
	u.rate_limiter.ops = (struct token_bucket_config){ .size = 0 };
	assert_int_equal(update(f, &u, &e), 0);
	drv_settle(&f->drv);
	assert_int_equal(ring_used_idx(&f->drv.rings[0]), 5);
}

static void bad_files_are_refused_in_a_sentence(void **state)
{
	struct fixture *f = *state;
	struct virtio_dev *vdev;
	const char *fifo = tmpdir_file(&f->dir, "fifo");
	static const char *const paths[] = { "/nonexistent/disk", "/dev/null", "/", NULL };
	struct err e;

	assert_int_equal(mkfifo(fifo, 0600), 0);
	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(paths); i++) {
		const char *path = paths[i / 2] ? paths[i / 2] : fifo;

		f->config.path_on_host = strdup(path);
		f->config.is_read_only = i % 2;
		e.text[0] = '\0';
		assert_true(blk_new(&f->config, &f->fp.p, &vdev, &e) < 0);
		assert_non_null(strstr(e.text, path));
		assert_non_null(strstr(e.text, "drive test"));
		free(f->config.path_on_host);
	}
	f->config.path_on_host = f->disk;
}

/* To root nothing is forbidden: it becomes somebody else for the test. */
static void file_without_permission_is_refused(void **state)
{
	struct fixture *f = *state;
	struct virtio_dev *vdev;
	bool root = geteuid() == 0;
	int writable, readable;
	struct err e;

	assert_int_equal(chmod(f->disk, 0444), 0);
	assert_int_equal(chmod(f->dir.path, 0755), 0);
	assert_false(root && seteuid(65534));
	writable = blk_new(&f->config, &f->fp.p, &vdev, &e);
	f->config.is_read_only = true;
	readable = blk_new(&f->config, &f->fp.p, &vdev, &e);
	assert_false(root && seteuid(0));
	assert_int_equal(writable, -EACCES);
	assert_int_equal(readable, 0);
	vdev->ops->free(vdev);
}

static void disk_survives_a_snapshot(void **state)
{
	struct fixture *f = *state, *g = calloc(1, sizeof(*g));
	struct ring_buf data = buf(DATA_GPA, 512);
	struct err e;
	uint8_t *bytes;
	size_t len;

	f->config.rate_limiter.ops = (struct token_bucket_config){ .size = 2, .refill_time_ms = 3600000 };
	f->config.cache_type = CACHE_WRITEBACK;
	replug(f);
	drv_start(&f->drv, EVENT_IDX | INDIRECT | FLUSH, 1);
	for (unsigned int i = 0; i < 3; i++)
		submit(f, VIRTIO_BLK_T_IN, i, &data, 1);
	drv_kick(&f->drv, 0);
	drv_pause(&f->drv);
	bytes = drv_save(&f->drv, &len);

	for (unsigned int grown = 0; grown < 2; grown++) {
		memset(g, 0, sizeof(*g));
		g->config = f->config;
		if (grown)
			make_disk(f->disk, 100 * 512, 0xd3);
		fake_platform_init(&g->fp);
		guest_copy(&g->fp.mem, &f->fp.mem);
		plug(g);
		drv_pause(&g->drv);
		assert_int_equal(drv_load(&g->drv, &f->drv, bytes, len, &e), 0);
		(void)fake_irqs(&g->fp, g->drv.gsi);
		drv_resume(&g->drv);
		drv_settle(&g->drv);
		/* The spent limit came along. A disk of another size is told of. */
		assert_int_equal(ring_used_idx(&g->drv.rings[0]), 2);
		assert_int_equal(drv_read(&g->drv, VIRTIO_MMIO_INTERRUPT_STATUS),
				 VIRTIO_INT_USED | (grown ? VIRTIO_INT_CONFIG : 0));
		assert_int_equal(fake_irqs(&g->fp, g->drv.gsi), 1);
		drv_unplug(&g->drv);
		fake_platform_fini(&g->fp);
	}
	free(bytes);
	free(g);
}

static uint8_t range_request(struct fixture *f, uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes range = { .sector = sector, .num_sectors = sectors, .flags = flags };
	struct ring_buf bufs[] = { buf(HEADER_GPA, 16), buf(TABLE_GPA, sizeof(range)) }, status = buf(STATUS_GPA, 1);

	put_header(f, HEADER_GPA, type, 0);
	assert_true(mem_write(&f->fp.mem, TABLE_GPA, &range, sizeof(range)));
	*at(f, STATUS_GPA) = NO_STATUS;
	ring_add(&f->drv.rings[0], bufs, 2, &status, 1);
	drv_kick(&f->drv, 0);
	return status_of(f, 0, NULL);
}

static void assert_sector_is_zero(struct fixture *f, uint64_t sector, bool zero)
{
	static const uint8_t zeros[512];
	uint8_t bytes[512];

	read_file(f->disk, sector * 512, bytes, sizeof(bytes));
	assert_int_equal(!memcmp(bytes, zeros, sizeof(zeros)), zero);
}

static void ranges_are_discarded_and_zeroed(void **state)
{
	struct fixture *f = *state;
	uint8_t status;

	drv_start(&f->drv, DISCARD | WRITE_ZEROES, 1);
	assert_int_equal(range_request(f, VIRTIO_BLK_T_DISCARD, 8, 16, 0), VIRTIO_BLK_S_OK);
	assert_sector_is_zero(f, 7, false);
	assert_sector_is_zero(f, 8, true);
	assert_sector_is_zero(f, 23, true);
	assert_sector_is_zero(f, 24, false);
	assert_int_equal(range_request(f, VIRTIO_BLK_T_WRITE_ZEROES, 63, 1, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP),
			 VIRTIO_BLK_S_OK);
	assert_sector_is_zero(f, 63, true);
	assert_sector_is_zero(f, 62, false);
	status = range_request(f, VIRTIO_BLK_T_WRITE_ZEROES, 32, 1, 0);
	/* Not every file system can keep the blocks; then the driver is told, and nothing is done. */
	assert_true(status == VIRTIO_BLK_S_OK || status == VIRTIO_BLK_S_UNSUPP);
	assert_sector_is_zero(f, 32, status == VIRTIO_BLK_S_OK);
	assert_sector_is_zero(f, 33, false);
	assert_int_equal(fake_read(&f->fp, f->drv.base + VIRTIO_MMIO_CONFIG + 36, 4), 2 << 20);
	assert_int_equal(fake_read(&f->fp, f->drv.base + VIRTIO_MMIO_CONFIG + 40, 4), 1);
	assert_int_equal(fake_read(&f->fp, f->drv.base + VIRTIO_MMIO_CONFIG + 56, 1), 1);
}

static void ranges_that_are_wrong_are_refused(void **state)
{
	struct fixture *f = *state;
	struct ring_buf bufs[] = { buf(HEADER_GPA, 16), buf(TABLE_GPA, 32) }, status = buf(STATUS_GPA, 1);

	drv_start(&f->drv, DISCARD | WRITE_ZEROES, 1);
	for (unsigned int i = 0; i < 2; i++) {
		uint32_t type = i ? VIRTIO_BLK_T_WRITE_ZEROES : VIRTIO_BLK_T_DISCARD;

		assert_int_equal(range_request(f, type, 64, 1, 0), VIRTIO_BLK_S_IOERR);
		assert_int_equal(range_request(f, type, 63, 2, 0), VIRTIO_BLK_S_IOERR);
		assert_int_equal(range_request(f, type, UINT64_MAX, 1, 0), VIRTIO_BLK_S_IOERR);
		assert_int_equal(range_request(f, type, 0, UINT32_MAX, 0), VIRTIO_BLK_S_IOERR);
		assert_int_equal(range_request(f, type, 0, 0, 0), VIRTIO_BLK_S_IOERR);
		assert_int_equal(range_request(f, type, 0, 1, 2), VIRTIO_BLK_S_UNSUPP);
		put_header(f, HEADER_GPA, type, 0);
		ring_add(&f->drv.rings[0], bufs, 2, &status, 1); /* two segments */
		drv_kick(&f->drv, 0);
		assert_int_equal(status_of(f, 0, NULL), VIRTIO_BLK_S_IOERR);
	}
	assert_int_equal(range_request(f, VIRTIO_BLK_T_DISCARD, 0, 1, 1), VIRTIO_BLK_S_UNSUPP);
	assert_sector_is_zero(f, 0, false);

	f->config.is_read_only = true;
	replug(f);
	assert_int_equal(f->drv.vdev->offered & (DISCARD | WRITE_ZEROES), 0);
	drv_start(&f->drv, 0, 1);
	assert_int_equal(range_request(f, VIRTIO_BLK_T_DISCARD, 0, 1, 0), VIRTIO_BLK_S_UNSUPP);
	assert_sector_is_zero(f, 0, false);
}

/* A request that the disk has not answered: the loop has turned, and waits for nothing. */
static void begin_slow_read(struct fixture *f, unsigned int num)
{
	struct ring_buf data = buf(DATA_GPA, 512);
	unsigned int before = atomic_load(&reads_begun);

	pthread_mutex_lock(&gate);
	for (unsigned int i = 0; i < num; i++)
		submit(f, VIRTIO_BLK_T_IN, i, &data, 1);
	drv_write(&f->drv, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	while (atomic_load(&reads_begun) == before)
		usleep(1000);
	assert_int_equal(ring_used_idx(&f->drv.rings[0]), 0);
}

static void reset_is_complete_when_nothing_is_in_flight(void **state)
{
	struct fixture *f = *state;
	uint32_t used;

	drv_start(&f->drv, 0, 1);
	begin_slow_read(f, 3);
	memset(at(f, DATA_GPA), 0, 512);
	drv_reset(&f->drv);
	assert_int_not_equal(drv_read(&f->drv, VIRTIO_MMIO_STATUS), 0);
	/* A driver that does not look changes nothing. */
	drv_write(&f->drv, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	drv_write(&f->drv, VIRTIO_MMIO_QUEUE_READY, 0);
	assert_int_equal(*at(f, DATA_GPA + 1), 0);
	pthread_mutex_unlock(&gate);
	drv_settle(&f->drv);
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_STATUS), 0);
	assert_int_equal(*at(f, DATA_GPA), 0); /* sector 0: only what had begun was read, and it ended before */
	assert_int_equal(ring_used_idx(&f->drv.rings[0]), 0);
	assert_int_equal(*at(f, status_gpa(0)), NO_STATUS);

	memset(at(f, DATA_GPA), 0, 512);
	drv_start(&f->drv, 0, 1);
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, 5, DATA_GPA, 512, &used), VIRTIO_BLK_S_OK);
	assert_int_equal(*at(f, DATA_GPA), 5);
}

static void draining_has_a_bound(void **state)
{
	struct fixture *f = *state;
	struct err e;

	drv_start(&f->drv, 0, 1);
	begin_slow_read(f, 3);
	device_pause(f->drv.dev);
	assert_int_equal(device_drain(f->drv.dev, 20, &e), -ETIMEDOUT);
	assert_non_null(strstr(e.text, "drive.test"));
	drv_resume(&f->drv);
	pthread_mutex_unlock(&gate);
	drv_pause(&f->drv); /* drains */
	assert_int_equal(ring_used_idx(&f->drv.rings[0]), 3);
	for (uint16_t slot = 0; slot < 3; slot++)
		assert_int_equal(*at(f, status_gpa(slot)), VIRTIO_BLK_S_OK);
}

static void file_in_use_is_not_exchanged(void **state)
{
	struct fixture *f = *state;
	struct drive_update u = { .path_on_host = f->other };
	struct err e;

	make_disk(f->other, 8 * 512, 0xd2);
	drv_start(&f->drv, 0, 1);
	begin_slow_read(f, 1);
	assert_int_equal(blk_update(f->drv.vdev, &u, &e), -EBUSY);
	assert_non_null(strstr(e.text, "requests have not ended"));
	pthread_mutex_unlock(&gate);
	assert_int_equal(blk_update(f->drv.vdev, &u, &e), 0);
	assert_int_equal(ring_used_idx(&f->drv.rings[0]), 1); /* of the old file */
	assert_int_equal(*at(f, DATA_GPA + 1), 0xd1);
}

static void registers_answer_while_a_disk_does_not(void **state)
{
	struct fixture *f = *state;

	drv_start(&f->drv, 0, 1);
	begin_slow_read(f, 1);
	assert_int_equal(drv_read(&f->drv, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_DRIVER_OK);
	assert_int_equal(capacity(f), SECTORS);
	pthread_mutex_unlock(&gate);
	drv_settle(&f->drv);
	assert_int_equal(ring_used_idx(&f->drv.rings[0]), 1);
}

/* The device has a thread: it answers in its own time. */
static void await_used(struct fixture *f, uint16_t idx)
{
	while (ring_used_idx(&f->drv.rings[0]) != idx)
		usleep(100);
}

/* Begins reads of sectors that are not in the page cache; how many of them the kernel is asked for before one is waited for. */
static unsigned int asked_for(struct fixture *f, const uint64_t *sectors, unsigned int num)
{
	struct ring_buf data = buf(DATA_GPA, 512);
	unsigned int begun = atomic_load(&reads_begun), asked = atomic_load(&reads_asked_for);
	uint16_t used = ring_used_idx(&f->drv.rings[0]);

	pthread_mutex_lock(&gate);
	for (unsigned int i = 0; i < num; i++)
		submit(f, VIRTIO_BLK_T_IN, sectors[i], &data, 1);
	drv_write(&f->drv, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	while (atomic_load(&reads_begun) == begun)
		usleep(1000);
	assert_int_equal(ring_used_idx(&f->drv.rings[0]), used);
	asked = atomic_load(&reads_asked_for) - asked;
	pthread_mutex_unlock(&gate);
	drv_settle(&f->drv);
	assert_int_equal(ring_used_idx(&f->drv.rings[0]), used + num);
	assert_int_equal(*at(f, DATA_GPA), sectors[num - 1]);
	return asked;
}

static void a_disk_is_asked_for_all_reads_before_one_is_waited_for(void **state)
{
	const uint64_t scattered[] = { 40, 8, 24, 50 }, in_a_row[] = { 8, 9, 10, 11 };
	struct fixture *f = *state;

	drv_start(&f->drv, 0, 1);
	assert_int_equal(asked_for(f, scattered, 4), 4);
	assert_int_equal(asked_for(f, in_a_row, 4), 1); /* the others are the kernel's read-ahead's */
}

static void what_is_in_the_page_cache_does_not_wait_for_the_disk(void **state)
{
	struct fixture *f = *state;
	struct ring_buf data = buf(DATA_GPA, 512);

	drv_start(&f->drv, 0, 1);
	atomic_store(&cold_from, 32 * 512);
	pthread_mutex_lock(&gate);
	submit(f, VIRTIO_BLK_T_IN, 40, &data, 1);
	submit(f, VIRTIO_BLK_T_IN, 2, &data, 1);
	submit(f, VIRTIO_BLK_T_IN, 3, &data, 1);
	drv_write(&f->drv, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	await_used(f, 2);
	assert_int_equal(*at(f, DATA_GPA), 3);
	assert_int_equal(*at(f, status_gpa(0)), NO_STATUS);
	pthread_mutex_unlock(&gate);
	await_used(f, 3);
	assert_int_equal(*at(f, DATA_GPA), 40);
	atomic_store(&cold_from, 0);
}

/* As many as fit, of every kind, with a reset in the middle of it. */
static void many_requests_are_all_answered(void **state)
{
	struct fixture *f = *state;
	struct ring_buf data = buf(DATA_GPA, 4096);
	uint16_t answered = 0;

	drv_start(&f->drv, FLUSH & f->drv.vdev->offered, 1);
	for (unsigned int round = 0; round < 50; round++) {
		for (unsigned int i = 0; i < 64; i++)
			submit(f, i % 3 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, i % 56, &data, 1);
		drv_write(&f->drv, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		if (round % 10 == 5) {
			drv_reset(&f->drv);
			while (drv_read(&f->drv, VIRTIO_MMIO_STATUS))
				usleep(100);
			drv_start(&f->drv, FLUSH & f->drv.vdev->offered, 1);
			answered = 0;
			continue;
		}
		answered = (uint16_t)(answered + 64);
		await_used(f, answered);
	}
	for (uint16_t slot = (uint16_t)(f->slot - 64); slot != f->slot; slot++)
		assert_int_equal(*at(f, status_gpa(slot)), VIRTIO_BLK_S_OK);
}

/* The guest rings once and adds more while the device works: it is seen without another ring, or asked for one. */
static void guest_that_keeps_adding_need_not_ring(void **state)
{
	struct fixture *f = *state;
	struct ring_buf data = buf(DATA_GPA, 512);
	struct ring_driver *ring = &f->drv.rings[0];

	drv_start(&f->drv, EVENT_IDX, 1);
	for (unsigned int n = 0; n < 3000; n++) {
		uint16_t old = ring->avail_idx;

		submit(f, VIRTIO_BLK_T_IN, n % SECTORS, &data, 1);
		/* As Linux does: the index first, then what the device asks for. */
		if ((uint16_t)(ring->avail_idx - ring_avail_event(ring) - 1) < (uint16_t)(ring->avail_idx - old))
			drv_write(&f->drv, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		if (n % 64 == 63)
			await_used(f, (uint16_t)(n + 1));
	}
	await_used(f, 3000);
}

static struct fixture *polled;
static atomic_bool looked_right;

/* On the device's thread. */
static void add_one(const struct virtq_look *look)
{
	struct ring_buf data = buf(DATA_GPA + 512, 512);
	bool had_more = virtq_has_more(look);

	while_polling = NULL;
	submit(polled, VIRTIO_BLK_T_IN, 4, &data, 1);
	looked_right = !had_more && virtq_has_more(look);
}

static void what_comes_while_the_thread_polls_need_not_ring(void **state)
{
	struct fixture *f = *state;
	struct ring_buf data = buf(DATA_GPA, 512);

	polled = f;
	looked_right = false;
	drv_start(&f->drv, EVENT_IDX, 1);
	submit(f, VIRTIO_BLK_T_IN, 3, &data, 1);
	while_polling = add_one;
	drv_write(&f->drv, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	await_used(f, 2);
	assert_true(looked_right);
	assert_int_equal(*at(f, DATA_GPA), 3);
	assert_int_equal(*at(f, DATA_GPA + 512), 4);
}

/* The machine's loop has others to serve. */
static void only_a_thread_of_its_own_polls(void **state)
{
	struct fixture *f = *state;
	unsigned int before = polls;

	drv_start(&f->drv, EVENT_IDX, 1);
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, 3, DATA_GPA, 512, NULL), VIRTIO_BLK_S_OK);
	assert_int_equal(polls, before);
}

static void machine_is_paused_and_resumed_while_a_disk_works(void **state)
{
	struct fixture *f = *state;
	struct ring_buf data = buf(DATA_GPA, 512);

	drv_start(&f->drv, EVENT_IDX, 1);
	for (uint16_t n = 0; n < 100; n++) {
		uint16_t used;

		submit(f, VIRTIO_BLK_T_IN, 0, &data, 1);
		drv_write(&f->drv, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		drv_pause(&f->drv);
		used = ring_used_idx(&f->drv.rings[0]);
		usleep(100);
		assert_int_equal(ring_used_idx(&f->drv.rings[0]), used);
		drv_resume(&f->drv);
		await_used(f, (uint16_t)(n + 1));
	}
}

static void file_is_exchanged_while_the_guest_reads(void **state)
{
	struct fixture *f = *state;
	struct ring_buf data = buf(DATA_GPA, 512);
	struct err e;

	make_disk(f->other, SECTORS * 512, 0xd2);
	drv_start(&f->drv, EVENT_IDX, 1);
	for (uint16_t n = 0; n < 50; n++) {
		struct drive_update u = { .path_on_host = n % 2 ? f->disk : f->other };

		submit(f, VIRTIO_BLK_T_IN, 0, &data, 1);
		drv_write(&f->drv, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		assert_int_equal(blk_update(f->drv.vdev, &u, &e), 0);
		await_used(f, (uint16_t)(2 * n + 1));
		submit(f, VIRTIO_BLK_T_IN, 0, &data, 1);
		drv_write(&f->drv, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		await_used(f, (uint16_t)(2 * n + 2));
		assert_int_equal(*at(f, DATA_GPA + 1), n % 2 ? 0xd1 : 0xd2);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define THREAD(name)                                                     \
	{                                                                \
		"own thread: " #name, name, setup_thread, teardown, NULL \
	}
#define ASYNC_THREAD(name)                                                            \
	{                                                                             \
		"async, own thread: " #name, name, setup_async_thread, teardown, NULL \
	}
#define ASYNC(name)                                                \
	{                                                          \
		"async: " #name, name, setup_async, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(device_describes_its_disk),
		T(sectors_are_read_and_written),
		T(a_file_system_that_cannot_tell_what_is_cached_is_asked_seldom),
		T(requests_that_never_were_in_flight_cost_no_memory),
		T(request_may_be_cut_anywhere),
		T(largest_request_has_254_segments),
		T(requests_outside_the_disk_are_refused),
		T(request_of_more_than_64_mib_is_refused),
		T(read_only_disk_is_not_written),
		T(read_only_disk_may_be_a_file_that_nobody_may_write),
		T(unknown_requests_are_unsupported),
		T(flush_is_carried_out_for_writeback),
		T(flush_that_fails_at_a_snapshot_is_its_error_and_the_guest_learns_of_it),
		T(id_is_made_of_the_files_numbers),
		T(malformed_requests_do_no_harm),
		T(memory_that_is_gone_is_an_io_error),
		T(file_that_shrinks_gives_io_errors),
		T(bytes_behind_the_last_sector_are_not_seen),
		T(full_queue_is_served_with_one_notification),
		T(throttled_request_waits_its_time),
		T(reset_or_pause_leaves_the_timer_nothing_to_do),
		T(new_file_is_told_to_the_guest),
		T(failed_update_changes_nothing),
		T(file_that_cannot_be_flushed_is_not_exchanged),
		T(new_limits_hold_from_now_on),
		T(bad_files_are_refused_in_a_sentence),
		T(file_without_permission_is_refused),
		T(disk_survives_a_snapshot),
		T(ranges_are_discarded_and_zeroed),
		T(ranges_that_are_wrong_are_refused),
		THREAD(registers_answer_while_a_disk_does_not),
		THREAD(reset_is_complete_when_nothing_is_in_flight),
		THREAD(draining_has_a_bound),
		THREAD(file_in_use_is_not_exchanged),
		THREAD(a_disk_is_asked_for_all_reads_before_one_is_waited_for),
		THREAD(what_is_in_the_page_cache_does_not_wait_for_the_disk),
		THREAD(many_requests_are_all_answered),
		THREAD(guest_that_keeps_adding_need_not_ring),
		THREAD(what_comes_while_the_thread_polls_need_not_ring),
		T(only_a_thread_of_its_own_polls),
		THREAD(machine_is_paused_and_resumed_while_a_disk_works),
		THREAD(file_is_exchanged_while_the_guest_reads),
		ASYNC(sectors_are_read_and_written),
		ASYNC(request_may_be_cut_anywhere),
		ASYNC(largest_request_has_254_segments),
		ASYNC(requests_outside_the_disk_are_refused),
		ASYNC(request_of_more_than_64_mib_is_refused),
		ASYNC(read_only_disk_is_not_written),
		ASYNC(unknown_requests_are_unsupported),
		ASYNC(malformed_requests_do_no_harm),
		ASYNC(memory_that_is_gone_is_an_io_error),
		ASYNC(file_that_shrinks_gives_io_errors),
		ASYNC(full_queue_is_served_with_one_notification),
		ASYNC(throttled_request_waits_its_time),
		ASYNC(reset_or_pause_leaves_the_timer_nothing_to_do),
		ASYNC(new_file_is_told_to_the_guest),
		ASYNC(disk_survives_a_snapshot),
		ASYNC(ranges_are_discarded_and_zeroed),
		ASYNC(ranges_that_are_wrong_are_refused),
		ASYNC_THREAD(many_requests_are_all_answered),
		ASYNC_THREAD(guest_that_keeps_adding_need_not_ring),
		ASYNC_THREAD(machine_is_paused_and_resumed_while_a_disk_works),
		ASYNC_THREAD(file_is_exchanged_while_the_guest_reads),
	};

	return cmocka_run_group_tests_name("blk", tests, NULL, NULL);
}
