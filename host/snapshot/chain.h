/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which snapshots a memory is the sum of: a full one, and diffs that lie on it,
 * each on the one before. Every one has a record in its memory file, each in a
 * place of its own, so that a memory which was put together, by whatever tool,
 * has all of them, and one that lacks a layer lacks its record. The pages of
 * RAM that belong in their places are in the state file.
 */
#ifndef SNAPSHOT_CHAIN_H
#define SNAPSHOT_CHAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "mem/mem.h"
#include "snapshot/statefile.h"
#include "state/codec.h"

/* Places of records; a diff above that takes the place of the lowest, which is long merged. */
#define SNAPSHOT_MAX_LAYERS 16u

struct snapshot_layer {
	uint8_t id[SNAPSHOT_ID_LEN];
	uint64_t offset; /* of its record in the memory file, bytes */
};

struct snapshot_chain {
	uint64_t level;					   /* diffs that the topmost is above the full snapshot */
	unsigned int num;				   /* 0: no snapshot */
	struct snapshot_layer layers[SNAPSHOT_MAX_LAYERS]; /* bottom first */
};

/*
 * What one more snapshot with this id makes of a chain: a diff, or, on a chain of none, a full one. Its own layer is the
 * last. A layer in whose place its record comes is dropped.
 */
void snapshot_chain_push(const struct snapshot_chain *below, const uint8_t id[SNAPSHOT_ID_LEN],
			 struct snapshot_chain *chain);
/* Where in a memory file a diff has its record that lies on the layer with a record at offset. */
uint64_t snapshot_chain_place_above(uint64_t offset);
/* Is the page at an offset of the memory file the place of a record? */
bool snapshot_chain_has_record_at(const struct snapshot_chain *chain, uint64_t offset);

/* The guest's address of the page in whose place a layer has its record. */
gpa_t snapshot_chain_gpa(const struct guest_mem *mem, const struct snapshot_layer *layer);
/* The same of the place above a layer, where a diff that lies on it has its record; false: none can, as with layers of v1.0. */
bool snapshot_chain_gpa_above(const struct guest_mem *mem, const struct snapshot_layer *layer, gpa_t *gpa);
/* Has these pages of memory that a handler has, and that above the top layer (mem_prepare()). */
int snapshot_chain_prepare(const struct snapshot_chain *chain, const struct guest_mem *mem) must_check;

/* Saves the layers that the next snapshot lies on, and the pages of mem in whose place records will be. */
void snapshot_chain_save(const struct snapshot_chain *below, const struct guest_mem *mem, struct enc *enc);
/* The chain of a state file, its own layer the last; of v1.0, which had its record behind the RAM, that alone. */
int snapshot_chain_load(const struct statefile *file, struct snapshot_chain *chain, struct err *e) must_check;
/* Puts the pages in whose place there are records back into memory that maps the files, or is served from them. Before anything runs. */
int snapshot_put_back(const struct statefile *file, const struct snapshot_chain *chain, struct guest_mem *mem,
		      struct err *e) must_check;

#endif
