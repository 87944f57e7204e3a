// SPDX-License-Identifier: Apache-2.0
/*
 * Which pages are populated: a bit a page, of those of which it is known already,
 * and for the others the kernel's word (mincore(2)), which may be no for one that
 * is swapped out: then it is had like one that is missing. Any thread.
 */
#include "mem/populated.h"

#include <sys/mman.h>

#include "mem/internal.h"

#define POPULATED_BATCH 256u /* pages that the kernel is asked for at a time */

static uint64_t populated_pages_end(uint64_t offset, uint64_t len)
{
	return (offset + len - 1) / MEM_PAGE_SIZE + 1;
}

/* The first page of [page, end) that is not known to be populated, or end. */
static uint64_t populated_skip_known(const struct mem_region *region, uint64_t page, uint64_t end)
{
	while (page < end) {
		if (page % MEM_BITS == 0 &&
		    __atomic_load_n(&region->populated[page / MEM_BITS], __ATOMIC_RELAXED) == UINT64_MAX)
			page += MEM_BITS;
		else if (mem_bit(region->populated, page))
			page++;
		else
			return page;
	}
	return end;
}

/* The same after the kernel was asked, too. */
static uint64_t populated_find_missing(const struct mem_region *region, uint64_t page, uint64_t end)
{
	unsigned char resident[POPULATED_BATCH];

	while ((page = populated_skip_known(region, page, end)) < end) {
		uint64_t num = end - page < POPULATED_BATCH ? end - page : POPULATED_BATCH, known = 0;

		if (mincore(region->writable + page * MEM_PAGE_SIZE, (size_t)(num * MEM_PAGE_SIZE), resident) < 0)
			return page;
		while (known < num && resident[known] & 1)
			known++;
		if (known > 0)
			mem_bitmap_set(region->populated, page * MEM_PAGE_SIZE, known * MEM_PAGE_SIZE);
		if (known < num)
			return page + known;
		page += known;
	}
	return end;
}

/* The region, if there may be something to wait for in it. */
static const struct mem_region *populated_find(const struct guest_mem *mem, gpa_t gpa, uint64_t len, uint64_t *offset)
{
	const struct mem_region *region = mem_find(mem, gpa, len, offset);

	return region && region->populated ? region : NULL;
}

bool mem_is_populated(const struct guest_mem *mem, gpa_t gpa, uint64_t len)
{
	uint64_t offset, end;
	const struct mem_region *region = populated_find(mem, gpa, len, &offset);

	if (!region)
		return true;
	end = populated_pages_end(offset, len);
	return populated_find_missing(region, offset / MEM_PAGE_SIZE, end) >= end;
}

bool mem_is_populated_or_wanted(const struct guest_mem *mem, gpa_t gpa, uint64_t len, struct mem_job *job,
				unsigned int max)
{
	uint64_t offset, page, end;
	const struct mem_region *region = populated_find(mem, gpa, len, &offset);

	if (!region)
		return true;
	end = populated_pages_end(offset, len);
	page = populated_find_missing(region, offset / MEM_PAGE_SIZE, end);
	if (page >= end)
		return true;
	if (job->num < max)
		job->ranges[job->num++] = (struct mem_range){ .gpa = region->gpa + page * MEM_PAGE_SIZE,
							      .len = (end - page) * MEM_PAGE_SIZE };
	return false;
}

void mem_job_submit(const struct guest_mem *mem, struct mem_job *job)
{
	job->at = 0;
	job->freed = job->fails = 0;
	atomic_store(&job->pending, true);
	mem->handler.submit(mem->handler.ctx, job);
}

void mem_job_withdraw(const struct guest_mem *mem, struct mem_job *job)
{
	if (mem->handler.withdraw)
		mem->handler.withdraw(mem->handler.ctx, job);
}

void mem_note_populated(const struct guest_mem *mem, gpa_t gpa, uint64_t len)
{
	uint64_t offset;
	const struct mem_region *region = populated_find(mem, gpa, len, &offset);

	if (region)
		mem_bitmap_set(region->populated, offset, len);
}
