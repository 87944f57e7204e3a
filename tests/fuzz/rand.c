// SPDX-License-Identifier: Apache-2.0
/* Takes the place of base/rand.c: bytes that are the same in each run, and run out when a target says so. */
#include "base/rand.h"

#include <string.h>

#include "fuzz.h"

static uint64_t state;
static int calls_left;

void fuzz_rand_start(void)
{
	state = 0x9e3779b97f4a7c15;
	calls_left = -1;
}

void fuzz_rand_set_calls_left(int calls)
{
	calls_left = calls;
}

int rand_bytes(void *buf, size_t len)
{
	uint8_t *at = buf;

	if (calls_left == 0)
		return -EIO;
	if (calls_left > 0)
		calls_left--;
	while (len > 0) {
		size_t n = len < sizeof(state) ? len : sizeof(state);

		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		memcpy(at, &state, n);
		at += n;
		len -= n;
	}
	return 0;
}
