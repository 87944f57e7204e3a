// SPDX-License-Identifier: Apache-2.0
/* The metadata store: what may be put, merge patches (the examples of RFC 7396), the limit, paths; and tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "mmds/store.h"
#include "mmds/token.h"
#include "tmpdir.h"

static json_t *parse(const char *text)
{
	char copy[512];
	json_t *value;

	snprintf(copy, sizeof(copy), "%s", text);
	for (char *at = copy; *at; at++)
		*at = *at == '\'' ? '"' : *at;
	value = json_loads(copy, JSON_DECODE_ANY, NULL);
	assert_non_null(value);
	return value;
}

static void assert_json(json_t *value, const char *expected)
{
	json_t *other = parse(expected);

	if (!json_equal(value, other))
		fail_msg("%s expected", expected);
	json_decref(other);
	json_decref(value);
}

static int put(struct mmds_store *store, const char *text, struct err *e)
{
	json_t *value = parse(text);
	int r = mmds_store_put(store, value, e);

	json_decref(value);
	return r;
}

static int patch(struct mmds_store *store, const char *text, struct err *e)
{
	json_t *value = parse(text);
	int r = mmds_store_patch(store, value, e);

	json_decref(value);
	return r;
}

static void a_store_is_empty_until_it_is_put(void **state)
{
	struct mmds_store store;
	struct err e;

	(void)state;
	mmds_store_init(&store, 1000);
	assert_json(mmds_store_get(&store), "{}");
	assert_json(mmds_store_find(&store, "/"), "{}");
	assert_null(mmds_store_find(&store, "/latest"));
	assert_int_equal(patch(&store, "{'a':1}", &e), -EINVAL);
	assert_string_equal(e.text, "MMDS error: The MMDS data store is not initialized.");
	assert_int_equal(put(&store, "{'a':1}", &e), 0);
	assert_int_equal(put(&store, "{'b':2}", &e), 0);
	assert_json(mmds_store_get(&store), "{'b':2}");
	mmds_store_fini(&store);
}

static void only_an_object_is_metadata(void **state)
{
	static const char *const values[] = { "[]", "1", "null", "'text'", "true" };
	struct mmds_store store;
	struct err e;

	(void)state;
	mmds_store_init(&store, 1000);
	assert_int_equal(put(&store, "{'a':1}", &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		assert_int_equal(put(&store, values[i], &e), -EINVAL);
		assert_non_null(strstr(e.text, "metadata is a JSON object"));
		assert_int_equal(patch(&store, values[i], &e), -EINVAL);
	}
	assert_json(mmds_store_get(&store), "{'a':1}");
	mmds_store_fini(&store);
}

/* RFC 7396, appendix A, those whose target and patch are objects; and that nothing else changes. */
static void a_patch_is_merged(void **state)
{
	static const struct {
		const char *target, *patch, *result;
	} rows[] = {
		{ "{'a':'b'}", "{'a':'c'}", "{'a':'c'}" },
		{ "{'a':'b'}", "{'b':'c'}", "{'a':'b','b':'c'}" },
		{ "{'a':'b'}", "{'a':null}", "{}" },
		{ "{'a':'b','b':'c'}", "{'a':null}", "{'b':'c'}" },
		{ "{'a':['b']}", "{'a':'c'}", "{'a':'c'}" },
		{ "{'a':'c'}", "{'a':['b']}", "{'a':['b']}" },
		{ "{'a':{'b':'c'}}", "{'a':{'b':'d','c':null}}", "{'a':{'b':'d'}}" },
		{ "{'a':[{'b':'c'}]}", "{'a':[1]}", "{'a':[1]}" },
		{ "{'e':null}", "{'a':1}", "{'e':null,'a':1}" },
		{ "{}", "{'a':{'bb':{'ccc':null}}}", "{'a':{'bb':{}}}" },
		{ "{'a':{'b':{'c':1,'d':2}},'z':[1,{}]}", "{'a':{'b':{'c':null}}}", "{'a':{'b':{'d':2}},'z':[1,{}]}" },
		{ "{'a':1}", "{'absent':null}", "{'a':1}" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct mmds_store store;
		struct err e;

		mmds_store_init(&store, 1000);
		assert_int_equal(put(&store, rows[i].target, &e), 0);
		assert_int_equal(patch(&store, rows[i].patch, &e), 0);
		assert_json(mmds_store_get(&store), rows[i].result);
		mmds_store_fini(&store);
	}
}

static void what_does_not_fit_changes_nothing(void **state)
{
	struct mmds_store store;
	struct err e;

	(void)state;
	mmds_store_init(&store, strlen("{\"a\":\"1234567\"}"));
	assert_int_equal(put(&store, "{ 'a' :  '1234567' }", &e), 0); /* blanks do not count */
	assert_int_equal(put(&store, "{'a':'12345678'}", &e), -EMSGSIZE);
	assert_string_equal(e.text, "MMDS limit exceeded error: The MMDS patch request doesn't fit. It would make 16 "
				    "bytes of metadata, allowed are 15.");
	assert_int_equal(patch(&store, "{'b':1}", &e), -EMSGSIZE);
	assert_json(mmds_store_get(&store), "{'a':'1234567'}");
	assert_int_equal(patch(&store, "{'a':null,'b':'1234567'}", &e), 0);
	assert_json(mmds_store_get(&store), "{'b':'1234567'}");
	mmds_store_fini(&store);
}

static void a_path_finds_its_value(void **state)
{
	static const struct {
		const char *path, *value; /* NULL: there is none */
	} rows[] = {
		{ "", "{'a':{'b':[10,{'c':'x'}]},'s/l~':1,'':2,'n':null}" },
		{ "/", "{'a':{'b':[10,{'c':'x'}]},'s/l~':1,'':2,'n':null}" },
		{ "/a", "{'b':[10,{'c':'x'}]}" },
		{ "/a/", "{'b':[10,{'c':'x'}]}" },
		{ "//a///b//", "[10,{'c':'x'}]" },
		{ "/a/b/0", "10" },
		{ "/a/b/1/c", "'x'" },
		{ "/n", "null" },
		{ "/s~1l~0", "1" },
		{ "/a/b/2", NULL },
		{ "/a/b/01", NULL },
		{ "/a/b/-1", NULL },
		{ "/a/b/+1", NULL },
		{ "/a/b/4294967296", NULL },
		{ "/a/b/99999999999999999999", NULL },
		{ "/a/b/1/c/d", NULL },
		{ "/A", NULL },
		{ "/s~2l", NULL },
		{ "/a~", NULL },
		{ "/n/x", NULL },
	};
	struct mmds_store store;
	struct err e;

	(void)state;
	mmds_store_init(&store, 1000);
	assert_int_equal(put(&store, rows[0].value, &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *found = mmds_store_find(&store, rows[i].path);

		if (!rows[i].value != !found)
			fail_msg("%s", rows[i].path);
		if (found)
			assert_json(found, rows[i].value);
	}
	mmds_store_fini(&store);
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void metadata_comes_from_a_file(void **state)
{
	static const struct {
		const char *text, *error;
	} rows[] = {
		{ "{", "invalid JSON at line 1" },
		{ "[]", "metadata is a JSON object" },
		{ "{\"a\":\"12345678901234567890\"}", "The MMDS patch request doesn't fit" },
		{ "{\"a\":1,\"a\":2}", "duplicate" },
	};
	struct mmds_store store;
	struct tmpdir dir;
	const char *path;
	struct err e;

	(void)state;
	assert_int_equal(tmpdir_make(&dir), 0);
	path = tmpdir_file(&dir, "metadata");
	mmds_store_init(&store, 20);
	assert_true(mmds_store_read(&store, path, &e) < 0);
	assert_non_null(strstr(e.text, "No such file"));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		write_file(path, rows[i].text);
		assert_true(mmds_store_read(&store, path, &e) < 0);
		assert_non_null(strstr(e.text, "Populating MMDS from file failed: "));
		assert_non_null(strstr(e.text, rows[i].error));
		assert_null(store.root);
	}
	write_file(path, "\n { \"a\" : [ 1,              2 ] }\n");
	assert_int_equal(mmds_store_read(&store, path, &e), 0);
	assert_json(mmds_store_get(&store), "{'a':[1,2]}");
	mmds_store_fini(&store);
	tmpdir_remove(&dir);
}

#define S 1000000000ull

static void a_token_lives_as_long_as_it_says(void **state)
{
	struct mmds_tokens tokens;
	char text[MMDS_TOKEN_LEN + 1], other[MMDS_TOKEN_LEN + 1];

	(void)state;
	assert_int_equal(mmds_tokens_init(&tokens), 0);
	assert_int_equal(mmds_token_make(&tokens, 60, 1000 * S, text), 0);
	assert_int_equal(mmds_token_make(&tokens, 60, 1000 * S, other), 0);
	assert_int_equal(strlen(text), MMDS_TOKEN_LEN);
	assert_string_not_equal(text, other);
	assert_true(mmds_token_is_valid(&tokens, text, 1000 * S));
	assert_true(mmds_token_is_valid(&tokens, text, 1060 * S - 1));
	assert_false(mmds_token_is_valid(&tokens, text, 1060 * S));
	assert_false(mmds_token_is_valid(&tokens, text, UINT64_MAX));
	mmds_tokens_fini(&tokens);
}

static void what_was_changed_is_no_token(void **state)
{
	struct mmds_tokens tokens;
	char text[MMDS_TOKEN_LEN + 1];

	(void)state;
	assert_int_equal(mmds_tokens_init(&tokens), 0);
	assert_int_equal(mmds_token_make(&tokens, MMDS_TTL_MAX_S, 0, text), 0);
	for (size_t i = 0; i < MMDS_TOKEN_LEN; i++) {
		char changed[MMDS_TOKEN_LEN + 1];

		memcpy(changed, text, sizeof(changed));
		changed[i] = changed[i] == 'A' ? 'B' : 'A';
		assert_false(mmds_token_is_valid(&tokens, changed, 0));
		changed[i] = '\n';
		assert_false(mmds_token_is_valid(&tokens, changed, 0));
		changed[i] = '\0';
		assert_false(mmds_token_is_valid(&tokens, changed, 0));
	}
	assert_false(mmds_token_is_valid(&tokens, "", 0));
	assert_true(mmds_token_is_valid(&tokens, text, 0));
	mmds_tokens_fini(&tokens);
}

/* The machine of a clone makes a key of its own; so does one that has used a key up. */
static void a_token_of_another_key_is_none(void **state)
{
	struct mmds_tokens original, clone;
	char text[MMDS_TOKEN_LEN + 1];

	(void)state;
	assert_int_equal(mmds_tokens_init(&original), 0);
	assert_int_equal(mmds_tokens_init(&clone), 0);
	assert_memory_not_equal(original.key, clone.key, sizeof(clone.key));
	assert_int_equal(mmds_token_make(&original, 60, 0, text), 0);
	assert_false(mmds_token_is_valid(&clone, text, 0));
	original.issued = UINT32_MAX;
	assert_true(mmds_token_is_valid(&original, text, 0));
	assert_int_equal(mmds_token_make(&original, 60, 0, text), 0);
	assert_int_equal(original.issued, 1);
	assert_true(mmds_token_is_valid(&original, text, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_store_is_empty_until_it_is_put),
		cmocka_unit_test(only_an_object_is_metadata),
		cmocka_unit_test(a_patch_is_merged),
		cmocka_unit_test(what_does_not_fit_changes_nothing),
		cmocka_unit_test(a_path_finds_its_value),
		cmocka_unit_test(metadata_comes_from_a_file),
		cmocka_unit_test(a_token_lives_as_long_as_it_says),
		cmocka_unit_test(what_was_changed_is_no_token),
		cmocka_unit_test(a_token_of_another_key_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
