/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages a memory file has, as runs: of a diff they are all that it says,
 * and what is no run is as the layer below has it. Holes are lost when a file
 * is copied by a tool that does not know them, and made where there were none
 * by others; hence the digest of the runs in a diff's record.
 */
#ifndef SNAPSHOT_RUNS_H
#define SNAPSHOT_RUNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "mem/mem.h"
#include "snapshot_format.h"

struct runs {
	struct mem_run *list; /* owned; ascending, never touching each other */
	size_t num, room;
};

void runs_fini(struct runs *runs);
/* Adds [offset, offset + len) behind what is there; touching the last, it makes that longer. -ENOMEM. */
int runs_add(struct runs *runs, uint64_t offset, uint64_t len) must_check;
/* All of fd's first size bytes that are no holes, in whole pages, into empty runs. -errno. */
int runs_of_file(struct runs *runs, int fd, uint64_t size) must_check;
/* The pages of either, into empty runs. -ENOMEM. */
int runs_union(struct runs *runs, const struct runs *a, const struct runs *b) must_check;
bool runs_are_equal(const struct runs *a, const struct runs *b);
/* -ENOMEM. */
int runs_digest(const struct runs *runs, struct snapshot_checksum *digest) must_check;
/* Copies the runs of one file to the same places of another, in the kernel where that can do it. -errno. */
int runs_copy(const struct runs *runs, int from, int to) must_check;

#endif
