// SPDX-License-Identifier: Apache-2.0
/*
 * Settings first, then the descriptor, then raw mode: a handler that runs in
 * between finds either nothing to do or what it needs. TCSANOW waits for no
 * output: nothing here waits for the terminal's other end.
 */
#include "base/terminal.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <termios.h>
#include <unistd.h>

#define TERMINAL_NONE (-1)

static pthread_mutex_t terminal_lock = PTHREAD_MUTEX_INITIALIZER; /* one makes it raw at a time */
static struct termios terminal_before;
static _Atomic int terminal_fd = TERMINAL_NONE; /* borrowed; not TERMINAL_NONE: terminal_before is to be put back */
static atomic_bool terminal_ended;		/* the process ends: nobody makes it raw any more */

bool terminal_in_background(int fd)
{
	int saved = errno;
	pid_t foreground = tcgetpgrp(fd);

	errno = saved;
	return foreground >= 0 && foreground != getpgrp();
}

static void terminal_make_raw_locked(int fd)
{
	struct termios raw;

	if (atomic_load(&terminal_ended) || tcgetattr(fd, &raw) < 0)
		return;
	if (atomic_load(&terminal_fd) == TERMINAL_NONE) {
		terminal_before = raw;
		atomic_store(&terminal_fd, fd);
	}
	raw.c_iflag &= ~(tcflag_t)(ICRNL | IXON);
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG | IEXTEN);
	tcsetattr(fd, TCSANOW, &raw);
	if (atomic_load(&terminal_ended)) /* terminal_end() came in between, and may have been too early for us */
		tcsetattr(fd, TCSANOW, &terminal_before);
}

void terminal_make_raw(int fd)
{
	pthread_mutex_lock(&terminal_lock);
	terminal_make_raw_locked(fd);
	pthread_mutex_unlock(&terminal_lock);
}

void terminal_restore(void)
{
	int fd = atomic_exchange(&terminal_fd, TERMINAL_NONE);
	int saved = errno;

	if (fd != TERMINAL_NONE && !terminal_in_background(fd))
		tcsetattr(fd, TCSANOW, &terminal_before);
	errno = saved;
}

void terminal_end(void)
{
	int fd, saved = errno;

	atomic_store(&terminal_ended, true);
	fd = atomic_load(&terminal_fd);
	if (fd != TERMINAL_NONE && !terminal_in_background(fd))
		tcsetattr(fd, TCSANOW, &terminal_before);
	errno = saved;
}
