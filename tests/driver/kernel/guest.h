/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs share that run as root in the machine of ./run: promises, files below /sys, modules. */
#ifndef TESTS_DRIVER_KERNEL_GUEST_H
#define TESTS_DRIVER_KERNEL_GUEST_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define DIR_0	"/sys/virtio-rng/virtio_rng.0/"
#define COUNTER DIR_0 "vm_gen_counter"
#define FAKE	"/sys/module/fake_rng/parameters/"

static unsigned int passed, failed;

static inline bool promise(bool kept, const char *what)
{
	printf("%s - %s\n", kept ? "ok" : "not ok", what);
	fflush(stdout);
	if (kept)
		passed++;
	else
		failed++;
	return kept;
}

static inline _Noreturn void stop(const char *what, const char *name)
{
	printf("not ok - cannot go on: %s %s: %s\n", what, name, strerror(errno));
	fflush(stdout);
	exit(1);
}

static inline void nap(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

static inline void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		stop("write", path);
	close(fd);
}

/* The first line of a file, without its end; "" if there is none. */
static inline const char *get(const char *path)
{
	static char buf[2][256];
	static unsigned int turn;
	char *line = buf[turn++ & 1];
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof(buf[0]) - 1);

	if (fd >= 0)
		close(fd);
	line[n > 0 ? n : 0] = 0;
	line[strcspn(line, "\n")] = 0;
	return line;
}

static inline unsigned long number(const char *path)
{
	return strtoul(get(path), NULL, 0);
}

static inline bool becomes(const char *path, unsigned long value)
{
	for (int i = 0; i < 400 && number(path) != value; i++)
		nap(10);
	return number(path) == value;
}

static inline void load(const char *file, const char *params)
{
	int fd = open(file, O_RDONLY);

	if (fd < 0 || syscall(SYS_finit_module, fd, params, 0))
		stop("load", file);
	close(fd);
}

static inline void unload(const char *name)
{
	if (syscall(SYS_delete_module, name, 0))
		stop("unload", name);
}

#endif
