// SPDX-License-Identifier: Apache-2.0
/*
 * Writing a snapshot's two files as one.
 *
 * Theory of operation
 * Both files are built under temporary names. The rename of the state file is
 * the commit: before it a loader finds the old pair, after it the new state
 * file and the memory file with the same id, under its temporary name or under
 * its own. Each step is durable before the next one starts:
 *
 *   contents of both -> their names -> state file renamed -> that rename
 *   -> memory file renamed -> that rename
 *
 * so that after a power failure, too, the memory file never has its name
 * without the state file. Whoever comes upon the time between the two renames
 * (the process died there) does the second one first; every other leftover is
 * removed. The locks of tmpfile.h keep living writers apart.
 */
#include "snapshot/pair.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/rand.h"
#include "snapshot/format.h"
#include "snapshot/memfile.h"
#include "snapshot/statefile.h"
#include "snapshot/tmpfile.h"

struct pair {
	struct tmpfile state;
	struct tmpfile mem;
	struct memfile_mark mark;
	uint8_t *payload; /* owned */
	size_t payload_len;
};

static int pair_check_distinct(const struct pair *pair, struct err *e)
{
	const char *const clashes[][2] = {
		{ pair->state.path, pair->mem.path },
		{ pair->state.path, pair->mem.tmp },
		{ pair->state.tmp, pair->mem.path },
	};

	for (size_t i = 0; i < ARRAY_SIZE(clashes); i++) {
		bool same;
		int r = tmpfile_same_name(clashes[i][0], clashes[i][1], &same, e);

		if (r < 0)
			return r;
		if (same)
			return err_set(
				e, EINVAL,
				"snapshot state file \"%s\" and snapshot memory file \"%s\" need two different names%s",
				pair->state.path, pair->mem.path,
				i > 0 ? ", and neither may be the other's with \"" SNAPSHOT_TMP_SUFFIX "\"" : "");
	}
	return 0;
}

/* What a loader would refuse must not replace a good snapshot. */
static int pair_encode(struct pair *pair, struct enc *enc, struct err *e)
{
	struct dec *check;
	int r;

	r = enc_finish(enc, &pair->payload, &pair->payload_len);
	if (r < 0)
		return err_errno(e, -r, "cannot encode the state of the machine");
	r = dec_new(pair->payload, pair->payload_len, &check, e);
	if (r < 0)
		return err_wrap(e, r, "the state of the machine would not load again");
	dec_free(check);
	return 0;
}

/* Does the memory file under the temporary name belong to the state file that is in place? */
static bool pair_is_half_committed(const struct pair *pair)
{
	struct memfile_mark mark;
	struct err ignored;

	return statefile_read_mark(pair->state.path, &mark, &ignored) == 0 &&
	       memfile_check(pair->mem.fd, pair->mem.tmp, &mark, &ignored) == 0;
}

static int pair_finish_commit(struct pair *pair, struct err *e)
{
	int r;

	r = tmpfile_sync_folder(&pair->state, e);
	if (r == 0)
		r = tmpfile_rename(&pair->mem, e);
	if (r == 0)
		r = tmpfile_sync_folder(&pair->mem, e);
	return r;
}

/* Clears away what an earlier process left. */
static int pair_recover(struct pair *pair, struct err *e)
{
	int r;

	r = tmpfile_adopt(&pair->state, e);
	if (r < 0)
		return r;
	r = tmpfile_adopt(&pair->mem, e);
	if (r < 0)
		return r;
	tmpfile_remove(&pair->state);
	if (pair->mem.fd < 0)
		return 0;
	if (pair_is_half_committed(pair))
		return pair_finish_commit(pair, e);
	tmpfile_remove(&pair->mem);
	return 0;
}

static int pair_write(struct pair *pair, const struct guest_mem *mem, struct err *e)
{
	int r;

	r = memfile_write(pair->mem.fd, mem, &pair->mark, e);
	if (r < 0)
		return err_wrap(e, r, "cannot write %s \"%s\"", pair->mem.what, pair->mem.path);
	r = statefile_write(pair->state.fd, &pair->mark, pair->payload, pair->payload_len);
	if (r < 0)
		return err_errno(e, -r, "cannot write %s \"%s\"", pair->state.what, pair->state.path);
	r = tmpfile_sync(&pair->mem, e);
	if (r == 0)
		r = tmpfile_sync(&pair->state, e);
	if (r == 0)
		r = tmpfile_sync_folder(&pair->mem, e);
	if (r == 0)
		r = tmpfile_sync_folder(&pair->state, e);
	return r;
}

static int pair_create(struct pair *pair, const struct guest_mem *mem, struct err *e)
{
	int r;

	r = tmpfile_create(&pair->state, e);
	if (r == 0)
		r = tmpfile_create(&pair->mem, e);
	if (r == 0)
		r = pair_write(pair, mem, e);
	if (r == 0)
		r = tmpfile_rename(&pair->state, e);
	if (r < 0) {
		tmpfile_remove(&pair->mem);
		tmpfile_remove(&pair->state);
		return r;
	}
	/* Committed. From here on the memory file stays, whatever its name. */
	r = pair_finish_commit(pair, e);
	if (r < 0)
		return err_wrap(e, r, "the snapshot is written and can be loaded, but not in its final place");
	return 0;
}

static int pair_prepare(struct pair *pair, const char *state_path, const char *mem_path, struct enc *enc,
			const struct guest_mem *mem, struct err *e)
{
	int r;

	r = tmpfile_init(&pair->state, "snapshot state file", state_path, e);
	if (r < 0)
		return r;
	r = tmpfile_init(&pair->mem, "snapshot memory file", mem_path, e);
	if (r < 0)
		return r;
	r = pair_check_distinct(pair, e);
	if (r < 0)
		return r;
	if (!snapshot_mem_size_is_valid(mem->size) || mem->size < SNAPSHOT_RECORD_OFFSET + MEM_PAGE_SIZE)
		return err_set(e, EINVAL, "a machine with %llu bytes of memory cannot be written to a snapshot",
			       (unsigned long long)mem->size);
	pair->mark = (struct memfile_mark){ .mem_size = mem->size, .offset = SNAPSHOT_RECORD_OFFSET };
	r = rand_bytes(pair->mark.id, sizeof(pair->mark.id));
	if (r < 0)
		return err_errno(e, -r, "cannot get random bytes for the snapshot's id");
	return pair_encode(pair, enc, e);
}

int snapshot_write_pair(const char *state_path, const char *mem_path, struct enc *enc, const struct guest_mem *mem,
			struct err *e)
{
	struct pair pair = { .state.fd = -1, .mem.fd = -1 };
	int r;

	r = pair_prepare(&pair, state_path, mem_path, enc, mem, e);
	if (r == 0)
		r = pair_recover(&pair, e);
	if (r == 0)
		r = pair_create(&pair, mem, e);
	tmpfile_fini(&pair.state);
	tmpfile_fini(&pair.mem);
	free(pair.payload);
	return r;
}
