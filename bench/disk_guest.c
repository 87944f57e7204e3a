// SPDX-License-Identifier: Apache-2.0
/*
 * What a guest does with a disk while bench/reference_block.py measures:
 * requests of 4 KiB at random places, so many in flight, past the guest's own
 * page cache. What has ended is asked for again at once, all of it by one
 * system call. Static: it gets into the guest on a drive of its own.
 *
 * Usage: bench_disk_guest DEVICE read|write DEPTH SPAN_MIB SECONDS
 *
 * The places are in the first SPAN_MIB of the device, others in each run. Prints
 * "rate N": requests a second.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/aio_abi.h>

#define BLOCK	  4096u
#define MAX_DEPTH 256u

static aio_context_t context;
static struct iocb requests[MAX_DEPTH];
static uint8_t blocks[MAX_DEPTH][BLOCK] __attribute__((aligned(BLOCK)));
static uint64_t num_blocks, random_state = 88172645463325252u;

static void die(const char *what)
{
	fprintf(stderr, "bench_disk_guest: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* A xorshift generator (Marsaglia, 2003). */
static uint64_t random_block(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % num_blocks;
}

static void submit(struct iocb **list, long num)
{
	for (long i = 0; i < num; i++)
		list[i]->aio_offset = (int64_t)(random_block() * BLOCK);
	for (long done = 0, n; done < num; done += n) {
		n = syscall(SYS_io_submit, context, num - done, list + done);
		if (n <= 0)
			die("io_submit");
	}
}

/* At least one; list gets those that have ended. */
static long reap(struct iocb **list, long min, long max)
{
	struct io_event events[MAX_DEPTH];
	long n = syscall(SYS_io_getevents, context, min, max, events, NULL);

	if (n <= 0)
		die("io_getevents");
	for (long i = 0; i < n; i++) {
		list[i] = (struct iocb *)(uintptr_t)events[i]
				  .obj; /* NOLINT(performance-no-int-to-ptr): the kernel's way */
		if (events[i].res != BLOCK) {
			errno = events[i].res < 0 ? (int)-events[i].res : EIO;
			die("a request");
		}
	}
	return n;
}

static double run(int fd, uint16_t opcode, long depth, double seconds)
{
	struct iocb *list[MAX_DEPTH];
	double begin = now_s(), end = begin;
	uint64_t ended = 0;
	long n = depth;

	for (long i = 0; i < depth; i++) {
		requests[i].aio_lio_opcode = opcode;
		requests[i].aio_fildes = (uint32_t)fd;
		requests[i].aio_buf = (uintptr_t)blocks[i];
		requests[i].aio_nbytes = BLOCK;
		list[i] = &requests[i];
	}
	while (end < begin + seconds) {
		submit(list, n);
		n = reap(list, 1, depth);
		ended += (uint64_t)n;
		end = now_s();
	}
	for (depth -= n; depth; depth -= n)
		n = reap(list, depth, depth);
	return (double)ended / (end - begin);
}

int main(int argc, char **argv)
{
	long depth = argc == 6 ? atol(argv[3]) : 0;
	uint16_t opcode = IOCB_CMD_PREAD;
	struct timespec seed;
	int fd;

	if (depth < 1 || depth > MAX_DEPTH)
		die("usage: see the source");
	if (!strcmp(argv[2], "write"))
		opcode = IOCB_CMD_PWRITE;
	fd = open(argv[1], O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		die(argv[1]);
	num_blocks = (uint64_t)atoll(argv[4]) * (1024 * 1024 / BLOCK);
	clock_gettime(CLOCK_REALTIME, &seed);
	random_state ^= (uint64_t)seed.tv_nsec << 20 ^ (uint64_t)seed.tv_sec;
	if (syscall(SYS_io_setup, depth, &context) < 0)
		die("io_setup");
	printf("rate %.1f\n", run(fd, opcode, depth, atof(argv[5])));
	return EXIT_SUCCESS;
}
