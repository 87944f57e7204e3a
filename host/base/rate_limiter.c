// SPDX-License-Identifier: Apache-2.0
/*
 * Token buckets. Products of time and tokens are formed in 128 bits, so that
 * no configuration (all fields are 64-bit values from a client or a snapshot)
 * overflows.
 *
 * A bucket that is blocked after an oversized request, or by a debt, has budget 0 and
 * updated_ns in the future: nothing comes back until then.
 */
#include "base/rate_limiter.h"

#include <stddef.h>

#define NS_PER_MS 1000000u

__extension__ typedef unsigned __int128 rate_limiter_u128;

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t sat_add_u64(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static bool token_bucket_is_limited(const struct token_bucket *b)
{
	return b->config.size > 0 && b->config.refill_time_ms > 0;
}

/* The time in which config.size tokens come back; a time beyond 500 years counts as just that. */
static uint64_t token_bucket_refill_ns(const struct token_bucket *b)
{
	uint64_t ns;

	return __builtin_mul_overflow(b->config.refill_time_ms, (uint64_t)NS_PER_MS, &ns) ? UINT64_MAX : ns;
}

void token_bucket_init(struct token_bucket *b, const struct token_bucket_config *config, uint64_t now_ns)
{
	*b = (struct token_bucket){
		.config = *config,
		.budget = config->size,
		.burst = config->one_time_burst,
		.updated_ns = now_ns,
	};
}

static void token_bucket_refill(struct token_bucket *b, uint64_t now_ns)
{
	uint64_t refill_ns = token_bucket_refill_ns(b);
	rate_limiter_u128 tokens;

	if (now_ns <= b->updated_ns)
		return;
	tokens = (rate_limiter_u128)(now_ns - b->updated_ns) * b->config.size / refill_ns;
	if (tokens >= b->config.size - b->budget) {
		b->budget = b->config.size;
		b->updated_ns = now_ns;
		return;
	}
	/* Move only by the time that whole tokens took, rounded up: fractions are kept, and never more than earned. */
	b->budget += (uint64_t)tokens;
	b->updated_ns += (uint64_t)((tokens * refill_ns + b->config.size - 1) / b->config.size);
}

/* Could n tokens be taken now? Refills, takes nothing. */
static bool token_bucket_can_take(struct token_bucket *b, uint64_t n, uint64_t now_ns)
{
	if (!token_bucket_is_limited(b) || n <= b->burst)
		return true;
	n -= b->burst;
	if (n > b->budget)
		token_bucket_refill(b, now_ns);
	return n <= b->budget || (n > b->config.size && b->updated_ns <= now_ns);
}

static void token_bucket_spend(struct token_bucket *b, uint64_t n, uint64_t now_ns)
{
	uint64_t from_burst = min_u64(n, b->burst);
	rate_limiter_u128 wait_ns;

	if (!token_bucket_is_limited(b))
		return;
	b->burst -= from_burst;
	n -= from_burst;
	if (n <= b->budget) {
		b->budget -= n;
		return;
	}
	wait_ns = (rate_limiter_u128)(n - b->budget) * token_bucket_refill_ns(b) / b->config.size;
	b->budget = 0;
	b->updated_ns = sat_add_u64(now_ns > b->updated_ns ? now_ns : b->updated_ns,
				    wait_ns > UINT64_MAX ? UINT64_MAX : (uint64_t)wait_ns);
}

bool token_bucket_take(struct token_bucket *b, uint64_t n, uint64_t now_ns)
{
	if (!token_bucket_can_take(b, n, now_ns))
		return false;
	token_bucket_spend(b, n, now_ns);
	return true;
}

void rate_limiter_init(struct rate_limiter *rl, const struct rate_limiter_config *config, uint64_t now_ns)
{
	token_bucket_init(&rl->bandwidth, &config->bandwidth, now_ns);
	token_bucket_init(&rl->ops, &config->ops, now_ns);
}

bool rate_limiter_is_limited(const struct rate_limiter *rl)
{
	return token_bucket_is_limited(&rl->bandwidth) || token_bucket_is_limited(&rl->ops);
}

bool rate_limiter_take(struct rate_limiter *rl, uint64_t len, uint64_t now_ns)
{
	if (!token_bucket_can_take(&rl->ops, 1, now_ns) || !token_bucket_can_take(&rl->bandwidth, len, now_ns))
		return false;
	token_bucket_spend(&rl->ops, 1, now_ns);
	token_bucket_spend(&rl->bandwidth, len, now_ns);
	return true;
}

bool rate_limiter_is_open(struct rate_limiter *rl, uint64_t now_ns)
{
	return token_bucket_can_take(&rl->ops, 1, now_ns) && token_bucket_can_take(&rl->bandwidth, 1, now_ns);
}

static void token_bucket_charge(struct token_bucket *b, uint64_t n, uint64_t now_ns)
{
	if (!token_bucket_is_limited(b))
		return;
	token_bucket_refill(b, now_ns);
	token_bucket_spend(b, n, now_ns);
}

void rate_limiter_charge(struct rate_limiter *rl, uint64_t len, uint64_t now_ns)
{
	token_bucket_charge(&rl->ops, 1, now_ns);
	token_bucket_charge(&rl->bandwidth, len, now_ns);
}

static void token_bucket_get(const struct token_bucket *b, struct token_bucket_state *state, uint64_t now_ns)
{
	struct token_bucket at_now = *b;

	if (token_bucket_is_limited(b))
		token_bucket_refill(&at_now, now_ns);
	*state = (struct token_bucket_state){
		.size = b->config.size,
		.one_time_burst = b->config.one_time_burst,
		.refill_time_ms = b->config.refill_time_ms,
		.budget = at_now.budget,
		.burst = at_now.burst,
		.blocked_ns = at_now.updated_ns > now_ns ? at_now.updated_ns - now_ns : 0,
	};
}

static void token_bucket_set(struct token_bucket *b, const struct token_bucket_state *state, uint64_t now_ns)
{
	*b = (struct token_bucket){
		.config = { .size = state->size,
			    .one_time_burst = state->one_time_burst,
			    .refill_time_ms = state->refill_time_ms },
		.budget = min_u64(state->budget, state->size),
		.burst = min_u64(state->burst, state->one_time_burst),
		.updated_ns = sat_add_u64(now_ns, state->blocked_ns),
	};
}

void rate_limiter_get(const struct rate_limiter *rl, struct rate_limiter_state *state, uint64_t now_ns)
{
	token_bucket_get(&rl->bandwidth, &state->bandwidth, now_ns);
	token_bucket_get(&rl->ops, &state->ops, now_ns);
}

void rate_limiter_set(struct rate_limiter *rl, const struct rate_limiter_state *state, uint64_t now_ns)
{
	token_bucket_set(&rl->bandwidth, &state->bandwidth, now_ns);
	token_bucket_set(&rl->ops, &state->ops, now_ns);
}
