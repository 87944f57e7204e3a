/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory: a few regions, each one host mapping. The only door to it for
 * addresses that come from the guest: a range is checked once and either lies
 * whole in one region or does not exist.
 *
 * The guest may change any byte at any time: copy first, validate the copy.
 */
#ifndef MEM_MEM_H
#define MEM_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef uint64_t gpa_t; /* guest physical address */

#define MEM_MAX_REGIONS 4
#define MEM_PAGE_SIZE	4096u

struct mem_region {
	gpa_t gpa;	      /* page-aligned */
	uint64_t size;	      /* bytes, whole pages */
	uint8_t *host;	      /* owned mapping */
	uint64_t file_offset; /* where it stands in a memory file: regions follow each other without gaps */
};

/* Immutable once the machine runs; any thread may use it. */
struct guest_mem {
	unsigned int num_regions;
	struct mem_region regions[MEM_MAX_REGIONS]; /* ascending */
	uint64_t size;				    /* sum of the regions' sizes, bytes */
	int backing_fd; /* owned: the memory file that the regions map privately, or -1 for anonymous memory */
};

/* Plain layout of one region, what the architecture decides for a given RAM size (arch_mem_layout()). */
struct mem_layout {
	unsigned int num_regions;
	struct {
		gpa_t gpa;
		uint64_t size;
	} regions[MEM_MAX_REGIONS];
};

/* Anonymous private NORESERVE memory. */
int mem_init_anonymous(struct guest_mem *mem, const struct mem_layout *layout, struct err *e) must_check;
/*
 * Maps fd (a memory file, whose size the caller has checked) MAP_PRIVATE: what the guest does not touch costs nothing.
 * Takes over fd, also when it fails.
 */
int mem_init_file(struct guest_mem *mem, const struct mem_layout *layout, int fd, struct err *e) must_check;
/* Asks for transparent huge pages. In a file's mapping the kernel has them for some file systems only, and not for changed pages. */
int mem_use_huge_pages(const struct guest_mem *mem, struct err *e) must_check;
void mem_fini(struct guest_mem *mem); /* accepts half-built */

/* The host address of [gpa, gpa + len), or NULL unless all of it lies in one region. len 0 gives NULL. */
void *mem_host(const struct guest_mem *mem, gpa_t gpa, uint64_t len);

/* Copies; false (and nothing done) unless the whole range is guest memory. */
bool mem_read(const struct guest_mem *mem, gpa_t gpa, void *dst, uint64_t len) __attribute__((warn_unused_result));
bool mem_write(const struct guest_mem *mem, gpa_t gpa, const void *src, uint64_t len)
	__attribute__((warn_unused_result));

#endif
