/* SPDX-License-Identifier: Apache-2.0 */
/* Within snapshot/: what both files have in common. */
#ifndef SNAPSHOT_FORMAT_H
#define SNAPSHOT_FORMAT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "snapshot/chain.h"
#include "snapshot/statefile.h"
#include "snapshot_format.h"

/* A file under construction, and a memory file between the two renames of a commit, has this behind its name. */
#define SNAPSHOT_TMP_SUFFIX ".snapsafe-tmp"

/* The largest RAM that a header may claim: keeps every offset in a file and every sum within an off_t. */
#define SNAPSHOT_MAX_MEM_SIZE (1ull << 46)

#define SNAPSHOT_ID_TEXT_LEN (2 * SNAPSHOT_ID_LEN + 1)

/* Of the machine that this program is compiled for. */
enum snapshot_arch snapshot_arch(void);
const char *snapshot_arch_name(unsigned int arch);

void snapshot_checksum_of(const void *data, size_t len, struct snapshot_checksum *checksum);
bool snapshot_checksum_matches(const void *data, size_t len, const struct snapshot_checksum *checksum);
bool snapshot_mem_size_is_valid(uint64_t mem_size);
void snapshot_id_text(const uint8_t id[SNAPSHOT_ID_LEN], char text[SNAPSHOT_ID_TEXT_LEN]);

/*
 * The name that a path stands for: behind a symbolic link, so that a link stays one when its target is replaced.
 * A link to nothing names what is to be made, as for open(). Fails for an empty or too long path, and with -ESTALE for a
 * link of /proc to a file without a name.
 */
int snapshot_resolve(const char *what, const char *path, char resolved[PATH_MAX], struct err *e) must_check;

/* Writes header, payload and checksum to an empty file. -errno. */
int statefile_write(int fd, const struct memfile_mark *mark, const void *payload, size_t len) must_check;
/* Only the header, of a file that is whole and readable by this monitor. */
int statefile_read_mark(const char *path, struct memfile_mark *mark, struct err *e) must_check;

/* The record of a layer of the chain, for a file that has all pages of that layer's memory. */
void memfile_record(const struct snapshot_chain *chain, unsigned int index, uint64_t mem_size,
		    struct snapshot_mem_record *record);
void memfile_seal(struct snapshot_mem_record *record); /* the checksum that belongs to it */
bool memfile_record_is_whole(const struct snapshot_mem_record *record, uint64_t mem_size);
/* Has an open memory file this size? A block device may be larger. */
int memfile_check_size(int fd, const char *path, uint64_t size, struct err *e) must_check;
/* Whether an open memory file has the size that mark says, and its record: alone, or below diffs that were merged into it. */
int memfile_check_layer(int fd, const char *path, const struct memfile_mark *mark, struct err *e) must_check;
/* The same, and no diff was merged into it: it is that snapshot's. */
int memfile_check(int fd, const char *path, const struct memfile_mark *mark, struct err *e) must_check;

#endif
