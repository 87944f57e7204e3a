// SPDX-License-Identifier: Apache-2.0
/* The host side of the console: an outlet and an inlet, whatever the descriptors are, or a socket. */
#include "devices/serial_io.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "devices/devices.h"
#include "base/terminal.h"

#define SERIAL_IO_ROOM	       (256u * 1024) /* more than a kernel says while it boots */
#define SERIAL_IO_GATHER_MS    1	     /* nobody sees it, and it makes one write of hundreds */
#define SERIAL_IO_LAST_WAIT_MS 100

/* A terminal that is not ours has its own readers. */
static bool stdin_is_usable(void)
{
	struct stat st;

	if (isatty(STDIN_FILENO))
		return tcgetpgrp(STDIN_FILENO) >= 0;
	return fstat(STDIN_FILENO, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
}

/* fd is taken over, also on error. */
static int serial_io_set_output(struct serial_io *io, int fd)
{
	static const struct outlet_config config = {
		.name = "fc_console",
		.what = "the guest's console",
		.size = SERIAL_IO_ROOM,
		.gather_ms = SERIAL_IO_GATHER_MS,
		.lost = &uart_metrics.missed_write_count,
	};
	int r = outlet_new(&config, fd, &io->out);

	if (r < 0)
		close(fd);
	return r;
}

static int serial_io_open_path(struct serial_io *io, const char *path, struct err *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
	int r;

	if (fd < 0 && errno == ENXIO) /* a FIFO that nobody reads yet */
		fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, errno, "serial_out_path \"%s\" cannot be opened for writing", path);
	r = serial_io_set_output(io, fd);
	return r < 0 ? err_errno(e, -r, "serial_out_path \"%s\" cannot be used", path) : 0;
}

static int serial_io_open_standard(struct serial_io *io, struct err *e)
{
	int fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	int r = fd < 0 ? -errno : serial_io_set_output(io, fd);

	if (r < 0)
		return err_errno(e, -r, "standard output cannot be used for the serial console");
	r = stdin_is_usable() ? inlet_new("fc_input", STDIN_FILENO, &io->in) : 0;
	return r < 0 ? err_errno(e, -r, "standard input cannot be used for the serial console") : 0;
}

int serial_io_open(struct serial_io *io, const struct serial_config *config, struct loop *loop, loop_fn *on_input,
		   void *ctx, struct err *e)
{
	*io = (struct serial_io){ .loop = loop, .on_input = on_input, .ctx = ctx };
	if (config->serial_socket_path)
		return serial_socket_new(config->serial_socket_path, loop, on_input, ctx, &io->socket, e);
	if (config->serial_out_path)
		return serial_io_open_path(io, config->serial_out_path, e);
	return serial_io_open_standard(io, e);
}

static void serial_io_want_of_inlet(struct serial_io *io, bool wanted)
{
	if (!wanted) {
		loop_remove(io->in_source);
		io->in_source = NULL;
		return;
	}
	if (!io->in_source) {
		io->in_source = loop_add(io->loop, inlet_fd(io->in), EPOLLIN, io->on_input, io->ctx);
		if (!io->in_source)
			log_warn("standard input cannot be watched: %s", strerror(errno));
	}
	inlet_want(io->in);
}

void serial_io_want(struct serial_io *io, bool wanted)
{
	if (io->socket)
		serial_socket_want(io->socket, wanted);
	else if (io->in)
		serial_io_want_of_inlet(io, wanted);
}

ssize_t serial_io_take(struct serial_io *io, void *data, size_t max)
{
	if (io->socket)
		return serial_socket_take(io->socket, data, max);
	return io->in ? inlet_take(io->in, data, max) : 0;
}

void serial_io_raw(struct serial_io *io)
{
	if (io->in && !terminal_in_background(STDIN_FILENO))
		terminal_make_raw(STDIN_FILENO);
}

void serial_io_close(struct serial_io *io)
{
	bool had_input = io->in;

	loop_remove(io->in_source);
	serial_socket_free(io->socket);
	outlet_free(io->out, SERIAL_IO_LAST_WAIT_MS);
	inlet_free(io->in, SERIAL_IO_LAST_WAIT_MS);
	/* After the thread that makes it raw. */
	if (had_input)
		terminal_restore();
	*io = (struct serial_io){ .in = NULL, .out = NULL };
}

int serial_io_write(struct serial_io *io, uint8_t byte)
{
	return io->socket ? serial_socket_put(io->socket, byte) : outlet_put(io->out, &byte, 1);
}
