// SPDX-License-Identifier: Apache-2.0
/*
 * Read-only: MADV_POPULATE_WRITE would spare the guest the copying of pages
 * that it is going to write, but each would be the process's own from then on:
 * memory of each clone, and a page of its next diff that nobody has changed.
 *
 * Not KVM_PRE_FAULT_MEMORY either: it is an ioctl of a vCPU and takes the mutex
 * that KVM_RUN holds, so that it would wait for the guest, or the guest for it.
 */
#include "mem/ahead.h"

#include <errno.h>
#include <sys/mman.h>

#include "mem/internal.h"

#ifndef MADV_POPULATE_READ /* Linux 5.14; older C libraries do not know it */
#define MADV_POPULATE_READ 22
#endif

int mem_check_ahead(const struct guest_mem *mem, struct err *e)
{
	for (unsigned int i = 0; i < mem->num_regions; i++) {
		if (mem->regions[i].source != MEM_FILE)
			return err_set(e, EOPNOTSUPP, "the machine's memory is not mapped from a file");
		if (mem->regions[i].copied)
			return err_set(e, EOPNOTSUPP,
				       "huge_pages is 2M: the machine's memory is copied from the file, not mapped");
	}
	return 0;
}

/* The pages of [offset, end) of the region that have not been given back. */
static int ahead_region(const struct mem_region *region, uint64_t offset, uint64_t end, int advice)
{
	uint64_t run;

	for (; offset < end; offset += run) {
		if (mem_is_discarded(region, offset, end - offset, &run))
			continue;
		if (madvise(region->writable + offset, (size_t)run, advice) < 0)
			return -errno;
	}
	return 0;
}

static int ahead_advise(const struct guest_mem *mem, uint64_t offset, uint64_t len, int advice)
{
	uint64_t end = offset + len;
	int r = 0;

	for (unsigned int i = 0; i < mem->num_regions && r == 0; i++) {
		const struct mem_region *region = &mem->regions[i];
		uint64_t first = region->file_offset, last = first + region->size;
		uint64_t from = offset > first ? offset : first, to = end < last ? end : last;

		if (from < to && region->source == MEM_FILE)
			r = ahead_region(region, from - first, to - first, advice);
	}
	return r;
}

void mem_will_need(const struct guest_mem *mem, uint64_t offset, uint64_t len)
{
	(void)!ahead_advise(mem, offset, len, MADV_WILLNEED);
}

int mem_map_ahead(const struct guest_mem *mem, uint64_t offset, uint64_t len)
{
	return ahead_advise(mem, offset, len, MADV_POPULATE_READ);
}
