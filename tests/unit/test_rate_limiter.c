// SPDX-License-Identifier: Apache-2.0
/* base/rate_limiter: rates over a long time, bursts, oversized requests, and numbers at the edge of 64 bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "state/codec.h"
#include "state/limiter.h"
#include "base/rate_limiter.h"

#define MS 1000000ull
#define S  (1000 * MS)

static struct token_bucket bucket(uint64_t size, uint64_t burst, uint64_t refill_ms, uint64_t now)
{
	struct token_bucket_config config = { .size = size, .one_time_burst = burst, .refill_time_ms = refill_ms };
	struct token_bucket b;

	token_bucket_init(&b, &config, now);
	return b;
}

static void zero_size_or_time_means_no_limit(void **state)
{
	struct token_bucket no_size = bucket(0, 5, 100, 0), no_time = bucket(5, 5, 0, 0);

	(void)state;
	for (int i = 0; i < 10; i++) {
		assert_true(token_bucket_take(&no_size, UINT64_MAX, 0));
		assert_true(token_bucket_take(&no_time, UINT64_MAX, 0));
	}
}

static void a_bucket_starts_full_and_refuses_when_empty(void **state)
{
	struct token_bucket b = bucket(1000, 0, 1000, 7);

	(void)state;
	assert_true(token_bucket_take(&b, 600, 7));
	assert_false(token_bucket_take(&b, 401, 7));
	assert_true(token_bucket_take(&b, 400, 7)); /* the refusal took nothing */
	assert_false(token_bucket_take(&b, 1, 7));
	assert_true(token_bucket_take(&b, 0, 7));
}

static void tokens_come_back_continuously_up_to_the_size(void **state)
{
	struct token_bucket b = bucket(1000, 0, 1000, 0); /* one a millisecond */

	(void)state;
	assert_true(token_bucket_take(&b, 1000, 0));
	assert_false(token_bucket_take(&b, 1, MS - 1));
	assert_true(token_bucket_take(&b, 1, MS));
	assert_false(token_bucket_take(&b, 500, 500 * MS));
	assert_true(token_bucket_take(&b, 500, 501 * MS));
	assert_true(token_bucket_take(&b, 1000, 3600 * S));
	assert_false(token_bucket_take(&b, 1, 3600 * S));
}

static void check_rate(uint64_t size, uint64_t refill_ms, uint64_t chunk, uint64_t step_ns)
{
	struct token_bucket b = bucket(size, 0, refill_ms, 0);
	uint64_t taken = 0, end = 20 * S;
	double expected = (double)size * (double)end / ((double)refill_ms * (double)MS) + (double)size;

	for (uint64_t now = 0; now < end; now += step_ns) {
		while (token_bucket_take(&b, chunk, now))
			taken += chunk;
	}
	assert_true((double)taken <= expected + 1);
	assert_true((double)taken >= expected * 0.999 - (double)chunk);
}

static void the_rate_is_right_over_a_long_time(void **state)
{
	(void)state;
	check_rate(1000, 1000, 1, 137931);	     /* odd steps, single tokens */
	check_rate(3, 1000, 1, 999983);		     /* a third of a second each */
	check_rate(125000000, 1000, 65536, 1000003); /* 1 Gbit/s */
	check_rate(1000000000, 100, 512 * 1024, 1000003);
	check_rate(7, 13, 7, 100003);
}

static void a_burst_is_spent_first_and_never_comes_back(void **state)
{
	struct token_bucket b = bucket(100, 50, 1000, 0);

	(void)state;
	assert_true(token_bucket_take(&b, 50, 0));
	assert_int_equal(b.budget, 100);
	assert_true(token_bucket_take(&b, 100, 0));
	assert_false(token_bucket_take(&b, 1, 0));
	assert_true(token_bucket_take(&b, 100, 100 * S));
	assert_false(token_bucket_take(&b, 1, 100 * S));
	b = bucket(100, 50, 1000, 0);
	assert_true(token_bucket_take(&b, 120, 0)); /* from both */
	assert_false(token_bucket_take(&b, 31, 0));
	assert_true(token_bucket_take(&b, 30, 0));
}

static void an_oversized_request_passes_and_blocks_for_the_excess(void **state)
{
	struct token_bucket b = bucket(100, 0, 1000, 0);

	(void)state;
	assert_true(token_bucket_take(&b, 350, 0)); /* 250 too many: 2.5 s */
	assert_false(token_bucket_take(&b, 1, 0));
	assert_false(token_bucket_take(&b, 1000, 0)); /* nor another oversized one */
	assert_false(token_bucket_take(&b, 1, 2500 * MS));
	assert_false(token_bucket_take(&b, 1, 2509 * MS));
	assert_true(token_bucket_take(&b, 1, 2510 * MS));
}

static void oversized_requests_keep_the_rate(void **state)
{
	struct token_bucket b = bucket(100, 0, 1000, 0);
	uint64_t taken = 0;

	(void)state;
	for (uint64_t now = 0; now < 100 * S; now += 100 * MS) {
		if (token_bucket_take(&b, 500, now))
			taken += 500;
	}
	assert_in_range(taken, 9500, 10600);
}

static void extreme_numbers_do_not_overflow(void **state)
{
	struct token_bucket b = bucket(UINT64_MAX, UINT64_MAX, UINT64_MAX, 0);

	(void)state;
	assert_true(token_bucket_take(&b, UINT64_MAX, 0));
	assert_true(token_bucket_take(&b, UINT64_MAX, 0));
	assert_false(token_bucket_take(&b, 2, 1));
	b = bucket(1, 0, UINT64_MAX, 0);
	assert_true(token_bucket_take(&b, UINT64_MAX, 0)); /* blocked for ever */
	assert_false(token_bucket_take(&b, 1, UINT64_MAX - 1));
	b = bucket(UINT64_MAX, 0, 1, 0);
	assert_true(token_bucket_take(&b, UINT64_MAX, 0));
	assert_true(token_bucket_take(&b, UINT64_MAX, UINT64_MAX));
}

static void both_limits_hold_and_a_refusal_takes_nothing(void **state)
{
	const struct rate_limiter_config config = {
		.bandwidth = { .size = 1000, .refill_time_ms = 1000 },
		.ops = { .size = 3, .refill_time_ms = 1000 },
	};
	struct rate_limiter rl;

	(void)state;
	rate_limiter_init(&rl, &config, 0);
	assert_true(rate_limiter_take(&rl, 900, 0));
	assert_false(rate_limiter_take(&rl, 101, 0));
	assert_int_equal(rl.ops.budget, 2);
	assert_true(rate_limiter_take(&rl, 100, 0));
	assert_true(rate_limiter_take(&rl, 0, 0));
	assert_false(rate_limiter_take(&rl, 0, 0)); /* operations are used up */
	assert_true(rate_limiter_take(&rl, 333, S / 3 + 1));
}

static struct rate_limiter reload(const struct rate_limiter *rl, uint64_t save_ns, uint64_t load_ns)
{
	struct enc *enc = enc_new();
	struct rate_limiter_state image;
	struct rate_limiter loaded;
	struct dec *dec;
	uint8_t *data;
	size_t len;
	struct err e;

	rate_limiter_get(rl, &image, save_ns);
	state_save(&limiter_state_table, &image, enc);
	assert_int_equal(enc_finish(enc, &data, &len), 0);
	assert_int_equal(dec_new(data, len, &dec, &e), 0);
	memset(&image, 0x55, sizeof(image));
	state_load(&limiter_state_table, &image, dec);
	limiter_load(&loaded, &image, dec, load_ns);
	assert_int_equal(dec_error(dec, &e), 0);
	dec_free(dec);
	enc_free(enc);
	free(data);
	return loaded;
}

static void a_reloaded_limiter_goes_on_where_it_was(void **state)
{
	const struct rate_limiter_config config = {
		.bandwidth = { .size = 1000, .one_time_burst = 10, .refill_time_ms = 1000 },
	};
	struct rate_limiter rl, loaded;

	(void)state;
	rate_limiter_init(&rl, &config, 0);
	assert_true(rate_limiter_take(&rl, 1010, 0));
	loaded = reload(&rl, 100 * MS, 77 * S); /* 100 tokens have come back */
	assert_int_equal(loaded.ops.config.size, 0);
	assert_false(rate_limiter_take(&loaded, 101, 77 * S));
	assert_true(rate_limiter_take(&loaded, 100, 77 * S));

	rate_limiter_init(&rl, &config, 0);
	assert_true(rate_limiter_take(&rl, 3010, 0)); /* blocked for 2 s */
	loaded = reload(&rl, S, 50 * S);
	assert_false(rate_limiter_take(&loaded, 1, 51 * S));
	assert_true(rate_limiter_take(&loaded, 1, 51 * S + MS));
}

static void a_budget_beyond_its_bucket_is_refused(void **state)
{
	const struct rate_limiter_state image = { .bandwidth = { .size = 10, .refill_time_ms = 1, .budget = 11 } };
	struct enc *enc = enc_new();
	struct rate_limiter_state read;
	struct rate_limiter rl;
	struct dec *dec;
	uint8_t *data;
	size_t len;
	struct err e;

	(void)state;
	state_save(&limiter_state_table, &image, enc);
	assert_int_equal(enc_finish(enc, &data, &len), 0);
	assert_int_equal(dec_new(data, len, &dec, &e), 0);
	state_load(&limiter_state_table, &read, dec);
	limiter_load(&rl, &read, dec, 0);
	assert_int_equal(dec_error(dec, &e), -EINVAL);
	assert_string_equal(e.text, "the rate limiter's bandwidth.budget is 11, 0 to 10 are allowed");
	dec_free(dec);
	enc_free(enc);
	free(data);
}

static void what_is_charged_is_taken_in_any_case_and_has_to_come_back_first(void **state)
{
	struct rate_limiter_config config = { .bandwidth = { .size = 1000, .refill_time_ms = 1000 },
					      .ops = { .size = 10, .refill_time_ms = 1000 } };
	struct rate_limiter rl;

	(void)state;
	rate_limiter_init(&rl, &config, 0);
	assert_true(rate_limiter_is_open(&rl, 0));
	rate_limiter_charge(&rl, 500, 0);
	rate_limiter_charge(&rl, 1000, 0); /* 500 more than there is */
	rate_limiter_charge(&rl, 1000, 0); /* debts add up */
	assert_false(rate_limiter_is_open(&rl, 0));
	assert_false(rate_limiter_take(&rl, 1, 1500 * MS));
	assert_false(rate_limiter_take(&rl, 100, 1599 * MS));
	assert_true(rate_limiter_take(&rl, 100, 1600 * MS));
	for (int i = 0; i < 10; i++) /* a debt of operations alone blocks as well */
		rate_limiter_charge(&rl, 0, 3000 * MS);
	rate_limiter_charge(&rl, 0, 3000 * MS);
	assert_false(rate_limiter_take(&rl, 1, 3199 * MS));
	assert_true(rate_limiter_take(&rl, 1, 3200 * MS));
	config = (struct rate_limiter_config){ 0 };
	rate_limiter_init(&rl, &config, 0);
	rate_limiter_charge(&rl, UINT64_MAX, 0);
	assert_true(rate_limiter_take(&rl, 1, 0)); /* no limit, no debt */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zero_size_or_time_means_no_limit),
		cmocka_unit_test(a_bucket_starts_full_and_refuses_when_empty),
		cmocka_unit_test(tokens_come_back_continuously_up_to_the_size),
		cmocka_unit_test(the_rate_is_right_over_a_long_time),
		cmocka_unit_test(a_burst_is_spent_first_and_never_comes_back),
		cmocka_unit_test(an_oversized_request_passes_and_blocks_for_the_excess),
		cmocka_unit_test(oversized_requests_keep_the_rate),
		cmocka_unit_test(extreme_numbers_do_not_overflow),
		cmocka_unit_test(both_limits_hold_and_a_refusal_takes_nothing),
		cmocka_unit_test(what_is_charged_is_taken_in_any_case_and_has_to_come_back_first),
		cmocka_unit_test(a_reloaded_limiter_goes_on_where_it_was),
		cmocka_unit_test(a_budget_beyond_its_bucket_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
