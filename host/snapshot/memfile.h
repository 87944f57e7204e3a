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
#include "snapshot/chain.h"
#include "snapshot/statefile.h"

/*
 * Opens the memory file that mark describes: at path, or under the temporary name that a crash in the middle of a commit
 * left. Checks size and id, and that no diff was merged into it. *fd is the caller's. Cost does not depend on the size of
 * the memory.
 */
int memfile_open(const char *path, const struct memfile_mark *mark, int *fd, struct err *e) must_check;

/*
 * Writes a memory file to fd, which is empty: all of mem, sparse, with a record for each layer of the chain. Pages that were
 * never touched are not read; pages that a restored machine has not changed are copied from the files that mem maps.
 */
int memfile_write(int fd, const struct guest_mem *mem, const struct snapshot_chain *chain, struct err *e) must_check;
/*
 * Writes a diff to fd, which is empty: the pages of mem that changed has (bitmaps, one a region, as
 * mem_changed_since_mark() gives them), those that are zero too, and the record of the chain's topmost layer. All else are
 * holes: they are as the layers below have them. Refused on a file system that does not keep holes of single pages.
 */
int memfile_write_diff(int fd, const struct guest_mem *mem, const struct snapshot_chain *chain,
		       uint64_t *const *changed, struct err *e) must_check;

#endif
