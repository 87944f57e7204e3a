/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of a test's own, that goes away with everything in it. */
#ifndef TESTS_UNIT_TMPDIR_H
#define TESTS_UNIT_TMPDIR_H

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct tmpdir {
	char path[PATH_MAX / 4];
	char file[PATH_MAX]; /* the last name that tmpdir_file() gave */
};

static inline int tmpdir_make(struct tmpdir *dir)
{
	const char *base = getenv("TMPDIR");

	snprintf(dir->path, sizeof(dir->path), "%s/snapsafe-test-XXXXXX", base ? base : "/tmp");
	return mkdtemp(dir->path) ? 0 : -1;
}

static inline int tmpdir_remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void tmpdir_remove(struct tmpdir *dir)
{
	nftw(dir->path, tmpdir_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* "<directory>/<name>", valid until the next call. */
static inline const char *tmpdir_file(struct tmpdir *dir, const char *name)
{
	snprintf(dir->file, sizeof(dir->file), "%s/%s", dir->path, name);
	return dir->file;
}

/* Writes a whole file; 0 or -1. */
static inline int tmpdir_write(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = write(fd, data, len);
	close(fd);
	return n == (ssize_t)len ? 0 : -1;
}

/* Reads a file of at most size - 1 bytes as text; its length, or -1. */
static inline ssize_t tmpdir_read(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = read(fd, buf, size - 1);
	close(fd);
	buf[n > 0 ? n : 0] = '\0';
	return n;
}

#endif
