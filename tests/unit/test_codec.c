// SPDX-License-Identifier: Apache-2.0
/* state/codec: what is written is read again, and every other input is refused with a sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state/codec.h"

static uint8_t *sample(size_t *len)
{
	struct enc *enc = enc_new();
	uint8_t *data;

	enc_u64(enc, "small", 7);
	enc_u64(enc, "big", UINT64_MAX);
	enc_i64(enc, "negative", INT64_MIN);
	enc_i64(enc, "positive", 300);
	enc_bool(enc, "yes", true);
	enc_bytes(enc, "bytes", "\0\1\2", 3);
	enc_bytes(enc, "no_bytes", NULL, 0);
	enc_str(enc, "text", "gr\xc3\xbc\xc3\x9f");
	enc_str(enc, "empty", "");
	enc_str(enc, "nothing", NULL);
	enc_map_begin(enc, "device");
	enc_array_begin(enc, "queues");
	for (uint64_t i = 0; i < 3; i++) {
		enc_item_begin(enc);
		enc_u64(enc, "size", 256 + i);
		enc_item_end(enc);
	}
	enc_array_end(enc);
	enc_array_begin(enc, "none");
	enc_array_end(enc);
	enc_map_end(enc);
	assert_int_equal(enc_finish(enc, &data, len), 0);
	enc_free(enc);
	return data;
}

static struct dec *read_sample(void)
{
	size_t len;
	uint8_t *data = sample(&len);
	struct dec *dec;
	struct err e;

	assert_int_equal(dec_new(data, len, &dec, &e), 0);
	free(data);
	return dec;
}

static void everything_written_is_read_again(void **state)
{
	struct dec *dec = read_sample(), *device;
	uint8_t bytes[3];
	size_t len;
	struct err e;

	(void)state;
	assert_int_equal(dec_u64(dec, "small", 0, 10), 7);
	assert_true(dec_u64(dec, "big", 0, UINT64_MAX) == UINT64_MAX);
	assert_true(dec_i64(dec, "negative", INT64_MIN, INT64_MAX) == INT64_MIN);
	assert_int_equal(dec_i64(dec, "positive", INT64_MIN, INT64_MAX), 300);
	assert_true(dec_bool(dec, "yes"));
	dec_bytes(dec, "bytes", bytes, 3);
	assert_memory_equal(bytes, "\0\1\2", 3);
	assert_non_null(dec_blob(dec, "no_bytes", 0, 5, &len));
	assert_int_equal(len, 0);
	assert_string_equal(dec_str(dec, "text", 100), "gr\xc3\xbc\xc3\x9f");
	assert_string_equal(dec_str(dec, "empty", 100), "");
	assert_null(dec_str(dec, "nothing", 100));
	device = dec_map(dec, "device");
	assert_int_equal(dec_array(device, "queues", 3), 3);
	for (size_t i = 0; i < 3; i++) {
		struct dec *queue = dec_item(device, "queues", i);

		assert_int_equal(dec_u64(queue, "size", 0, 1024), 256 + i);
		dec_end(queue);
	}
	assert_int_equal(dec_array(device, "none", 3), 0);
	dec_end(device);
	dec_end(dec);
	assert_int_equal(dec_error(dec, &e), 0);
	assert_int_equal(dec_error(device, &e), 0);
	dec_free(dec);
}

/* Runs statement on a fresh reader of the sample and expects text as its error. */
#define EXPECT_ERROR(statement, expected)                       \
	do {                                                    \
		struct dec *dec = read_sample();                \
		struct err e_;                                  \
		statement;                                      \
		assert_int_equal(dec_error(dec, &e_), -EINVAL); \
		assert_string_equal(e_.text, expected);         \
		dec_free(dec);                                  \
	} while (0)

static void errors_name_the_place_the_value_and_what_is_allowed(void **state)
{
	uint8_t buf[9] = { 1 };
	size_t len;

	(void)state;
	EXPECT_ERROR(assert_int_equal(dec_u64(dec, "small", 8, 9), 0), "small is 7, 8 to 9 are allowed");
	EXPECT_ERROR(dec_u64(dec, "negative", 0, 9), "negative must be an unsigned integer");
	EXPECT_ERROR(dec_u64(dec, "missing", 0, 9), "missing is missing");
	EXPECT_ERROR(dec_i64(dec, "positive", -5, 5), "positive is 300, -5 to 5 are allowed");
	EXPECT_ERROR(dec_i64(dec, "big", -5, 5), "big has more than 64 bits, -5 to 5 are allowed");
	EXPECT_ERROR(dec_i64(dec, "text", -5, 5), "text must be an integer");
	EXPECT_ERROR(assert_false(dec_bool(dec, "small")), "small must be true or false");
	EXPECT_ERROR(dec_bool(dec, "nothing"), "nothing must be true or false");
	EXPECT_ERROR(dec_bytes(dec, "bytes", buf, 9), "bytes has 3 bytes, 9 to 9 are allowed");
	assert_int_equal(buf[0], 0);
	EXPECT_ERROR(assert_null(dec_blob(dec, "text", 0, 9, &len)), "text must be a byte string");
	EXPECT_ERROR(assert_null(dec_str(dec, "text", 3)), "text has 6 bytes, at most 3 are allowed");
	EXPECT_ERROR(assert_null(dec_str(dec, "bytes", 3)), "bytes must be text or null");
	EXPECT_ERROR(assert_non_null(dec_map(dec, "small")), "small must be a map");
	EXPECT_ERROR(dec_array(dec, "device", 3), "device must be an array");
	EXPECT_ERROR(dec_array(dec_map(dec, "device"), "queues", 2),
		     "device.queues has 3 items, at most 2 are allowed");
	EXPECT_ERROR(dec_item(dec_map(dec, "device"), "queues", 3), "device.queues has no item 3: it has 3");
	EXPECT_ERROR(dec_u64(dec_item(dec_map(dec, "device"), "queues", 1), "size", 0, 100),
		     "device.queues[1].size is 257, 0 to 100 are allowed");
	EXPECT_ERROR(dec_fail(dec_item(dec_map(dec, "device"), "queues", 1), "x is %d", 5), "device.queues[1]: x is 5");
	EXPECT_ERROR(dec_fail(dec, "no"), "no");
	EXPECT_ERROR(dec_end(dec_map(dec, "device")), "device: there is an unknown key \"queues\"");
}

static void the_first_error_stays_and_broken_readers_are_quiet(void **state)
{
	struct dec *dec = read_sample(), *broken;
	uint8_t bytes[4];
	size_t len;
	struct err e;

	(void)state;
	broken = dec_map(dec_map(dec, "nowhere"), "deeper");
	assert_int_equal(dec_u64(broken, "a", 5, 9), 0);
	assert_int_equal(dec_array(broken, "a", 5), 0);
	assert_null(dec_str(dec_item(broken, "a", 5), "b", 3));
	assert_null(dec_blob(broken, "a", 0, 5, &len));
	dec_bytes(broken, "a", bytes, sizeof(bytes));
	dec_end(broken);
	dec_fail(dec, "later");
	assert_int_equal(dec_error(broken, &e), -EINVAL);
	assert_string_equal(e.text, "nowhere is missing");
	dec_free(dec);
}

static void assert_refused(const void *data, size_t len, const char *expected)
{
	struct dec *dec = NULL;
	struct err e;

	assert_int_equal(dec_new(data, len, &dec, &e), -EINVAL);
	if (!strstr(e.text, expected))
		fail_msg("\"%s\" does not contain \"%s\"", e.text, expected);
}

#define REFUSED(literal, expected) assert_refused(literal, sizeof(literal) - 1, expected)

static void other_forms_of_cbor_are_refused(void **state)
{
	(void)state;
	assert_refused("", 0, "cut short");
	REFUSED("\x01", "not a map");
	REFUSED("\x80", "not a map");
	REFUSED("\xa1", "cut short");
	REFUSED("\xa1\x61\x61", "cut short");
	REFUSED("\xa0\x00", "1 bytes follow its end");
	REFUSED("\xa1\x01\x01", "key that is not text");
	REFUSED("\xa1\x60\x01", "key that is not text of 1 to");
	REFUSED("\xa1\x61\xff\x01", "not ");
	REFUSED("\xa1\x61\x00\x01", "not text of 1 to");
	REFUSED("\xa2\x61\x61\x01\x61\x61\x02", "key \"a\" twice");
	REFUSED("\xa1\x61\x61\xa2\x61\x62\x01\x61\x62\x02", "key \"b\" twice");
	REFUSED("\xbf\xff", "definite length");
	REFUSED("\xa1\x61\x61\x9f\xff", "definite length");
	REFUSED("\xa1\x61\x61\x5f\x41\x01\xff", "definite length");
	REFUSED("\xa1\x61\x61\x7f\xff", "definite length");
	REFUSED("\xff", "definite length");
	REFUSED("\xa1\x61\x61\xc1\x01", "tag");
	REFUSED("\xa1\x61\x61\xf9\x00\x00", "floating-point");
	REFUSED("\xa1\x61\x61\xfa\x00\x00\x00\x00", "floating-point");
	REFUSED("\xa1\x61\x61\xfb\x00\x00\x00\x00\x00\x00\x00\x00", "floating-point");
	REFUSED("\xa1\x61\x61\xf7", "undefined");
	REFUSED("\xa1\x61\x61\xf0", "not valid CBOR");
	REFUSED("\xa1\x61\x61\x1c", "not valid CBOR");
	/* Lengths that lie: nothing must be allocated for them. */
	REFUSED("\xa1\x61\x61\x9b\x00\x00\x00\xff\xff\xff\xff\xff", "cut short");
	REFUSED("\xbb\xff\xff\xff\xff\xff\xff\xff\xff", "cut short");
	REFUSED("\xa1\x61\x61\x5b\xff\xff\xff\xff\xff\xff\xff\xff", "cut short");
	REFUSED("\xa1\x61\x61\x7b\x7f\xff\xff\xff\xff\xff\xff\xff", "cut short");
}

static void text_that_is_no_text_is_refused(void **state)
{
	static const uint8_t nul[] = "\xa1\x61\x61\x62x"; /* and the NUL behind it */
	struct dec *dec;
	struct err e;

	(void)state;
	assert_int_equal(dec_new(nul, sizeof(nul), &dec, &e), 0);
	assert_null(dec_str(dec, "a", 9));
	assert_int_equal(dec_error(dec, &e), -EINVAL);
	assert_string_equal(e.text, "a is not UTF-8 text");
	dec_free(dec);
}

static void depth_keys_items_and_size_are_bounded(void **state)
{
	static uint8_t big[17 * 1024 * 1024];
	size_t at = 0;

	(void)state;
	for (int i = 0; i < 40; i++, at += 3)
		memcpy(big + at, "\xa1\x61\x61", 3);
	big[at++] = 0;
	assert_refused(big, at, "nested too deeply");
	at = 0;
	for (int i = 0; i < 100000; i++) /* deep enough to overflow a recursive parser's stack */
		big[at++] = 0x81;
	assert_refused(big, at, "nested too deeply");
	at = 0;
	memcpy(big, "\xb9\x02\x01", 3); /* 513 keys */
	for (at = 3; at < 3 + 513 * 5; at += 5)
		snprintf((char *)big + at, 6, "\x63%03d%c", (int)((at - 3) / 5), 1);
	assert_refused(big, at, "too many keys");
	memcpy(big, "\xa1\x61\x61\x9a\x00\x10\x00\x00", 8); /* 2^20 items */
	memset(big + 8, 0, 1 << 20);
	assert_refused(big, 8 + (1 << 20), "too many items");
	assert_refused(big, sizeof(big), "at most 16777216 are allowed");
}

static void every_truncation_is_refused(void **state)
{
	size_t len;
	uint8_t *data = sample(&len);

	(void)state;
	for (size_t n = 0; n < len; n++) {
		uint8_t *cut = malloc(n ? n : 1); /* exactly n bytes, so that a sanitizer sees a read beyond */

		memcpy(cut, data, n);
		assert_refused(cut, n, "the state cannot be read: ");
		free(cut);
	}
	free(data);
}

static void read_everything(struct dec *dec)
{
	struct dec *device = dec_map(dec, "device");
	size_t n = dec_array(device, "queues", 10), len;
	uint8_t bytes[3];

	dec_u64(dec, "small", 0, 100);
	dec_i64(dec, "negative", INT64_MIN, 0);
	dec_bool(dec, "yes");
	dec_bytes(dec, "bytes", bytes, sizeof(bytes));
	dec_blob(dec, "no_bytes", 0, 100, &len);
	dec_str(dec, "text", 50);
	dec_str(dec, "nothing", 50);
	for (size_t i = 0; i < n; i++)
		dec_u64(dec_item(device, "queues", i), "size", 1, 1024);
	dec_end(device);
	dec_end(dec);
}

static void damaged_input_never_harms(void **state)
{
	size_t len;
	uint8_t *data = sample(&len), *copy = malloc(len);
	uint32_t random = 12345;
	struct dec *dec;
	struct err e;

	(void)state;
	for (int round = 0; round < 100000; round++) {
		memcpy(copy, data, len);
		for (int i = 0; i < 1 + round % 4; i++) {
			random = random * 1664525 + 1013904223;
			copy[(random >> 8) % len] = (uint8_t)(random >> 24);
		}
		if (dec_new(copy, len, &dec, &e) == 0) {
			read_everything(dec);
			(void)!dec_error(dec, &e);
			dec_free(dec);
		}
		assert_true(strlen(e.text) < sizeof(e.text));
	}
	free(copy);
	free(data);
}

static int finish(struct enc *enc)
{
	uint8_t *data = NULL;
	size_t len;
	int r = enc_finish(enc, &data, &len);

	enc_free(enc);
	free(data);
	return r;
}

static void calls_that_do_not_nest_are_errors(void **state)
{
	struct enc *enc;

	(void)state;
	enc = enc_new();
	enc_map_begin(enc, "a");
	assert_int_equal(finish(enc), -EINVAL);
	enc = enc_new();
	enc_map_end(enc);
	assert_int_equal(finish(enc), -EINVAL);
	enc = enc_new();
	enc_array_begin(enc, "a");
	enc_u64(enc, "b", 1); /* a key inside an array */
	enc_array_end(enc);
	assert_int_equal(finish(enc), -EINVAL);
	enc = enc_new();
	enc_array_begin(enc, "a");
	enc_map_end(enc);
	assert_int_equal(finish(enc), -EINVAL);
	enc = enc_new();
	enc_item_begin(enc);
	enc_item_end(enc);
	assert_int_equal(finish(enc), -EINVAL);
	enc = enc_new();
	enc_u64(enc, "", 1);
	assert_int_equal(finish(enc), -EINVAL);
	enc = enc_new();
	enc_str(enc, "a", "\xff");
	assert_int_equal(finish(enc), -EILSEQ);
	enc = enc_new();
	for (int i = 0; i < 20; i++)
		enc_map_begin(enc, "a");
	assert_int_equal(finish(enc), -ELOOP);
}

static void growth_is_bounded(void **state)
{
	static uint8_t mib[1024 * 1024];
	struct enc *enc = enc_new();
	char key[16];

	(void)state;
	for (int i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		enc_bytes(enc, key, mib, sizeof(mib));
	}
	assert_int_equal(finish(enc), -EFBIG);
}

static void an_empty_map_is_fine(void **state)
{
	struct enc *enc = enc_new();
	struct dec *dec;
	uint8_t *data;
	size_t len;
	struct err e;

	(void)state;
	assert_int_equal(enc_finish(enc, &data, &len), 0);
	assert_int_equal(len, 1);
	assert_int_equal(dec_new(data, len, &dec, &e), 0);
	dec_end(dec);
	assert_int_equal(dec_error(dec, &e), 0);
	dec_free(dec);
	free(data);
	enc_free(enc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_written_is_read_again),
		cmocka_unit_test(errors_name_the_place_the_value_and_what_is_allowed),
		cmocka_unit_test(the_first_error_stays_and_broken_readers_are_quiet),
		cmocka_unit_test(other_forms_of_cbor_are_refused),
		cmocka_unit_test(text_that_is_no_text_is_refused),
		cmocka_unit_test(depth_keys_items_and_size_are_bounded),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(damaged_input_never_harms),
		cmocka_unit_test(calls_that_do_not_nest_are_errors),
		cmocka_unit_test(growth_is_bounded),
		cmocka_unit_test(an_empty_map_is_fine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
