/* SPDX-License-Identifier: Apache-2.0 */
/* Tables for parts that many resources have: a token bucket, and a rate limiter of two. */
#ifndef CONFIG_LIMITER_FIELDS_H
#define CONFIG_LIMITER_FIELDS_H

#include "config/json_fields.h"

/* struct token_bucket_config, struct rate_limiter_config (base/rate_limiter.h) */
extern const struct field_table token_bucket_table;
extern const struct field_table rate_limiter_table;

#endif
