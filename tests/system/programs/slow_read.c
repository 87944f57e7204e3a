// SPDX-License-Identifier: Apache-2.0
/* LD_PRELOAD: while the file $SLOW_READ is there, pread(2) of more than a page waits. Only calls that a sandboxed monitor may make. */
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static ssize_t slow_pread(int fd, void *buf, size_t len, off_t offset)
{
	const char *path = getenv("SLOW_READ");
	struct stat st;

	while (path && len > 4096 && stat(path, &st) == 0)
		(void)poll(NULL, 0, 20);
	return syscall(SYS_pread64, fd, buf, len, offset);
}

ssize_t pread(int fd, void *buf, size_t len, off_t offset)
{
	return slow_pread(fd, buf, len, offset);
}

ssize_t pread64(int fd, void *buf, size_t len, off_t offset)
{
	return slow_pread(fd, buf, len, offset);
}
