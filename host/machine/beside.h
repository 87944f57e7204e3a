/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What waits for files, beside the loop: one thread a machine, one piece of work
 * at a time. It is started with the machine, since a machine that runs starts no
 * threads (sandbox/rules.c), and has the loop thread's filter.
 */
#ifndef MACHINE_BESIDE_H
#define MACHINE_BESIDE_H

#include <pthread.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/thread.h"

struct loop;
struct loop_source;

/* Zeroed, but done_fd -1: beside_fini() accepts it. */
struct beside {
	struct loop *loop; /* borrowed */
	struct loop_source *source;
	int done_fd; /* eventfd, owned: the work is done */
	bool has_thread;
	struct thread thread;
	pthread_mutex_t mutex; /* guards what follows */
	pthread_cond_t cond;
	bool ends;
	int (*work)(void *arg, struct err *e); /* NULL: nothing to do */
	void (*done)(void *arg, int r, const struct err *e);
	void *arg;
	int r;
	struct err error;
};

int beside_init(struct beside *b, struct loop *loop, struct err *e) must_check;
/* Calls work(arg) on the thread, then done(arg, what it returned) on the loop. Nothing else may be under way. Loop thread. */
void beside_run(struct beside *b, int (*work)(void *arg, struct err *e),
		void (*done)(void *arg, int r, const struct err *e), void *arg);
/* False: work has not ended within a bound, and what it uses must stay. Else done is not called any more. */
bool beside_fini(struct beside *b) must_check;

#endif
