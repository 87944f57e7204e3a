// SPDX-License-Identifier: Apache-2.0
/*
 * Random bytes that belong to this generation, this machine and this process.
 *
 * Theory of operation
 * ===================
 * vDSO: where getrandom() is a call of the vDSO it is fast enough for small
 * requests. Once the kernel has reseeded in this generation its bytes are handed
 * out as they are; there is no pool, and nothing is kept here.
 *
 * The other two ways make a key
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
 * in advance must not come from a kernel that repeats itself. A seed is used for
 * 94 KiB and for a minute at most (sooner after the start of the machine), as
 * the kernel does with its own: one look at the vDSO's coarse clock a request.
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
 * The kernel may take pages of slots away at any instruction (MAP_DROPPABLE), and
 * the destructor wipes them beside other threads: the same case again, as a slot
 * and its id lie in one page. What is read from a slot is bounded before it is
 * used as a length.
 *
 * A handler that leaves by longjmp() leaves its slot locked: one of 64 is gone.
 */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "handle.h"
#include "process.h"
#include "sys.h"

#define SMALL_MAX	 512 /* larger requests gain nothing from a buffer, and lose by the slower cipher of the vDSO */
#define POOL_ATTEMPTS	 8   /* leaks or forks during one request before it goes the direct way */
#define DIRECT_ATTEMPTS	 64
#define SEED_BLOCKS	 64 /* about 94 KiB from one seed */
#define SEED_SECONDS	 60 /* and no longer than the kernel keeps its own key */
#define SEED_SECONDS_MIN 5  /* soon after the start of the machine */

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

/* The new id is there first: whoever finds it unchanged knows that nothing was wiped since. */
static int slot_seed(struct snapsafe *s, struct sns_slot *slot, uint64_t generation, uint64_t now_s)
{
	atomic_store(&slot->id, atomic_fetch_add(&last_seed_id, 1) + 1);
	atomic_store_explicit(&slot->left, 0, memory_order_relaxed);
	slot->generation = generation;
	slot->seeded_s = now_s;
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
	atomic_store_explicit(&slot->left, SNS_POOL_BYTES, memory_order_relaxed);
	slot->refills--;
}

/* Any length up to SMALL_MAX; what does not fit any more is thrown away. False: the slot was wiped. */
static bool slot_copy(struct sns_slot *slot, void *buf, size_t len)
{
	uint32_t left = atomic_load_explicit(&slot->left, memory_order_relaxed);
	uint8_t *from = slot->block + sizeof(slot->block) - left;

	if (left < len || left > SNS_POOL_BYTES)
		return false;
	memcpy(buf, from, len);
	memset(from, 0, len);
	atomic_store_explicit(&slot->left, left - (uint32_t)len, memory_order_relaxed);
	return true;
}

/* How long a seed lasts. The kernel's own rule, random(4): sooner in the first two minutes. */
static uint64_t seed_seconds(uint64_t now_s)
{
	uint64_t early = now_s / 2 > SEED_SECONDS_MIN ? now_s / 2 : SEED_SECONDS_MIN;

	return early < SEED_SECONDS ? early : SEED_SECONDS;
}

static bool slot_is_used_up(struct sns_slot *slot, size_t len, uint64_t now_s)
{
	return (atomic_load_explicit(&slot->left, memory_order_relaxed) < len && !slot->refills) ||
	       now_s - slot->seeded_s >= seed_seconds(now_s);
}

/* Keeps loads and stores on their side of a check. */
static inline void order(void)
{
	atomic_signal_fence(memory_order_seq_cst);
}

/* Nobody else has drawn this from the kernel, in any clone. */
static bool kernel_is_fresh(struct snapsafe *s, uint64_t generation)
{
	return sns_source_is_watched(&s->source) && sns_source_is_reseeded(&s->source, generation);
}

static bool slot_draw(struct snapsafe *s, struct sns_slot *slot, void *buf, size_t len)
{
	for (int i = 0; i < POOL_ATTEMPTS; i++) {
		uint64_t generation = sns_source_generation(&s->source), now_s = sns_sys_now_s(), id;
		bool copied;

		if (!kernel_is_fresh(s, generation))
			break;
		id = atomic_load(&slot->id);
		if (!id || slot->generation != generation || slot_is_used_up(slot, len, now_s)) {
			if (slot_seed(s, slot, generation, now_s))
				break;
			id = atomic_load(&slot->id);
		}
		if (atomic_load_explicit(&slot->left, memory_order_relaxed) < len)
			slot_refill(slot);
		sns_point(SNS_POINT_COPY);
		order();
		copied = slot_copy(slot, buf, len);
		order();
		sns_point(SNS_POINT_CHECK);
		if (copied && id && atomic_load(&slot->id) == id && sns_source_generation(&s->source) == generation &&
		    sns_source_is_watched(&s->source))
			return true;
	}
	/* Whatever it holds is of another generation, or nothing. */
	atomic_store(&slot->id, 0);
	sodium_memzero(slot->block, sizeof(slot->block));
	atomic_store_explicit(&slot->left, 0, memory_order_relaxed);
	return false;
}

/* False: not from here. */
static bool pool_draw(struct snapsafe *s, void *buf, size_t len)
{
	struct sns_pool *pool = &s->pool;
	bool drawn;
	int n;

	if (!pool->slots || len > SMALL_MAX)
		return false;
	n = sns_pool_take(pool);
	if (n < 0)
		return false;
	drawn = slot_draw(s, &pool->slots[n], buf, len);
	sns_pool_give(pool, n);
	return drawn;
}

/* One attempt, for the caller to check: by the vDSO, by a key of its own, or what the kernel gives. */
static int direct_fill(struct snapsafe *s, uint64_t generation, void *buf, size_t len)
{
	uint8_t key[SNS_POOL_KEY], id[SNAPSAFE_PAGE_IDENTITY_LEN];
	int r;

	if (s->vdso && len <= SMALL_MAX && kernel_is_fresh(s, generation))
		return sns_sys_vdso_getrandom(buf, len);
	if (!sns_source_identity(&s->source, id))
		return s->vdso ? sns_sys_vdso_getrandom(buf, len) : sns_sys_getrandom(buf, len);
	r = seed_make(s, generation, key);
	if (!r)
		crypto_stream_salsa20(buf, len, zero_nonce, key);
	sodium_memzero(key, sizeof(key));
	return r;
}

static int direct_draw(struct snapsafe *s, void *buf, size_t len)
{
	bool settled = false;
	int r = 0;

	for (int i = 0; i < DIRECT_ATTEMPTS && !r && !settled; i++) {
		uint64_t generation = sns_source_generation(&s->source), process = sns_process_number();

		r = direct_fill(s, generation, buf, len);
		order();
		sns_point(SNS_POINT_DIRECT);
		settled = !r && sns_source_generation(&s->source) == generation && sns_process_number() == process;
	}
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
	if (!pool_draw(s, buf, len))
		r = direct_draw(s, buf, len);
	errno = saved;
	return r;
}
