/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory file: guest RAM as it is, region after region, zero pages as
 * holes, and one trailer page with the id of the state file that it belongs
 * to. Mapped privately by every machine that is restored from it, hence never
 * written in place.
 */
#ifndef SNAPSHOT_MEMFILE_H
#define SNAPSHOT_MEMFILE_H

#include <stdint.h>

#include "base/err.h"
#include "mem/mem.h"
#include "snapshot/statefile.h"

/*
 * Opens the memory file that belongs to id: at path, or under the temporary name that a crash in the middle of a commit
 * left. Checks size and trailer. *fd is the caller's. Cost does not depend on the size of the memory.
 */
int memfile_open(const char *path, const uint8_t id[SNAPSHOT_ID_LEN], uint64_t mem_size, int *fd,
		 struct err *e) must_check;

/*
 * Writes all of mem to fd (an empty new file) with the trailer, sparse. Pages that were never touched are not read; pages
 * that a restored machine has not changed are copied from mem->backing_fd.
 */
int memfile_write(int fd, const struct guest_mem *mem, const uint8_t id[SNAPSHOT_ID_LEN], struct err *e) must_check;

#endif
