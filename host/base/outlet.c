// SPDX-License-Identifier: Apache-2.0
/*
 * Theory of operation. No way of writing is safe for all descriptors that one
 * can be started with: O_NONBLOCK belongs to an open file that the shell
 * shares; /proc, by which it could be opened anew, need not be there, and does
 * not help for a socket or another user's pipe; poll(2) promises less than a
 * line to a terminal; a regular file may lie on a server that has gone. So the
 * one who writes is a thread for whom nobody waits, whatever the descriptor is.
 *
 * There is no lock: a vCPU that prints, and a handler of a fatal signal, wait
 * for nobody either. The ring has a slot a byte. Who puts something reserves
 * slots by moving the span's end, and then fills them; the thread takes them
 * from the span's beginning, as far as they are filled, empties them when they
 * are written, and moves the beginning then. So used counts the bytes that are
 * not yet written, those of the thread's chunk included. Where lines are put, a
 * chunk is a line: one write(2) appends it whole, whoever else writes to the file.
 *
 * idle is set by the thread before it looks for the last time and waits; who has
 * put something takes idle away and posts. So there is one post for a burst, not
 * one for each byte. Both exchange it: the one who comes second knows of the other.
 */
#include "base/outlet.h"

#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io_thread.h"
#include "base/log.h"
#include "base/metrics.h"

#define OUTLET_CHUNK	4096u /* for bytes; a page, which is also what a pipe takes at once */
#define OUTLET_RETRY_MS 100
#define OUTLET_FULL	0x100u /* of a slot that has a byte; else it is 0 */

struct outlet {
	struct outlet_config config;
	struct io_thread thread;
	int fd; /* owned */
	sem_t work;
	_Atomic uint64_t span; /* slots that are reserved: where they begin, and in the lower half how many (used) */
	_Atomic bool idle;
	_Atomic bool ending;
	_Atomic int error;
	bool said;	   /* thread only, as is the chunk */
	char *chunk;	   /* behind the ring */
	size_t chunk_size; /* as many as the ring has, for lines */
	_Atomic uint16_t ring[];
};

static size_t outlet_used(const struct outlet *o)
{
	return (uint32_t)atomic_load(&o->span);
}

/* Slot number n of those that begin at head. */
static _Atomic uint16_t *outlet_slot(struct outlet *o, size_t head, size_t n)
{
	return &o->ring[head + n < o->config.size ? head + n : head + n - o->config.size];
}

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

/* The bytes of the next chunk, as far as they have been put. */
static size_t outlet_fill_chunk(struct outlet *o)
{
	uint64_t span = atomic_load(&o->span);
	size_t used = (uint32_t)span, len = 0;

	while (len < used && len < o->chunk_size) {
		unsigned int slot = atomic_load_explicit(outlet_slot(o, span >> 32, len), memory_order_acquire);

		if (!slot)
			return o->config.lines ? 0 : len; /* somebody is just putting it: of a line, all comes */
		o->chunk[len++] = (char)slot;
		if (o->config.lines && (char)slot == '\n')
			break;
	}
	return len;
}

/* Bytes from the beginning are written, or lost. */
static void outlet_forget(struct outlet *o, size_t len)
{
	uint64_t span = atomic_load(&o->span), rest;
	size_t head = span >> 32;

	for (size_t i = 0; i < len; i++)
		atomic_store_explicit(outlet_slot(o, head, i), 0, memory_order_relaxed);
	head = head + len < o->config.size ? head + len : head + len - o->config.size;
	do {
		uint32_t used = (uint32_t)span - (uint32_t)len;

		/* From the start again when empty: a ring that is seldom full touches few of its pages. */
		rest = used ? (uint64_t)head << 32 | used : 0;
	} while (!atomic_compare_exchange_weak(&o->span, &span, rest));
}

/* Waits for bytes and makes a chunk of them; its length, 0: none will come. */
static size_t outlet_wait(struct outlet *o)
{
	size_t len;
	bool ending;

	for (;;) {
		len = outlet_fill_chunk(o);
		if (len)
			return len;
		ending = o->ending;
		(void)atomic_exchange(&o->idle, true);
		len = outlet_fill_chunk(o);
		if (len || ending)
			return len;
		while (sem_wait(&o->work) < 0) /* EINTR */
			;
		while (sem_trywait(&o->work) == 0) /* of those whose bytes were there when it looked once more */
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
		outlet_forget(o, len);
	}
}

static void outlet_destroy(void *ctx)
{
	struct outlet *o = ctx;

	close(o->fd);
	sem_destroy(&o->work);
	free(o);
}

int outlet_new(const struct outlet_config *config, int fd, struct outlet **out)
{
	size_t ring_size = config->size * sizeof(uint16_t);
	size_t chunk_size = config->lines ? config->size : OUTLET_CHUNK;
	struct outlet *o = calloc(1, sizeof(*o) + ring_size + chunk_size);
	int r;

	if (!o)
		return -ENOMEM;
	o->config = *config;
	o->chunk = (char *)o + sizeof(*o) + ring_size;
	o->chunk_size = chunk_size;
	o->fd = fd;
	o->thread = (struct io_thread){
		.name = config->name,
		.run = outlet_run,
		.destroy = outlet_destroy,
		.ctx = o,
	};
	sem_init(&o->work, 0, 0);
	r = io_thread_start(&o->thread);
	if (r < 0) {
		sem_destroy(&o->work);
		free(o);
		return r;
	}
	*out = o;
	return 0;
}

int outlet_put(struct outlet *o, const void *data, size_t len)
{
	const unsigned char *bytes = data;
	uint64_t span = atomic_load(&o->span);

	do {
		if (len > o->config.size - (uint32_t)span) {
			outlet_count_lost(o, len);
			return -EAGAIN;
		}
	} while (!atomic_compare_exchange_weak(&o->span, &span, span + len));
	for (size_t i = 0; i < len; i++)
		atomic_store_explicit(outlet_slot(o, span >> 32, (uint32_t)span + i), OUTLET_FULL | bytes[i],
				      memory_order_release);
	if (atomic_exchange(&o->idle, false))
		sem_post(&o->work);
	return 0;
}

bool outlet_drain(struct outlet *o, unsigned int ms)
{
	while (outlet_used(o) && ms-- > 0)
		io_sleep_ms(1);
	return !outlet_used(o);
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
