// SPDX-License-Identifier: Apache-2.0
/*
 * The block device without a machine around it: 4 KiB requests at random places
 * of a file, 32 in flight, from the doorbell to the used ring (guest.h), in
 * turns by each engine, by the way that they replaced, and by pread(2) and
 * pwrite(2) of one thread, which has nothing to hand over to anybody: what no
 * device that makes them one after the other can do better. The guest has a
 * processor of its own, as a vCPU that runs has: on one processor with the
 * device it is woken in a tenth of the time, and the scheduler would choose.
 *
 * Usage: bench_disk FILE                    throughput
 *        bench_disk FILE WAY TYPE N DEPTH   N requests, and how often the guest rang, on standard output
 *
 * Prints "name: median unit min max" a line, as bench/run wants it.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <linux/virtio_blk.h>

#include "base/log.h"
#include "bench.h"
#include "guest.h"

#define ROUNDS	 31
#define REQUESTS 2048u /* a round, of the file in the page cache; a quarter of it from the disk */
#define PLAIN	 GUEST_NUM_WAYS

struct series {
	const char *name;
	uint32_t type;
	bool cold;
};

static const struct series all_series[] = {
	{ "reads", VIRTIO_BLK_T_IN, false },
	{ "writes", VIRTIO_BLK_T_OUT, false },
	{ "reads from the disk", VIRTIO_BLK_T_IN, true },
};

static void plain_run(int fd, uint32_t type, unsigned int n)
{
	static uint8_t block[GUEST_BLOCK];
	static uint32_t random = 1;

	for (unsigned int i = 0; i < n; i++) {
		off_t at = (off_t)(guest_random_block(&random) * GUEST_BLOCK);
		ssize_t done = type == VIRTIO_BLK_T_IN ? pread(fd, block, GUEST_BLOCK, at)
						       : pwrite(fd, block, GUEST_BLOCK, at);

		if (done != (ssize_t)GUEST_BLOCK)
			exit(EXIT_FAILURE);
	}
}

struct figures {
	double per_ms; /* thousands of requests a second */
	double cpu_us; /* processor time a request, of everybody but the guest */
};

static double clock_us(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static struct figures run(struct guest *g, int fd, const struct series *s)
{
	unsigned int n = s->cold ? REQUESTS / 4 : REQUESTS;
	double start_us, all_us, guest_us;

	if (s->cold && (fdatasync(fd) || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED)))
		exit(EXIT_FAILURE);
	start_us = clock_us(CLOCK_MONOTONIC);
	all_us = clock_us(CLOCK_PROCESS_CPUTIME_ID);
	guest_us = clock_us(CLOCK_THREAD_CPUTIME_ID);
	if (g)
		guest_run(g, s->type, n, GUEST_MAX_DEPTH);
	else
		plain_run(fd, s->type, n);
	guest_us = g ? clock_us(CLOCK_THREAD_CPUTIME_ID) - guest_us : 0;
	all_us = clock_us(CLOCK_PROCESS_CPUTIME_ID) - all_us;
	return (struct figures){
		.per_ms = n * 1e3 / (clock_us(CLOCK_MONOTONIC) - start_us),
		.cpu_us = (all_us - guest_us) / n,
	};
}

static const char *way_name(int way, const struct series *s)
{
	if (way != PLAIN)
		return guest_way_name(way);
	return s->type == VIRTIO_BLK_T_IN ? "pread(2)" : "pwrite(2)";
}

static void report_way(const struct series *s, const char *way, const char *what, double *values, const char *unit)
{
	char name[80];

	snprintf(name, sizeof(name), "%s, %s%s", s->name, way, what);
	report(name, values, ROUNDS, unit);
}

static void bench_series(struct guest *const guests[], int fd, const struct series *s)
{
	double values[PLAIN + 1][ROUNDS], cpu[PLAIN + 1][ROUNDS], ratios[PLAIN + 1][ROUNDS];

	for (int round = -1; round < ROUNDS; round++) {
		for (int way = 0; way <= PLAIN; way++) {
			struct figures figures = run(way == PLAIN ? NULL : guests[way], fd, s);

			if (round < 0)
				continue;
			values[way][round] = figures.per_ms;
			cpu[way][round] = figures.cpu_us;
			ratios[way][round] = values[way][round] / values[GUEST_INLINE][round];
		}
	}
	for (int way = 0; way <= PLAIN; way++) {
		const char *name = way_name(way, s);

		report_way(s, name, "", values[way], "k/s");
		if (way != GUEST_INLINE)
			report_way(s, name, " / inline", ratios[way], "x");
		report_way(s, name, ", processor", cpu[way], "us");
	}
}

/* Without another thread nobody waits, and nothing hinges on which processors threads are on. */
static void bench_alone(char *path, int fd, const struct series *s)
{
	double cpu[PLAIN + 1][ROUNDS];
	struct guest *guests[PLAIN];

	for (int way = 0; way < PLAIN; way++)
		guests[way] = guest_new(path, way, true);
	for (int round = -1; round < ROUNDS; round++) {
		for (int way = 0; way <= PLAIN; way++) {
			struct figures figures = run(way == PLAIN ? NULL : guests[way], fd, s);

			if (round >= 0)
				cpu[way][round] = 1e3 / figures.per_ms;
		}
	}
	for (int way = 0; way <= PLAIN; way++)
		report_way(s, way_name(way, s), ", guest and device on one thread", cpu[way], "us");
	for (int way = 0; way < PLAIN; way++)
		guest_free(guests[way]);
}

/* The calling thread, and those that it starts from now on, to the first of the processors in all, or to the others. */
static void use_processors(const cpu_set_t *all, bool first)
{
	cpu_set_t some = *all, one;
	int cpu = 0;

	while (!CPU_ISSET(cpu, all))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	CPU_XOR(&some, all, &one);
	if (CPU_COUNT(all) > 1 && sched_setaffinity(0, sizeof(some), first ? &one : &some))
		exit(EXIT_FAILURE);
}

static int bench_throughput(char *path, int fd)
{
	struct guest *guests[GUEST_NUM_WAYS];
	cpu_set_t all;

	if (sched_getaffinity(0, sizeof(all), &all))
		return EXIT_FAILURE;
	use_processors(&all, false);
	for (int way = 0; way < GUEST_NUM_WAYS; way++)
		guests[way] = guest_new(path, way, false);
	use_processors(&all, true);
	for (size_t i = 0; i < sizeof(all_series) / sizeof(all_series[0]); i++)
		bench_series(guests, fd, &all_series[i]);
	for (int way = 0; way < GUEST_NUM_WAYS; way++)
		guest_free(guests[way]);
	for (size_t i = 0; i < sizeof(all_series) / sizeof(all_series[0]); i++) {
		if (!all_series[i].cold)
			bench_alone(path, fd, &all_series[i]);
	}
	return EXIT_SUCCESS;
}

/* For whoever counts system calls: the guest makes none but its rings, which are exits on a real machine. */
static int run_requests(char *path, char **argv)
{
	uint32_t type = !strcmp(argv[1], "read")    ? VIRTIO_BLK_T_IN
			: !strcmp(argv[1], "write") ? VIRTIO_BLK_T_OUT
						    : VIRTIO_BLK_T_FLUSH;
	int way = 0;
	struct guest *g;

	while (way < GUEST_NUM_WAYS && strcmp(guest_way_name(way), argv[0]) != 0)
		way++;
	if (way == GUEST_NUM_WAYS)
		return EXIT_FAILURE;
	g = guest_new(path, way, false);
	g->spins = true;
	guest_run(g, type, (unsigned int)atoi(argv[2]), (unsigned int)atoi(argv[3]));
	printf("%u\n", g->rings);
	guest_free(g);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	int fd = argc == 2 || argc == 6 ? open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;

	log_set_level(LOG_LEVEL_ERROR);
	if (fd < 0) {
		fprintf(stderr, "Usage: bench_disk FILE [WAY TYPE N DEPTH]\n");
		return EXIT_FAILURE;
	}
	if (argc == 6)
		return run_requests(argv[1], &argv[2]);
	for (uint64_t at = 0; at < GUEST_FILE_SIZE; at += GUEST_BLOCK) {
		static uint8_t block[GUEST_BLOCK] = { 1 };

		if (pwrite(fd, block, sizeof(block), (off_t)at) != sizeof(block))
			return EXIT_FAILURE;
	}
	return bench_throughput(argv[1], fd);
}
