/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Huge memory of files (mem_init_file()): hugetlbfs cannot map a file of another
 * file system, so each page is copied from the files when it is touched first,
 * by whoever gets the events of a userfaultfd that it is registered with
 * (userfault.h).
 *
 * Theory. Reading the files may take any time, so nobody waits for it who does
 * not need the page: what is to be read is found first, then read, then put in
 * place. Pages that are given back in between (mem_discard()) are zero in what
 * is put there. For that finding, putting and giving back need one lock, the
 * caller's, and reading needs none.
 */
#ifndef MEM_COPIED_H
#define MEM_COPIED_H

#include "mem/mem.h"

/* Of a huge page; a piece of it is some file's. */
struct mem_copied_page {
	const struct mem_region *region; /* borrowed */
	uint64_t offset;		 /* in it, of the huge page */
	unsigned int num;
	struct mem_copied_piece {
		int fd; /* borrowed, from mem */
		uint64_t offset, len;
	} pieces[MEM_HUGE_PAGE_SIZE / MEM_PAGE_SIZE];
};

/* With the lock: where the page at a host address comes from. False: it is there, or no page of mem. */
bool mem_copied_find(const struct guest_mem *mem, uint64_t address, struct mem_copied_page *page) must_check;
/* Reads it into bytes, MEM_HUGE_PAGE_SIZE; does not look at mem. -errno; -ENODATA: a file was cut. */
int mem_copied_read(const struct mem_copied_page *page, uint8_t *bytes) must_check;
/* With the lock: puts it into memory, unless it is there. Changes bytes: what was given back is zero. -errno. */
int mem_copied_put(const struct mem_copied_page *page, int uffd, uint8_t *bytes) must_check;
/* With the lock: mem_handler.discard for such memory. Waits for nothing. */
void mem_copied_discard(struct guest_mem *mem, const struct mem_region *region, uint64_t offset, uint64_t len);
/* The files are left open for good by mem_fini(): somebody is still reading, and does not come back. */
void mem_copied_leave_files(struct guest_mem *mem);

#endif
