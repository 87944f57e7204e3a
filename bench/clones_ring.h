/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the readers of the clone experiment leave in guest memory, and what
 * clones_compare finds there: pages that begin with a magic value, so that they
 * are recognised in a snapshot's memory file without any help from the guest.
 *
 * A reader's ring holds its first results since the counter last moved. Pages
 * lie anywhere in guest memory; (reader, index) says where they belong.
 */
#ifndef BENCH_CLONES_RING_H
#define BENCH_CLONES_RING_H

#include <stdint.h>

#define RING_MAGIC	  "snapsafe-ring-1" /* with its NUL 16 bytes */
#define RING_MAGIC_LEN	  16
#define RING_PAGE_LEN	  4096
#define RING_PAGE_RECORDS 126
#define RING_PAGES	  128 /* of one reader: 512 KiB, 16,128 results */
#define RING_RECORDS	  (RING_PAGES * RING_PAGE_RECORDS)

enum ring_source {
	SOURCE_GETRANDOM,
	SOURCE_URANDOM,
	SOURCE_HWRNG,
	SOURCE_VDSO,
	SOURCE_UUID,	 /* these two: in the kernel's memory first, */
	SOURCE_INTEGERS, /* and then in the program's */
	NUM_SOURCES
};

/*
 * `generations` is written last, in one piece: while it has its old value the
 * rest may be of a later call. Low half: the counter before the call; high
 * half: after it.
 */
struct ring_record {
	uint64_t generations;
	uint64_t start_tsc;
	uint8_t bytes[16];
};

struct ring_page {
	char magic[RING_MAGIC_LEN];
	uint16_t reader;
	uint16_t vcpu;
	uint16_t source; /* enum ring_source */
	uint16_t index;	 /* of this page in the reader's ring */
	uint32_t tsc_khz;
	uint8_t drawn[16]; /* in page 0: where the calls write to, so that a snapshot shows what had arrived by then */
	uint32_t calls;	   /* in page 0: how many have ended, ever; counts modulo 2^32 */
	uint32_t first;	   /* in page 0: how many had when the ring began anew */
	uint32_t reserved[3];
	struct ring_record records[RING_PAGE_RECORDS];
};

_Static_assert(sizeof(struct ring_page) == RING_PAGE_LEN, "a page is a page");

static inline uint32_t record_before(const struct ring_record *r)
{
	return (uint32_t)r->generations;
}

static inline uint32_t record_after(const struct ring_record *r)
{
	return (uint32_t)(r->generations >> 32);
}

#endif /* BENCH_CLONES_RING_H */
