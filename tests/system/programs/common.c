// SPDX-License-Identifier: Apache-2.0
/*
 * How many 16-byte strings stand at more than one place in the streams of
 * several files: every 16 bytes, at any offset, against all others.
 *
 * Usage: common STREAMS FILE...
 *
 * A file has STREAMS streams of 1 MiB. Prints the number of strings that were
 * there before, and the first of them as STREAM:OFFSET of both places.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STREAM_LEN (1 << 20)
#define STRING_LEN 16
#define STREAM_MAX 15 /* places in all of them are 24 bits */
#define SLOTS	   (1u << 25)

static uint8_t bytes[STREAM_MAX * STREAM_LEN];
static uint32_t slots[SLOTS]; /* place + 1 of a string; 0: free */

/* The bytes are random, or the test fails anyway: any eight of them are a hash. */
static uint32_t hash(const uint8_t *string)
{
	uint64_t half;

	memcpy(&half, string, sizeof(half));
	return (uint32_t)(half * UINT64_C(0x9e3779b97f4a7c15) >> 32) % SLOTS;
}

/* The place where the string has been seen before, or -1: then it is known from now on. */
static long look_up(uint32_t place)
{
	for (uint32_t n = hash(bytes + place);; n = (n + 1) % SLOTS) {
		if (!slots[n]) {
			slots[n] = place + 1;
			return -1;
		}
		if (memcmp(bytes + slots[n] - 1, bytes + place, STRING_LEN) == 0)
			return slots[n] - 1;
	}
}

static size_t read_streams(int streams, char **paths, int count)
{
	size_t len = (size_t)streams * STREAM_LEN, have = 0;

	for (int i = 0; i < count; i++, have += len) {
		FILE *f = fopen(paths[i], "rb");

		if (!f || have + len > sizeof(bytes) || fread(bytes + have, 1, len, f) != len) {
			fprintf(stderr, "common: %s: %s\n", paths[i],
				errno ? strerror(errno) : "too short or too much");
			exit(2);
		}
		fclose(f);
	}
	return have;
}

int main(int argc, char **argv)
{
	int streams = argc > 2 ? atoi(argv[1]) : 0;
	unsigned long common = 0;
	size_t len;

	if (streams < 1) {
		fprintf(stderr, "usage: common STREAMS FILE...\n");
		return 2;
	}
	len = read_streams(streams, argv + 2, argc - 2);
	for (uint32_t place = 0; place < len; place++) {
		long seen;

		if (place % STREAM_LEN > STREAM_LEN - STRING_LEN)
			continue;
		seen = look_up(place);
		if (seen >= 0 && !common++)
			printf("first at %ld:%ld and %u:%u\n", seen / STREAM_LEN, seen % STREAM_LEN, place / STREAM_LEN,
			       place % STREAM_LEN);
	}
	printf("common %lu\n", common);
	return 0;
}
