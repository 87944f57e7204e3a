// SPDX-License-Identifier: Apache-2.0
/*
 * The files of a memory, bottom first, must have the layers of the chain in
 * their order: each the next ones, and together all. A file has a layer if it
 * has its record. One that lies above others must also have the pages that its
 * topmost record says, no more and no less.
 */
#include "snapshot/layers.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fdio.h"
#include "snapshot/format.h"
#include "snapshot/memfile.h"
#include "snapshot/runs.h"

#define LAYERS_WHAT "snapshot memory file"

struct layers {
	const struct snapshot_chain *chain;
	const struct mem_layout *layout;
	uint64_t mem_size;
	struct guest_mem *mem;
	unsigned int next;		   /* of the chain: the files so far have those below it */
	struct snapshot_mem_record record; /* the topmost of the last file */
};

/* Reads what stands at the place of a layer's record; *is_record is false if that is none. */
static int layers_read_record(const struct layers *l, int fd, const char *path, unsigned int index,
			      struct snapshot_mem_record *record, bool *is_record, struct err *e)
{
	int r = fd_pread_all(fd, record, sizeof(*record), (off_t)l->chain->layers[index].offset);

	if (r < 0)
		return err_errno(e, -r, "cannot read " LAYERS_WHAT " \"%s\"", path);
	*is_record = memfile_record_is_whole(record, l->mem_size);
	return 0;
}

/* Has the file the layer of this number? Then its record is l->record. */
static int layers_has(struct layers *l, int fd, const char *path, unsigned int index, bool *has, struct err *e)
{
	struct snapshot_mem_record record;
	int r = layers_read_record(l, fd, path, index, &record, has, e);

	if (r < 0)
		return r;
	*has = *has && memcmp(record.id, l->chain->layers[index].id, SNAPSHOT_ID_LEN) == 0;
	if (*has)
		l->record = record;
	return 0;
}

static int layers_refuse_place(struct layers *l, int fd, const char *path, struct err *e)
{
	char wants[SNAPSHOT_ID_TEXT_LEN], has[SNAPSHOT_ID_TEXT_LEN];
	struct snapshot_mem_record record;
	bool is_top = false, is_record = false;
	int r = layers_has(l, fd, path, l->chain->num - 1, &is_top, e);

	if (r == 0)
		r = layers_read_record(l, fd, path, l->next, &record, &is_record, e);
	if (r < 0)
		return r;
	snapshot_id_text(l->chain->layers[l->next].id, wants);
	if (is_top && l->mem->num_regions == 0)
		return err_set(e, EINVAL,
			       LAYERS_WHAT
			       " \"%s\" is a diff, and the memory that it lies on, with the id %s, is not in it: "
			       "name the files below it in \"layers\" of mem_backend, or merge them with "
			       "snapsafe-snapshot rebase",
			       path, wants);
	if (!is_record)
		return err_set(e, EINVAL,
			       LAYERS_WHAT
			       " \"%s\" is not the next layer of this snapshot, which has the id %s, and nothing "
			       "of that is in it",
			       path, wants);
	snapshot_id_text(record.id, has);
	return err_set(e, EINVAL,
		       LAYERS_WHAT " \"%s\" is not the next layer of this snapshot: its id is %s, the layer's is %s",
		       path, has, wants);
}

/* Which of the next layers the file has. */
static int layers_find(struct layers *l, int fd, const char *path, struct err *e)
{
	unsigned int first = l->next;
	bool has = true;
	int r = 0;

	while (r == 0 && has && l->next < l->chain->num) {
		r = layers_has(l, fd, path, l->next, &has, e);
		l->next += r == 0 && has;
	}
	return r < 0 || l->next > first ? r : layers_refuse_place(l, fd, path, e);
}

/* Takes over fd. */
static int layers_put(struct layers *l, int fd, const char *path, struct err *e)
{
	struct runs runs = { .list = NULL };
	struct snapshot_checksum digest;
	int r;

	if (l->mem->num_regions == 0)
		return mem_init_file(l->mem, l->layout, fd, e);
	r = runs_of_file(&runs, fd, l->mem_size);
	if (r == 0)
		r = runs_digest(&runs, &digest);
	if (r < 0)
		err_errno(e, -r, "cannot find the holes of " LAYERS_WHAT " \"%s\"", path);
	else if (l->record.num_runs == 0)
		r = err_set(e, EINVAL, LAYERS_WHAT " \"%s\" is a whole memory, no diff: nothing can lie below it",
			    path);
	else if (le64toh(l->record.num_runs) != runs.num || memcmp(&digest, &l->record.runs, sizeof(digest)) != 0)
		r = err_set(e, EINVAL,
			    LAYERS_WHAT
			    " \"%s\" has not the holes that its diff was written with: it was copied by something "
			    "that does not keep holes, or it was merged with another file",
			    path);
	if (r == 0)
		r = mem_add_layer(l->mem, fd, runs.list, runs.num, e);
	else
		close(fd);
	runs_fini(&runs);
	return r;
}

static int layers_add_below(struct layers *l, const char *path, struct err *e)
{
	uint64_t size;
	int fd, r = file_open_storage(LAYERS_WHAT, path, O_RDONLY, &fd, &size, e);

	if (r < 0)
		return r;
	r = memfile_check_size(fd, path, l->mem_size, e);
	if (r == 0)
		r = layers_find(l, fd, path, e);
	if (r < 0) {
		close(fd);
		return r;
	}
	return layers_put(l, fd, path, e);
}

static int layers_add_top(struct layers *l, const struct statefile *file, const char *path, struct err *e)
{
	int fd, r = memfile_open(path, &file->mark, &fd, e);

	if (r < 0)
		return r;
	/* Of v1.0 there are no layers, and memfile_open() has seen the record. */
	r = file->mark.offset == file->mark.mem_size ? 0 : layers_find(l, fd, path, e);
	if (r < 0) {
		close(fd);
		return r;
	}
	return layers_put(l, fd, path, e);
}

int snapshot_map_memory(const struct statefile *file, const struct snapshot_chain *chain, const char *path,
			const char *below, const struct mem_layout *layout, struct guest_mem *mem, struct err *e)
{
	struct guest_mem made = { .num_regions = 0, .backing_fd = -1 };
	struct layers l = { .chain = chain, .layout = layout, .mem_size = file->mark.mem_size, .mem = &made };
	int r = 0;

	for (const char *name = below; name && *name && r == 0; name += strlen(name) + 1)
		r = layers_add_below(&l, name, e);
	if (r == 0)
		r = layers_add_top(&l, file, path, e);
	if (r < 0) {
		mem_fini(&made);
		return r;
	}
	*mem = made;
	return 0;
}

/* As memfile_check() does for files: a memory into which a diff was merged has the records of both. */
static int served_check_topmost(const struct snapshot_layer *top, const struct guest_mem *mem, struct err *e)
{
	char wants[SNAPSHOT_ID_TEXT_LEN], has[SNAPSHOT_ID_TEXT_LEN];
	struct snapshot_mem_record record;
	gpa_t above;

	if (!snapshot_chain_gpa_above(mem, top, &above) || !mem_read(mem, above, &record, sizeof(record)) ||
	    !memfile_record_is_whole(&record, mem->size) || memcmp(record.base_id, top->id, SNAPSHOT_ID_LEN) != 0)
		return 0;
	snapshot_id_text(record.id, has);
	snapshot_id_text(top->id, wants);
	return err_set(e, EINVAL, "serves another snapshot's memory: the diff %s was merged into the state file's, %s",
		       has, wants);
}

int snapshot_check_served(const struct statefile *file, const struct snapshot_chain *chain, const struct guest_mem *mem,
			  struct err *e)
{
	char wants[SNAPSHOT_ID_TEXT_LEN], has[SNAPSHOT_ID_TEXT_LEN];
	struct snapshot_mem_record record;

	for (unsigned int i = 0; i < chain->num && file->mark.offset != file->mark.mem_size; i++) {
		const struct snapshot_layer *layer = &chain->layers[i];
		bool is_record = mem_read(mem, snapshot_chain_gpa(mem, layer), &record, sizeof(record)) &&
				 memfile_record_is_whole(&record, file->mark.mem_size);

		if (is_record && memcmp(record.id, layer->id, SNAPSHOT_ID_LEN) == 0)
			continue;
		snapshot_id_text(layer->id, wants);
		if (!is_record)
			return err_set(e, EINVAL,
				       "serves another memory: the page at offset %llu is no record, the one of %s is "
				       "expected there",
				       (unsigned long long)layer->offset, wants);
		snapshot_id_text(record.id, has);
		return err_set(e, EINVAL, "serves another snapshot's memory: its id is %s, the state file's is %s", has,
			       wants);
	}
	return served_check_topmost(&chain->layers[chain->num - 1], mem, e);
}
