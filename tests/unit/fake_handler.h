/* SPDX-License-Identifier: Apache-2.0 */
/* A handler of page faults without faults: memory that it has not served is empty, and what it serves is full of 'H'. */
#ifndef FAKE_HANDLER_H
#define FAKE_HANDLER_H

#include <assert.h>
#include <string.h>

#include "mem/mem.h"

#define FAKE_HANDLER_PAGES 4096u

struct fake_handler {
	bool served[MEM_MAX_REGIONS][FAKE_HANDLER_PAGES];
	unsigned int num_served;
	const struct guest_mem *mem;
	int fails; /* -errno: what it has for an answer; 0: serves */
};

static inline int fake_handler_populate(void *ctx, const struct mem_region *region, uint64_t offset, uint64_t len)
{
	struct fake_handler *h = ctx;
	bool *served = h->served[region - h->mem->regions];

	if (h->fails)
		return h->fails;
	for (uint64_t page = offset / MEM_PAGE_SIZE; page < (offset + len) / MEM_PAGE_SIZE; page++) {
		if (served[page])
			continue;
		memset(region->writable + page * MEM_PAGE_SIZE, 'H', MEM_PAGE_SIZE);
		served[page] = true;
		h->num_served++;
	}
	return 0;
}

static inline void fake_handler_map(struct fake_handler *h, struct guest_mem *mem, const struct mem_layout *layout)
{
	const struct mem_handler handler = { .populate = fake_handler_populate, .ctx = h };
	struct err e;
	int r;

	memset(h, 0, sizeof(*h));
	h->mem = mem;
	r = mem_init_handler(mem, layout, &handler, &e);
	assert(r == 0);
	(void)r;
}

#endif
