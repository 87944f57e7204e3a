// SPDX-License-Identifier: Apache-2.0
/*
 * Writing a diff. Here a page of zeroes is data: a hole means that the page is
 * as the layers below have it. The record has a digest of the runs of pages, so
 * that a copy that lost holes, or made some, is not taken for the same thing;
 * hence the look at what the file system has made of what was written.
 *
 * The machine is paused and its devices are quiet: nothing changes meanwhile.
 */
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fdio.h"
#include "mem/pages.h"
#include "snapshot/format.h"
#include "snapshot/memfile.h"
#include "snapshot/runs.h"

#define DIFF_CHUNK (256u * 1024)

struct diff {
	int fd; /* borrowed: the file under construction */
	const struct guest_mem *mem;
	const struct snapshot_chain *chain;
	uint64_t *const *changed;
	uint8_t *buffer; /* owned, DIFF_CHUNK bytes */
	bool unserved;	 /* it failed for pages that the handler had to serve */
	struct runs runs;
};

/* Records of layers below are theirs; the pages of RAM in their places are in the state file. */
static bool diff_has(const struct diff *diff, unsigned int index, uint64_t page)
{
	uint64_t offset = diff->mem->regions[index].file_offset + page * MEM_PAGE_SIZE;

	if (offset == diff->chain->layers[diff->chain->num - 1].offset)
		return true;
	return (diff->changed[index][page / 64] >> page % 64 & 1) && !snapshot_chain_has_record_at(diff->chain, offset);
}

/* By a system call: what belongs to a file that was cut is -EFAULT, not a signal. */
static int diff_put(struct diff *diff, const struct mem_region *region, uint64_t offset, uint64_t len)
{
	int r = runs_add(&diff->runs, region->file_offset + offset, len);

	/* What has changed is there; but without /proc/self/pagemap everything may have. */
	if (r == 0 && mem_is_served(region)) {
		r = mem_populate(diff->mem, region, offset, len);
		diff->unserved = r < 0;
	}
	while (len > 0 && r == 0) {
		size_t n = len < DIFF_CHUNK ? (size_t)len : DIFF_CHUNK;

		r = mem_read_carefully(region, offset, diff->buffer, n);
		if (r == 0)
			r = fd_pwrite_all(diff->fd, diff->buffer, n, (off_t)(region->file_offset + offset));
		offset += n;
		len -= n;
	}
	return r;
}

static int diff_put_region(struct diff *diff, unsigned int index)
{
	const struct mem_region *region = &diff->mem->regions[index];
	uint64_t pages = region->size / MEM_PAGE_SIZE, page = 0, start;
	int r = 0;

	while (page < pages && r == 0) {
		/* Most words have nothing; the one with the record is looked at all the same. */
		if (!diff_has(diff, index, page)) {
			page++;
			continue;
		}
		start = page;
		while (page < pages && diff_has(diff, index, page))
			page++;
		r = diff_put(diff, region, start * MEM_PAGE_SIZE, (page - start) * MEM_PAGE_SIZE);
	}
	return r;
}

static int diff_put_record(struct diff *diff)
{
	unsigned int top = diff->chain->num - 1;
	struct snapshot_mem_record record;
	int r;

	memfile_record(diff->chain, top, diff->mem->size, &record);
	record.num_runs = htole64(diff->runs.num);
	r = runs_digest(&diff->runs, &record.runs);
	if (r < 0)
		return r;
	memfile_seal(&record);
	return fd_pwrite_all(diff->fd, &record, sizeof(record), (off_t)diff->chain->layers[top].offset);
}

static int diff_put_all(struct diff *diff)
{
	int r = 0;

	diff->buffer = malloc(DIFF_CHUNK);
	if (!diff->buffer)
		return -ENOMEM;
	if (ftruncate(diff->fd, (off_t)diff->mem->size) < 0)
		return -errno;
	for (unsigned int i = 0; i < diff->mem->num_regions && r == 0; i++)
		r = diff_put_region(diff, i);
	return r < 0 ? r : diff_put_record(diff);
}

/* Are the file's holes those that were meant? */
static int diff_check_holes(const struct diff *diff, struct err *e)
{
	struct runs has = { .list = NULL };
	int r = runs_of_file(&has, diff->fd, diff->mem->size);
	bool same = runs_are_equal(&has, &diff->runs);

	runs_fini(&has);
	if (r < 0)
		return err_errno(e, -r, "cannot find the holes of the file");
	if (!same)
		return err_set(e, EOPNOTSUPP,
			       "its file system does not keep holes of single pages, which a Diff consists of");
	return 0;
}

int memfile_write_diff(int fd, const struct guest_mem *mem, const struct snapshot_chain *chain,
		       uint64_t *const *changed, struct err *e)
{
	struct diff diff = { .fd = fd, .mem = mem, .chain = chain, .changed = changed };
	int r = diff_put_all(&diff);

	if (diff.unserved)
		err_errno(e, -r, "the handler of the guest's pages has not served all of them");
	else if (r == -EFAULT)
		r = err_set(e, EIO, "the memory file that the machine was restored from was cut while it was read");
	else if (r < 0)
		err_errno(e, -r, "cannot copy guest memory into the file");
	else
		r = diff_check_holes(&diff, e);
	runs_fini(&diff.runs);
	free(diff.buffer);
	return r;
}
