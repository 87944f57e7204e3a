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

/*
 * Writes the pair, with the mode that umask gives less all rights of others: the files hold the guest's secrets. Takes the
 * finished state map, memfile_save_under() included, from enc (which stays the caller's). On error nothing that could
 * be loaded before is lost, and temporary files are removed. A full disk, a folder in the way, the same path for both
 * files, another process that is writing the same snapshot: one sentence each.
 */
int snapshot_write_pair(const char *state_path, const char *mem_path, struct enc *enc, const struct guest_mem *mem,
			struct err *e) must_check;

#endif
