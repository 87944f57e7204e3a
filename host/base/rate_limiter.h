/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Token buckets, as Firecracker's rate limiters: two independent buckets for
 * bytes and operations. A bucket starts full; one_time_burst is extra credit
 * that is spent first and never comes back; tokens come back continuously,
 * size per refill_time_ms. size 0 or refill_time_ms 0: no limit.
 * A request larger than the whole bucket passes, empties it and blocks it for
 * the time that the excess takes to come back.
 * Pure arithmetic: the caller passes the time; nobody here knows of timers.
 */
#ifndef BASE_RATE_LIMITER_H
#define BASE_RATE_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

/* How long a device waits after a refusal before it tries again, in ns. */
#define RATE_LIMITER_RETRY_NS (100ull * 1000 * 1000)

struct token_bucket_config {
	uint64_t size;
	uint64_t one_time_burst;
	uint64_t refill_time_ms;
};

struct rate_limiter_config {
	struct token_bucket_config bandwidth; /* tokens are bytes */
	struct token_bucket_config ops;	      /* tokens are operations */
};

struct token_bucket {
	struct token_bucket_config config;
	uint64_t budget;
	uint64_t burst;	     /* what is left of one_time_burst */
	uint64_t updated_ns; /* when budget was right */
};

struct rate_limiter {
	struct token_bucket bandwidth;
	struct token_bucket ops;
};

/* A limiter at one moment, without a clock. */
struct token_bucket_state {
	uint64_t size;
	uint64_t one_time_burst;
	uint64_t refill_time_ms;
	uint64_t budget;
	uint64_t burst;
	uint64_t blocked_ns; /* nothing comes back before that time has passed */
};

struct rate_limiter_state {
	struct token_bucket_state bandwidth;
	struct token_bucket_state ops;
};

void rate_limiter_init(struct rate_limiter *rl, const struct rate_limiter_config *config, uint64_t now_ns);
/* Is there a limit at all? Where there is none, now_ns means nothing to the calls below. */
bool rate_limiter_is_limited(const struct rate_limiter *rl) __attribute__((warn_unused_result));
/* Takes one operation and len bytes, or nothing: false means that the caller must wait. */
bool rate_limiter_take(struct rate_limiter *rl, uint64_t len, uint64_t now_ns) __attribute__((warn_unused_result));
/* Would it take something, however small? For what is charged when its size is known. Refills, takes nothing. */
bool rate_limiter_is_open(struct rate_limiter *rl, uint64_t now_ns) __attribute__((warn_unused_result));
/* Takes them in any case: what is not there is a debt, and the bucket is blocked until that has come back. */
void rate_limiter_charge(struct rate_limiter *rl, uint64_t len, uint64_t now_ns);
/* A single bucket, for a device that limits bytes only. */
void token_bucket_init(struct token_bucket *b, const struct token_bucket_config *config, uint64_t now_ns);
bool token_bucket_take(struct token_bucket *b, uint64_t n, uint64_t now_ns) __attribute__((warn_unused_result));
/* Configuration and budgets as they are at now_ns, and back; a budget beyond its bucket is cut to it. */
void rate_limiter_get(const struct rate_limiter *rl, struct rate_limiter_state *state, uint64_t now_ns);
void rate_limiter_set(struct rate_limiter *rl, const struct rate_limiter_state *state, uint64_t now_ns);

#endif
