// SPDX-License-Identifier: Apache-2.0
/*
 * The block device without a machine around it: 4 KiB requests at random places
 * of a file in the page cache, 32 in flight, from the doorbell to the used
 * ring, by each engine; in turns with pread(2) and pwrite(2) of the same by one
 * thread, which has nothing to hand over to anybody.
 *
 * Usage: bench_disk FILE
 *
 * Prints "name: median unit min max" a line, as bench/run wants it.
 */
#include "virtio/blk.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/virtio_blk.h>

#include "base/clock.h"
#include "base/log.h"
#include "virtio_driver.h"

#define DEPTH	   32u
#define BLOCK	   4096u
#define FILE_SIZE  (64ull << 20)
#define ROUNDS	   11
#define REQUESTS   1024u /* a round */
#define HEADER_GPA 0x80000u
#define STATUS_GPA 0x90000u

struct bench {
	struct fake_platform fp;
	struct virtio_driver drv;
	uint32_t type;
	uint32_t random;
	unsigned int to_send, to_come;
	unsigned int slot;
};

static uint64_t next_block(uint32_t *random)
{
	*random = *random * 1664525u + 1013904223u;
	return (*random >> 8) % (FILE_SIZE / BLOCK);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double report(const char *name, double *values, const char *unit)
{
	qsort(values, ROUNDS, sizeof(*values), compare);
	printf("%s: %.3f %s %.3f %.3f\n", name, values[ROUNDS / 2], unit, values[0], values[ROUNDS - 1]);
	return values[ROUNDS / 2];
}

static void send(struct bench *b)
{
	unsigned int n = b->slot++ % DEPTH;
	struct virtio_blk_outhdr header = { .type = b->type, .sector = next_block(&b->random) * (BLOCK / 512) };
	struct ring_buf head = { HEADER_GPA + n * 64, sizeof(header) }, data = { DRV_DATA_GPA + n * BLOCK, BLOCK };
	struct ring_buf status = { STATUS_GPA + n, 1 };

	assert_true(mem_write(&b->fp.mem, head.gpa, &header, sizeof(header)));
	if (b->type == VIRTIO_BLK_T_IN)
		ring_add(&b->drv.rings[0], &head, 1, (struct ring_buf[]){ data, status }, 2);
	else
		ring_add(&b->drv.rings[0], (struct ring_buf[]){ head, data }, 2, &status, 1);
	b->to_send--;
}

/* The guest: takes what came back, sends as much again. */
static int guest_turn(void *ctx)
{
	struct bench *b = ctx;
	unsigned int came = 0;
	struct ring_used used;

	while (ring_get_used(&b->drv.rings[0], &used))
		came++;
	b->to_come -= came;
	for (unsigned int i = 0; i < came && b->to_send; i++)
		send(b);
	if (came)
		drv_write(&b->drv, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	if (!b->to_come)
		loop_stop(b->fp.p.loop, 0);
	return b->to_come ? -1 : 0;
}

static double device_kiops(struct bench *b)
{
	uint64_t start_ns = clock_now_ns();

	b->to_send = b->to_come = REQUESTS;
	for (unsigned int i = 0; i < DEPTH; i++)
		send(b);
	drv_write(&b->drv, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	loop_set_hook(b->fp.p.loop, guest_turn, b);
	(void)loop_run(b->fp.p.loop);
	loop_set_hook(b->fp.p.loop, NULL, NULL);
	return REQUESTS * 1e6 / (double)(clock_now_ns() - start_ns);
}

static double plain_kiops(int fd, uint32_t type)
{
	static uint8_t block[BLOCK];
	static uint32_t random = 1;
	uint64_t start_ns = clock_now_ns();

	for (unsigned int i = 0; i < REQUESTS; i++) {
		off_t at = (off_t)(next_block(&random) * BLOCK);

		assert_int_equal(type == VIRTIO_BLK_T_IN ? pread(fd, block, BLOCK, at) : pwrite(fd, block, BLOCK, at),
				 BLOCK);
	}
	return REQUESTS * 1e6 / (double)(clock_now_ns() - start_ns);
}

static void bench_engine(char *path, int fd, enum io_engine engine, const char *engine_name, uint32_t type)
{
	struct drive_config config = { .drive_id = (char[]){ "disk" }, .path_on_host = path, .io_engine = engine };
	struct bench *b = calloc(1, sizeof(*b));
	double device[ROUNDS], plain[ROUNDS], ratio[ROUNDS];
	struct virtio_dev *vdev;
	char name[64];
	struct err e;

	assert_non_null(b);
	fake_platform_init(&b->fp);
	if (blk_new(&config, &b->fp.p, &vdev, &e)) {
		fprintf(stderr, "%s\n", e.text);
		exit(EXIT_FAILURE);
	}
	drv_plug(&b->drv, &b->fp, vdev, "drive.disk");
	drv_start(&b->drv, 0, 1);
	b->type = type;
	for (int round = 0; round < ROUNDS; round++) {
		device[round] = device_kiops(b);
		plain[round] = plain_kiops(fd, type);
		ratio[round] = device[round] / plain[round] * 100;
	}
	snprintf(name, sizeof(name), "%s, engine %s", type == VIRTIO_BLK_T_IN ? "reads" : "writes", engine_name);
	report(name, device, "k/s");
	report(type == VIRTIO_BLK_T_IN ? "pread(2)" : "pwrite(2)", plain, "k/s");
	report("of it", ratio, "%");
	drv_unplug(&b->drv);
	fake_platform_fini(&b->fp);
	free(b);
}

int main(int argc, char **argv)
{
	int fd = argc == 2 ? open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;

	log_set_level(LOG_LEVEL_ERROR);
	if (fd < 0) {
		fprintf(stderr, "Usage: bench_disk FILE\n");
		return EXIT_FAILURE;
	}
	for (uint64_t at = 0; at < FILE_SIZE; at += BLOCK)
		assert_int_equal(pwrite(fd, (uint8_t[BLOCK]){ 1 }, BLOCK, (off_t)at), BLOCK);
	bench_engine(argv[1], fd, IO_ENGINE_SYNC, "Sync", VIRTIO_BLK_T_IN);
	bench_engine(argv[1], fd, IO_ENGINE_SYNC, "Sync", VIRTIO_BLK_T_OUT);
	bench_engine(argv[1], fd, IO_ENGINE_ASYNC, "Async", VIRTIO_BLK_T_IN);
	bench_engine(argv[1], fd, IO_ENGINE_ASYNC, "Async", VIRTIO_BLK_T_OUT);
	return EXIT_SUCCESS;
}
