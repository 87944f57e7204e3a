// SPDX-License-Identifier: Apache-2.0
/*
 * What a getrandom(2) costs, in the guest: getrandom BYTES CALLS SAMPLES prints the nanoseconds of a call, a line a sample.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
	static unsigned char buf[65536];
	unsigned long bytes, calls, samples;

	if (argc != 4)
		return EXIT_FAILURE;
	bytes = strtoul(argv[1], NULL, 10);
	calls = strtoul(argv[2], NULL, 10);
	samples = strtoul(argv[3], NULL, 10);
	if (!calls || bytes > sizeof(buf))
		return EXIT_FAILURE;
	while (samples--) {
		double start = now_ns();

		for (unsigned long i = 0; i < calls; i++) {
			if (getrandom(buf, bytes, 0) != (ssize_t)bytes)
				return EXIT_FAILURE;
		}
		printf("%.1f\n", (now_ns() - start) / (double)calls);
	}
	return EXIT_SUCCESS;
}
