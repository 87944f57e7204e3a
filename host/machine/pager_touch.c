// SPDX-License-Identifier: Apache-2.0
/*
 * The thread that touches pages, and gives them back, for those who ask it.
 *
 * Theory of operation. A touch ends when the page is there, and not before:
 * neither a signal nor a clock helps; and giving pages back ends when the
 * handler has read the event. The thread that does it may be lost, those that
 * ask must not. So what they ask for are jobs in a list, done in order, page by
 * page. Who may wait waits for progress, and gives up after PAGER_PATIENCE_S
 * without any; who may not is called when his job is done. A job can be
 * withdrawn at any time: the thread looks at none after it has waited, unless
 * that is still its current one. When the memory goes, it is unregistered, which
 * lets all go on that still wait.
 */
#include <errno.h>
#include <time.h>

#include "base/log.h"
#include "base/thread.h"
#include "machine/pager_internal.h"
#include "mem/pages.h"
#include "sandbox/sandbox.h"

static void touch_page(const struct guest_mem *mem, gpa_t gpa)
{
	const volatile uint8_t *page = mem_host(mem, gpa, 1);

	if (!page)
		return;
	(void)*page;
	mem_note_populated(mem, gpa, 1);
}

/* Without the mutex: as much as can be told apart of a range. What was given back of it. */
static uint64_t touch_work(struct pager *p, enum mem_work work, const struct mem_range *range)
{
	if (work == MEM_DISCARD)
		return mem_discard_within(p->mem, range->gpa, range->len);
	touch_page(p->mem, range->gpa);
	return 0;
}

/* With the mutex: true when the current job has nothing left. */
static bool touch_advance(struct mem_job *job, uint64_t freed)
{
	struct mem_range *range = &job->ranges[job->at];

	if (job->work == MEM_POPULATE && range->len > MEM_PAGE_SIZE) {
		range->gpa += MEM_PAGE_SIZE;
		range->len -= MEM_PAGE_SIZE;
		return false;
	}
	job->freed += freed;
	job->fails += job->work == MEM_DISCARD && freed < range->len;
	return ++job->at == job->num;
}

static void touch_forget(struct pager *p, const struct mem_job *job)
{
	struct mem_job **at = &p->jobs;

	while (*at && *at != job)
		at = &(*at)->next;
	if (*at)
		*at = job->next;
	if (p->current == job)
		p->current = NULL;
}

/* With the mutex, which it gives away while it waits. */
static void touch_some(struct pager *p)
{
	struct mem_job *job = p->jobs;
	const enum mem_work work = job->work;
	const struct mem_range range = job->ranges[job->at];
	uint64_t freed;

	p->current = job;
	pthread_mutex_unlock(&p->mutex);
	freed = touch_work(p, work, &range);
	pthread_mutex_lock(&p->mutex);
	p->num_done++;
	if (p->current != job || !touch_advance(job, freed))
		return;
	touch_forget(p, job);
	atomic_store(&job->pending, false);
	job->done(job->ctx);
}

void *pager_touch(void *arg)
{
	struct pager *p = arg;
	struct err e;

	thread_set_name("fc_pages");
	if (sandbox_enter(SANDBOX_FILES, &e)) {
		log_error("%s", e.text);
		loop_stop(p->loop, 1);
		return NULL;
	}
	pthread_mutex_lock(&p->mutex);
	while (!p->ends) {
		if (p->jobs)
			touch_some(p);
		else
			pthread_cond_wait(&p->cond, &p->mutex);
	}
	pthread_mutex_unlock(&p->mutex);
	return NULL;
}

/* With the mutex. */
static void touch_add(struct pager *p, struct mem_job *job)
{
	struct mem_job **at = &p->jobs;

	while (*at)
		at = &(*at)->next;
	job->next = NULL;
	*at = job;
	pthread_cond_broadcast(&p->cond);
}

void pager_submit(void *ctx, struct mem_job *job)
{
	struct pager *p = ctx;

	pthread_mutex_lock(&p->mutex);
	touch_add(p, job);
	pthread_mutex_unlock(&p->mutex);
}

void pager_withdraw(void *ctx, struct mem_job *job)
{
	struct pager *p = ctx;

	pthread_mutex_lock(&p->mutex);
	touch_forget(p, job);
	atomic_store(&job->pending, false);
	pthread_mutex_unlock(&p->mutex);
}

static void touch_has_populated(void *ctx)
{
	struct pager *p = ctx;

	pthread_cond_broadcast(&p->cond);
}

/* Until there was something new, or a second is over. */
static void touch_wait(struct pager *p)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PAGER_TICK_MS / 1000;
	(void)pthread_cond_timedwait(&p->cond, &p->mutex, &until);
}

/* With the mutex: until the job is done. A process that was stopped meanwhile has not waited. */
static int touch_await(struct pager *p, const struct mem_job *job)
{
	uint64_t seen = p->num_done;
	unsigned int ticks = 0;

	while (!p->gone && atomic_load(&job->pending)) {
		if (ticks++ == PAGER_PATIENCE_S * 1000 / PAGER_TICK_MS)
			return -ETIMEDOUT;
		touch_wait(p);
		if (p->num_done != seen)
			ticks = 0;
		seen = p->num_done;
	}
	return p->gone ? -ENOTCONN : 0;
}

int pager_populate(void *ctx, const struct mem_region *region, uint64_t offset, uint64_t len)
{
	struct pager *p = ctx;
	struct mem_range range = { .gpa = region->gpa + offset, .len = len };
	struct mem_job job = {
		.work = MEM_POPULATE, .done = touch_has_populated, .ctx = p, .ranges = &range, .num = 1
	};
	int r;

	/* Pages of a huge one that is given back in parts. */
	if (p->has_toucher && pthread_equal(pthread_self(), p->toucher.id)) {
		for (uint64_t at = 0; at < len; at += MEM_PAGE_SIZE)
			touch_page(p->mem, range.gpa + at);
		return 0;
	}
	if (mem_is_populated(p->mem, range.gpa, len)) /* and so need not wait for what others lack */
		return 0;
	atomic_store(&job.pending, true);
	pthread_mutex_lock(&p->mutex);
	touch_add(p, &job);
	r = touch_await(p, &job);
	touch_forget(p, &job);
	pthread_mutex_unlock(&p->mutex);
	return r;
}
