// SPDX-License-Identifier: Apache-2.0
/*
 * Recording: a look every few milliseconds, seldom enough that looking takes no
 * more than a tenth of a processor however large the memory is; a last one at
 * the end, and the file.
 */
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "machine/working_set_internal.h"
#include "sandbox/sandbox.h"
#include "snapshot/working_set.h"

#define RECORD_EVERY_NS (20ull * 1000 * 1000)
#define RECORD_SHARE	9 /* times as long as a look takes is nothing done */
#define NS_A_SECOND	1000000000ull

/* Waits until then, or for the end of the recording: false. */
static bool record_wait(struct working_set *ws, uint64_t until_ns, uint64_t end_ns)
{
	uint64_t wake_ns = until_ns < end_ns ? until_ns : end_ns;
	const struct timespec until = { .tv_sec = (time_t)(wake_ns / NS_A_SECOND),
					.tv_nsec = (long)(wake_ns % NS_A_SECOND) };
	bool goes_on;
	int r = 0;

	pthread_mutex_lock(&ws->mutex);
	while (!ws->stops && !ws->ends && r == 0)
		r = pthread_cond_timedwait(&ws->cond, &ws->mutex, &until);
	goes_on = !ws->stops && !ws->ends && until_ns < end_ns;
	pthread_mutex_unlock(&ws->mutex);
	return goes_on;
}

static int record_look(struct working_set *ws, uint64_t end_ns)
{
	uint64_t next_ns = clock_now_ns();
	bool goes_on = true;
	int r = 0;

	while (goes_on && r == 0) {
		uint64_t start_ns, pause_ns;

		goes_on = record_wait(ws, next_ns, end_ns);
		start_ns = clock_now_ns();
		r = mem_touched_look(&ws->touched);
		pause_ns = (clock_now_ns() - start_ns) * RECORD_SHARE;
		next_ns = clock_now_ns() + (pause_ns > RECORD_EVERY_NS ? pause_ns : RECORD_EVERY_NS);
	}
	return r;
}

static void record_write(struct working_set *ws, uint64_t took_ns)
{
	const struct mem_touched *t = &ws->touched;
	uint64_t bytes = 0;
	struct err e;

	for (size_t i = 0; i < t->num_runs; i++)
		bytes += t->runs[i].len;
	if (working_set_write(ws->path, &ws->mark, t->runs, t->num_runs, &e) < 0)
		log_error("Working set \"%s\" is not written: %s", ws->path, e.text);
	else
		log_info("Working set \"%s\": %llu KiB in %zu runs were recorded in %llu ms.", ws->path,
			 (unsigned long long)(bytes >> 10), t->num_runs, (unsigned long long)(took_ns / 1000000));
}

static void record_work(struct working_set *ws)
{
	uint64_t start_ns = clock_now_ns();
	int r = record_look(ws, ws->ms ? start_ns + ws->ms * 1000000ull : UINT64_MAX);

	mem_touched_end(&ws->touched);
	if (r < 0)
		log_warn("Working set \"%s\": more than %u runs are not recorded.", ws->path, WORKING_SET_MAX_RUNS);
	if (!working_set_has_ended(ws))
		record_write(ws, clock_now_ns() - start_ns);
}

void *working_set_record(void *arg)
{
	struct working_set *ws = arg;
	struct err e;

	thread_set_name("fc_record");
	if (sandbox_enter(SANDBOX_FILES, &e)) {
		log_error("%s", e.text);
		loop_stop(ws->loop, 1);
		return NULL;
	}
	if (working_set_await_begin(ws))
		record_work(ws);
	return NULL;
}
