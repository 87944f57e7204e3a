/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Working sets (docs/working-sets.md): a thread of a restored machine that maps
 * the pages which an earlier one needed, before the guest asks for them; or one
 * that finds out which they are and writes them to a file. The machine runs
 * meanwhile, and nobody waits for either: an end of the machine waits for the
 * piece that is being read, and only for a bounded time.
 *
 * Loop thread; NULL, of a machine without, is fine everywhere.
 */
#ifndef MACHINE_WORKING_SET_H
#define MACHINE_WORKING_SET_H

#include <stdbool.h>

#include "base/err.h"
#include "base/loop.h"
#include "config/config.h"
#include "mem/mem.h"
#include "snapshot/statefile.h"

struct working_set;

/*
 * What the request wants of the memory that mark describes: *out is NULL if that is nothing, or if there is no file to read
 * (the log says so, if the request has named one). Mem, which stays where it is, has been mapped, and nobody has touched it. An
 * error, with a sentence, comes only where something is to be recorded and cannot be.
 */
int working_set_new(const struct snapshot_load_config *how, const struct memfile_mark *mark,
		    const struct guest_mem *mem, struct loop *loop, struct working_set **out, struct err *e) must_check;
/* Reading ahead begins, or recording; once. */
void working_set_begin(struct working_set *ws);
/* Recording ends, and the file is written. No effect on reading ahead. */
void working_set_stop(struct working_set *ws);
/* It ends where it is, and nothing is written. Does not wait. */
void working_set_end(struct working_set *ws);
/* Before mem_fini(). False: the thread has not ended within a bound (a disk does not answer), and the memory must stay. */
bool working_set_free(struct working_set *ws) must_check;

#endif
