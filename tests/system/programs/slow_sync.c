// SPDX-License-Identifier: Apache-2.0
/* LD_PRELOAD: while the file $SLOW_SYNC is there, fsync(2) and fdatasync(2) take two seconds more. Only calls that a sandboxed monitor may make. */
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void wait_if_slow(void)
{
	const char *path = getenv("SLOW_SYNC");
	struct stat st;

	if (path && stat(path, &st) == 0)
		(void)poll(NULL, 0, 2000);
}

int fsync(int fd)
{
	wait_if_slow();
	return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	wait_if_slow();
	return (int)syscall(SYS_fdatasync, fd);
}
