// SPDX-License-Identifier: Apache-2.0
#include "snapshot/inspect.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "snapshot/format.h"

#define INSPECT_WHAT "snapshot memory file"

void memfile_facts_fini(struct memfile_facts *facts)
{
	runs_fini(&facts->runs);
	if (facts->fd >= 0)
		close(facts->fd);
	*facts = (struct memfile_facts){ .fd = -1 };
}

static void inspect_record(struct memfile_facts *facts, uint64_t offset, uint64_t mem_size)
{
	struct memfile_layer *layer = &facts->layers[facts->num_layers];
	struct snapshot_mem_record record;

	if (fd_pread_all(facts->fd, &record, sizeof(record), (off_t)offset) < 0 ||
	    !memfile_record_is_whole(&record, mem_size))
		return;
	*layer = (struct memfile_layer){
		.offset = offset,
		.level = le64toh(record.level),
		.num_runs = le64toh(record.num_runs),
		.runs = record.runs,
	};
	memcpy(layer->id, record.id, sizeof(layer->id));
	memcpy(layer->base_id, record.base_id, sizeof(layer->base_id));
	facts->num_layers++;
}

static int inspect_compare(const void *left, const void *right)
{
	const struct memfile_layer *a = left, *b = right;

	return a->level < b->level ? -1 : a->level > b->level;
}

static void inspect_records(struct memfile_facts *facts, uint64_t size)
{
	facts->mem_size = size;
	for (unsigned int i = 0; i < SNAPSHOT_MAX_LAYERS; i++)
		inspect_record(facts, SNAPSHOT_RECORD_OFFSET - (uint64_t)i * MEM_PAGE_SIZE, size);
	if (facts->num_layers == 0 && size > MEM_PAGE_SIZE) {
		facts->mem_size = size - MEM_PAGE_SIZE;
		inspect_record(facts, facts->mem_size, facts->mem_size);
		facts->has_trailer = facts->num_layers > 0;
	}
	qsort(facts->layers, facts->num_layers, sizeof(facts->layers[0]), inspect_compare);
}

/* A memory in which there is a diff for each place has long been merged, whoever did it. */
static bool inspect_is_diff(const struct memfile_facts *facts)
{
	const struct memfile_layer *top = &facts->layers[facts->num_layers - 1];

	return top->num_runs != 0 && facts->layers[0].level != 0 && facts->num_layers < SNAPSHOT_MAX_LAYERS;
}

static int inspect_holes(struct memfile_facts *facts)
{
	const struct memfile_layer *top = &facts->layers[facts->num_layers - 1];
	struct snapshot_checksum digest;
	int r = runs_of_file(&facts->runs, facts->fd, facts->mem_size);

	if (r == 0)
		r = runs_digest(&facts->runs, &digest);
	if (r == 0)
		facts->has_right_holes = top->num_runs == facts->runs.num &&
					 memcmp(&digest, &top->runs, sizeof(digest)) == 0;
	return r;
}

int memfile_inspect(const char *path, struct memfile_facts *facts, struct err *e)
{
	struct memfile_facts found = { .fd = -1 };
	uint64_t size;
	int r = file_open_storage(INSPECT_WHAT, path, O_RDONLY, &found.fd, &size, e);

	if (r < 0)
		return r;
	inspect_records(&found, size);
	if (found.num_layers == 0) {
		memfile_facts_fini(&found);
		return err_set(e, EINVAL, INSPECT_WHAT " \"%s\" has no record: it is cut short or another kind of file",
			       path);
	}
	found.is_diff = inspect_is_diff(&found);
	r = inspect_holes(&found);
	if (r < 0) {
		memfile_facts_fini(&found);
		return err_errno(e, -r, "cannot find the holes of " INSPECT_WHAT " \"%s\"", path);
	}
	*facts = found;
	return 0;
}
