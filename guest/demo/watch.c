// SPDX-License-Identifier: Apache-2.0
/*
 * What test_mmap, test_poll and test_read share; see watch.h.
 */
#define _GNU_SOURCE /* ppoll */
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *watch_name = "test";
static const char *watch_path = "";
static volatile sig_atomic_t watch_signalled;
static sigset_t watch_outside_mask; /* as it was when the program started */

static void watch_on_signal(int signo)
{
	(void)signo;
	watch_signalled = 1;
}

bool watch_is_over(void)
{
	return watch_signalled;
}

_Noreturn void watch_fail(int err, const char *what)
{
	if (err)
		fprintf(stderr, "%s: %s %s: %s\n", watch_name, what, watch_path, strerror(err));
	else
		fprintf(stderr, "%s: %s %s\n", watch_name, watch_path, what);
	exit(EXIT_FAILURE);
}

/* The signals are let in only while waiting, so none is missed before it. */
static void watch_catch_signals(void)
{
	struct sigaction sa = { .sa_handler = watch_on_signal };
	sigset_t ours;

	sigemptyset(&sa.sa_mask);
	sigemptyset(&ours);
	sigaddset(&ours, SIGINT);
	sigaddset(&ours, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &ours, &watch_outside_mask) || sigaction(SIGINT, &sa, NULL) ||
	    sigaction(SIGTERM, &sa, NULL))
		watch_fail(errno, "cannot catch signals while watching");
}

int watch_open(int argc, char **argv, const char *how)
{
	struct stat st;
	int fd;

	if (argc > 0 && argv[0] && argv[0][0]) {
		const char *slash = strrchr(argv[0], '/');

		watch_name = slash ? slash + 1 : argv[0];
	}
	if (argc != 2 || !argv[1][0]) {
		fprintf(stderr,
			"usage: %s FILE  (FILE: the counter, as in /sys/virtio-rng/virtio_rng.0/vm_gen_counter; %s)\n",
			watch_name, how);
		exit(EXIT_FAILURE);
	}
	watch_path = argv[1];
	if (setvbuf(stdout, NULL, _IOLBF, 0))
		watch_fail(errno, "cannot set up the output while watching");

	fd = open(watch_path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		watch_fail(errno, "cannot open");
	if (fstat(fd, &st))
		watch_fail(errno, "cannot examine");
	if (!S_ISREG(st.st_mode))
		watch_fail(0, "is not a counter file: not a regular file");
	watch_catch_signals();
	return fd;
}

bool watch_read(int fd, watch_word *value)
{
	ssize_t n = read(fd, value, sizeof(*value));

	if (n == (ssize_t)sizeof(*value))
		return true;
	if (n < 0)
		watch_fail(errno, "cannot read");
	if (n > 0)
		watch_fail(0, "is not a counter file: too short");
	return false;
}

void watch_wait(int fd, long ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLPRI };
	struct timespec ts = {
		.tv_sec = ms / 1000,
		.tv_nsec = ms % 1000 * 1000000,
	};

	if (ppoll(&pfd, 1, ms < 0 ? NULL : &ts, &watch_outside_mask) < 0 && errno != EINTR)
		watch_fail(errno, "cannot wait for");
}

void watch_report(watch_word *known, watch_word now)
{
	if (now == *known)
		return;
	if (printf("VM generation counter changed! Old: %lu New: %lu\n", *known, now) < 0)
		watch_fail(errno, "cannot print what changed in");
	*known = now;
}
