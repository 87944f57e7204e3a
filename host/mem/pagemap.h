/* SPDX-License-Identifier: Apache-2.0 */
/* Within mem/: which pages of a private mapping the process has pages of its own for (/proc/self/pagemap). */
#ifndef MEM_PAGEMAP_H
#define MEM_PAGEMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pagemap_kind {
	PAGEMAP_UNTOUCHED, /* as it was mapped: zero, or what the file has */
	PAGEMAP_PRIVATE,   /* written, in memory or in swap */
	PAGEMAP_UNKNOWN,   /* the kernel does not tell */
};

struct pagemap {
	int fd;		   /* owned; -1: everything is unknown */
	uint64_t *entries; /* owned */
	uint64_t first;	   /* page number of entries[0] */
	size_t num;
	size_t page_size; /* the kernel's, bytes */
};

/* -ENOMEM. Without /proc everything is unknown, and that is no error. */
int pagemap_init(struct pagemap *pm) __attribute__((warn_unused_result));
void pagemap_fini(struct pagemap *pm);

/* The kind of the page at addr, and in *run how many of the len bytes from there (at least one page, or len) have it too. */
enum pagemap_kind pagemap_next(struct pagemap *pm, const uint8_t *addr, uint64_t len, uint64_t *run);
/* The same for whether it is in the process's page tables at all, or in swap: false, too, if the kernel does not tell. */
bool pagemap_next_mapped(struct pagemap *pm, const uint8_t *addr, uint64_t len, uint64_t *run);
/* Looks anew from here on: what was read is kept in batches. */
void pagemap_forget(struct pagemap *pm);

#endif
