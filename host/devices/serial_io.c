// SPDX-License-Identifier: Apache-2.0
/*
 * The host side of the console. The descriptors are opened anew through /proc:
 * O_NONBLOCK is a property of the open file, and standard output is shared with
 * the shell and with whoever else writes to the terminal.
 */
#include "devices/serial_io.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/terminal.h"

/* A regular file keeps its shared offset (">>" and "2>&1" must work), and never blocks. */
static int open_stdout(void)
{
	struct stat st;
	int fd = -1;

	if (fstat(STDOUT_FILENO, &st) == 0 && !S_ISREG(st.st_mode))
		fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	return fd;
}

/* A background job that touches its terminal is stopped by the kernel, so it gets no input. */
static bool stdin_is_usable(void)
{
	struct stat st;

	if (isatty(STDIN_FILENO))
		return tcgetpgrp(STDIN_FILENO) == getpgrp();
	return fstat(STDIN_FILENO, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
}

int serial_io_open(struct serial_io *io, const char *path, struct err *e)
{
	*io = (struct serial_io){ .in_fd = -1, .out_fd = -1 };
	if (path) {
		io->out_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
		if (io->out_fd < 0 && errno == ENXIO) /* a FIFO that nobody reads yet */
			io->out_fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		if (io->out_fd < 0)
			return err_errno(e, errno, "serial_out_path \"%s\" cannot be opened for writing", path);
		return 0;
	}
	io->out_fd = open_stdout();
	if (io->out_fd < 0)
		return err_errno(e, errno, "standard output cannot be used for the serial console");
	if (stdin_is_usable())
		io->in_fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	return 0;
}

void serial_io_raw(struct serial_io *io)
{
	if (io->in_fd >= 0)
		terminal_make_raw(io->in_fd);
}

void serial_io_close(struct serial_io *io)
{
	if (io->in_fd >= 0)
		terminal_restore();
	cleanup_close(&io->in_fd);
	cleanup_close(&io->out_fd);
	io->in_fd = -1;
	io->out_fd = -1;
}

int serial_io_write(struct serial_io *io, uint8_t byte)
{
	ssize_t n;

	do
		n = write(io->out_fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	return n == 1 ? 0 : -errno;
}
