// SPDX-License-Identifier: Apache-2.0
/*
 * Settings first, then the descriptor, then raw mode: a handler that runs in
 * between finds either nothing to do or what it needs.
 */
#include "base/terminal.h"

#include <errno.h>
#include <stdatomic.h>
#include <termios.h>

#define TERMINAL_NONE (-1)

static struct termios terminal_before;
static _Atomic int terminal_fd = TERMINAL_NONE; /* borrowed; not TERMINAL_NONE: terminal_before is to be put back */

void terminal_make_raw(int fd)
{
	struct termios raw;

	if (atomic_load(&terminal_fd) != TERMINAL_NONE || tcgetattr(fd, &terminal_before) < 0)
		return;
	raw = terminal_before;
	raw.c_iflag &= ~(tcflag_t)(ICRNL | IXON);
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG | IEXTEN);
	atomic_store(&terminal_fd, fd);
	if (tcsetattr(fd, TCSANOW, &raw) < 0)
		atomic_store(&terminal_fd, TERMINAL_NONE);
}

void terminal_restore(void)
{
	int fd = atomic_exchange(&terminal_fd, TERMINAL_NONE);
	int saved = errno;

	if (fd != TERMINAL_NONE)
		tcsetattr(fd, TCSANOW, &terminal_before);
	errno = saved;
}
