/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Huge pages of the host's, while a test runs. Whoever else does the same waits (a lock on the file, as in
 * tests/system/huge_pool.py), and what others use already stays theirs.
 */
#ifndef HUGE_POOL_H
#define HUGE_POOL_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define HUGE_POOL_LIMIT "/proc/sys/vm/nr_hugepages"
#define HUGE_POOL	"/sys/kernel/mm/hugepages/hugepages-2048kB/"

struct huge_pool {
	int fd;	     /* of the limit, locked; -1: there is none */
	long before; /* what the limit was */
};

/* -1: the host has no such pages. */
static inline long huge_pool_number(const char *path)
{
	char text[32];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return -1;
	text[n] = '\0';
	return strtol(text, NULL, 10);
}

static inline long huge_pool_left(void)
{
	return huge_pool_number(HUGE_POOL "free_hugepages") - huge_pool_number(HUGE_POOL "resv_hugepages");
}

static inline void huge_pool_set(const struct huge_pool *pool, long pages)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%ld", pages);

	(void)!pwrite(pool->fd, text, (size_t)len, 0); /* at 0: elsewhere it is ignored */
}

static inline void huge_pool_give(struct huge_pool *pool)
{
	if (pool->fd < 0)
		return;
	huge_pool_set(pool, pool->before);
	close(pool->fd);
	pool->fd = -1;
}

/* False: this user cannot, or the host has no memory for so many. */
static inline bool huge_pool_take(struct huge_pool *pool, long pages)
{
	pool->fd = open(HUGE_POOL_LIMIT, O_WRONLY | O_CLOEXEC);
	if (pool->fd < 0 || flock(pool->fd, LOCK_EX) < 0)
		return false;
	pool->before = huge_pool_number(HUGE_POOL "nr_hugepages");
	huge_pool_set(pool, pool->before - huge_pool_left() + pages);
	if (huge_pool_left() >= pages)
		return true;
	huge_pool_give(pool);
	return false;
}

#endif
