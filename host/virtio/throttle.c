// SPDX-License-Identifier: Apache-2.0
#include "virtio/throttle.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/loop.h"
#include "state/limiter.h"

static void throttle_retry(struct throttle *t)
{
	for (unsigned int q = 0; q < VIRTIO_MAX_QUEUES; q++) {
		if (!throttle_holds(t, q))
			continue;
		throttle_forget(t, q);
		virtio_kick(t->vdev, q);
	}
}

/* After a reset nothing waits: then there is nothing left to retry. */
static void throttle_on_timer(void *ctx, uint32_t events)
{
	struct throttle *t = ctx;

	(void)events;
	virtio_lock(t->vdev);
	atomic_fetch_add_explicit(t->retries, (unsigned int)__builtin_popcount(t->waiting), memory_order_relaxed);
	throttle_retry(t);
	virtio_unlock(t->vdev);
}

int throttle_init(struct throttle *t, struct virtio_dev *vdev, const struct rate_limiter_config *config,
		  _Atomic uint64_t *refusals, _Atomic uint64_t *retries)
{
	t->vdev = vdev;
	t->refusals = refusals;
	t->retries = retries;
	t->waiting = 0;
	rate_limiter_init(&t->limiter, config, clock_now_ns());
	t->timer = loop_add_timer(vdev->loop, throttle_on_timer, t);
	return t->timer ? 0 : -errno;
}

void throttle_fini(struct throttle *t)
{
	loop_remove(t->timer);
	t->timer = NULL;
}

/* A bucket that was left alone for longer than it takes to fill would lose tokens: half of that, then. */
static uint64_t throttle_retry_ns(const struct throttle *t)
{
	const struct token_bucket_config *buckets[] = { &t->limiter.bandwidth.config, &t->limiter.ops.config };
	uint64_t ns = RATE_LIMITER_RETRY_NS;

	for (size_t i = 0; i < ARRAY_SIZE(buckets); i++) {
		uint64_t refill_ms = buckets[i]->size ? buckets[i]->refill_time_ms : 0;

		if (refill_ms && refill_ms < ns / 500000)
			ns = refill_ms * 500000;
	}
	return ns;
}

static void throttle_wait(struct throttle *t, unsigned int q)
{
	if (!t->waiting)
		loop_set_timer(t->timer, throttle_retry_ns(t), 0);
	t->waiting |= 1u << q;
	atomic_fetch_add_explicit(t->refusals, 1, memory_order_relaxed);
}

/* The clock is asked only if somebody wants to know: 0.1 us, of the 2 that a small frame takes. */
static uint64_t throttle_now_ns(const struct throttle *t)
{
	return rate_limiter_is_limited(&t->limiter) ? clock_now_ns() : 0;
}

bool throttle_take(struct throttle *t, unsigned int q, uint64_t len)
{
	if (rate_limiter_take(&t->limiter, len, throttle_now_ns(t)))
		return true;
	virtq_unpop(&t->vdev->queues[q]);
	throttle_wait(t, q);
	return false;
}

bool throttle_is_open(struct throttle *t, unsigned int q)
{
	if (rate_limiter_is_open(&t->limiter, throttle_now_ns(t)))
		return true;
	throttle_wait(t, q);
	return false;
}

void throttle_charge(struct throttle *t, uint64_t len)
{
	rate_limiter_charge(&t->limiter, len, throttle_now_ns(t));
}

bool throttle_holds(const struct throttle *t, unsigned int q)
{
	return t->waiting >> q & 1;
}

void throttle_set(struct throttle *t, const struct token_bucket_config *bandwidth,
		  const struct token_bucket_config *ops)
{
	uint64_t now_ns = clock_now_ns();

	if (bandwidth)
		token_bucket_init(&t->limiter.bandwidth, bandwidth, now_ns);
	if (ops)
		token_bucket_init(&t->limiter.ops, ops, now_ns);
	throttle_retry(t);
}

void throttle_forget(struct throttle *t, unsigned int q)
{
	t->waiting &= ~(1u << q);
}

void throttle_reset(struct throttle *t)
{
	t->waiting = 0;
}

void throttle_pause(struct throttle *t)
{
	t->waiting = 0;
	loop_set_timer(t->timer, 0, 0);
}

void throttle_get(const struct throttle *t, struct rate_limiter_state *state)
{
	rate_limiter_get(&t->limiter, state, clock_now_ns());
}

void throttle_load(struct throttle *t, const struct rate_limiter_state *state, struct dec *dec)
{
	limiter_load(&t->limiter, state, dec, clock_now_ns());
}
