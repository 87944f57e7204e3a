// SPDX-License-Identifier: Apache-2.0
/*
 * The event loop over epoll(7).
 *
 * Invariant: a source's memory lives until the round in which it was removed
 * is over, because epoll may already have reported it; `removed` keeps its
 * callback from being called. loop_stop() is one atomic operation and one
 * write(2): any thread and signal handlers may call it.
 */
#include "base/loop.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define LOOP_MAX_EVENTS 32
#define LOOP_RUNNING	INT64_MIN

struct loop_source {
	struct loop *loop; /* borrowed */
	int fd;		   /* borrowed, but owned if is_timer */
	bool is_timer;
	bool removed;
	loop_fn *fn;
	void *ctx;
	struct loop_source *next_dead;
};

struct loop {
	int epoll_fd;	      /* owned */
	int stop_fd;	      /* owned eventfd: wakes epoll_wait() */
	_Atomic int64_t stop; /* the code, or LOOP_RUNNING */
	unsigned int num_sources;
	struct loop_source *dead; /* removed in this round */
	loop_hook_fn *hook;
	void *hook_ctx;
};

struct loop *loop_new(void)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL };
	int errnum;

	if (!loop)
		return NULL;
	atomic_init(&loop->stop, LOOP_RUNNING);
	loop->stop_fd = -1;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		goto fail;
	loop->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->stop_fd < 0 || epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->stop_fd, &ev) < 0)
		goto fail;
	return loop;
fail:
	errnum = errno;
	loop_free(loop);
	errno = errnum;
	return NULL;
}

static void loop_bury(struct loop *loop)
{
	while (loop->dead) {
		struct loop_source *source = loop->dead;

		loop->dead = source->next_dead;
		free(source);
	}
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	assert(loop->num_sources == 0); /* a source that outlives its loop would point to freed memory */
	loop_bury(loop);
	if (loop->stop_fd >= 0)
		close(loop->stop_fd);
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	free(loop);
}

static struct loop_source *loop_add_source(struct loop *loop, int fd, uint32_t events, loop_fn *fn, void *ctx)
{
	struct loop_source *source = calloc(1, sizeof(*source));
	struct epoll_event ev = { .events = events, .data.ptr = source };

	if (!source)
		return NULL;
	source->loop = loop;
	source->fd = fd;
	source->fn = fn;
	source->ctx = ctx;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		int errnum = errno;

		free(source);
		errno = errnum;
		return NULL;
	}
	loop->num_sources++;
	return source;
}

struct loop_source *loop_add(struct loop *loop, int fd, uint32_t events, loop_fn *fn, void *ctx)
{
	return loop_add_source(loop, fd, events, fn, ctx);
}

void loop_set_events(struct loop_source *source, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = source };
	int r = epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &ev);

	assert(r == 0); /* fails only if the owner closed the descriptor under its source */
	(void)r;
}

void loop_remove(struct loop_source *source)
{
	if (!source)
		return;
	assert(!source->removed); /* each source is removed once, by its owner */
	epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	if (source->is_timer)
		close(source->fd);
	source->removed = true;
	source->next_dead = source->loop->dead;
	source->loop->dead = source;
	source->loop->num_sources--;
}

struct loop_source *loop_add_timer(struct loop *loop, loop_fn *fn, void *ctx)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	struct loop_source *timer;
	int errnum;

	if (fd < 0)
		return NULL;
	timer = loop_add_source(loop, fd, EPOLLIN, fn, ctx);
	if (!timer) {
		errnum = errno;
		close(fd);
		errno = errnum;
		return NULL;
	}
	timer->is_timer = true;
	return timer;
}

static struct timespec loop_timespec(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u) };
}

void loop_set_timer(struct loop_source *timer, uint64_t first_ns, uint64_t interval_ns)
{
	struct itimerspec spec = {
		.it_value = loop_timespec(first_ns),
		.it_interval = loop_timespec(first_ns ? interval_ns : 0),
	};
	int r = timerfd_settime(timer->fd, 0, &spec, NULL);

	assert(r == 0); /* fails only for a descriptor that is no timer */
	(void)r;
}

void loop_set_hook(struct loop *loop, loop_hook_fn *fn, void *ctx)
{
	loop->hook = fn;
	loop->hook_ctx = ctx;
}

static bool loop_stopped(struct loop *loop)
{
	return atomic_load(&loop->stop) != LOOP_RUNNING;
}

static void loop_dispatch(struct loop_source *source, uint32_t events)
{
	uint64_t expirations;

	if (source->removed)
		return;
	if (source->is_timer) {
		/* Nothing to read: an earlier callback of this round has set the timer anew. */
		if (read(source->fd, &expirations, sizeof(expirations)) < 0)
			return;
		events = 0;
	}
	source->fn(source->ctx, events);
}

static void loop_round(struct loop *loop, int timeout_ms)
{
	struct epoll_event events[LOOP_MAX_EVENTS];
	int n = epoll_wait(loop->epoll_fd, events, LOOP_MAX_EVENTS, timeout_ms);

	assert(n >= 0 || errno == EINTR); /* the epoll descriptor is ours */
	for (int i = 0; i < n && !loop_stopped(loop); i++) {
		if (events[i].data.ptr)
			loop_dispatch(events[i].data.ptr, events[i].events);
	}
	loop_bury(loop);
}

int loop_run(struct loop *loop)
{
	eventfd_t ignored;
	int64_t code;

	while (!loop_stopped(loop)) {
		int timeout_ms = loop->hook ? loop->hook(loop->hook_ctx) : -1;

		if (!loop_stopped(loop))
			loop_round(loop, timeout_ms);
	}
	/* Consumed: the loop can be run again, to let sources finish. */
	(void)eventfd_read(loop->stop_fd, &ignored);
	code = atomic_exchange(&loop->stop, LOOP_RUNNING);
	return (int)code;
}

void loop_stop(struct loop *loop, int code)
{
	int64_t expected = LOOP_RUNNING;
	int saved = errno;

	if (atomic_compare_exchange_strong(&loop->stop, &expected, (int64_t)code))
		(void)eventfd_write(loop->stop_fd, 1);
	errno = saved;
}
