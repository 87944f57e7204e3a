/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this directory share: addresses to regions, bitmaps of a region's pages. */
#ifndef MEM_INTERNAL_H
#define MEM_INTERNAL_H

#include "mem/mem.h"

#define MEM_BITS 64u /* of a word of a bitmap */

/* The region that all of [gpa, gpa + len) lies in, and where in it; NULL. len 0 gives NULL. */
static inline const struct mem_region *mem_find(const struct guest_mem *mem, gpa_t gpa, uint64_t len, uint64_t *offset)
{
	for (unsigned int i = 0; i < mem->num_regions; i++) {
		const struct mem_region *region = &mem->regions[i];

		*offset = gpa - region->gpa; /* wraps to something huge below the region */
		if (*offset < region->size)
			return len > 0 && len <= region->size - *offset ? region : NULL;
	}
	return NULL;
}

/* Words of a bitmap of the region's pages. */
static inline size_t mem_bitmap_words(const struct mem_region *region)
{
	return (size_t)((region->size / MEM_PAGE_SIZE + MEM_BITS - 1) / MEM_BITS);
}

static inline bool mem_bit(const uint64_t *bitmap, uint64_t page)
{
	return __atomic_load_n(&bitmap[page / MEM_BITS], __ATOMIC_RELAXED) >> page % MEM_BITS & 1;
}

/* Sets the bits of the pages that [offset, offset + len) touches; len > 0. */
void mem_bitmap_set(uint64_t *bitmap, uint64_t offset, uint64_t len);

/*
 * discard.c: was the page at offset given back (a region that has a source other than zeroes)? And how many of the len bytes
 * from there, whole pages, are the same.
 */
bool mem_is_discarded(const struct mem_region *region, uint64_t offset, uint64_t len, uint64_t *run);

/*
 * layers.c: the file whose bytes a page has that nobody has touched, in memory of MEM_FILE. *run, whole pages from offset
 * on, becomes how much of it is the same file's.
 */
int mem_file_at(const struct guest_mem *mem, const struct mem_region *region, uint64_t offset, uint64_t *run);

/* hugetlb.c: private pages that are reserved, or MAP_FAILED and errno. */
void *mem_map_huge(uint64_t size);
/* The sentence for errnum of it, while mem has what could be mapped of size bytes. */
int mem_refuse_huge(const struct guest_mem *mem, uint64_t size, int errnum, struct err *e);

/* copied.c: is the page at offset there (a region that has copied)? And how many of the len bytes from there are the same. */
bool mem_is_copied(const struct mem_region *region, uint64_t offset, uint64_t len, uint64_t *run);

/* access.c: the region that an address of its mapping lies in, and where; NULL. */
const struct mem_region *mem_find_address(const struct guest_mem *mem, uint64_t address, uint64_t *offset);

/* track.c: the monitor has changed this range of the region. Cheap while nothing was marked. */
void mem_note(const struct mem_region *region, uint64_t offset, uint64_t len);

static inline void mem_wrote(struct guest_mem *mem, const struct mem_region *region, uint64_t offset, uint64_t len)
{
	if (__builtin_expect(atomic_load_explicit(&mem->tracks, memory_order_acquire), false))
		mem_note(region, offset, len);
}

#endif
