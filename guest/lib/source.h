/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a generation comes from: a page that cannot vanish, or a file that is
 * read at each look. Everything here is signal-safe and may be called by many
 * threads at once.
 */
#ifndef LIB_SOURCE_H
#define LIB_SOURCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "snapsafe_page.h"

enum sns_source_kind {
	SNS_SOURCE_NONE = 0,
	SNS_SOURCE_PAGE,    /* mapped, with the driver's promises */
	SNS_SOURCE_VMCLOCK, /* mapped, a VMClock device's page that has a generation counter */
	SNS_SOURCE_WORD32,  /* mapped, a SysGenID device of somebody else */
	SNS_SOURCE_FILE,    /* read */
};

struct sns_source {
	enum sns_source_kind kind;
	const void *map; /* NULL for NONE and FILE */
	size_t map_len;
	const struct snapsafe_page *page; /* PAGE: the map */
	const void *word;		  /* the generation in the map: 64 bits, or 32 of a WORD32 */
	int fd;				  /* owned; FILE only, else -1 */
	dev_t dev;			  /* FILE: what fd was opened as, in case the program closes it */
	ino_t ino;
	_Atomic uint64_t last; /* FILE: the last value read */
	_Atomic bool lost;     /* FILE: cannot be read any more; stays so */
};

/* 0, or -errno as snapsafe_open() gives it. On errors *src is NONE. */
int sns_source_open(struct sns_source *src, const char *path);
void sns_source_close(struct sns_source *src);

/* Slow way of sns_source_generation(): a system call. */
uint64_t sns_source_read(struct sns_source *src);

/* The native word of the machine; of a VMClock's number, which is little endian, machines that have one are, too. */
static inline uint64_t sns_source_load(const void *word)
{
#if __SIZEOF_LONG__ == 8
	return __atomic_load_n((const uint64_t *)word, __ATOMIC_ACQUIRE);
#else
	return __atomic_load_n((const uint32_t *)word, __ATOMIC_ACQUIRE);
#endif
}

/*
 * Plain aligned loads are enough: the writer acts while no processor of this
 * machine runs, or is the kernel. Acquire keeps what follows behind the load,
 * for the compiler and for a writer on another processor (tests).
 */
static inline uint64_t sns_source_generation(struct sns_source *src)
{
	if (__builtin_expect(src->kind == SNS_SOURCE_PAGE, 1) || src->kind == SNS_SOURCE_VMCLOCK)
		return sns_source_load(src->word);
	if (src->kind == SNS_SOURCE_WORD32)
		return __atomic_load_n((const uint32_t *)src->word, __ATOMIC_ACQUIRE);
	return src->kind == SNS_SOURCE_FILE ? sns_source_read(src) : 0;
}

/* The low half of an aligned field: enough for words that are 0 or 1. */
static inline bool sns_source_is_watched(const struct sns_source *src)
{
	return src->kind != SNS_SOURCE_PAGE ||
	       !__atomic_load_n((const uint32_t *)(const void *)&src->page->unwatched, __ATOMIC_ACQUIRE);
}

/* True once the kernel's generator is fresh in this generation, as far as anybody says so. */
static inline bool sns_source_is_reseeded(const struct sns_source *src, uint64_t generation)
{
	if (src->kind != SNS_SOURCE_PAGE)
		return false;
#if __SIZEOF_LONG__ == 8
	return __atomic_load_n(&src->page->reseeded, __ATOMIC_ACQUIRE) == generation;
#else
	return __atomic_load_n((const uint32_t *)&src->page->reseeded, __ATOMIC_ACQUIRE) == (uint32_t)generation;
#endif
}

/* False if there is none. @generation is what the caller has just read. */
bool sns_source_identity(const struct sns_source *src, uint8_t id[SNAPSAFE_PAGE_IDENTITY_LEN]);

#endif /* LIB_SOURCE_H */
