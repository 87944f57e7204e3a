// SPDX-License-Identifier: Apache-2.0
/*
 * Giving pages back. The kernel's way (MADV_DONTNEED) makes anonymous memory
 * zero, but a private mapping of a file shows the file again, and a handler
 * would be asked once more: the guest would find the snapshot's bytes, which
 * may be another guest's by now. So there the mapping is replaced by anonymous
 * memory, and a bit a page tells the snapshot. A handler that wants to know of it
 * does it in its own way (userfault.c).
 *
 * Each piece costs mappings, of which a process has 65530; the guest chooses
 * the pages. Beyond a limit zeroes are written instead, and the memory is kept.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "mem/internal.h"
#include "mem/pages.h"

#define MEM_MAX_PIECES 16384u /* each splits a mapping in three */

/* Anonymous memory: what cannot be dropped is overwritten. */
static void discard_anonymous(const struct mem_region *region, uint64_t offset, uint64_t len)
{
	if (madvise(region->writable + offset, (size_t)len, MADV_DONTNEED) < 0)
		memset(region->writable + offset, 0, (size_t)len);
}

/* Does [offset, offset + len) stand alone among the pages that were given back? Neighbours share a mapping. */
static bool discard_is_apart(const struct mem_region *region, uint64_t offset, uint64_t len)
{
	uint64_t page = offset / MEM_PAGE_SIZE, end = page + len / MEM_PAGE_SIZE;

	return !(page > 0 && mem_bit(region->discarded, page - 1)) &&
	       !(end < region->size / MEM_PAGE_SIZE && mem_bit(region->discarded, end));
}

static bool discard_replace(struct guest_mem *mem, const struct mem_region *region, uint64_t offset, uint64_t len)
{
	bool apart = discard_is_apart(region, offset, len);
	uint8_t *host = region->writable + offset;

	if (apart && mem->num_pieces >= MEM_MAX_PIECES)
		return false;
	if (mmap(host, (size_t)len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
		 0) == MAP_FAILED)
		return false;
	(void)madvise(host, (size_t)len, MADV_DONTDUMP);
	mem_bitmap_set(region->discarded, offset, len);
	mem->num_pieces += apart;
	return true;
}

/* Memory that still has its source. */
static int discard_sourced(struct guest_mem *mem, const struct mem_region *region, uint64_t offset, uint64_t len)
{
	if (discard_replace(mem, region, offset, len))
		return 0;
	if (region->source == MEM_HANDLER) /* to write there could wait for it */
		return -ENOMEM;
	memset(region->writable + offset, 0, (size_t)len);
	return 0;
}

bool mem_is_discarded(const struct mem_region *region, uint64_t offset, uint64_t len, uint64_t *run)
{
	uint64_t page = offset / MEM_PAGE_SIZE, end = page + len / MEM_PAGE_SIZE, next = page + 1;
	bool discarded = mem_bit(region->discarded, page);

	while (next < end && mem_bit(region->discarded, next) == discarded)
		next++;
	*run = (next - page) * MEM_PAGE_SIZE;
	return discarded;
}

static int discard_range(struct guest_mem *mem, const struct mem_region *region, uint64_t offset, uint64_t len)
{
	uint64_t end = offset + len, run;
	int r = 0;

	for (; offset < end && r == 0; offset += run) {
		if (mem_is_discarded(region, offset, end - offset, &run))
			discard_anonymous(region, offset, run);
		else
			r = discard_sourced(mem, region, offset, run);
	}
	return r;
}

/*
 * Huge pages cannot be given back in parts, and whole ones would leave their reservation (before Linux 6.9 it is not restored): who
 * touches one later would die of SIGBUS. So they stay, and become zero.
 */
static int discard_huge(struct guest_mem *mem, const struct mem_region *region, uint64_t offset, uint64_t len)
{
	if (!mem_is_served(region)) {
		memset(region->writable + offset, 0, (size_t)len);
		return 0;
	}
	if (!mem->handler.discard)
		return -ENOTCONN;
	return mem->handler.discard(mem->handler.ctx, region, offset, len);
}

int mem_discard(struct guest_mem *mem, gpa_t gpa, uint64_t len)
{
	uint64_t offset;
	const struct mem_region *region = mem_find(mem, gpa, len, &offset);
	int r = 0;

	if (!region || (gpa | len) % MEM_PAGE_SIZE != 0)
		return -EINVAL;
	if (mem->huge)
		r = discard_huge(mem, region, offset, len);
	else if (region->source == MEM_ANONYMOUS)
		discard_anonymous(region, offset, len);
	else if (region->source == MEM_HANDLER && mem->handler.discard)
		r = mem->handler.discard(mem->handler.ctx, region, offset, len);
	else
		r = discard_range(mem, region, offset, len);
	mem_wrote(mem, region, offset, len);
	return r;
}

uint64_t mem_discard_within(struct guest_mem *mem, gpa_t gpa, uint64_t len)
{
	gpa_t end = len > UINT64_MAX - gpa ? UINT64_MAX : gpa + len;
	uint64_t done = 0;

	for (unsigned int i = 0; i < mem->num_regions; i++) {
		const struct mem_region *region = &mem->regions[i];
		gpa_t from = gpa > region->gpa ? gpa : region->gpa;
		gpa_t to = end - region->gpa < region->size ? end : region->gpa + region->size;

		if (end <= region->gpa || from >= to)
			continue;
		from += (0 - from) %
			MEM_PAGE_SIZE; /* below to, or beyond it by less than a page: regions are whole pages */
		to -= to % MEM_PAGE_SIZE;
		if (from < to && mem_discard(mem, from, to - from) == 0)
			done += to - from;
	}
	return done;
}
