/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages of a memory file this process has touched, reading or writing, as
 * runs in the order of the looks, and of one look the largest first.
 *
 * mem_touched_init() before anybody touches mem; then one thread at a time.
 */
#ifndef MEM_TOUCHED_H
#define MEM_TOUCHED_H

#include "mem/mem.h"
#include "mem/pagemap.h"

struct mem_touched {
	const struct guest_mem *mem; /* borrowed */
	struct pagemap pagemap;
	uint64_t *seen[MEM_MAX_REGIONS]; /* owned: a bit a page */
	struct mem_run *fresh;		 /* owned: of a look, room for max_runs */
	struct mem_run *runs;		 /* owned: room for max_runs */
	size_t num_fresh, num_runs, max_runs;
};

/*
 * Also has the kernel read no more than what is touched: what it reads or maps beside it could not be told from it. That
 * makes the machine slower until mem_touched_end(). -ENOENT without /proc/self/pagemap, -EOPNOTSUPP for memory that is of no
 * file, -ENOMEM; each with a sentence.
 */
int mem_touched_init(struct mem_touched *t, const struct guest_mem *mem, size_t max_runs, struct err *e) must_check;
/* Looks: adds what has been touched since the last look. -ENOSPC: there are too many runs, those that came first are there. */
int mem_touched_look(struct mem_touched *t) must_check;
/* The kernel reads as it usually does. */
void mem_touched_end(struct mem_touched *t);
void mem_touched_fini(struct mem_touched *t); /* accepts zeroed */

#endif
