// SPDX-License-Identifier: Apache-2.0
/*
 * A machine that must reseed in time, or be paused again.
 *
 * Theory of operation. The leak event has run before the first instruction, but
 * the guest's generator takes the seed only when its driver gets to it. Who asks
 * for it gets no answer before the driver has said so, or before the time is
 * over: then the machine is paused, and stays as it is for whoever decides. The
 * number of the event that is waited for cannot change meanwhile: an event needs
 * a request that changes something, and those wait for their turn.
 */
#include "machine/reseed.h"

#include <sys/epoll.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "machine/internal.h"

/* False: the machine has no device that asks the guest. */
static bool reseed_look(const struct machine *m, struct leak_progress *progress)
{
	for (struct device *dev = m->devices; dev; dev = dev->next) {
		if (device_leak_progress(dev, progress))
			return true;
	}
	return false;
}

int machine_check_reseed(const struct machine *m, struct err *e)
{
	struct leak_progress progress;

	if (!reseed_look(m, &progress))
		return err_set(e, ENODEV,
			       "reseed_timeout_ms needs an entropy device with leak_reporting: this machine has none");
	if (progress.driver == LEAK_DRIVER_SILENT)
		return err_set(e, EOPNOTSUPP,
			       "reseed_timeout_ms needs a driver in the guest that says when it has reseeded, and this "
			       "guest's does not (VIRTIO_RNG_F_LEAK_HANDLED): leave it out, or use a guest with a "
			       "newer driver");
	return 0;
}

static bool reseed_is_done(const struct machine *m)
{
	struct leak_progress progress;

	return reseed_look(m, &progress) && progress.handled == progress.generation;
}

static void reseed_end(struct machine *m, int r, const struct err *e)
{
	struct reseed_wait *w = &m->reseed;
	machine_done_fn *done = w->done;

	w->done = NULL;
	w->reason = NULL;
	loop_set_timer(w->late, 0, 0);
	done(w->arg, r, e);
}

static void reseed_succeed(struct machine *m)
{
	const struct err none = { "" };
	uint64_t us = (clock_now_ns() - m->reseed.begun_ns) / 1000;

	metric_set(latencies_us, reseed, us);
	log_info("The guest has reseeded, as it says, %llu us after it was resumed.", (unsigned long long)us);
	reseed_end(m, 0, &none);
}

static const char *reseed_reason(const struct machine *m)
{
	struct leak_progress progress = { .driver = LEAK_DRIVER_NONE };

	(void)!reseed_look(m, &progress);
	if (progress.driver == LEAK_DRIVER_NONE)
		return "it has no driver for the entropy device";
	if (progress.driver == LEAK_DRIVER_SILENT)
		return "its driver does not say such things";
	return progress.late ? "its driver has not made room for the seed" : "its driver is silent";
}

/* machine_done_fn of the pause. */
static void reseed_is_paused(void *arg, int r, const struct err *why)
{
	struct machine *m = arg;
	struct reseed_wait *w = &m->reseed;
	struct err e = *why;

	if (r < 0)
		err_wrap(&e, r,
			 "the guest has not reseeded within %u ms (%s), and it RUNS ON: end this process, since the "
			 "machine cannot be paused",
			 w->timeout_ms, w->reason);
	else
		r = err_set(&e, ETIMEDOUT,
			    "the guest has not reseeded within %u ms (%s) and is paused: resume it with another "
			    "reseed_timeout_ms, or end it",
			    w->timeout_ms, w->reason);
	reseed_end(m, r, &e);
}

/* The reason is looked for while the guest can still run: what it is then is why it is too late. */
static void reseed_give_up(struct machine *m)
{
	struct err e = { "" };

	m->reseed.reason = reseed_reason(m);
	if (machine_memory_is_served(m)) { /* a vCPU may wait for a page, and the loop must not */
		machine_pause_beside(m, reseed_is_paused, m);
	} else {
		int r = machine_pause(m, &e);

		reseed_is_paused(m, r, &e);
	}
}

static void reseed_on_said(void *ctx, uint32_t events)
{
	struct machine *m = ctx;

	(void)events;
	if (m->reseed.done && !m->reseed.reason && reseed_is_done(m))
		reseed_succeed(m);
}

static void reseed_on_late(void *ctx, uint32_t events)
{
	struct machine *m = ctx;

	(void)events;
	if (!m->reseed.done || m->reseed.reason)
		return;
	if (reseed_is_done(m))
		reseed_succeed(m);
	else
		reseed_give_up(m);
}

void machine_await_reseed(struct machine *m, uint32_t timeout_ms, machine_done_fn *done, void *arg)
{
	m->reseed.begun_ns = clock_now_ns();
	m->reseed.timeout_ms = timeout_ms;
	m->reseed.done = done;
	m->reseed.arg = arg;
	loop_set_timer(m->reseed.late, timeout_ms * 1000000ull, 0);
	if (reseed_is_done(m))
		reseed_succeed(m);
}

/* Edge-triggered: each word is an event of its own, and the count behind it means nothing. */
int reseed_init(struct machine *m, struct loop *loop, struct err *e)
{
	struct reseed_wait *w = &m->reseed;

	w->said_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->said_fd < 0)
		return err_errno(e, errno, "cannot create an eventfd");
	w->said = loop_add(loop, w->said_fd, EPOLLIN | EPOLLET, reseed_on_said, m);
	if (!w->said)
		return err_errno(e, errno, "cannot watch an eventfd");
	w->late = loop_add_timer(loop, reseed_on_late, m);
	return w->late ? 0 : err_errno(e, errno, "cannot create a timer");
}

void reseed_fini(struct machine *m)
{
	struct reseed_wait *w = &m->reseed;

	loop_remove(w->late);
	loop_remove(w->said);
	w->late = w->said = NULL;
	cleanup_close(&w->said_fd);
}
