/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console on a Unix socket: one client at a time, who may go and come again, gets what the guest prints and types what
 * the guest reads. Nobody waits for a client: what it does not take, or nobody is there to take, is kept up to
 * SERIAL_SOCKET_KEPT bytes, the last ones.
 */
#ifndef DEVICES_SERIAL_SOCKET_H
#define DEVICES_SERIAL_SOCKET_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/loop.h"

#define SERIAL_SOCKET_KEPT (64u * 1024)

struct serial_socket;

/* Listens on path. on_input: there may be something to take; it is asked for by serial_socket_want(). Loop thread, as all but put. */
int serial_socket_new(const char *path, struct loop *loop, loop_fn *on_input, void *ctx, struct serial_socket **out,
		      struct err *e) must_check;
/* Sends what the client takes at once, and removes the socket's file. NULL is fine. */
void serial_socket_free(struct serial_socket *s);

/* Any thread. -EAGAIN if an older byte that nobody has taken had to go for this one; counted. */
int serial_socket_put(struct serial_socket *s, uint8_t byte);

/* wanted: on_input is called when the client has typed; else what it types stays with it. */
void serial_socket_want(struct serial_socket *s, bool wanted);
/* What was typed, at most max bytes; 0: nothing. */
ssize_t serial_socket_take(struct serial_socket *s, void *data, size_t max);

#endif
