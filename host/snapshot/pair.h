/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Creating the two files so that a crash at any moment leaves the old pair or
 * the new pair loadable: both are written beside their targets under temporary
 * names, fsync'd, and renamed; the rename of the state file is the commit
 * point. Until the memory file's rename has happened too, the loader finds it
 * under its temporary name (memfile_open()), and the next snapshot to the same
 * paths finishes the commit first.
 */
#ifndef SNAPSHOT_PAIR_H
#define SNAPSHOT_PAIR_H

#include "state/codec.h"
#include "base/err.h"
#include "mem/mem.h"
#include "snapshot/chain.h"

struct snapshot_order {
	const char *state_path, *mem_path;
	const struct guest_mem *mem;
	const struct snapshot_chain *below; /* what a diff lies on; of no layers: the snapshot is full */
	uint64_t *const *changed;	    /* of a diff: the pages of each region that may not be as below says */
};

/*
 * Writes the pair, with the mode that umask gives less all rights of others: the files hold the guest's secrets. Takes the
 * finished state map, snapshot_chain_save() included, from enc (which stays the caller's). On error nothing that could
 * be loaded before is lost, and temporary files are removed. A full disk, a directory in the way, the same path for both
 * files, another process that is writing the same snapshot: one sentence each. *chain is the new snapshot's.
 *
 * A diff to the name of a memory file that it lies on becomes that file with the diff merged in, as Firecracker does it: all
 * of memory is written, under the diff's id.
 */
int snapshot_write_pair(const struct snapshot_order *order, struct enc *enc, struct snapshot_chain *chain,
			struct err *e) must_check;

#endif
