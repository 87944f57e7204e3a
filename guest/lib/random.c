// SPDX-License-Identifier: Apache-2.0
/*
 * Random bytes that belong to this generation, this machine and this process.
 *
 * Theory of operation
 * ===================
 * There are two ways. Each makes a key
 *
 *	key = BLAKE2b(bytes of getrandom(2), identity, generation, process)
 *
 * and Salsa20 makes bytes from it (both from libsodium: no state of their own,
 * no allocation). The kernel's bytes make them secret; the identity makes them
 * different in each clone even while the kernels still repeat each other.
 *
 * Direct: a key for each request, on the stack. Without an identity the bytes
 * are the kernel's own.
 *
 * Pool: 64 generators ("slots"). A thread takes the one that its address hashes
 * to, or one of the next; they are locked by an exchange that never waits, so a
 * signal handler that interrupts a holder just finds another slot, and if all
 * fail there is the direct way. No thread-local storage: nothing to free when a
 * thread ends. A slot makes blocks: the first 32 bytes replace its key, the rest
 * is handed out and erased as it goes, so nothing that was handed out can be
 * found in memory later. The pool is used only while the counter is mapped and
 * watched, and the kernel has reseeded in this generation: bytes that are made
 * in advance must not come from a kernel that repeats itself.
 *
 * Leaks. The generation is compared before bytes are taken, and after they have
 * been copied to the caller. A machine can stop between any two instructions:
 * what was prepared before is found out by the first comparison, what was on its
 * way by the second, and both begin again with a new seed. A seed remembers the
 * generation that was read *before* the kernel was asked.
 *
 * Forks. Slots are wiped in a child, and the second check is also for the
 * slot's id: a child that was forked by a signal handler in the middle of this
 * code finds 0 there and begins again. Locks are not wiped: otherwise a handler
 * in that child could use the slot that the interrupted code is about to write.
 * (A slot that another thread held at the fork stays locked in the child.)
 *
 * A handler that leaves by longjmp() leaves its slot locked: one of 64 is gone.
 */
#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <string.h>
#include <sys/mman.h>

#include "handle.h"
#include "process.h"
#include "sys.h"

#define POOL_TRIES	4   /* slots that a thread looks at */
#define POOL_MAX	512 /* larger requests gain nothing from a buffer */
#define POOL_ATTEMPTS	8   /* leaks or forks during one request before it goes the direct way */
#define DIRECT_ATTEMPTS 64
#define SEED_BLOCKS	64 /* about 94 KiB from one seed */

/* What a key is made from. No padding: it is hashed whole. */
struct seed_input {
	char label[16];
	uint8_t kernel[32];
	uint8_t identity[SNAPSAFE_PAGE_IDENTITY_LEN];
	uint64_t generation;
	uint64_t process;
};

static const uint8_t zero_nonce[crypto_stream_salsa20_NONCEBYTES];
static _Atomic uint64_t last_seed_id;

_Static_assert(SNS_POOL_KEY == crypto_stream_salsa20_KEYBYTES, "a slot's key is a key of the cipher");

static int seed_make(struct snapsafe *s, uint64_t generation, uint8_t key[SNS_POOL_KEY])
{
	struct seed_input in = { .label = "snapsafe seed 1", .generation = generation };
	int r = sns_sys_getrandom(in.kernel, sizeof(in.kernel));

	sns_point(SNS_POINT_SEED);
	if (!r) {
		(void)sns_source_identity(&s->source, in.identity);
		in.process = sns_process_number();
		crypto_generichash(key, SNS_POOL_KEY, (const uint8_t *)&in, sizeof(in), NULL, 0);
	}
	sodium_memzero(&in, sizeof(in));
	return r;
}

void sns_pool_fini(struct sns_pool *pool)
{
	struct sns_slot *slots = atomic_load(&pool->slots);

	if (!slots)
		return;
	sodium_memzero(slots, SNS_POOL_SLOTS * sizeof(*slots));
	munmap(slots, SNS_POOL_SLOTS * sizeof(*slots));
	atomic_store(&pool->slots, NULL);
}

static struct sns_slot *pool_slots_new(struct sns_pool *pool)
{
	size_t len = SNS_POOL_SLOTS * sizeof(struct sns_slot);
	struct sns_slot *slots = sns_sys_map_wiped(len), *other = NULL;

	if (!slots)
		return NULL;
	if (atomic_compare_exchange_strong(&pool->slots, &other, slots))
		return slots;
	munmap(slots, len);
	return other;
}

/* Spreads threads, and sends each to the same slot every time. */
static unsigned int pool_hint(void)
{
	uintptr_t thread = (uintptr_t)pthread_self();

	return (unsigned int)((thread * UINT64_C(0x9e3779b97f4a7c15)) >> 40);
}

/* The index of a slot that is now ours, or -1. */
static int pool_take(struct sns_pool *pool)
{
	unsigned int hint = pool_hint();

	for (unsigned int i = 0; i < POOL_TRIES; i++) {
		unsigned int n = (hint + i) % SNS_POOL_SLOTS;

		if (!atomic_exchange_explicit(&pool->locks[n].taken, 1, memory_order_acquire))
			return (int)n;
	}
	return -1;
}

/* The new id is there first: whoever finds it unchanged knows that nothing was wiped since. */
static int slot_seed(struct snapsafe *s, struct sns_slot *slot, uint64_t generation)
{
	atomic_store(&slot->id, atomic_fetch_add(&last_seed_id, 1) + 1);
	slot->left = 0;
	slot->generation = generation;
	slot->refills = SEED_BLOCKS;
	return seed_make(s, generation, slot->block);
}

static void slot_refill(struct sns_slot *slot)
{
	uint8_t key[SNS_POOL_KEY];

	sns_point(SNS_POINT_REFILL);
	memcpy(key, slot->block, sizeof(key));
	crypto_stream_salsa20(slot->block, sizeof(slot->block), zero_nonce, key);
	sodium_memzero(key, sizeof(key));
	slot->left = SNS_POOL_BYTES;
	slot->refills--;
}

/* Any length up to POOL_MAX; what does not fit any more is thrown away. */
static void slot_copy(struct sns_slot *slot, void *buf, size_t len)
{
	uint8_t *from = slot->block + sizeof(slot->block) - slot->left;

	memcpy(buf, from, len);
	memset(from, 0, len);
	slot->left -= (uint32_t)len;
}

/* Keeps loads and stores on their side of a check. */
static inline void order(void)
{
	atomic_signal_fence(memory_order_seq_cst);
}

static bool pool_may_serve(struct snapsafe *s, uint64_t generation)
{
	return sns_source_is_watched(&s->source) && sns_source_is_reseeded(&s->source, generation);
}

static bool slot_draw(struct snapsafe *s, struct sns_slot *slot, void *buf, size_t len)
{
	for (int i = 0; i < POOL_ATTEMPTS; i++) {
		uint64_t generation = sns_source_generation(&s->source), id;

		if (!pool_may_serve(s, generation))
			break;
		id = atomic_load(&slot->id);
		if (!id || slot->generation != generation || (slot->left < len && !slot->refills)) {
			if (slot_seed(s, slot, generation))
				break;
			id = atomic_load(&slot->id);
		}
		if (slot->left < len)
			slot_refill(slot);
		sns_point(SNS_POINT_COPY);
		order();
		slot_copy(slot, buf, len);
		order();
		sns_point(SNS_POINT_CHECK);
		if (id && atomic_load(&slot->id) == id && sns_source_generation(&s->source) == generation &&
		    sns_source_is_watched(&s->source))
			return true;
	}
	/* Whatever it holds is of another generation, or nothing. */
	atomic_store(&slot->id, 0);
	sodium_memzero(slot->block, sizeof(slot->block));
	slot->left = 0;
	return false;
}

/* False: not from here. */
static bool pool_draw(struct snapsafe *s, void *buf, size_t len)
{
	struct sns_pool *pool = &s->pool;
	struct sns_slot *slots = atomic_load_explicit(&pool->slots, memory_order_acquire);
	bool drawn;
	int n;

	if (!slots)
		slots = pool_slots_new(pool);
	n = slots ? pool_take(pool) : -1;
	if (n < 0)
		return false;
	drawn = slot_draw(s, &slots[n], buf, len);
	atomic_store_explicit(&pool->locks[n].taken, 0, memory_order_release);
	return drawn;
}

static int direct_draw(struct snapsafe *s, void *buf, size_t len)
{
	uint8_t key[SNS_POOL_KEY], id[SNAPSAFE_PAGE_IDENTITY_LEN];
	bool settled = false;
	int r = 0;

	for (int i = 0; i < DIRECT_ATTEMPTS && !r && !settled; i++) {
		uint64_t generation = sns_source_generation(&s->source), process = sns_process_number();

		if (sns_source_identity(&s->source, id)) {
			r = seed_make(s, generation, key);
			if (!r)
				crypto_stream_salsa20(buf, len, zero_nonce, key);
		} else {
			r = sns_sys_getrandom(buf, len);
		}
		order();
		sns_point(SNS_POINT_DIRECT);
		settled = !r && sns_source_generation(&s->source) == generation && sns_process_number() == process;
	}
	sodium_memzero(key, sizeof(key));
	if (settled)
		return 0;
	sodium_memzero(buf, len);
	return r ? r : -EAGAIN;
}

int snapsafe_random(struct snapsafe *s, void *buf, size_t len)
{
	int saved = errno, r = 0;

	if (!len)
		return 0;
	s = sns_handle(s);
	if (s->source.kind != SNS_SOURCE_PAGE || len > POOL_MAX || !pool_draw(s, buf, len))
		r = direct_draw(s, buf, len);
	errno = saved;
	return r;
}
