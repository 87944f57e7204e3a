// SPDX-License-Identifier: Apache-2.0
/* The slots of a pool and who holds them. What is in them: random.c. */
#include "pool.h"

#include <pthread.h>
#include <sodium.h>
#include <stddef.h>
#include <sys/mman.h>

#include "sys.h"

#define POOL_TRIES 4 /* slots that a thread looks at */
#define POOL_LEN   (SNS_POOL_SLOTS * sizeof(struct sns_slot))

_Static_assert(sizeof(struct sns_slot) == alignof(struct sns_slot), "a slot lies within one page");

void sns_pool_init(struct sns_pool *pool)
{
	pool->slots = sns_sys_map_secret(POOL_LEN);
}

void sns_pool_fini(struct sns_pool *pool)
{
	if (!pool->slots)
		return;
	sodium_memzero(pool->slots, POOL_LEN);
	munmap(pool->slots, POOL_LEN);
	pool->slots = NULL;
}

/*
 * Slots are taken and not given back: who comes later draws without. What a
 * thread is just using (this may be exit()) goes by the page, id and all, as
 * when the kernel drops it.
 */
void sns_pool_retire(struct sns_pool *pool)
{
	if (!pool->slots)
		return;
	for (int i = 0; i < SNS_POOL_SLOTS; i++)
		if (!atomic_exchange(&pool->locks[i].taken, 1))
			sodium_memzero(&pool->slots[i], sizeof(pool->slots[i]));
	(void)munlock(pool->slots, POOL_LEN);
	(void)madvise(pool->slots, POOL_LEN, MADV_DONTNEED);
}

/* Spreads threads, and sends each to the same slot every time. */
static unsigned int pool_hint(void)
{
	uintptr_t thread = (uintptr_t)pthread_self();

	return (unsigned int)((thread * UINT64_C(0x9e3779b97f4a7c15)) >> 40);
}

int sns_pool_take(struct sns_pool *pool)
{
	unsigned int hint = pool_hint();

	for (unsigned int i = 0; i < POOL_TRIES; i++) {
		unsigned int n = (hint + i) % SNS_POOL_SLOTS;

		if (!atomic_exchange_explicit(&pool->locks[n].taken, 1, memory_order_acquire))
			return (int)n;
	}
	return -1;
}

void sns_pool_give(struct sns_pool *pool, int n)
{
	atomic_store_explicit(&pool->locks[n].taken, 0, memory_order_release);
}
