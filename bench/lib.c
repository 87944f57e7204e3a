// SPDX-License-Identifier: Apache-2.0
/*
 * What libsnapsafe costs beside getrandom(2) and OpenSSL's RAND_bytes().
 *
 * Usage: bench_lib [COUNTER]
 *
 * Each figure is the best of many short runs, in nanoseconds a call, so that
 * other work on the machine does not count; the three of a line take turns. The
 * ratios are what matters, times depend on the machine. Without COUNTER a counter page is
 * made: a sealed memory file that looks as the driver's page does. RAND_bytes()
 * is that of the providers in openssl.cnf.
 */
#include <fcntl.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "snapsafe.h"
#include "snapsafe_page.h"

#define RUNS 200

static struct snapsafe *handle;
static uint64_t sink;

static void call_token(void *buf, size_t len)
{
	struct snapsafe_token token = snapsafe_token(handle);

	(void)buf;
	(void)len;
	sink += (uint64_t)snapsafe_holds(handle, &token);
}

static void call_snapsafe(void *buf, size_t len)
{
	sink += (uint64_t)snapsafe_random(handle, buf, len);
}

static void call_getrandom(void *buf, size_t len)
{
	sink += (uint64_t)getrandom(buf, len, 0);
}

static void call_openssl(void *buf, size_t len)
{
	sink += (uint64_t)RAND_bytes(buf, (int)len);
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double measure(void (*call)(void *buf, size_t len), size_t len, int calls, double best)
{
	static uint8_t buf[4096];
	double start = now_ns(), took;

	for (int i = 0; i < calls; i++)
		call(buf, len);
	took = (now_ns() - start) / calls;
	return took < best ? took : best;
}

/* The loop is in the function: what a call of ours costs is of the size of a call through a pointer. */
static void print_generation(const char *name, struct snapsafe *s)
{
	double best = 1e18;

	for (int run = 0; run < RUNS; run++) {
		double start = now_ns(), took;

		for (int i = 0; i < 20000; i++)
			sink += snapsafe_generation(s);
		took = (now_ns() - start) / 20000;
		best = took < best ? took : best;
	}
	printf("%-27s%7.2f ns\n", name, best);
}

static void print_random(size_t len)
{
	double own = 1e18, kernel = 1e18, openssl = 1e18;

	for (int run = 0; run < RUNS; run++) {
		own = measure(call_snapsafe, len, 1000, own);
		kernel = measure(call_getrandom, len, 1000, kernel);
		openssl = measure(call_openssl, len, 1000, openssl);
	}
	printf("%6zu %9.1f ns %9.1f ns %9.1f ns %18.1f %19.1f\n", len, own, kernel, openssl, kernel / own,
	       openssl / own);
}

static const char *make_page(void)
{
	static char path[64];
	int fd = memfd_create("counter", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct snapsafe_page page = { .magic = SNAPSAFE_PAGE_MAGIC, .version = SNAPSAFE_PAGE_VERSION };

	memset(page.identity, 0xa5, sizeof(page.identity));
	if (fd < 0 || ftruncate(fd, 4096) < 0 || write(fd, &page, sizeof(page)) != (ssize_t)sizeof(page) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0)
		return NULL;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return path;
}

int main(int argc, char **argv)
{
	static const size_t lengths[] = { 16, 32, 64, 256, 512, 4096 };
	const char *path = argc > 1 ? argv[1] : make_page();
	struct snapsafe_info info = { .size = sizeof(info) };
	double token = 1e18;
	int r = path ? snapsafe_open(&handle, path) : -1;

	if (r || setenv("SNAPSAFE_DEVICE", path, 1) < 0) {
		fprintf(stderr, "bench_lib: cannot open %s: %s\n", path ? path : "a memory file", strerror(-r));
		return EXIT_FAILURE;
	}
	snapsafe_get_info(handle, &info);
	printf("counter %s, buffered: %s\n", path, info.features & SNAPSAFE_F_BUFFERED ? "yes" : "no");
	print_generation("generation", handle);
	print_generation("generation, default handle", NULL);
	for (int run = 0; run < RUNS; run++)
		token = measure(call_token, 0, 1000, token);
	printf("%-27s%7.2f ns\n", "token and holds", token);
	printf("%6s %12s %12s %12s %18s %19s\n", "bytes", "snapsafe", "getrandom", "RAND_bytes", "getrandom/snapsafe",
	       "RAND_bytes/snapsafe");
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		print_random(lengths[i]);
	return sink == 1;
}
