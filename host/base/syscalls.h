/* SPDX-License-Identifier: Apache-2.0 */
/* System calls that have no function in some version of musl, to which the monitor is linked. */
#ifndef BASE_SYSCALLS_H
#define BASE_SYSCALLS_H

#include <linux/fs.h> /* RWF_NOWAIT */
#include <sys/uio.h>

/* preadv2(2); of musl since 1.2.5. */
ssize_t sys_preadv2(int fd, const struct iovec *iov, int num, off_t offset, int flags);

#endif
