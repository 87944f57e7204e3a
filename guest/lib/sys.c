// SPDX-License-Identifier: Apache-2.0
#include "sys.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * By syscall(): the C library's getrandom() is a cancellation point, and a
 * thread that ends in the middle would take a slot of the pool with it.
 */
int sns_sys_getrandom(void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len) {
		long n = syscall(SYS_getrandom, p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/*
 * Emulators of user programs are known to accept any advice and to do nothing:
 * one that accepts nonsense is not believed.
 */
void *sns_sys_map_wiped(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	if (madvise(p, len, -1) == 0 || madvise(p, len, MADV_WIPEONFORK) < 0) {
		munmap(p, len);
		return NULL;
	}
	(void)madvise(p, len, MADV_DONTDUMP);
	return p;
}
