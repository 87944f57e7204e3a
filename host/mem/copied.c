// SPDX-License-Identifier: Apache-2.0
/*
 * A page is "copied" from the moment before it is in place: who waits for it
 * goes on in that moment and may write to it. Before that its bytes are its
 * files', less what was given back (mem_region.discarded), and after that they
 * are what memory has.
 */
#include "mem/copied.h"

#include <errno.h>
#include <string.h>

#include "base/fdio.h"
#include "mem/internal.h"
#include "mem/userfault.h"

bool mem_is_copied(const struct mem_region *region, uint64_t offset, uint64_t len, uint64_t *run)
{
	uint64_t page = offset / MEM_HUGE_PAGE_SIZE, end = (offset + len - 1) / MEM_HUGE_PAGE_SIZE + 1, next = page + 1;
	bool copied = mem_bit(region->copied, page);

	while (next < end && mem_bit(region->copied, next) == copied)
		next++;
	*run = next * MEM_HUGE_PAGE_SIZE - offset;
	if (*run > len)
		*run = len;
	return copied;
}

bool mem_copied_find(const struct guest_mem *mem, uint64_t address, struct mem_copied_page *page)
{
	uint64_t offset, run;
	const struct mem_region *region = mem_find_address(mem, address, &offset);

	if (!region || !region->copied || mem_bit(region->copied, offset / MEM_HUGE_PAGE_SIZE))
		return false;
	offset -= offset % MEM_HUGE_PAGE_SIZE;
	page->region = region;
	page->offset = offset;
	page->num = 0;
	for (uint64_t at = offset; at < offset + MEM_HUGE_PAGE_SIZE; at += run) {
		struct mem_copied_piece *piece = &page->pieces[page->num++];

		run = offset + MEM_HUGE_PAGE_SIZE - at;
		piece->fd = mem_file_at(mem, region, at, &run);
		piece->offset = region->file_offset + at;
		piece->len = run;
	}
	return true;
}

int mem_copied_read(const struct mem_copied_page *page, uint8_t *bytes)
{
	int r = 0;

	for (unsigned int i = 0; i < page->num && r == 0; i++) {
		const struct mem_copied_piece *piece = &page->pieces[i];

		r = fd_pread_all(piece->fd, bytes, (size_t)piece->len, (off_t)piece->offset);
		bytes += piece->len;
	}
	return r;
}

int mem_copied_put(const struct mem_copied_page *page, int uffd, uint8_t *bytes)
{
	const struct mem_region *region = page->region;
	uint64_t number = page->offset / MEM_HUGE_PAGE_SIZE, run;
	int r;

	for (uint64_t at = 0; at < MEM_HUGE_PAGE_SIZE; at += run)
		if (mem_is_discarded(region, page->offset + at, MEM_HUGE_PAGE_SIZE - at, &run))
			memset(bytes + at, 0, (size_t)run);
	__atomic_fetch_or(&region->copied[number / MEM_BITS], 1ull << number % MEM_BITS, __ATOMIC_RELEASE);
	r = userfault_copy(uffd, region, page->offset, bytes, MEM_HUGE_PAGE_SIZE);
	if (r == 0 || r == -EEXIST)
		return 0;
	__atomic_fetch_and(&region->copied[number / MEM_BITS], ~(1ull << number % MEM_BITS), __ATOMIC_RELEASE);
	return r;
}

void mem_copied_discard(struct guest_mem *mem, const struct mem_region *region, uint64_t offset, uint64_t len)
{
	uint64_t end = offset + len, run;

	mem_bitmap_set(region->discarded, offset, len);
	mem->num_pieces = 1; /* there is something to ask for; nothing was cut */
	for (; offset < end; offset += run)
		if (mem_is_copied(region, offset, end - offset, &run))
			memset(region->writable + offset, 0, (size_t)run);
}

void mem_copied_leave_files(struct guest_mem *mem)
{
	mem->backing_fd = -1;
	mem->num_layers = 0;
}
