/* SPDX-License-Identifier: Apache-2.0 */
/* What a memory file says of itself, without a state file. */
#ifndef SNAPSHOT_INSPECT_H
#define SNAPSHOT_INSPECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "snapshot/chain.h"
#include "snapshot/runs.h"
#include "snapshot_format.h"

struct memfile_layer {
	uint64_t offset; /* of its record, which says: */
	uint64_t level, num_runs;
	uint8_t id[SNAPSHOT_ID_LEN], base_id[SNAPSHOT_ID_LEN];
	struct snapshot_checksum runs;
};

struct memfile_facts {
	int fd; /* owned */
	uint64_t mem_size;
	bool has_trailer;     /* of v1.0 */
	bool is_diff;	      /* it lies on other memory */
	bool has_right_holes; /* of a diff: those that it was written with */
	unsigned int num_layers;
	struct memfile_layer layers[SNAPSHOT_MAX_LAYERS]; /* by level, the lowest first; at least one */
	struct runs runs;				  /* owned: what it has */
};

/* Opens and looks. -EINVAL with a sentence if it is no memory file. */
int memfile_inspect(const char *path, struct memfile_facts *facts, struct err *e) must_check;
void memfile_facts_fini(struct memfile_facts *facts);

/*
 * Replaces the memory file at path by itself with the diff at diff_path merged in: a new file takes its name at once, and who
 * has the old one mapped keeps that. A diff of other memory, one that has lost its holes: a sentence, and nothing is changed.
 */
int memfile_rebase(const char *path, const char *diff_path, struct err *e) must_check;

#endif
