/* SPDX-License-Identifier: Apache-2.0 */
/* What the two threads of working sets share. A machine has one of them at most. */
#ifndef MACHINE_WORKING_SET_INTERNAL_H
#define MACHINE_WORKING_SET_INTERNAL_H

#include <pthread.h>
#include <stdint.h>

#include "base/thread.h"
#include "machine/working_set.h"
#include "mem/touched.h"

struct working_set {
	const struct guest_mem *mem; /* borrowed */
	struct memfile_mark mark;
	char *path;	   /* owned */
	struct loop *loop; /* borrowed */

	int fd;	    /* owned: of a file that is read; -1: one is recorded */
	void *file; /* owned: room for what it has */
	size_t len;

	struct mem_touched touched; /* of a recording */
	uint32_t ms;		    /* after which it ends by itself; 0: it does not */

	struct thread thread;
	bool has_thread;
	pthread_mutex_t mutex; /* guards what follows */
	pthread_cond_t cond;
	bool begun, stops, ends;
};

/* False: the end has come before. */
bool working_set_await_begin(struct working_set *ws);
bool working_set_has_ended(struct working_set *ws);

/* Threads; arg is the working set. */
void *working_set_read_ahead(void *arg); /* working_set_ahead.c */
void *working_set_record(void *arg);	 /* working_set_record.c */

#endif
