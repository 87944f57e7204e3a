// SPDX-License-Identifier: Apache-2.0
/*
 * What a getrandom() costs by the time stamp counter, in the guest: cycles NAME BYTES CALLS prints NAME, BYTES and the least
 * of CALLS calls, less what it costs to look at the counter. NAME is what is called: getrandom, or vdso, which says "none" if
 * this kernel has none. What an interrupt falls into is not the least. On a processor that counts instructions as cycles,
 * bench/instructions has one, that is an exact number.
 */
#include "vdso.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <x86intrin.h>

static struct vdso_getrandom *vdso;

static ssize_t call_kernel(void *to, size_t len)
{
	return getrandom(to, len, 0);
}

static ssize_t call_vdso(void *to, size_t len)
{
	return vdso_getrandom(vdso, to, len, 0);
}

/* What is around the call as well. */
static ssize_t call_nothing(void *to, size_t len)
{
	(void)to;
	return (ssize_t)len;
}

/* The function is called by its address, so that all of them are called in the same way. */
static uint64_t least_cycles(ssize_t (*volatile call)(void *, size_t), size_t len, unsigned long calls)
{
	static unsigned char buf[65536];
	uint64_t least = UINT64_MAX;

	while (calls--) {
		ssize_t (*const now)(void *, size_t) = call;
		uint64_t start = __rdtsc(), took;
		ssize_t n = now(buf, len);

		took = __rdtsc() - start;
		if (n != (ssize_t)len)
			exit(EXIT_FAILURE);
		if (took < least)
			least = took;
	}
	return least;
}

int main(int argc, char **argv)
{
	unsigned long len, calls;
	bool kernel;

	if (argc != 4)
		return EXIT_FAILURE;
	kernel = !strcmp(argv[1], "getrandom");
	len = strtoul(argv[2], NULL, 10);
	calls = strtoul(argv[3], NULL, 10);
	if (!calls || len > 65536 || (!kernel && strcmp(argv[1], "vdso") != 0))
		return EXIT_FAILURE;
	vdso = kernel ? NULL : vdso_getrandom_new();
	if (!kernel && !vdso) {
		printf("%s %lu none\n", argv[1], len);
		return EXIT_SUCCESS;
	}
	printf("%s %lu %llu\n", argv[1], len,
	       (unsigned long long)(least_cycles(kernel ? call_kernel : call_vdso, len, calls) -
				    least_cycles(call_nothing, len, calls)));
	return EXIT_SUCCESS;
}
