/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the pages of guest memory hold: the questions that a snapshot asks, and
 * giving pages back. What is asked holds while the machine is paused.
 */
#ifndef MEM_PAGES_H
#define MEM_PAGES_H

#include "mem/mem.h"
#include "mem/pagemap.h"

enum mem_content {
	MEM_ZERO,    /* zeroes: nobody has touched it since it was mapped or given back */
	MEM_OWN,     /* the process's own page: it can be read at its address */
	MEM_AS_FILE, /* what mem_survey.file has at file_offset. To touch it may be SIGBUS: the file can have been cut */
	MEM_DOUBTFUL, /* MEM_OWN or MEM_AS_FILE, the kernel does not tell: mem_read_carefully() */
	/* With the handler, or already served, the kernel does not tell: mem_populate(), then mem_read_carefully(). */
	MEM_UNSERVED,
};

struct mem_survey {
	const struct guest_mem *mem; /* borrowed */
	struct pagemap pagemap;
	int file; /* borrowed: of the last answer, if it was MEM_AS_FILE: the memory file, or a layer above it */
};

/* -ENOMEM. Without /proc/self/pagemap there are fewer pages of which the answer is certain, and that is no error. */
int mem_survey_init(struct mem_survey *survey, const struct guest_mem *mem) must_check;
void mem_survey_fini(struct mem_survey *survey);
/*
 * What the page at offset (a multiple of MEM_PAGE_SIZE, below its size) of region number index has, and in *run how many
 * bytes from there, whole pages, have the same. Touches nothing.
 */
enum mem_content mem_survey_next(struct mem_survey *survey, unsigned int index, uint64_t offset, uint64_t *run);

/*
 * Copies [offset, offset + len) of the region by a system call, which gives -EFAULT where touching it would be a signal: the
 * end of a file that was cut.
 */
int mem_read_carefully(const struct mem_region *region, uint64_t offset, void *dst, size_t len) must_check;

/* The page of MEM_PAGE_SIZE bytes at page holds zeroes only. */
bool mem_page_is_zero(const uint8_t *page);

/* Has the handler serve all of [offset, offset + len) of a region that is served: 0, or -errno: then some may be missing. */
int mem_populate(const struct guest_mem *mem, const struct mem_region *region, uint64_t offset,
		 uint64_t len) must_check;
/*
 * The same for the pages of [gpa, gpa + len) that are memory of a handler: whoever touches them afterwards does not wait. What is
 * no guest memory, or has another source, is left alone.
 */
int mem_prepare(const struct guest_mem *mem, gpa_t gpa, uint64_t len) must_check;

/*
 * Gives [gpa, gpa + len) back, whole pages: the guest finds zeroes there from now on, whatever their source was, and so
 * does a snapshot. The host's memory is free, unless it is huge: those pages stay reserved. One thread at a time.
 *
 * -EINVAL: not whole pages of guest memory, nothing is done. Otherwise all is zero, but for -ENOMEM and memory of a
 * handler, where nothing or a part is.
 */
int mem_discard(struct guest_mem *mem, gpa_t gpa, uint64_t len) must_check;
/*
 * The same for what there is of a range that a guest has named: whole pages of guest memory that lie in [gpa, gpa + len),
 * whatever else does. How many bytes were given back.
 */
uint64_t mem_discard_within(struct guest_mem *mem, gpa_t gpa, uint64_t len);

#endif
