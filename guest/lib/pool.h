/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random bytes in advance, for many threads. Theory of operation: random.c.
 */
#ifndef LIB_POOL_H
#define LIB_POOL_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#define SNS_POOL_SLOTS 64
#define SNS_POOL_KEY   32
#define SNS_POOL_BLOCK 1536 /* key of the next block, then bytes to hand out; a multiple of 512 suits the cipher */
#define SNS_POOL_BYTES (SNS_POOL_BLOCK - SNS_POOL_KEY)

/*
 * One generator. In memory that is wiped in a forked child, and may be dropped
 * by the kernel a page at a time: aligned so that no slot lies in two pages. So
 * while id is what it was, nothing else was wiped.
 */
struct sns_slot {
	alignas(2048) _Atomic uint64_t id; /* of its seed, never used twice; 0: wiped, or never seeded */
	uint64_t generation;		   /* of its seed */
	uint64_t seeded_s;		   /* sns_sys_now_s() before the seed was drawn */
	_Atomic uint32_t left;		   /* bytes at the end of block not yet handed out */
	uint32_t refills;		   /* blocks left before the kernel is asked again */
	alignas(64) uint8_t block[SNS_POOL_BLOCK];
};

/* In memory that is not wiped: who holds a slot when a process forks, holds it in both. */
struct sns_slot_lock {
	alignas(64) _Atomic uint32_t taken;
};

struct sns_pool {
	struct sns_slot *slots; /* owned; NULL: bytes are drawn one by one */
	struct sns_slot_lock locks[SNS_POOL_SLOTS];
};

/* Without memory for it there is a pool without slots. */
void sns_pool_init(struct sns_pool *pool);
void sns_pool_fini(struct sns_pool *pool);

/* Wipes all slots for good, beside threads that are in the middle of drawing: nothing is unmapped. */
void sns_pool_retire(struct sns_pool *pool);

/* The index of a slot that is the caller's until it gives it back, or -1. Signal-safe, never waits. */
int sns_pool_take(struct sns_pool *pool);
void sns_pool_give(struct sns_pool *pool, int n);

#endif /* LIB_POOL_H */
