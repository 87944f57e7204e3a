/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that may wait for what nobody else may wait for: a descriptor whose
 * other end somebody outside controls. Nobody waits for such a thread either,
 * but for a time that it is given.
 */
#ifndef BASE_IO_THREAD_H
#define BASE_IO_THREAD_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/thread.h"

struct io_thread {
	struct thread thread;
	const char *name; /* at most 15 characters; also what the log shows */
	void (*run)(void *ctx);
	void (*destroy)(void *ctx); /* frees ctx, which this struct is a part of */
	void *ctx;
	_Atomic int state;
};

/*
 * What each such thread does first: its system call filter. false: the thread ends without having run. Set once, before the
 * first of them; without it they run as they are.
 */
void io_thread_set_enter(bool (*enter)(void));

/* name, run, destroy and ctx are filled in. Every signal is blocked in the new thread. -errno. */
int io_thread_start(struct io_thread *t);

/*
 * For a thread that has been told to end, by its own means. Gives it ms to do so, then destroys ctx; if it is stuck it is left
 * alone and destroys ctx itself, should it ever come back. Either way neither t nor ctx may be touched any more.
 */
void io_thread_end(struct io_thread *t, unsigned int ms);

/* Sleeps; async-signal-safe, and with a system call that every filter allows. */
void io_sleep_ms(unsigned int ms);

#endif
