// SPDX-License-Identifier: Apache-2.0
#include "base/syscalls.h"

#include <sys/syscall.h>
#include <unistd.h>

ssize_t sys_preadv2(int fd, const struct iovec *iov, int num, off_t offset, int flags)
{
	return syscall(SYS_preadv2, fd, iov, (long)num, offset, 0L, flags);
}
