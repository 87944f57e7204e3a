// SPDX-License-Identifier: Apache-2.0
/*
 * Guest memory mappings and the checked way into them. Mappings start at a
 * 2 MiB boundary, so that the kernel can use huge pages where the guest's
 * addresses allow it, and stay out of core dumps: they hold the guest's
 * secrets. NORESERVE: what a guest never touches is not accounted for.
 */
#include "mem/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "mem/internal.h"

#define MEM_ALIGN (2ull * 1024 * 1024)
#define MEM_FLAGS (MAP_PRIVATE | MAP_NORESERVE)

static int mem_check_layout(const struct mem_layout *layout, struct err *e)
{
	gpa_t next = 0;
	uint64_t total = 0;

	if (layout->num_regions == 0 || layout->num_regions > MEM_MAX_REGIONS)
		return err_set(e, EINVAL, "guest memory has %u regions, 1 to %u are allowed", layout->num_regions,
			       MEM_MAX_REGIONS);
	for (unsigned int i = 0; i < layout->num_regions; i++) {
		gpa_t gpa = layout->regions[i].gpa;
		uint64_t size = layout->regions[i].size;

		/* The margin keeps sums with MEM_ALIGN and file offsets within an off_t. */
		if (size == 0 || size > INT64_MAX / 2 || (size | gpa) % MEM_PAGE_SIZE != 0 || gpa < next ||
		    __builtin_add_overflow(gpa, size, &next) || __builtin_add_overflow(total, size, &total) ||
		    total > INT64_MAX / 2)
			return err_set(e, EINVAL,
				       "guest memory region %u at 0x%llx of 0x%llx bytes is not a range of whole pages "
				       "above the region before it",
				       i, (unsigned long long)gpa, (unsigned long long)size);
		if (layout->huge && (size | gpa) % MEM_HUGE_PAGE_SIZE != 0)
			return err_set(e, EINVAL,
				       "huge_pages is 2M: guest memory of 0x%llx bytes is no multiple of 2 MiB",
				       (unsigned long long)size);
	}
	return 0;
}

/* Maps size bytes at a multiple of MEM_ALIGN: reserves more than that, and gives the ends back. */
static void *mem_map(uint64_t size, int fd, uint64_t offset)
{
	uint64_t reserved = size + MEM_ALIGN, head;
	uint8_t *area, *host;

	if (reserved > SIZE_MAX) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	area = mmap(NULL, (size_t)reserved, PROT_NONE, MEM_FLAGS | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		return MAP_FAILED;
	head = (MEM_ALIGN - (uintptr_t)area % MEM_ALIGN) % MEM_ALIGN;
	host = mmap(area + head, (size_t)size, PROT_READ | PROT_WRITE,
		    MEM_FLAGS | MAP_FIXED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, (off_t)offset);
	if (host == MAP_FAILED) {
		int errnum = errno;

		munmap(area, (size_t)reserved);
		errno = errnum;
		return MAP_FAILED;
	}
	if (head > 0)
		munmap(area, (size_t)head);
	munmap(host + size, (size_t)(MEM_ALIGN - head));
	return host;
}

/* The bitmaps that are needed at once: giving memory back must not fail for want of memory. Nothing of it is touched before. */
static int mem_alloc_bitmaps(const struct guest_mem *mem, struct mem_region *region, struct err *e)
{
	bool copies = mem->huge && region->source == MEM_FILE;
	bool is_served = copies || region->source == MEM_HANDLER;

	if (region->source != MEM_ANONYMOUS)
		region->discarded = calloc(mem_bitmap_words(region), sizeof(*region->discarded));
	if (copies) /* a bit for each 512 pages */
		region->copied = calloc(mem_bitmap_words(region), sizeof(*region->copied));
	if (is_served)
		region->populated = calloc(mem_bitmap_words(region), sizeof(*region->populated));
	if ((region->source != MEM_ANONYMOUS && !region->discarded) || (copies && !region->copied) ||
	    (is_served && !region->populated))
		return err_errno(e, ENOMEM, "cannot map guest memory");
	return 0;
}

static uint64_t mem_layout_size(const struct mem_layout *layout)
{
	uint64_t size = 0;

	for (unsigned int i = 0; i < layout->num_regions; i++)
		size += layout->regions[i].size;
	return size;
}

static int mem_init_region(struct guest_mem *mem, const struct mem_layout *layout, enum mem_source source,
			   struct err *e)
{
	struct mem_region *region = &mem->regions[mem->num_regions];
	gpa_t gpa = layout->regions[mem->num_regions].gpa;
	uint64_t size = layout->regions[mem->num_regions].size;
	uint8_t *host = mem->huge ? mem_map_huge(size) : mem_map(size, mem->backing_fd, mem->size);

	if (host == MAP_FAILED && mem->huge)
		return mem_refuse_huge(mem, mem_layout_size(layout), errno, e);
	if (host == MAP_FAILED)
		return err_errno(e, errno, "cannot map %llu MiB of guest memory", (unsigned long long)(size >> 20));
	*region = (struct mem_region){
		.gpa = gpa,
		.size = size,
		.host = host,
		.writable = host,
		.file_offset = mem->size,
		.source = source,
	};
	mem->num_regions++;
	mem->size += size;
	/* Best effort: a kernel without it only makes larger core dumps. */
	(void)madvise(host, (size_t)size, MADV_DONTDUMP);
	return mem_alloc_bitmaps(mem, region, e);
}

/* Takes over fd. */
static int mem_init(struct guest_mem *mem, const struct mem_layout *layout, enum mem_source source, int fd,
		    struct err *e)
{
	int r;

	*mem = (struct guest_mem){ .backing_fd = fd, .huge = layout->huge };
	r = mem_check_layout(layout, e);
	for (unsigned int i = 0; i < layout->num_regions && r == 0; i++)
		r = mem_init_region(mem, layout, source, e);
	if (r == 0)
		return 0;
	if (mem->num_regions == 0 && fd >= 0)
		close(fd);
	mem_fini(mem);
	return r;
}

int mem_init_anonymous(struct guest_mem *mem, const struct mem_layout *layout, struct err *e)
{
	return mem_init(mem, layout, MEM_ANONYMOUS, -1, e);
}

int mem_init_file(struct guest_mem *mem, const struct mem_layout *layout, int fd, struct err *e)
{
	return mem_init(mem, layout, MEM_FILE, fd, e);
}

int mem_init_handler(struct guest_mem *mem, const struct mem_layout *layout, const struct mem_handler *handler,
		     struct err *e)
{
	int r = mem_init(mem, layout, MEM_HANDLER, -1, e);

	if (r == 0)
		mem->handler = *handler;
	return r;
}

void mem_set_handler(struct guest_mem *mem, const struct mem_handler *handler)
{
	mem->handler = *handler;
}

static void mem_fini_region(struct mem_region *region)
{
	munmap(region->writable, (size_t)region->size);
	free(region->discarded);
	free(region->layers);
	free(region->written);
	free(region->copied);
	free(region->populated);
}

int mem_use_huge_pages(const struct guest_mem *mem, struct err *e)
{
	for (unsigned int i = 0; i < mem->num_regions; i++) {
		if (madvise(mem->regions[i].writable, (size_t)mem->regions[i].size, MADV_HUGEPAGE) < 0)
			return err_errno(e, errno, "huge_pages is Transparent, which this host's kernel does not have");
	}
	return 0;
}

void mem_fini(struct guest_mem *mem)
{
	/* Zeroed and never initialised: backing_fd 0 is not ours. */
	if (mem->num_regions == 0)
		return;
	for (unsigned int i = 0; i < mem->num_regions; i++)
		mem_fini_region(&mem->regions[i]);
	if (mem->backing_fd >= 0)
		close(mem->backing_fd);
	for (unsigned int i = 0; i < mem->num_layers; i++)
		close(mem->layer_fds[i]);
	*mem = (struct guest_mem){ .backing_fd = -1 };
}
