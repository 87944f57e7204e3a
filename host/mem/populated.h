/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For those who must not wait for a handler (mem.h): which pages can be touched
 * without, and work that may wait, done by a thread of the handler's.
 *
 * A page that is populated stays so: swapped out, perhaps, or zero, but nobody is
 * asked for it again.
 */
#ifndef MEM_POPULATED_H
#define MEM_POPULATED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "mem/mem.h"

struct mem_range {
	gpa_t gpa;
	uint64_t len; /* bytes */
};

enum mem_work {
	MEM_POPULATE, /* the pages are populated when it is done */
	MEM_DISCARD,  /* mem_discard_within() */
};

/* Zeroed, but for what its owner sets. While it is pending all of it but ctx is the handler's. */
struct mem_job {
	enum mem_work work;
	/* Called when all ranges are done. A thread of the handler's, with its lock: it must not wait, nor call anything here. */
	void (*done)(void *ctx);
	void *ctx;
	struct mem_range
		*ranges; /* borrowed; used up by a MEM_POPULATE. Those of a MEM_POPULATE each lie in one region */
	unsigned int num, at;
	uint64_t freed, fails; /* of a MEM_DISCARD: bytes, and ranges that were not, or not all, given back */
	atomic_bool pending;
	struct mem_job *next; /* the handler's list */
};

/* Does a handler of mem do such work? If not nobody has to wait: there is no handler, or it is for tests. */
static inline bool mem_has_helper(const struct guest_mem *mem)
{
	return mem->handler.submit != NULL;
}

/* Can [gpa, gpa + len) be touched without waiting for a handler? What is no guest memory cannot be touched at all, and is. */
bool mem_is_populated(const struct guest_mem *mem, gpa_t gpa, uint64_t len);
/* That; if not, adds what is missing to the ranges of job, of which there is room for max. */
bool mem_is_populated_or_wanted(const struct guest_mem *mem, gpa_t gpa, uint64_t len, struct mem_job *job,
				unsigned int max);

/* Begins a job that is not pending and has ranges. It may be done before this returns. Any thread. */
void mem_job_submit(const struct guest_mem *mem, struct mem_job *job);
/* Its owner goes: the handler has forgotten it, and done is not called any more. Waits for nothing. Fine for one that is not pending. */
void mem_job_withdraw(const struct guest_mem *mem, struct mem_job *job);

/* For handlers: these pages have been touched. */
void mem_note_populated(const struct guest_mem *mem, gpa_t gpa, uint64_t len);

#endif
