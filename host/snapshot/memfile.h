/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory file: guest RAM, region after region, zero pages as holes. In place
 * of one page it has a record with the id of the state file that it belongs to,
 * which has that page. Mapped privately by every machine that is restored from it, hence
 * never written in place.
 */
#ifndef SNAPSHOT_MEMFILE_H
#define SNAPSHOT_MEMFILE_H

#include <stdint.h>

#include "base/err.h"
#include "mem/mem.h"
#include "snapshot/statefile.h"

/*
 * Opens the memory file that mark describes: at path, or under the temporary name that a crash in the middle of a commit
 * left. Checks size and id. *fd is the caller's. Cost does not depend on the size of the memory.
 */
int memfile_open(const char *path, const struct memfile_mark *mark, int *fd, struct err *e) must_check;

/* Saves the page that mem has where a memory file will have its record beside the rest of the state. */
void memfile_save_under(const struct guest_mem *mem, struct enc *enc);
/* Puts that page back into memory that maps the file, or is served from it; reads file's map. Before anything runs. */
int memfile_put_back(const struct statefile *file, struct guest_mem *mem, struct err *e) must_check;

/*
 * Writes all of mem to fd (an empty new file), sparse, and its record. Pages that were never touched are not read; pages
 * that a restored machine has not changed are copied from mem->backing_fd.
 */
int memfile_write(int fd, const struct guest_mem *mem, const struct memfile_mark *mark, struct err *e) must_check;

#endif
