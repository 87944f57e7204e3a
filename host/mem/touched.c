// SPDX-License-Identifier: Apache-2.0
/*
 * Theory of operation. The guest's first touch of a page makes KVM fault it in
 * through the process's mapping, and a device's touch does the same: from then
 * on /proc/self/pagemap says that it is there. That is exact, for this process
 * alone, and costs the guest nothing. The others are not: mincore(2) tells what
 * is in the page cache, whoever brought it there; KVM's dirty log knows writes
 * only; bits for accesses are those of page tables that KVM does not use.
 *
 * What has to be kept out is what the kernel adds. It reads ahead: MADV_RANDOM
 * turns that off. And a read fault maps its neighbours (up to 64 KiB, or a large
 * folio) if they are in the page cache, which nothing but an empty cache
 * prevents: so the file's pages that nobody has mapped are dropped first. Pages
 * that other processes have mapped stay, and those of tmpfs: there a few more
 * pages are recorded than were touched, never fewer.
 *
 * A page that was reclaimed between two looks is missed; it is one that was not
 * needed for long. Two looks that are near each other tell the order.
 */
#include "mem/touched.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "mem/ahead.h"
#include "mem/internal.h"

#define TOUCHED_CLASSES 64 /* of runs by their length: powers of two */

static void touched_advise(const struct guest_mem *mem, int advice)
{
	for (unsigned int i = 0; i < mem->num_regions; i++)
		(void)madvise(mem->regions[i].writable, (size_t)mem->regions[i].size, advice);
}

static void touched_drop_cache(const struct guest_mem *mem)
{
	(void)posix_fadvise(mem->backing_fd, 0, 0, POSIX_FADV_DONTNEED);
	for (unsigned int i = 0; i < mem->num_layers; i++)
		(void)posix_fadvise(mem->layer_fds[i], 0, 0, POSIX_FADV_DONTNEED);
}

static int touched_alloc(struct mem_touched *t, struct err *e)
{
	int r = pagemap_init(&t->pagemap);

	if (r == 0 && t->pagemap.fd < 0)
		return err_set(e, ENOENT, "/proc/self/pagemap cannot be read, which tells what a machine has touched");
	for (unsigned int i = 0; i < t->mem->num_regions && r == 0; i++) {
		t->seen[i] = calloc(mem_bitmap_words(&t->mem->regions[i]), sizeof(uint64_t));
		r = t->seen[i] ? 0 : -ENOMEM;
	}
	t->fresh = calloc(t->max_runs, sizeof(*t->fresh));
	t->runs = calloc(t->max_runs, sizeof(*t->runs));
	if (r < 0 || !t->fresh || !t->runs)
		return err_errno(e, ENOMEM, "cannot record a working set");
	return 0;
}

int mem_touched_init(struct mem_touched *t, const struct guest_mem *mem, size_t max_runs, struct err *e)
{
	struct mem_touched made = { .mem = mem, .max_runs = max_runs, .pagemap.fd = -1 };
	int r = mem_check_ahead(mem, e);

	if (r < 0)
		return r;
	r = touched_alloc(&made, e);
	if (r < 0) {
		mem_touched_fini(&made);
		return r;
	}
	touched_drop_cache(mem);
	touched_advise(mem, MADV_RANDOM);
	*t = made;
	return 0;
}

static int touched_add(struct mem_touched *t, uint64_t offset, uint64_t len)
{
	struct mem_run *last = t->num_fresh > 0 ? &t->fresh[t->num_fresh - 1] : NULL;

	if (last && last->offset + last->len == offset) {
		last->len += len;
		return 0;
	}
	if (!t->fresh || t->num_runs + t->num_fresh == t->max_runs)
		return -ENOSPC;
	t->fresh[t->num_fresh++] = (struct mem_run){ offset, len };
	return 0;
}

/* [offset, end) of the region is there; what of it is new? What was given back is zeroes of its own, and no file's. */
static int touched_note(struct mem_touched *t, unsigned int index, uint64_t offset, uint64_t end)
{
	const struct mem_region *region = &t->mem->regions[index];
	uint64_t run;
	int r = 0;

	for (; offset < end && r == 0; offset += run) {
		run = MEM_PAGE_SIZE;
		if (mem_bit(t->seen[index], offset / MEM_PAGE_SIZE))
			continue;
		if (mem_is_discarded(region, offset, end - offset, &run))
			continue;
		run = MEM_PAGE_SIZE;
		mem_bitmap_set(t->seen[index], offset, run);
		r = touched_add(t, region->file_offset + offset, run);
	}
	return r;
}

static int touched_look_at(struct mem_touched *t, unsigned int index)
{
	const struct mem_region *region = &t->mem->regions[index];
	uint64_t run;
	int r = 0;

	for (uint64_t at = 0; at < region->size && r == 0; at += run)
		if (pagemap_next_mapped(&t->pagemap, region->host + at, region->size - at, &run))
			r = touched_note(t, index, at, at + run);
	return r;
}

/* The largest first, to within a factor of two, so that no time is lost with sorting; of one class as they lie on the disk. */
static void touched_take_fresh(struct mem_touched *t)
{
	for (unsigned int class = TOUCHED_CLASSES; class -- > 0;)
		for (size_t i = 0; i < t->num_fresh; i++)
			if (t->fresh[i].len >> class == 1)
				t->runs[t->num_runs++] = t->fresh[i];
	t->num_fresh = 0;
}

int mem_touched_look(struct mem_touched *t)
{
	int r = 0;

	pagemap_forget(&t->pagemap);
	for (unsigned int i = 0; i < t->mem->num_regions && r == 0; i++)
		r = touched_look_at(t, i);
	touched_take_fresh(t);
	return r;
}

void mem_touched_end(struct mem_touched *t)
{
	touched_advise(t->mem, MADV_NORMAL);
}

void mem_touched_fini(struct mem_touched *t)
{
	if (!t->mem)
		return;
	for (unsigned int i = 0; i < MEM_MAX_REGIONS; i++)
		free(t->seen[i]);
	free(t->fresh);
	free(t->runs);
	pagemap_fini(&t->pagemap);
	*t = (struct mem_touched){ .mem = NULL };
}
