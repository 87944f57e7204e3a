// SPDX-License-Identifier: Apache-2.0
/* One atomic says who frees: the thread, if it was given up before it ended, else whoever ended it. */
#include "base/io_thread.h"

#include <poll.h>
#include <stddef.h>

#include "base/thread.h"

/* A filter is built on the stack (8 KiB); the rest is what the C library and a signal's frame take. */
#define IO_THREAD_STACK_SIZE (128u * 1024)

enum { IO_THREAD_RUNS, IO_THREAD_ENDED, IO_THREAD_GIVEN_UP };

static bool (*io_thread_enter)(void); /* set once, before there is a second thread */

void io_thread_set_enter(bool (*enter)(void))
{
	io_thread_enter = enter;
}

static void *io_thread_main(void *arg)
{
	struct io_thread *t = arg;
	void (*destroy)(void *ctx) = t->destroy;
	void *ctx = t->ctx;

	thread_set_name(t->name);
	if (!io_thread_enter || io_thread_enter())
		t->run(ctx);
	if (atomic_exchange(&t->state, IO_THREAD_ENDED) == IO_THREAD_GIVEN_UP)
		destroy(ctx);
	return NULL;
}

int io_thread_start(struct io_thread *t)
{
	atomic_init(&t->state, IO_THREAD_RUNS);
	return thread_start(&t->thread, IO_THREAD_STACK_SIZE, io_thread_main, t);
}

void io_thread_end(struct io_thread *t, unsigned int ms)
{
	void (*destroy)(void *ctx) = t->destroy;
	void *ctx = t->ctx;
	pthread_t id = t->thread.id;
	int runs = IO_THREAD_RUNS;

	while (atomic_load(&t->state) == IO_THREAD_RUNS && ms-- > 0)
		io_sleep_ms(1);
	if (atomic_compare_exchange_strong(&t->state, &runs, IO_THREAD_GIVEN_UP)) {
		pthread_detach(id);
		return;
	}
	pthread_join(id, NULL);
	destroy(ctx);
}

void io_sleep_ms(unsigned int ms)
{
	(void)poll(NULL, 0, (int)ms);
}
