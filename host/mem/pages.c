// SPDX-License-Identifier: Apache-2.0
/* What a page holds: what its mapping has been since it was made, and whether the process has a page of its own there. */
#include "mem/pages.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "mem/internal.h"

#define ZERO_PIECE 128u

/* In pieces that a compiler puts into a few vector registers. Not by memcmp(3), which goes byte by byte in some C libraries. */
bool mem_page_is_zero(const uint8_t *page)
{
	uint64_t words[ZERO_PIECE / sizeof(uint64_t)];

	for (size_t at = 0; at < MEM_PAGE_SIZE; at += ZERO_PIECE) {
		uint64_t any = 0;

		memcpy(words, page + at, ZERO_PIECE);
		for (size_t i = 0; i < ZERO_PIECE / sizeof(*words); i++)
			any |= words[i];
		if (any)
			return false;
	}
	return true;
}

int mem_survey_init(struct mem_survey *survey, const struct guest_mem *mem)
{
	*survey = (struct mem_survey){ .mem = mem, .file = -1 };
	return pagemap_init(&survey->pagemap);
}

void mem_survey_fini(struct mem_survey *survey)
{
	pagemap_fini(&survey->pagemap);
}

enum mem_content mem_survey_next(struct mem_survey *survey, unsigned int index, uint64_t offset, uint64_t *run)
{
	const struct mem_region *region = &survey->mem->regions[index];
	enum mem_source source = region->source;
	enum pagemap_kind kind;

	if (region->copied)
		kind = mem_is_copied(region, offset, region->size - offset, run) ? PAGEMAP_PRIVATE : PAGEMAP_UNTOUCHED;
	else
		kind = pagemap_next(&survey->pagemap, region->host + offset, region->size - offset, run);
	if (source != MEM_ANONYMOUS && survey->mem->num_pieces > 0 && mem_is_discarded(region, offset, *run, run))
		source = MEM_ANONYMOUS;
	if (kind == PAGEMAP_PRIVATE)
		return MEM_OWN;
	switch (source) {
	case MEM_FILE:
		survey->file = mem_file_at(survey->mem, region, offset, run);
		return kind == PAGEMAP_UNTOUCHED ? MEM_AS_FILE : MEM_DOUBTFUL;
	case MEM_HANDLER:
		return MEM_UNSERVED;
	case MEM_ANONYMOUS:
		break;
	}
	return kind == PAGEMAP_UNTOUCHED ? MEM_ZERO : MEM_OWN;
}

int mem_read_carefully(const struct mem_region *region, uint64_t offset, void *dst, size_t len)
{
	struct iovec local = { .iov_base = dst, .iov_len = len };
	struct iovec remote = { .iov_base = region->writable + offset, .iov_len = len };
	ssize_t got = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);

	if (got < 0)
		return -errno;
	return got == (ssize_t)len ? 0 : -EFAULT;
}

int mem_populate(const struct guest_mem *mem, const struct mem_region *region, uint64_t offset, uint64_t len)
{
	if (!mem->handler.populate)
		return -ENOTCONN;
	return mem->handler.populate(mem->handler.ctx, region, offset, len);
}

int mem_prepare(const struct guest_mem *mem, gpa_t gpa, uint64_t len)
{
	uint64_t offset, head;
	const struct mem_region *region = mem_find(mem, gpa, len, &offset);

	if (!region || !mem_is_served(region))
		return 0;
	head = offset % MEM_PAGE_SIZE;
	return mem_populate(mem, region, offset - head,
			    (head + len + MEM_PAGE_SIZE - 1) / MEM_PAGE_SIZE * MEM_PAGE_SIZE);
}
