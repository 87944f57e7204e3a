/* SPDX-License-Identifier: Apache-2.0 */
/* Where the UART's bytes come from and go to on the host: terminal handling, pipes, files. Nothing here waits for them. */
#ifndef DEVICES_SERIAL_IO_H
#define DEVICES_SERIAL_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/inlet.h"
#include "base/outlet.h"

struct serial_io {
	struct inlet *in;   /* owned; NULL: no input */
	struct outlet *out; /* owned */
};

/* path NULL: standard output, and standard input where it is our terminal, a pipe or a socket. */
int serial_io_open(struct serial_io *io, const char *path, struct err *e) must_check;
/* Gives what was written last a moment to arrive, and restores the terminal; accepts half-built. */
void serial_io_close(struct serial_io *io);
/* Puts the terminal, if there is one and we are in its foreground, into raw mode: the guest gets each key, Ctrl-C too. */
void serial_io_raw(struct serial_io *io);
/* What there is no room for is dropped: a guest must not stop because nobody reads its console. -EAGAIN then, and counted. */
int serial_io_write(struct serial_io *io, uint8_t byte);

#endif
