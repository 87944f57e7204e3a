// SPDX-License-Identifier: Apache-2.0
/*
 * The entropy device without a machine around it: the device's own code, a
 * driver-side ring, no KVM. So its figures mean something on any host.
 *
 * Usage: bench_devices [leak | entropy]
 *
 * leak     One leak event with 4, 64, 256 armed requests, half of them fills of
 *          64 bytes, half copies of 8 bytes. Time of the device's leak handler:
 *          what is added between a snapshot and the guest's next instruction.
 * entropy  Requests of 64 KiB, 32 at a time, as far as the used ring, against
 *          getrandom(2) of 64 KiB into the same memory, in turns.
 *
 * Prints "name: median unit min max" a line, as bench/run wants it.
 */
#include "virtio/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "bench.h"
#include "guest_ram.h"
#include "virtio_driver.h"
#include "virtio_rng_leak.h"

#define LEAK_ROUNDS    401
#define ENTROPY_ROUNDS 201
#define BATCH	       32u /* what the device serves in one turn */
#define REQUEST	       (64u * 1024)
#define TABLES_GPA     0x80000u /* indirect tables: two descriptors each */

struct bench {
	struct fake_platform fp;
	struct virtio_driver drv;
};

static struct bench *bench_new(unsigned int num_queues)
{
	struct entropy_config config = { .present = true, .leak_reporting = true };
	struct bench *b = calloc(1, sizeof(*b));
	struct virtio_dev *vdev;
	struct err e;

	assert_non_null(b);
	fake_platform_init(&b->fp);
	assert_int_equal(rng_new(&config, &b->fp.p, &vdev, &e), 0);
	drv_plug(&b->drv, &b->fp, vdev, "entropy");
	drv_start(&b->drv, FEATURE(VIRTIO_RNG_F_LEAK) | FEATURE(VIRTIO_RING_F_INDIRECT_DESC), num_queues);
	return b;
}

static void bench_free(struct bench *b)
{
	drv_unplug(&b->drv);
	fake_platform_fini(&b->fp);
	free(b);
}

/* Indirect, so that 256 copies fit a ring of 256 descriptors. */
static void arm(struct bench *b, unsigned int q, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct ring_buf in = { .gpa = DRV_DATA_GPA + i * 64, .len = i % 2 ? 8 : 64 };
		struct ring_buf out = { .gpa = DRV_DATA_GPA + 0x10000 + i * 64, .len = 8 };

		ring_add_indirect(&b->drv.rings[q], TABLES_GPA + i * 32, &out, i % 2, &in, 1);
	}
}

static void bench_leak(unsigned int n)
{
	struct bench *b = bench_new(VIRTIO_RNG_NUM_QUEUES);
	unsigned int active = VIRTIO_RNG_LEAKQ1;
	double us[LEAK_ROUNDS];
	char name[64];

	for (int round = 0; round < LEAK_ROUNDS; round++) {
		struct ring_used used;
		uint64_t start_ns;
		unsigned int done = 0;
		struct err e;

		arm(b, active, n);
		drv_pause(&b->drv);
		start_ns = clock_now_ns();
		assert_int_equal(drv_leak(&b->drv, &e), 0);
		us[round] = (double)(clock_now_ns() - start_ns) / 1000;
		drv_resume(&b->drv);
		while (ring_get_used(&b->drv.rings[active], &used))
			done += used.len == (done % 2 ? 8 : 64);
		assert_int_equal(done, n);
		active = active == VIRTIO_RNG_LEAKQ1 ? VIRTIO_RNG_LEAKQ2 : VIRTIO_RNG_LEAKQ1;
	}
	snprintf(name, sizeof(name), "leak event, %u requests", n);
	report(name, us, LEAK_ROUNDS, "us");
	bench_free(b);
}

static double device_mib_s(struct bench *b)
{
	struct ring_used used;
	uint64_t start_ns;
	unsigned int done = 0;

	for (unsigned int i = 0; i < BATCH; i++) {
		struct ring_buf in = { .gpa = DRV_DATA_GPA + i * REQUEST, .len = REQUEST };

		ring_add(&b->drv.rings[VIRTIO_RNG_REQUESTQ], NULL, 0, &in, 1);
	}
	start_ns = clock_now_ns();
	drv_kick(&b->drv, VIRTIO_RNG_REQUESTQ);
	while (ring_get_used(&b->drv.rings[VIRTIO_RNG_REQUESTQ], &used))
		done += used.len == REQUEST;
	assert_int_equal(done, BATCH);
	return BATCH * REQUEST / 1048576.0 * 1e9 / (double)(clock_now_ns() - start_ns);
}

static double getrandom_mib_s(struct bench *b)
{
	uint64_t start_ns = clock_now_ns();

	for (unsigned int i = 0; i < BATCH; i++)
		assert_int_equal(getrandom(guest_ram(&b->fp.mem, DRV_DATA_GPA + i * REQUEST, REQUEST), REQUEST, 0),
				 REQUEST);
	return BATCH * REQUEST / 1048576.0 * 1e9 / (double)(clock_now_ns() - start_ns);
}

static void bench_entropy(void)
{
	double device[ENTROPY_ROUNDS], kernel[ENTROPY_ROUNDS], ratio[ENTROPY_ROUNDS];
	struct bench *b = bench_new(1);

	for (int round = 0; round < ENTROPY_ROUNDS; round++) {
		device[round] = device_mib_s(b);
		kernel[round] = getrandom_mib_s(b);
		ratio[round] = device[round] / kernel[round] * 100;
	}
	report("entropy queue, requests of 64 KiB", device, ENTROPY_ROUNDS, "MiB/s");
	report("getrandom(2) of 64 KiB", kernel, ENTROPY_ROUNDS, "MiB/s");
	report("entropy queue of getrandom(2)", ratio, ENTROPY_ROUNDS, "%");
	bench_free(b);
}

int main(int argc, char **argv)
{
	log_set_level(LOG_LEVEL_ERROR);
	if (argc < 2 || strcmp(argv[1], "leak") == 0) {
		static const unsigned int sizes[] = { 4, 64, 256 };

		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			bench_leak(sizes[i]);
	}
	if (argc < 2 || strcmp(argv[1], "entropy") == 0)
		bench_entropy();
	return EXIT_SUCCESS;
}
