// SPDX-License-Identifier: Apache-2.0
/*
 * The Sync engine: a thread that carries out one request after the other with
 * blocking system calls. Its mutex guards the two queues only and is never held
 * across one.
 *
 * What is done is handed over in batches: to wake the loop costs several times
 * what 4 KiB from the page cache do. A batch ends with the requests that are
 * there, or when it is large enough, or when its first request has waited
 * long enough; on a slow disk that is after each one.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "bus/platform.h"
#include "virtio/blk_engine.h"
#include "virtio/blk_internal.h"

#define BLK_THREAD_BATCH \
	16u /* requests; half of what Linux has in flight, so that guest and thread work beside each other */
#define BLK_THREAD_HOLD_NS 50000u /* how long a request that is done may wait for others */
#define BLK_THREAD_END_S   2	  /* how long the end of the process waits for a system call that does not return */

struct blk_queue {
	struct blk_request *first, **end;
};

struct blk_thread {
	struct blk_engine engine; /* must be first; done_fd is an eventfd */
	pthread_t thread;
	bool has_thread;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool ends;
	bool signalled;	   /* done_fd is readable */
	unsigned int held; /* done since the loop was told */
	uint64_t held_since_ns;
	struct blk_queue todo, done;
};

static void queue_init(struct blk_queue *q)
{
	q->first = NULL;
	q->end = &q->first;
}

static void queue_add(struct blk_queue *q, struct blk_request *req)
{
	req->next = NULL;
	*q->end = req;
	q->end = &req->next;
}

static struct blk_request *queue_take(struct blk_queue *q)
{
	struct blk_request *req = q->first;

	if (!req)
		return NULL;
	q->first = req->next;
	if (!q->first)
		q->end = &q->first;
	return req;
}

static struct blk_thread *thread_from_engine(struct blk_engine *engine)
{
	return (struct blk_thread *)engine;
}

static void thread_tell(struct blk_thread *t)
{
	t->held = 0;
	if (!t->signalled)
		(void)eventfd_write(t->engine.done_fd, 1);
	t->signalled = true;
}

/* One more is done: the loop is told of it now, or with others. */
static void thread_hand_over(struct blk_thread *t, struct blk_request *req)
{
	uint64_t now_ns = clock_now_ns();

	queue_add(&t->done, req);
	if (t->held++ == 0)
		t->held_since_ns = now_ns;
	if (t->held >= BLK_THREAD_BATCH || now_ns - t->held_since_ns >= BLK_THREAD_HOLD_NS)
		thread_tell(t);
}

static void *thread_run(void *arg)
{
	struct blk_thread *t = arg;
	struct blk_request *req;

	pthread_mutex_lock(&t->mutex);
	while (!t->ends) {
		req = queue_take(&t->todo);
		if (!req && t->held)
			thread_tell(t);
		if (!req) {
			pthread_cond_wait(&t->cond, &t->mutex);
			continue;
		}
		pthread_mutex_unlock(&t->mutex);
		blk_io_run(req);
		pthread_mutex_lock(&t->mutex);
		thread_hand_over(t, req);
	}
	pthread_mutex_unlock(&t->mutex);
	return NULL;
}

static void thread_submit(struct blk_engine *engine, struct blk_request *req)
{
	struct blk_thread *t = thread_from_engine(engine);

	pthread_mutex_lock(&t->mutex);
	queue_add(&t->todo, req);
	pthread_mutex_unlock(&t->mutex);
}

static void thread_kick(struct blk_engine *engine)
{
	pthread_cond_signal(&thread_from_engine(engine)->cond);
}

static struct blk_request *thread_reap(struct blk_engine *engine)
{
	struct blk_thread *t = thread_from_engine(engine);
	struct blk_request *req;
	eventfd_t ignored;

	pthread_mutex_lock(&t->mutex);
	req = queue_take(&t->done);
	if (!req && t->signalled) {
		(void)eventfd_read(engine->done_fd, &ignored);
		t->signalled = false;
	}
	pthread_mutex_unlock(&t->mutex);
	return req;
}

static struct blk_request *thread_take_back(struct blk_engine *engine)
{
	struct blk_thread *t = thread_from_engine(engine);
	struct blk_request *req;

	pthread_mutex_lock(&t->mutex);
	req = queue_take(&t->todo);
	pthread_mutex_unlock(&t->mutex);
	return req;
}

static bool thread_free(struct blk_engine *engine)
{
	struct blk_thread *t = thread_from_engine(engine);
	struct timespec until;

	pthread_mutex_lock(&t->mutex);
	t->ends = true;
	pthread_cond_signal(&t->cond);
	pthread_mutex_unlock(&t->mutex);
	if (t->has_thread) {
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += BLK_THREAD_END_S;
		if (pthread_timedjoin_np(t->thread, NULL, &until))
			return false;
	}
	pthread_cond_destroy(&t->cond);
	pthread_mutex_destroy(&t->mutex);
	cleanup_close(&engine->done_fd);
	free(t);
	return true;
}

static const struct blk_engine_ops thread_ops = {
	.submit = thread_submit,
	.kick = thread_kick,
	.reap = thread_reap,
	.take_back = thread_take_back,
	.free = thread_free,
};

int blk_thread_new(const char *name, struct platform *p, struct blk_engine **engine, struct err *e)
{
	struct blk_thread *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return err_set(e, ENOMEM, "drive %s: out of memory", name);
	t->engine.ops = &thread_ops;
	pthread_mutex_init(&t->mutex, NULL);
	pthread_cond_init(&t->cond, NULL);
	queue_init(&t->todo);
	queue_init(&t->done);
	t->engine.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->engine.done_fd < 0)
		r = err_errno(e, errno, "drive %s: cannot create an eventfd", name);
	else
		r = p->ops->thread(p, name, thread_run, t, &t->thread, e);
	if (r) {
		(void)thread_free(&t->engine);
		return r;
	}
	t->has_thread = true;
	*engine = &t->engine;
	return 0;
}
