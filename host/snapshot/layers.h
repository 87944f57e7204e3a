/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding the memory of a snapshot: one file that has all of it, or a diff and
 * the files that it lies on. Each is known by the records in it, and a diff by
 * its holes as well.
 */
#ifndef SNAPSHOT_LAYERS_H
#define SNAPSHOT_LAYERS_H

#include "base/err.h"
#include "mem/mem.h"
#include "snapshot/chain.h"
#include "snapshot/statefile.h"

/*
 * Memory, of this layout, of the snapshot that file and chain (snapshot_chain_load()) describe: path is its own memory file, and
 * below (NULL, or a list of strings one behind the other, the empty one ends it) names those that it lies on, bottom first.
 * All are mapped, none is copied. What is missing, is another's or in the wrong place is refused by its name. The pages in
 * whose place there are records are not put back yet.
 */
int snapshot_map_memory(const struct statefile *file, const struct snapshot_chain *chain, const char *path,
			const char *below, const struct mem_layout *layout, struct guest_mem *mem,
			struct err *e) must_check;
/*
 * For memory that somebody else serves: is it that of this snapshot? Looks at the records, which are in the pages that
 * snapshot_chain_prepare() has had; before they are put back. v1.0 had none there.
 */
int snapshot_check_served(const struct statefile *file, const struct snapshot_chain *chain, const struct guest_mem *mem,
			  struct err *e) must_check;

#endif
