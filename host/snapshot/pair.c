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
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fdio.h"
#include "base/rand.h"
#include "snapshot/format.h"
#include "snapshot/memfile.h"
#include "snapshot/statefile.h"
#include "snapshot/tmpfile.h"

struct pair {
	struct tmpfile state;
	struct tmpfile mem;
	struct memfile_mark mark;
	struct snapshot_chain chain; /* its own layer the last */
	uint64_t *const *changed;    /* of a diff that is written alone, or NULL */
	uint8_t *payload;	     /* owned */
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

	r = tmpfile_sync_directory(&pair->state, e);
	if (r == 0)
		r = tmpfile_rename(&pair->mem, e);
	if (r == 0)
		r = tmpfile_sync_directory(&pair->mem, e);
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

/* By their names: two spellings of one directory are synchronised twice, which does no harm. */
static bool pair_is_in_one_directory(const struct pair *pair)
{
	const char *state = strrchr(pair->state.path, '/'), *mem = strrchr(pair->mem.path, '/');
	size_t len = state ? (size_t)(state - pair->state.path) + 1 : 0;

	return len == (mem ? (size_t)(mem - pair->mem.path) + 1 : 0) &&
	       memcmp(pair->state.path, pair->mem.path, len) == 0;
}

static int pair_write(struct pair *pair, const struct guest_mem *mem, struct err *e)
{
	int r;

	r = pair->changed ? memfile_write_diff(pair->mem.fd, mem, &pair->chain, pair->changed, e)
			  : memfile_write(pair->mem.fd, mem, &pair->chain, e);
	if (r < 0)
		return err_wrap(e, r, "cannot write %s \"%s\"", pair->mem.what, pair->mem.path);
	r = statefile_write(pair->state.fd, &pair->mark, pair->payload, pair->payload_len);
	if (r < 0)
		return err_errno(e, -r, "cannot write %s \"%s\"", pair->state.what, pair->state.path);
	r = tmpfile_sync(&pair->mem, e);
	if (r == 0)
		r = tmpfile_sync(&pair->state, e);
	if (r == 0)
		r = tmpfile_sync_directory(&pair->mem, e);
	if (r == 0 && !pair_is_in_one_directory(pair))
		r = tmpfile_sync_directory(&pair->state, e);
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

/*
 * Is the memory file that will be replaced one that the diff lies on? Who cannot tell must not replace it. Another clone's
 * diff may have been merged into it: what the diff lies on is lost with it, and so all of memory is written all the same.
 */
static int pair_find_base(const struct pair *pair, const struct snapshot_chain *below, bool *found, struct err *e)
{
	uint64_t size;
	int fd, r = file_open_regular(pair->mem.what, pair->mem.path, O_RDONLY, &fd, &size, e);

	*found = false;
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	for (unsigned int i = 0; i < below->num && !*found && (r == 0 || r == -EINVAL); i++) {
		struct memfile_mark mark = { .mem_size = pair->mark.mem_size, .offset = below->layers[i].offset };

		memcpy(mark.id, below->layers[i].id, sizeof(mark.id));
		r = memfile_check_layer(fd, pair->mem.path, &mark, e);
		*found = r == 0;
	}
	close(fd);
	return r == -EINVAL ? 0 : r;
}

static int pair_prepare_names(struct pair *pair, const struct snapshot_order *order, struct err *e)
{
	int r = tmpfile_init(&pair->state, "snapshot state file", order->state_path, e);

	if (r < 0)
		return r;
	r = tmpfile_init(&pair->mem, "snapshot memory file", order->mem_path, e);
	return r < 0 ? r : pair_check_distinct(pair, e);
}

static int pair_prepare(struct pair *pair, const struct snapshot_order *order, struct enc *enc, struct err *e)
{
	uint64_t mem_size = order->mem->size;
	int r = pair_prepare_names(pair, order, e);

	if (r < 0)
		return r;
	if (!snapshot_mem_size_is_valid(mem_size) || mem_size < SNAPSHOT_RECORD_OFFSET + MEM_PAGE_SIZE)
		return err_set(e, EINVAL, "a machine with %llu bytes of memory cannot be written to a snapshot",
			       (unsigned long long)mem_size);
	pair->mark = (struct memfile_mark){ .mem_size = mem_size };
	r = rand_bytes(pair->mark.id, sizeof(pair->mark.id));
	if (r < 0)
		return err_errno(e, -r, "cannot get random bytes for the snapshot's id");
	snapshot_chain_push(order->below, pair->mark.id, &pair->chain);
	pair->mark.offset = pair->chain.layers[pair->chain.num - 1].offset;
	return pair_encode(pair, enc, e);
}

int snapshot_write_pair(const struct snapshot_order *order, struct enc *enc, struct snapshot_chain *chain,
			struct err *e)
{
	struct pair pair = { .state.fd = -1, .mem.fd = -1 };
	bool is_base = order->below->num == 0; /* then all of memory is written */
	int r;

	r = pair_prepare(&pair, order, enc, e);
	if (r == 0)
		r = pair_recover(&pair, e);
	if (r == 0 && order->below->num > 0)
		r = pair_find_base(&pair, order->below, &is_base, e);
	if (r == 0 && !is_base)
		pair.changed = order->changed;
	if (r == 0)
		r = pair_create(&pair, order->mem, e);
	if (r == 0)
		*chain = pair.chain;
	tmpfile_fini(&pair.state);
	tmpfile_fini(&pair.mem);
	free(pair.payload);
	return r;
}
