// SPDX-License-Identifier: Apache-2.0
/*
 * Change tracking. The guest's log gives each bit once, so it is added to the
 * monitor's notes, which keep it until the next mark: a snapshot that fails
 * half-way loses nothing.
 */
#include "mem/track.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mem/internal.h"
#include "mem/pagemap.h"

void mem_bitmap_set(uint64_t *bitmap, uint64_t offset, uint64_t len)
{
	uint64_t page = offset / MEM_PAGE_SIZE, last = (offset + len - 1) / MEM_PAGE_SIZE;

	for (; page <= last; page++)
		__atomic_fetch_or(&bitmap[page / MEM_BITS], 1ull << page % MEM_BITS, __ATOMIC_RELAXED);
}

void mem_note(const struct mem_region *region, uint64_t offset, uint64_t len)
{
	mem_bitmap_set(region->written, offset, len);
}

size_t mem_bitmap_len(const struct mem_region *region)
{
	return mem_bitmap_words(region);
}

void mem_set_guest_log(struct guest_mem *mem, const struct mem_guest_log *log)
{
	mem->guest_log = *log;
}

static int track_alloc(struct guest_mem *mem)
{
	for (unsigned int i = 0; i < mem->num_regions; i++) {
		struct mem_region *region = &mem->regions[i];

		if (!region->written)
			region->written = calloc(mem_bitmap_words(region), sizeof(*region->written));
		if (!region->written)
			return -ENOMEM;
	}
	return 0;
}

/* Word by word: what was never written stays a page that the bitmap has not got, and costs nothing. */
static void track_clear(const struct mem_region *region)
{
	for (size_t i = 0; i < mem_bitmap_words(region); i++)
		if (region->written[i])
			region->written[i] = 0;
}

/* Adds what the guest has written to the notes; the log forgets it. */
static int track_collect(struct guest_mem *mem, unsigned int index, struct err *e)
{
	int r;

	if (!mem->guest_log.collect)
		return 0;
	r = mem->guest_log.collect(mem->guest_log.ctx, index, mem->regions[index].written);
	return r < 0 ? err_errno(e, -r, "cannot tell which pages the guest has written") : 0;
}

int mem_prepare_mark(struct guest_mem *mem, struct err *e)
{
	int r = track_alloc(mem);

	return r < 0 ? err_errno(e, -r, "cannot keep track of changed memory") : 0;
}

int mem_mark(struct guest_mem *mem, struct err *e)
{
	int r = mem_prepare_mark(mem, e);

	if (r < 0)
		return r;
	for (unsigned int i = 0; i < mem->num_regions && r == 0; i++)
		r = track_collect(mem, i, e);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < mem->num_regions; i++)
		track_clear(&mem->regions[i]);
	/* Whoever sees it sees the bitmaps, too. */
	atomic_store_explicit(&mem->tracks, true, memory_order_release);
	return 0;
}

/* The bitmaps stay: a writer may be about to use them. */
void mem_unmark(struct guest_mem *mem)
{
	atomic_store_explicit(&mem->tracks, false, memory_order_relaxed);
}

/* What the process has pages of its own for, or may have. */
static int track_add_own(const struct mem_region *region, uint64_t *bitmap)
{
	struct pagemap pagemap;
	uint64_t run;
	int r = pagemap_init(&pagemap);

	if (r < 0)
		return r;
	for (uint64_t at = 0; at < region->size; at += run)
		if (pagemap_next(&pagemap, region->host + at, region->size - at, &run) != PAGEMAP_UNTOUCHED)
			mem_bitmap_set(bitmap, at, run);
	pagemap_fini(&pagemap);
	return 0;
}

int mem_changed_since_mark(struct guest_mem *mem, unsigned int index, uint64_t *bitmap, struct err *e)
{
	const struct mem_region *region = &mem->regions[index];
	int r;

	assert(index < mem->num_regions);
	if (!atomic_load(&mem->tracks))
		return err_set(e, EINVAL, "changes of guest memory are not tracked");
	r = track_collect(mem, index, e);
	if (r < 0)
		return r;
	memcpy(bitmap, region->written, mem_bitmap_words(region) * sizeof(*bitmap));
	if (mem->guest_log.collect)
		return 0;
	r = track_add_own(region, bitmap);
	return r < 0 ? err_errno(e, -r, "cannot tell which pages the guest has written") : 0;
}
