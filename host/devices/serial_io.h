/* SPDX-License-Identifier: Apache-2.0 */
/* Where the UART's bytes come from and go to on the host: terminal, pipes, files, a socket. Nothing here waits for them. */
#ifndef DEVICES_SERIAL_IO_H
#define DEVICES_SERIAL_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/inlet.h"
#include "base/loop.h"
#include "base/outlet.h"
#include "config/config.h"
#include "devices/serial_socket.h"

struct serial_io {
	struct inlet *in;   /* owned; NULL: no input, or the socket's */
	struct outlet *out; /* owned; NULL: it is the socket that has the output */
	struct serial_socket *socket;
	struct loop *loop; /* borrowed, as what follows */
	struct loop_source *in_source;
	loop_fn *on_input;
	void *ctx;
};

/*
 * As config says; without a path standard output, and standard input where it is our terminal, a pipe or a socket. on_input
 * is called on the loop when there may be something to take.
 */
int serial_io_open(struct serial_io *io, const struct serial_config *config, struct loop *loop, loop_fn *on_input,
		   void *ctx, struct err *e) must_check;
/* Gives what was written last a moment to arrive, and restores the terminal; accepts half-built. */
void serial_io_close(struct serial_io *io);
/* Puts the terminal, if there is one and we are in its foreground, into raw mode: the guest gets each key, Ctrl-C too. */
void serial_io_raw(struct serial_io *io);
/* What there is no room for is dropped: a guest must not stop because nobody reads its console. -EAGAIN then, and counted. */
int serial_io_write(struct serial_io *io, uint8_t byte);

/* Is input wanted? Loop thread. */
void serial_io_want(struct serial_io *io, bool wanted);
/* As inlet_take(). Loop thread. */
ssize_t serial_io_take(struct serial_io *io, void *data, size_t max);

#endif
