// SPDX-License-Identifier: Apache-2.0
/*
 * Reading and writing guest memory. Each writer notes the pages, after it has
 * written: a page that was changed around the time of a mark counts as changed.
 */
#include <string.h>

#include "mem/internal.h"
#include "mem/mem.h"
#include "mem/place.h"

const void *mem_host(const struct guest_mem *mem, gpa_t gpa, uint64_t len)
{
	uint64_t offset;
	const struct mem_region *region = mem_find(mem, gpa, len, &offset);

	return region ? region->host + offset : NULL;
}

struct iovec mem_source_iov(const struct guest_mem *mem, gpa_t gpa, uint64_t len)
{
	uint64_t offset;
	const struct mem_region *region = mem_find(mem, gpa, len, &offset);

	/* The one place that takes const away (tests/lint/rules). NOLINTNEXTLINE(performance-no-int-to-ptr) */
	return (struct iovec){ .iov_base = region ? (void *)(uintptr_t)(region->host + offset) : NULL,
			       .iov_len = (size_t)len };
}

bool mem_read(const struct guest_mem *mem, gpa_t gpa, void *dst, uint64_t len)
{
	const void *src = mem_host(mem, gpa, len);

	if (!src)
		return false;
	memcpy(dst, src, (size_t)len);
	return true;
}

bool mem_write(struct guest_mem *mem, gpa_t gpa, const void *src, uint64_t len)
{
	uint64_t offset;
	const struct mem_region *region = mem_find(mem, gpa, len, &offset);

	if (!region)
		return false;
	memcpy(region->writable + offset, src, (size_t)len);
	mem_wrote(mem, region, offset, len);
	return true;
}

bool mem_find_place(struct guest_mem *mem, gpa_t gpa, uint64_t len, struct mem_place *place)
{
	uint64_t offset;
	const struct mem_region *region = mem_find(mem, gpa, len, &offset);

	*place = (struct mem_place){ .mem = mem };
	if (!region)
		return false;
	place->host = region->host + offset;
	place->writable = region->writable + offset;
	return true;
}

void *mem_lease_write(struct guest_mem *mem, gpa_t gpa, uint64_t len)
{
	uint64_t offset;
	const struct mem_region *region = mem_find(mem, gpa, len, &offset);

	if (!region)
		return NULL;
	atomic_fetch_add_explicit(&mem->num_leases, 1, memory_order_relaxed);
	return region->writable + offset;
}

const struct mem_region *mem_find_address(const struct guest_mem *mem, uint64_t address, uint64_t *offset)
{
	for (unsigned int i = 0; i < mem->num_regions; i++) {
		*offset = address - (uintptr_t)mem->regions[i].writable;
		if (*offset < mem->regions[i].size)
			return &mem->regions[i];
	}
	return NULL;
}

void mem_place_note(const struct mem_place *place, uint64_t at, uint64_t len)
{
	uint64_t offset;
	const struct mem_region *region = mem_find_address(place->mem, (uintptr_t)place->writable + at, &offset);

	if (region)
		mem_note(region, offset, len);
}

void mem_release_write(struct guest_mem *mem, const void *host, uint64_t len)
{
	uint64_t offset;
	const struct mem_region *region;

	if (atomic_load_explicit(&mem->tracks, memory_order_acquire)) {
		region = mem_find_address(mem, (uintptr_t)host, &offset);
		if (region)
			mem_note(region, offset, len);
	}
	atomic_fetch_sub_explicit(&mem->num_leases, 1, memory_order_release);
}
