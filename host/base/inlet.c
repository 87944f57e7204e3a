// SPDX-License-Identifier: Apache-2.0
/*
 * The thread is asked by a semaphore, waits in poll(2), reads once, hands over
 * and waits to be asked again. Between asking and handing over the buffer is
 * the thread's, otherwise it is the caller's; wanted says whose, under the lock.
 */
#include "base/inlet.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io_thread.h"
#include "base/terminal.h"

#define INLET_SIZE	    64
#define INLET_BACKGROUND_MS 250 /* a shell that brings a running job to the foreground sends no signal */

struct inlet {
	struct io_thread thread;
	int fd;	      /* borrowed */
	int ready_fd; /* owned, as are the two below; eventfd: there are bytes, or the end */
	int stop_fd;  /* eventfd: the thread is to end */
	int cont_fd;  /* signalfd: SIGCONT */
	sem_t asked;
	pthread_mutex_t lock; /* guards what follows; held for a copy at most */
	bool wanted;
	bool ending;
	bool eof;
	size_t len;
	char data[INLET_SIZE];
};

enum { POLL_INPUT, POLL_STOP, POLL_CONT, POLL_NUM };

/* Waits until there may be something to read: true; or until the thread is to end: false. */
static bool inlet_poll(struct inlet *in)
{
	struct signalfd_siginfo info;

	for (;;) {
		bool ours = !terminal_in_background(in->fd);
		struct pollfd p[POLL_NUM] = {
			[POLL_INPUT] = { .fd = ours ? in->fd : -1, .events = POLLIN },
			[POLL_STOP] = { .fd = in->stop_fd, .events = POLLIN },
			[POLL_CONT] = { .fd = in->cont_fd, .events = POLLIN },
		};

		if (ours)
			terminal_make_raw(in->fd);
		if (poll(p, POLL_NUM, ours ? -1 : INLET_BACKGROUND_MS) <= 0)
			continue;
		if (p[POLL_STOP].revents)
			return false;
		if (p[POLL_CONT].revents)
			(void)!read(in->cont_fd, &info, sizeof(info));
		else if (p[POLL_INPUT].revents && !terminal_in_background(in->fd))
			return true;
	}
}

/* Bytes read, 0 at the end of the input; -ECANCELED: the thread is to end. This may wait for ever. */
static ssize_t inlet_read(struct inlet *in, char *data, size_t max)
{
	while (inlet_poll(in)) {
		ssize_t n = read(in->fd, data, max);

		if (n >= 0)
			return n;
		/* EIO: a terminal that has gone, or one that was taken from us since we looked. */
		if (errno == EIO && terminal_in_background(in->fd))
			continue;
		if (errno != EINTR && errno != EAGAIN)
			return 0;
	}
	return -ECANCELED;
}

static void inlet_run(void *ctx)
{
	struct inlet *in = ctx;
	char data[INLET_SIZE];
	bool ending = false;

	while (!ending) {
		ssize_t n = 0;
		bool wanted;

		while (sem_wait(&in->asked) < 0) /* EINTR */
			;
		pthread_mutex_lock(&in->lock);
		wanted = in->wanted && !in->ending;
		pthread_mutex_unlock(&in->lock);
		if (wanted)
			n = inlet_read(in, data, sizeof(data));

		pthread_mutex_lock(&in->lock);
		ending = in->ending || n < 0;
		if (wanted && n >= 0) {
			memcpy(in->data, data, (size_t)n);
			in->len = (size_t)n;
			in->eof = n == 0;
			in->wanted = false;
			(void)eventfd_write(in->ready_fd, 1);
		}
		pthread_mutex_unlock(&in->lock);
	}
}

/* Accepts half-built. */
static void inlet_destroy(void *ctx)
{
	struct inlet *in = ctx;

	cleanup_close(&in->ready_fd);
	cleanup_close(&in->stop_fd);
	cleanup_close(&in->cont_fd);
	sem_destroy(&in->asked);
	pthread_mutex_destroy(&in->lock);
	free(in);
}

static int inlet_open(struct inlet *in)
{
	sigset_t cont;

	sigemptyset(&cont);
	sigaddset(&cont, SIGCONT);
	in->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	in->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	in->cont_fd = signalfd(-1, &cont, SFD_CLOEXEC | SFD_NONBLOCK);
	return in->ready_fd < 0 || in->stop_fd < 0 || in->cont_fd < 0 ? -errno : 0;
}

int inlet_new(const char *name, int fd, struct inlet **out)
{
	struct inlet *in = calloc(1, sizeof(*in));
	int r;

	if (!in)
		return -ENOMEM;
	*in = (struct inlet){ .fd = fd, .ready_fd = -1, .stop_fd = -1, .cont_fd = -1 };
	in->thread = (struct io_thread){ .name = name, .run = inlet_run, .destroy = inlet_destroy, .ctx = in };
	sem_init(&in->asked, 0, 0);
	pthread_mutex_init(&in->lock, NULL);
	r = inlet_open(in);
	if (r == 0)
		r = io_thread_start(&in->thread);
	if (r < 0) {
		inlet_destroy(in);
		return r;
	}
	*out = in;
	return 0;
}

int inlet_fd(const struct inlet *in)
{
	return in->ready_fd;
}

void inlet_want(struct inlet *in)
{
	bool ask;

	pthread_mutex_lock(&in->lock);
	ask = !in->wanted && !in->eof && in->len == 0;
	in->wanted |= ask;
	pthread_mutex_unlock(&in->lock);
	if (ask)
		sem_post(&in->asked);
}

ssize_t inlet_take(struct inlet *in, void *data, size_t max)
{
	eventfd_t ignored;
	ssize_t n;

	pthread_mutex_lock(&in->lock);
	n = (ssize_t)(in->len < max ? in->len : max);
	memcpy(data, in->data, (size_t)n);
	memmove(in->data, in->data + n, in->len - (size_t)n);
	in->len -= (size_t)n;
	if (in->len == 0 && !in->eof)
		(void)eventfd_read(in->ready_fd, &ignored);
	if (n == 0 && in->eof)
		n = -ENODATA;
	pthread_mutex_unlock(&in->lock);
	return n;
}

void inlet_free(struct inlet *in, unsigned int ms)
{
	if (!in)
		return;
	pthread_mutex_lock(&in->lock);
	in->ending = true;
	pthread_mutex_unlock(&in->lock);
	(void)eventfd_write(in->stop_fd, 1);
	sem_post(&in->asked);
	io_thread_end(&in->thread, ms);
}
