// SPDX-License-Identifier: Apache-2.0
#include "machine/beside.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/thread.h"
#include "sandbox/sandbox.h"

#define BESIDE_NAME	  "fc_files"
#define BESIDE_STACK_SIZE (512u * 1024)
#define BESIDE_END_MS	  2000 /* how long the end of the process waits */

static void *beside_thread(void *arg)
{
	struct beside *b = arg;
	struct err e;

	thread_set_name(BESIDE_NAME);
	if (sandbox_enter(SANDBOX_FILES, &e)) {
		log_error("%s", e.text);
		loop_stop(b->loop, 1);
		return NULL;
	}
	pthread_mutex_lock(&b->mutex);
	while (!b->ends) {
		if (!b->work) {
			pthread_cond_wait(&b->cond, &b->mutex);
			continue;
		}
		pthread_mutex_unlock(&b->mutex);
		b->r = b->work(b->arg, &b->error);
		pthread_mutex_lock(&b->mutex);
		b->work = NULL;
		(void)eventfd_write(b->done_fd, 1);
	}
	pthread_mutex_unlock(&b->mutex);
	return NULL;
}

static void beside_on_done(void *ctx, uint32_t events)
{
	struct beside *b = ctx;
	struct err error;
	eventfd_t ignored;
	int r;

	(void)events;
	(void)eventfd_read(b->done_fd, &ignored);
	pthread_mutex_lock(&b->mutex);
	r = b->r;
	error = b->error;
	pthread_mutex_unlock(&b->mutex);
	b->done(b->arg, r, &error);
}

int beside_init(struct beside *b, struct loop *loop, struct err *e)
{
	int r;

	*b = (struct beside){ .loop = loop };
	pthread_mutex_init(&b->mutex, NULL);
	pthread_cond_init(&b->cond, NULL);
	b->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (b->done_fd < 0)
		return err_errno(e, errno, "cannot create an eventfd");
	b->source = loop_add(loop, b->done_fd, EPOLLIN, beside_on_done, b);
	if (!b->source)
		return err_errno(e, errno, "cannot watch an eventfd");
	r = thread_start(&b->thread, BESIDE_STACK_SIZE, beside_thread, b);
	if (r)
		return err_errno(e, -r, "cannot start the thread for files");
	b->has_thread = true;
	return 0;
}

void beside_run(struct beside *b, int (*work)(void *arg, struct err *e),
		void (*done)(void *arg, int r, const struct err *e), void *arg)
{
	pthread_mutex_lock(&b->mutex);
	b->done = done;
	b->arg = arg;
	b->work = work;
	pthread_cond_signal(&b->cond);
	pthread_mutex_unlock(&b->mutex);
}

bool beside_fini(struct beside *b)
{
	if (b->has_thread) {
		pthread_mutex_lock(&b->mutex);
		b->ends = true;
		pthread_cond_signal(&b->cond);
		pthread_mutex_unlock(&b->mutex);
		if (!thread_join_within(&b->thread, BESIDE_END_MS))
			return false;
	}
	b->has_thread = false;
	loop_remove(b->source);
	b->source = NULL;
	cleanup_close(&b->done_fd);
	return true;
}
