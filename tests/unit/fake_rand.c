// SPDX-License-Identifier: Apache-2.0
#include "fake_rand.h"

#include <assert.h>
#include <errno.h>
#include <sys/random.h>

#include "base/rand.h"

static int calls_left = -1;
static unsigned int calls;

void fake_rand_set_calls_left(int left)
{
	calls_left = left;
}

unsigned int fake_rand_calls(void)
{
	unsigned int n = calls;

	calls = 0;
	return n;
}

int rand_bytes(void *buf, size_t len)
{
	unsigned char *at = buf;

	calls++;
	if (calls_left == 0)
		return -ENOSYS;
	if (calls_left > 0)
		calls_left--;
	while (len > 0) {
		ssize_t n = getrandom(at, len, 0);

		assert(n > 0);
		at += n;
		len -= (size_t)n;
	}
	return 0;
}
