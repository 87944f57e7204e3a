// SPDX-License-Identifier: Apache-2.0
/*
 * getrandom(2), whole. The kernel writes straight into the destination: no
 * copy of the bytes stays in the monitor, and a destination that is not
 * mapped any more (guest memory whose file shrank) is an error, not a signal.
 * By syscall(2): the function of glibc 2.41 and later writes there itself, in
 * the vDSO, and would fault.
 */
#include "base/rand.h"

#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

int rand_bytes(void *buf, size_t len)
{
	uint8_t *at = buf;

	while (len > 0) {
		ssize_t n = syscall(SYS_getrandom, at, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}
