// SPDX-License-Identifier: Apache-2.0
#include "config/limiter_fields.h"

#include <string.h>

#include "base/rate_limiter.h"
#include "config/config.h"

/* A bucket that never limits is no bucket: one form for it, so that what is written can be read again. */
static void token_bucket_finish(void *obj)
{
	struct token_bucket_config *bucket = obj;

	if (!bucket->size || !bucket->refill_time_ms)
		memset(bucket, 0, sizeof(*bucket));
}

static const struct field token_bucket_fields[] = {
	{ "size", FIELD_U64, FIELD_REQUIRED | FIELD_ZERO_NULL, FIELD_AT(token_bucket_config, size), FIELD_ANY_U64,
	  .help = "Tokens (bytes or operations) that the bucket holds; 0: no limit." },
	{ "one_time_burst", FIELD_U64, FIELD_ZERO_NULL, FIELD_AT(token_bucket_config, one_time_burst), FIELD_ANY_U64,
	  .help = "Extra tokens that are not refilled." },
	{ "refill_time", FIELD_U64, FIELD_REQUIRED | FIELD_ZERO_NULL, FIELD_AT(token_bucket_config, refill_time_ms),
	  FIELD_ANY_U64, .help = "Milliseconds in which an empty bucket is filled; 0: no limit." },
};
const struct field_table token_bucket_table = {
	.fields = token_bucket_fields,
	.num_fields = ARRAY_SIZE(token_bucket_fields),
	.size = sizeof(struct token_bucket_config),
	.finish = token_bucket_finish,
};

static const struct field rate_limiter_fields[] = {
	{ "bandwidth", FIELD_OBJECT, FIELD_ZERO_NULL, FIELD_AT(rate_limiter_config, bandwidth),
	  .sub = &token_bucket_table, .help = "Limits bytes." },
	{ "ops", FIELD_OBJECT, FIELD_ZERO_NULL, FIELD_AT(rate_limiter_config, ops), .sub = &token_bucket_table,
	  .help = "Limits operations." },
};
const struct field_table rate_limiter_table = FIELD_TABLE(rate_limiter_config, rate_limiter_fields);
