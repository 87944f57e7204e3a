/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A range of guest memory that is used again and again, such as a ring: found
 * once, since memory stays where it is. What is written is noted as by
 * mem_write().
 */
#ifndef MEM_PLACE_H
#define MEM_PLACE_H

#include <endian.h>
#include <string.h>

#include "mem/mem.h"

struct mem_place {
	struct guest_mem *mem; /* borrowed */
	const uint8_t *host;   /* NULL: nowhere */
	uint8_t *writable;     /* for mem/ alone, as a region's */
};

/* False, and *place is nowhere, unless all of [gpa, gpa + len) lies in one region; len > 0. */
bool mem_find_place(struct guest_mem *mem, gpa_t gpa, uint64_t len, struct mem_place *place) must_check;

/* For the one below: where anything is noted. */
void mem_place_note(const struct mem_place *place, uint64_t at, uint64_t len);

/* For the two below: the bytes were changed. */
static inline void mem_place_wrote(const struct mem_place *place, uint64_t at, uint64_t len)
{
	if (__builtin_expect(atomic_load_explicit(&place->mem->tracks, memory_order_acquire), false))
		mem_place_note(place, at, len);
}

/* Within the place, here and below: the caller knows how long it is. */
static inline void mem_place_write(const struct mem_place *place, uint64_t at, const void *src, size_t len)
{
	memcpy(place->writable + at, src, len);
	mem_place_wrote(place, at, len);
}

/*
 * Stores a 16-bit little-endian number, at an even address. What this thread wrote before is visible to whoever sees it
 * (release).
 */
static inline void mem_place_store_le16(const struct mem_place *place, uint64_t at, uint16_t value)
{
	__atomic_store_n((uint16_t *)(place->writable + at), htole16(value), __ATOMIC_RELEASE);
	mem_place_wrote(place, at, sizeof(value));
}

#endif
