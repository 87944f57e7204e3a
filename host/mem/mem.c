// SPDX-License-Identifier: Apache-2.0
/*
 * Guest memory mappings and the checked way into them. Mappings start at a
 * 2 MiB boundary, so that the kernel can use huge pages where the guest's
 * addresses allow it, and stay out of core dumps: they hold the guest's
 * secrets. NORESERVE: what a guest never touches is not accounted for.
 */
#include "mem/mem.h"

#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"

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

static int mem_init(struct guest_mem *mem, const struct mem_layout *layout, int fd, struct err *e)
{
	int r;

	*mem = (struct guest_mem){ .backing_fd = fd };
	r = mem_check_layout(layout, e);
	if (r < 0)
		goto fail;
	for (unsigned int i = 0; i < layout->num_regions; i++) {
		uint64_t size = layout->regions[i].size;
		uint8_t *host = mem_map(size, fd, mem->size);

		if (host == MAP_FAILED) {
			r = err_errno(e, errno, "cannot map %llu MiB of guest memory",
				      (unsigned long long)(size >> 20));
			goto fail;
		}
		mem->regions[mem->num_regions++] = (struct mem_region){
			.gpa = layout->regions[i].gpa,
			.size = size,
			.host = host,
			.file_offset = mem->size,
		};
		mem->size += size;
		/* Best effort: a kernel without it only makes larger core dumps. */
		(void)madvise(host, (size_t)size, MADV_DONTDUMP);
	}
	return 0;
fail:
	if (mem->num_regions == 0 && fd >= 0)
		close(fd);
	mem_fini(mem);
	return r;
}

int mem_init_anonymous(struct guest_mem *mem, const struct mem_layout *layout, struct err *e)
{
	return mem_init(mem, layout, -1, e);
}

int mem_init_file(struct guest_mem *mem, const struct mem_layout *layout, int fd, struct err *e)
{
	return mem_init(mem, layout, fd, e);
}

int mem_use_huge_pages(const struct guest_mem *mem, struct err *e)
{
	for (unsigned int i = 0; i < mem->num_regions; i++) {
		if (madvise(mem->regions[i].host, (size_t)mem->regions[i].size, MADV_HUGEPAGE) < 0)
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
		munmap(mem->regions[i].host, (size_t)mem->regions[i].size);
	if (mem->backing_fd >= 0)
		close(mem->backing_fd);
	*mem = (struct guest_mem){ .backing_fd = -1 };
}

void *mem_host(const struct guest_mem *mem, gpa_t gpa, uint64_t len)
{
	for (unsigned int i = 0; i < mem->num_regions; i++) {
		const struct mem_region *region = &mem->regions[i];
		uint64_t offset = gpa - region->gpa; /* wraps to something huge below the region */

		if (offset < region->size)
			return len > 0 && len <= region->size - offset ? region->host + offset : NULL;
	}
	return NULL;
}

bool mem_read(const struct guest_mem *mem, gpa_t gpa, void *dst, uint64_t len)
{
	const void *src = mem_host(mem, gpa, len);

	if (!src)
		return false;
	memcpy(dst, src, (size_t)len);
	return true;
}

bool mem_write(const struct guest_mem *mem, gpa_t gpa, const void *src, uint64_t len)
{
	void *dst = mem_host(mem, gpa, len);

	if (!dst)
		return false;
	memcpy(dst, src, (size_t)len);
	return true;
}
