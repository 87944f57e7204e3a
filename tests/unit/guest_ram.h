/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory as the guest has it: it writes without asking anybody, and the monitor does not learn of it. */
#ifndef GUEST_RAM_H
#define GUEST_RAM_H

#include <string.h>

#include "mem/mem.h"

/* NULL where mem_host() is. */
static inline void *guest_ram(const struct guest_mem *mem, gpa_t gpa, uint64_t len)
{
	const uint8_t *host = mem_host(mem, gpa, len);

	for (unsigned int i = 0; host && i < mem->num_regions; i++) {
		const struct mem_region *region = &mem->regions[i];

		if (gpa - region->gpa < region->size)
			return region->writable + (host - region->host);
	}
	return NULL;
}

static inline bool guest_write(const struct guest_mem *mem, gpa_t gpa, const void *src, size_t len)
{
	void *dst = guest_ram(mem, gpa, len);

	return dst && memcpy(dst, src, len);
}

/* What a machine that was copied finds. */
static inline void guest_copy(const struct guest_mem *to, const struct guest_mem *from)
{
	for (unsigned int i = 0; i < from->num_regions; i++)
		memcpy(to->regions[i].writable, from->regions[i].host, (size_t)from->regions[i].size);
}

#endif
