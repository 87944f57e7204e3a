// SPDX-License-Identifier: Apache-2.0
/*
 * Reading /proc/self/pagemap, in batches. Looking does not touch: a page that
 * was never used stays so. Without the file (no /proc in a jail) everything is
 * unknown, and the caller reads all of it.
 *
 * A page is private if it is present or swapped, and no page of a file (which
 * also holds for an entry under migration). The shared zero page counts as
 * private; whoever reads it finds zeroes.
 */
#include "mem/pagemap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fdio.h"

#define PAGEMAP_BATCH 16384 /* entries: 128 KiB, for 64 MiB of memory */

#define PAGEMAP_BIT_FILE    (1ull << 61)
#define PAGEMAP_BIT_SWAPPED (1ull << 62)
#define PAGEMAP_BIT_PRESENT (1ull << 63)

int pagemap_init(struct pagemap *pm)
{
	uint64_t *entries = malloc(PAGEMAP_BATCH * sizeof(*entries));

	if (!entries)
		return -ENOMEM;
	*pm = (struct pagemap){
		.fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC),
		.entries = entries,
		.page_size = (size_t)sysconf(_SC_PAGESIZE),
	};
	return 0;
}

static void pagemap_close(struct pagemap *pm)
{
	if (pm->fd >= 0)
		close(pm->fd);
	pm->fd = -1;
}

void pagemap_fini(struct pagemap *pm)
{
	pagemap_close(pm);
	free(pm->entries);
}

/* Makes entries start at page, for at most num pages. */
static bool pagemap_fill(struct pagemap *pm, uint64_t page, uint64_t num)
{
	if (pm->fd < 0)
		return false;
	if (page >= pm->first && page - pm->first < pm->num)
		return true;
	pm->first = page;
	pm->num = num < PAGEMAP_BATCH ? (size_t)num : PAGEMAP_BATCH;
	if (fd_pread_all(pm->fd, pm->entries, pm->num * sizeof(*pm->entries), (off_t)(page * sizeof(*pm->entries))) ==
	    0)
		return true;
	pm->num = 0;
	pagemap_close(pm);
	return false;
}

static bool pagemap_is_mapped(uint64_t entry)
{
	return entry & (PAGEMAP_BIT_PRESENT | PAGEMAP_BIT_SWAPPED);
}

static bool pagemap_is_private(uint64_t entry)
{
	return pagemap_is_mapped(entry) && !(entry & PAGEMAP_BIT_FILE);
}

/* *answer is is()'s for the page at addr, and *run how many bytes have the same. False: the kernel does not tell. */
static bool pagemap_ask(struct pagemap *pm, const uint8_t *addr, uint64_t len, bool (*is)(uint64_t entry), bool *answer,
			uint64_t *run)
{
	uint64_t page = (uintptr_t)addr / pm->page_size;
	uint64_t last = ((uintptr_t)addr + len - 1) / pm->page_size;
	uint64_t bytes;
	size_t i, start;

	*run = len;
	if (!pagemap_fill(pm, page, last - page + 1))
		return false;
	start = (size_t)(page - pm->first);
	*answer = is(pm->entries[start]);
	for (i = start + 1; i < pm->num && is(pm->entries[i]) == *answer; i++)
		;
	bytes = (uint64_t)(i - start) * pm->page_size - (uintptr_t)addr % pm->page_size;
	*run = bytes < len ? bytes : len;
	return true;
}

enum pagemap_kind pagemap_next(struct pagemap *pm, const uint8_t *addr, uint64_t len, uint64_t *run)
{
	bool is_private;

	if (!pagemap_ask(pm, addr, len, pagemap_is_private, &is_private, run))
		return PAGEMAP_UNKNOWN;
	return is_private ? PAGEMAP_PRIVATE : PAGEMAP_UNTOUCHED;
}

bool pagemap_next_mapped(struct pagemap *pm, const uint8_t *addr, uint64_t len, uint64_t *run)
{
	bool is_mapped;

	return pagemap_ask(pm, addr, len, pagemap_is_mapped, &is_mapped, run) && is_mapped;
}

void pagemap_forget(struct pagemap *pm)
{
	pm->num = 0;
}
