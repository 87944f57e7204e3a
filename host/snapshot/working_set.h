/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of a working set: which pages of a memory file a restored machine
 * needs first, in that order (docs/working-sets.md; the format is in
 * docs/snapshot-format.md). It belongs to one memory file by its id. Nothing
 * depends on it but time: who cannot use it goes without.
 */
#ifndef SNAPSHOT_WORKING_SET_H
#define SNAPSHOT_WORKING_SET_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "mem/mem.h"
#include "snapshot/statefile.h"
#include "snapshot_format.h"

#define WORKING_SET_MAX_RUNS 65536u
#define WORKING_SET_MIN_SIZE (sizeof(struct snapshot_working_set) + sizeof(struct snapshot_checksum))
#define WORKING_SET_MAX_SIZE (WORKING_SET_MIN_SIZE + WORKING_SET_MAX_RUNS * sizeof(struct snapshot_run))

/*
 * What a whole file of len bytes says: *runs lies in it, *num of them, each whole pages within the memory of mark, all
 * together no more than that memory. -EINVAL with a sentence: damaged, of another kind or version, or of another memory file.
 */
int working_set_parse(const void *file, size_t len, const struct memfile_mark *mark, const struct snapshot_run **runs,
		      size_t *num, struct err *e) must_check;

/* May a file be written to path? What is there must be a working set, of whichever memory file: nothing else is replaced. */
int working_set_check_target(const char *path, struct err *e) must_check;
/*
 * Writes runs (at most WORKING_SET_MAX_RUNS) to path, whole or not at all: the same way, and with the same rights, as a
 * snapshot's files.
 */
int working_set_write(const char *path, const struct memfile_mark *mark, const struct mem_run *runs, size_t num,
		      struct err *e) must_check;

#endif
