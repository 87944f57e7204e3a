// SPDX-License-Identifier: Apache-2.0
#include "state/limiter.h"

#include "state/codec.h"

static const struct state_field token_bucket_state_fields[] = {
	STATE_UINT_FIELD(struct token_bucket_state, size, 0, UINT64_MAX),
	STATE_UINT_FIELD(struct token_bucket_state, one_time_burst, 0, UINT64_MAX),
	STATE_UINT_FIELD(struct token_bucket_state, refill_time_ms, 0, UINT64_MAX),
	STATE_UINT_FIELD(struct token_bucket_state, budget, 0, UINT64_MAX),
	STATE_UINT_FIELD(struct token_bucket_state, burst, 0, UINT64_MAX),
	STATE_UINT_FIELD(struct token_bucket_state, blocked_ns, 0, UINT64_MAX),
};
static const struct state_table token_bucket_state_table = STATE_TABLE(token_bucket_state_fields);

static const struct state_field rate_limiter_state_fields[] = {
	STATE_MAP_FIELD(struct rate_limiter_state, bandwidth, &token_bucket_state_table),
	STATE_MAP_FIELD(struct rate_limiter_state, ops, &token_bucket_state_table),
};
const struct state_table limiter_state_table = STATE_TABLE(rate_limiter_state_fields);

static void limiter_check(const char *name, const struct token_bucket_state *b, struct dec *dec)
{
	if (b->budget > b->size)
		dec_fail(dec, "the rate limiter's %s.budget is %llu, 0 to %llu are allowed", name,
			 (unsigned long long)b->budget, (unsigned long long)b->size);
	if (b->burst > b->one_time_burst)
		dec_fail(dec, "the rate limiter's %s.burst is %llu, 0 to %llu are allowed", name,
			 (unsigned long long)b->burst, (unsigned long long)b->one_time_burst);
}

void limiter_load(struct rate_limiter *rl, const struct rate_limiter_state *state, struct dec *dec, uint64_t now_ns)
{
	limiter_check("bandwidth", &state->bandwidth, dec);
	limiter_check("ops", &state->ops, dec);
	rate_limiter_set(rl, state, now_ns);
}
