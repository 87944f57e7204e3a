// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "state/codec.h"
#include "state/table.h"

struct inner {
	uint16_t word;
	bool flag;
};

struct thing {
	uint8_t byte;
	uint32_t number;
	uint64_t large;
	bool yes;
	uint8_t raw[5];
	uint16_t items[6];
	unsigned int items_len;
	struct inner inner;
	/* since 1 */
	uint64_t later;
	bool later_yes;
	uint8_t later_raw[3];
	uint8_t later_blob[4];
	unsigned int later_blob_len;
	struct inner later_inner;
};

static const struct state_field inner_fields[] = {
	STATE_UINT_FIELD(struct inner, word, 0, UINT16_MAX, .initial = 77),
	STATE_BOOL_FIELD(struct inner, flag, .initial = 1),
};
static const struct state_table inner_table = STATE_TABLE(inner_fields);

static const struct state_field thing_fields[] = {
	STATE_UINT_FIELD(struct thing, byte, 0, UINT8_MAX),
	STATE_UINT_FIELD(struct thing, number, 10, 20),
	STATE_UINT_FIELD(struct thing, large, 0, UINT64_MAX),
	STATE_BOOL_FIELD(struct thing, yes),
	STATE_BYTES_FIELD(struct thing, raw),
	STATE_BLOB_FIELD(struct thing, items, items_len, sizeof(uint16_t), 2, sizeof(((struct thing *)NULL)->items)),
	STATE_MAP_FIELD(struct thing, inner, &inner_table),
	STATE_UINT_FIELD(struct thing, later, 0, 9, .since = 1, .initial = 5),
	STATE_BOOL_FIELD(struct thing, later_yes, .since = 1, .initial = 1),
	STATE_BYTES_FIELD(struct thing, later_raw, .since = 1),
	STATE_BLOB_FIELD(struct thing, later_blob, later_blob_len, 1, 0, 4, .since = 1),
	STATE_MAP_FIELD(struct thing, later_inner, &inner_table, .since = 1),
};
static const struct state_table thing_table = STATE_TABLE(thing_fields);

/* What a monitor of v1.0 knew. */
static const struct state_table old_table = { thing_fields, 7 };

static const struct thing full = {
	.byte = 0xfe,
	.number = 15,
	.large = UINT64_MAX,
	.yes = true,
	.raw = "abcd",
	.items = { 1, 2, 3 },
	.items_len = 6,
	.inner = { 0xabcd, true },
	.later = 9,
	.later_yes = false,
	.later_raw = "xy",
	.later_blob = "pq",
	.later_blob_len = 2,
	.later_inner = { 5, false },
};

static struct dec *saved(const struct state_table *table, const struct thing *thing, unsigned int version)
{
	struct enc *enc = enc_new();
	struct dec *dec;
	uint8_t *data;
	struct err e;
	size_t len;

	state_save(table, thing, enc);
	assert_int_equal(enc_finish(enc, &data, &len), 0);
	enc_free(enc);
	assert_int_equal(dec_new(data, len, &dec, &e), 0);
	dec_set_version(dec, version);
	free(data);
	return dec;
}

/* Loads what is in dec over garbage. */
static int load(struct dec *dec, struct thing *thing, struct err *e)
{
	int r;

	memset(thing, 0x55, sizeof(*thing));
	thing->yes = thing->inner.flag = thing->later_yes = thing->later_inner.flag = false;
	state_load(&thing_table, thing, dec);
	r = dec_error(dec, e);
	dec_free(dec);
	return r;
}

static void assert_old_part_equal(const struct thing *got)
{
	assert_int_equal(got->byte, full.byte);
	assert_int_equal(got->number, full.number);
	assert_true(got->large == full.large && got->yes);
	assert_memory_equal(got->raw, full.raw, sizeof(full.raw));
	assert_int_equal(got->items_len, 6);
	assert_memory_equal(got->items, full.items, 6);
	assert_int_equal(got->inner.word, 0xabcd);
	assert_true(got->inner.flag);
}

static void every_type_survives(void **state)
{
	struct thing got;
	struct err e;

	(void)state;
	assert_int_equal(load(saved(&thing_table, &full, 1), &got, &e), 0);
	assert_old_part_equal(&got);
	assert_int_equal(got.later, 9);
	assert_false(got.later_yes || got.later_inner.flag);
	assert_memory_equal(got.later_raw, full.later_raw, 3);
	assert_int_equal(got.later_blob_len, 2);
	assert_memory_equal(got.later_blob, "pq", 2);
	assert_int_equal(got.later_inner.word, 5);
}

static void an_older_file_gives_new_fields_their_initial_values(void **state)
{
	static const uint8_t zero[3];
	struct thing got;
	struct err e;

	(void)state;
	assert_int_equal(load(saved(&old_table, &full, 0), &got, &e), 0);
	assert_old_part_equal(&got);
	assert_int_equal(got.later, 5);
	assert_true(got.later_yes && got.later_inner.flag);
	assert_memory_equal(got.later_raw, zero, 3);
	assert_int_equal(got.later_blob_len, 0);
	assert_int_equal(got.later_inner.word, 77);
}

static void a_new_file_must_have_the_new_fields(void **state)
{
	struct thing got;
	struct err e;

	(void)state;
	assert_int_equal(load(saved(&old_table, &full, 1), &got, &e), -EINVAL);
	assert_string_equal(e.text, "later is missing");
}

static void an_older_file_must_not_have_the_new_fields(void **state)
{
	struct thing got;
	struct err e;

	(void)state;
	assert_int_equal(load(saved(&thing_table, &full, 0), &got, &e), -EINVAL);
	assert_string_equal(e.text, "there is an unknown key \"later\"");
}

static void each_field_is_needed(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(thing_fields); i++) {
		struct state_field fields[ARRAY_SIZE(thing_fields)];
		struct state_table table = { fields, ARRAY_SIZE(fields) - 1 };
		char expected[64];
		struct thing got;
		struct err e;

		memcpy(fields, thing_fields, sizeof(fields));
		fields[i] = fields[ARRAY_SIZE(fields) - 1];
		assert_int_equal(load(saved(&table, &full, 1), &got, &e), -EINVAL);
		snprintf(expected, sizeof(expected), "%s is missing", thing_fields[i].key);
		assert_string_equal(e.text, expected);
	}
}

static void values_out_of_range_are_refused(void **state)
{
	static const struct {
		uint32_t number;
		unsigned int items_len;
		const char *error;
	} rows[] = {
		{ 9, 6, "number is 9, 10 to 20 are allowed" },
		{ 21, 6, "number is 21, 10 to 20 are allowed" },
		{ 10, 0, "items has 0 bytes, 2 to 12 are allowed" },
		{ 20, 14, "items has 14 bytes, 2 to 12 are allowed" },
		{ 20, 5, "items has 5 bytes, a multiple of 2 is allowed" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct thing bad = full, got;
		struct err e;

		bad.number = rows[i].number;
		bad.items_len = rows[i].items_len;
		assert_int_equal(load(saved(&thing_table, &bad, 1), &got, &e), -EINVAL);
		assert_string_equal(e.text, rows[i].error);
		assert_true(got.items_len <= sizeof(got.items));
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_survives),
		cmocka_unit_test(an_older_file_gives_new_fields_their_initial_values),
		cmocka_unit_test(a_new_file_must_have_the_new_fields),
		cmocka_unit_test(an_older_file_must_not_have_the_new_fields),
		cmocka_unit_test(each_field_is_needed),
		cmocka_unit_test(values_out_of_range_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
