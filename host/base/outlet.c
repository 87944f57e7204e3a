// SPDX-License-Identifier: Apache-2.0
/*
 * Theory of operation. No way of writing is safe for all descriptors that one
 * can be started with: O_NONBLOCK belongs to an open file that the shell
 * shares; /proc, by which it could be opened anew, need not be there, and does
 * not help for a socket or another user's pipe; poll(2) promises less than a
 * line to a terminal; a regular file may lie on a server that has gone. So the
 * one who writes is a thread for whom nobody waits, whatever the descriptor is.
 *
 * The thread copies a chunk out of the ring under the lock and writes it
 * without. used counts the bytes that are not yet written, those of the chunk
 * included. Where lines are put, a chunk is a line: one write(2) appends it
 * whole, whoever else writes to the file.
 *
 * idle is set by the thread, under the lock, when it has found nothing to do;
 * who puts something then takes idle away and posts. So there is one post for
 * a burst, not one for each byte.
 */
#include "base/outlet.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io_thread.h"
#include "base/log.h"
#include "base/metrics.h"

#define OUTLET_CHUNK	4096u /* for bytes; a page, which is also what a pipe takes at once */
#define OUTLET_RETRY_MS 100
#define OUTLET_CRASH_MS 100

struct outlet {
	struct outlet_config config;
	struct io_thread thread;
	int fd; /* owned */
	sem_t work;
	pthread_mutex_t lock; /* guards ring, head and idle; held for a copy at most */
	size_t head;
	bool idle;
	_Atomic size_t used; /* changed under the lock; an atomic for outlet_drain(), which takes none */
	_Atomic bool ending;
	_Atomic int error;
	bool said;	   /* thread only, as is the chunk */
	char *chunk;	   /* behind the ring */
	size_t chunk_size; /* as many as the ring has, for lines */
	char ring[];
};

static void outlet_count_lost(struct outlet *o, size_t len)
{
	if (o->config.lost)
		atomic_fetch_add_explicit(o->config.lost, o->config.lines ? 1 : len, memory_order_relaxed);
}

/* Bytes written, or -errno. This, and this alone, may wait for ever. */
static ssize_t outlet_write(struct outlet *o, const char *data, size_t len)
{
	struct pollfd p = { .fd = o->fd, .events = POLLOUT };

	for (;;) {
		ssize_t n = write(o->fd, data, len);

		if (n > 0)
			return n;
		if (n == 0)
			return -EIO;
		if (errno == EAGAIN) {
			(void)poll(&p, 1, -1);
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno == EPIPE) /* SIGPIPE is blocked, or ignored */
			metric_inc(signals, sigpipe);
		return -errno;
	}
}

/* Whether the rest of a line is worth another try: somebody may make room, and the file should hold whole lines. */
static bool outlet_retries(const struct outlet *o, size_t done, ssize_t error)
{
	return o->config.lines && done > 0 && !o->ending && (error == -ENOSPC || error == -EDQUOT || error == -EFBIG);
}

static void outlet_fail(struct outlet *o, ssize_t error, size_t lost)
{
	outlet_count_lost(o, lost);
	atomic_store(&o->error, (int)error);
	if (o->config.what && !o->said)
		log_warn("%s cannot be written: %s; what is lost is counted, and this is not said again",
			 o->config.what, strerror((int)-error));
	o->said = true;
}

/* A write that fails loses its chunk: it would fail again, and the next bytes want their chance. */
static void outlet_write_chunk(struct outlet *o, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = outlet_write(o, o->chunk + done, len - done);

		if (n >= 0) {
			done += (size_t)n;
		} else if (outlet_retries(o, done, n)) {
			io_sleep_ms(OUTLET_RETRY_MS);
		} else {
			outlet_fail(o, n, len - done);
			return;
		}
	}
}

/* Under the lock. The bytes of the next chunk, which may wrap round the ring's end. */
static size_t outlet_fill_chunk(struct outlet *o)
{
	size_t len = o->used < o->chunk_size ? o->used : o->chunk_size;
	size_t to_end = o->config.size - o->head;
	size_t first = len < to_end ? len : to_end;
	const char *newline;

	memcpy(o->chunk, o->ring + o->head, first);
	memcpy(o->chunk + first, o->ring, len - first);
	newline = o->config.lines ? memchr(o->chunk, '\n', len) : NULL;
	return newline ? (size_t)(newline + 1 - o->chunk) : len;
}

/* Waits for bytes and makes a chunk of them; its length, 0: none will come. */
static size_t outlet_wait(struct outlet *o)
{
	size_t len;
	bool wait;

	for (;;) {
		pthread_mutex_lock(&o->lock);
		len = outlet_fill_chunk(o);
		wait = len == 0 && !o->ending;
		o->idle = wait;
		pthread_mutex_unlock(&o->lock);
		if (!wait)
			return len;
		while (sem_wait(&o->work) < 0) /* EINTR */
			;
		if (o->config.gather_ms)
			io_sleep_ms(o->config.gather_ms);
	}
}

static void outlet_run(void *ctx)
{
	struct outlet *o = ctx;
	size_t len;

	while ((len = outlet_wait(o)) > 0) {
		outlet_write_chunk(o, len);
		pthread_mutex_lock(&o->lock);
		o->used -= len;
		/* From the start again when empty: a ring that is seldom full touches few of its pages. */
		o->head = o->used ? (o->head + len) % o->config.size : 0;
		pthread_mutex_unlock(&o->lock);
	}
}

static void outlet_destroy(void *ctx)
{
	struct outlet *o = ctx;

	close(o->fd);
	sem_destroy(&o->work);
	pthread_mutex_destroy(&o->lock);
	free(o);
}

int outlet_new(const struct outlet_config *config, int fd, struct outlet **out)
{
	size_t chunk_size = config->lines ? config->size : OUTLET_CHUNK;
	struct outlet *o = calloc(1, sizeof(*o) + config->size + chunk_size);
	int r;

	if (!o)
		return -ENOMEM;
	o->config = *config;
	o->chunk = o->ring + config->size;
	o->chunk_size = chunk_size;
	o->fd = fd;
	o->thread = (struct io_thread){
		.name = config->name,
		.run = outlet_run,
		.destroy = outlet_destroy,
		.ctx = o,
	};
	sem_init(&o->work, 0, 0);
	pthread_mutex_init(&o->lock, NULL);
	r = io_thread_start(&o->thread);
	if (r < 0) {
		sem_destroy(&o->work);
		pthread_mutex_destroy(&o->lock);
		free(o);
		return r;
	}
	*out = o;
	return 0;
}

/* Under the lock. true: the thread is to be woken. */
static bool outlet_copy(struct outlet *o, const char *data, size_t len)
{
	size_t at = (o->head + o->used) % o->config.size;
	size_t to_end = o->config.size - at;
	size_t first = len < to_end ? len : to_end;
	bool wake = o->idle;

	memcpy(o->ring + at, data, first);
	memcpy(o->ring, data + first, len - first);
	o->used += len;
	o->idle = false;
	return wake;
}

/* Under the lock, which it gives back. */
static int outlet_put_locked(struct outlet *o, const void *data, size_t len)
{
	bool fits = len <= o->config.size - o->used;
	bool wake = fits && outlet_copy(o, data, len);

	pthread_mutex_unlock(&o->lock);
	if (wake)
		sem_post(&o->work);
	if (fits)
		return 0;
	outlet_count_lost(o, len);
	return -EAGAIN;
}

int outlet_put(struct outlet *o, const void *data, size_t len)
{
	pthread_mutex_lock(&o->lock);
	return outlet_put_locked(o, data, len);
}

int outlet_put_crash(struct outlet *o, const void *data, size_t len)
{
	/* It is held for a copy only: by another thread, or for ever by the one that failed. */
	for (unsigned int ms = 0; pthread_mutex_trylock(&o->lock) != 0; ms++) {
		if (ms == OUTLET_CRASH_MS)
			return -EAGAIN;
		io_sleep_ms(1);
	}
	return outlet_put_locked(o, data, len);
}

bool outlet_drain(struct outlet *o, unsigned int ms)
{
	while (o->used > 0 && ms-- > 0)
		io_sleep_ms(1);
	return o->used == 0;
}

int outlet_take_error(struct outlet *o)
{
	return atomic_exchange(&o->error, 0);
}

void outlet_free(struct outlet *o, unsigned int ms)
{
	if (!o)
		return;
	o->ending = true;
	sem_post(&o->work);
	io_thread_end(&o->thread, ms);
}
