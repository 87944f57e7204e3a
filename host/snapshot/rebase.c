// SPDX-License-Identifier: Apache-2.0
/*
 * Merging a diff into the memory that it lies on. Machines may have that
 * mapped, and the process may die at any moment: a new file is written, made
 * durable, and takes the name.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "snapshot/format.h"
#include "snapshot/inspect.h"
#include "snapshot/tmpfile.h"

#define REBASE_WHAT "snapshot memory file"

struct rebase {
	const char *path, *diff_path;
	struct memfile_facts base, diff;
	struct tmpfile out;
};

static int rebase_check_diff(const struct rebase *rebase, struct err *e)
{
	if (!rebase->diff.is_diff)
		return err_set(e, EINVAL, REBASE_WHAT " \"%s\" is a whole memory, no diff: there is nothing to merge",
			       rebase->diff_path);
	if (!rebase->diff.has_right_holes)
		return err_set(e, EINVAL,
			       REBASE_WHAT " \"%s\" has not the holes that its diff was written with: it was copied by "
					   "something that does not keep holes",
			       rebase->diff_path);
	if (rebase->base.is_diff && !rebase->base.has_right_holes)
		return err_set(e, EINVAL,
			       REBASE_WHAT " \"%s\" is a diff, too, and has not the holes that it was written with",
			       rebase->path);
	return 0;
}

static int rebase_check_base(const struct rebase *rebase, struct err *e)
{
	const struct memfile_layer *lowest = &rebase->diff.layers[0];
	const struct memfile_layer *top = &rebase->base.layers[rebase->base.num_layers - 1];
	char wants[SNAPSHOT_ID_TEXT_LEN], has[SNAPSHOT_ID_TEXT_LEN];

	if (rebase->base.mem_size != rebase->diff.mem_size || rebase->base.has_trailer)
		return err_set(e, EINVAL, REBASE_WHAT " \"%s\" has %llu bytes of memory%s, the diff \"%s\" has %llu",
			       rebase->path, (unsigned long long)rebase->base.mem_size,
			       rebase->base.has_trailer ? " in a file of format v1.0" : "", rebase->diff_path,
			       (unsigned long long)rebase->diff.mem_size);
	if (memcmp(lowest->base_id, top->id, sizeof(top->id)) == 0)
		return 0;
	snapshot_id_text(lowest->base_id, wants);
	snapshot_id_text(top->id, has);
	return err_set(e, EINVAL, "the diff \"%s\" lies on the memory with the id %s, \"%s\" has the id %s",
		       rebase->diff_path, wants, rebase->path, has);
}

/* The topmost record says what the new file is: a whole memory, or a diff of the pages of both. */
static int rebase_put_record(const struct rebase *rebase)
{
	const struct memfile_layer *top = &rebase->diff.layers[rebase->diff.num_layers - 1];
	struct snapshot_mem_record record;
	struct runs both = { .list = NULL };
	int r = fd_pread_all(rebase->diff.fd, &record, sizeof(record), (off_t)top->offset);

	if (r < 0)
		return r;
	record.num_runs = 0;
	memset(&record.runs, 0, sizeof(record.runs));
	if (rebase->base.is_diff) {
		r = runs_union(&both, &rebase->base.runs, &rebase->diff.runs);
		if (r == 0)
			r = runs_digest(&both, &record.runs);
		record.num_runs = htole64(both.num);
		runs_fini(&both);
	}
	if (r < 0)
		return r;
	memfile_seal(&record);
	return fd_pwrite_all(rebase->out.fd, &record, sizeof(record), (off_t)top->offset);
}

static int rebase_write(struct rebase *rebase, struct err *e)
{
	int r = ftruncate(rebase->out.fd, (off_t)rebase->base.mem_size) < 0 ? -errno : 0;

	if (r == 0)
		r = runs_copy(&rebase->base.runs, rebase->base.fd, rebase->out.fd);
	if (r == 0)
		r = runs_copy(&rebase->diff.runs, rebase->diff.fd, rebase->out.fd);
	if (r == 0)
		r = rebase_put_record(rebase);
	return r < 0 ? err_errno(e, -r, "cannot write \"%s\"", rebase->out.tmp) : tmpfile_sync(&rebase->out, e);
}

static int rebase_replace(struct rebase *rebase, struct err *e)
{
	int r = tmpfile_init(&rebase->out, REBASE_WHAT, rebase->path, e);

	if (r < 0)
		return r;
	r = tmpfile_adopt(&rebase->out, e);
	if (r < 0)
		return r;
	if (rebase->out.fd >= 0)
		return err_set(
			e, EEXIST,
			"\"%s\" is there: somebody died while a snapshot or a merged file was written; whichever "
			"it is, load it or remove it first",
			rebase->out.tmp);
	r = tmpfile_create(&rebase->out, e);
	if (r < 0)
		return r;
	r = rebase_write(rebase, e);
	if (r == 0)
		r = tmpfile_rename(&rebase->out, e);
	if (r < 0) {
		tmpfile_remove(&rebase->out);
		return r;
	}
	return tmpfile_sync_directory(&rebase->out, e);
}

int memfile_rebase(const char *path, const char *diff_path, struct err *e)
{
	struct rebase rebase = { .path = path, .diff_path = diff_path, .base.fd = -1, .diff.fd = -1, .out.fd = -1 };
	int r = memfile_inspect(path, &rebase.base, e);

	if (r == 0)
		r = memfile_inspect(diff_path, &rebase.diff, e);
	if (r == 0)
		r = rebase_check_diff(&rebase, e);
	if (r == 0)
		r = rebase_check_base(&rebase, e);
	if (r == 0)
		r = rebase_replace(&rebase, e);
	tmpfile_fini(&rebase.out);
	memfile_facts_fini(&rebase.base);
	memfile_facts_fini(&rebase.diff);
	return r;
}
