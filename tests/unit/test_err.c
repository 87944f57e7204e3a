// SPDX-License-Identifier: Apache-2.0
/* base/err: texts that fit, texts that do not, and return values that cannot be mistaken for success. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/err.h"

static void set_formats_and_returns_the_negative_number(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(err_set(&e, EBUSY, "drive %s: %d", "a", 7), -EBUSY);
	assert_string_equal(e.text, "drive a: 7");
}

static void errno_text_is_appended(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(err_errno(&e, ENOENT, "open %s", "x"), -ENOENT);
	assert_string_equal(e.text, "open x: No such file or directory");
}

static void zero_never_becomes_success(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(err_set(&e, 0, "x"), -EIO);
	assert_int_equal(err_errno(&e, 0, "x"), -EIO);
}

static void wrap_puts_context_before_and_keeps_the_code(void **state)
{
	struct err e;

	(void)state;
	(void)err_set(&e, EINVAL, "inner");
	assert_int_equal(err_wrap(&e, -EINVAL, "outer %d", 1), -EINVAL);
	assert_string_equal(e.text, "outer 1: inner");
}

static void long_texts_are_cut_with_dots(void **state)
{
	static char longer[4096];
	struct err e;

	(void)state;
	memset(longer, 'x', sizeof(longer) - 1);
	(void)err_set(&e, EINVAL, "%s", longer);
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
	assert_string_equal(e.text + sizeof(e.text) - 4, "...");
	(void)err_wrap(&e, -1, "context");
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
	assert_memory_equal(e.text, "context: xxx", 12);
	(void)err_errno(&e, ENOENT, "%s", longer);
	assert_string_equal(e.text + sizeof(e.text) - 4, "...");
	longer[sizeof(e.text) - 1] = '\0'; /* just fits */
	(void)err_set(&e, EINVAL, "%s", longer);
	assert_string_equal(e.text, longer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_formats_and_returns_the_negative_number),
		cmocka_unit_test(errno_text_is_appended),
		cmocka_unit_test(zero_never_becomes_success),
		cmocka_unit_test(wrap_puts_context_before_and_keeps_the_code),
		cmocka_unit_test(long_texts_are_cut_with_dots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
