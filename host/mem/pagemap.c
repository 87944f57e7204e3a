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

static bool pagemap_is_private(uint64_t entry)
{
	return (entry & (PAGEMAP_BIT_PRESENT | PAGEMAP_BIT_SWAPPED)) && !(entry & PAGEMAP_BIT_FILE);
}

enum pagemap_kind pagemap_next(struct pagemap *pm, const uint8_t *addr, uint64_t len, uint64_t *run)
{
	uint64_t page = (uintptr_t)addr / pm->page_size;
	uint64_t last = ((uintptr_t)addr + len - 1) / pm->page_size;
	uint64_t bytes;
	size_t i, start;
	bool is_private;

	*run = len;
	if (!pagemap_fill(pm, page, last - page + 1))
		return PAGEMAP_UNKNOWN;
	start = (size_t)(page - pm->first);
	is_private = pagemap_is_private(pm->entries[start]);
	for (i = start + 1; i < pm->num && pagemap_is_private(pm->entries[i]) == is_private; i++)
		;
	bytes = (uint64_t)(i - start) * pm->page_size - (uintptr_t)addr % pm->page_size;
	*run = bytes < len ? bytes : len;
	return is_private ? PAGEMAP_PRIVATE : PAGEMAP_UNTOUCHED;
}
