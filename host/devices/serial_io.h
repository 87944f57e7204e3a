/* SPDX-License-Identifier: Apache-2.0 */
/* Where the UART's bytes come from and go to on the host: terminal handling, pipes, files. */
#ifndef DEVICES_SERIAL_IO_H
#define DEVICES_SERIAL_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct serial_io {
	int in_fd;  /* owned, -1: no input */
	int out_fd; /* owned */
};

/* path NULL: standard output, and standard input where it is a terminal in the foreground, a pipe or a socket. */
int serial_io_open(struct serial_io *io, const char *path, struct err *e) must_check;
void serial_io_close(struct serial_io *io); /* restores the terminal; accepts half-built */
/* Puts the terminal, if there is one, into raw mode: the guest gets each key, Ctrl-C too. */
void serial_io_raw(struct serial_io *io);
/* What would block is dropped: a guest must not stop because nobody reads its console. -errno. */
int serial_io_write(struct serial_io *io, uint8_t byte);

#endif
