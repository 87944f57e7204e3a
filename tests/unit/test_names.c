// SPDX-License-Identifier: Apache-2.0
/* Lists of names in sentences: base/names.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/names.h"

static void names_stand_behind_each_other(void **state)
{
	struct names n = { .len = 0 };

	(void)state;
	assert_string_equal(n.text, "");
	names_add(&n, "%s", "one");
	assert_string_equal(n.text, "one");
	names_add(&n, "\"%s\"", "two");
	names_add(&n, "%d", 3);
	assert_string_equal(n.text, "one, \"two\", 3");
	assert_int_equal(n.len, 13);
	assert_int_equal(n.left_off, 0);
}

static void what_does_not_fit_is_counted_and_nothing_is_cut(void **state)
{
	struct names n = { .len = 0 };
	size_t len;

	(void)state;
	while (!n.left_off)
		names_add(&n, "ninebytes");
	len = n.len;
	assert_int_equal((len + 2) % 11, 0);
	assert_true(len < sizeof(n.text) && len + 11 >= sizeof(n.text));
	names_add(&n, "another one");
	assert_int_equal(n.left_off, 2);
	assert_int_equal(n.len, len);
	assert_int_equal(n.text[len], '\0');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_stand_behind_each_other),
		cmocka_unit_test(what_does_not_fit_is_counted_and_nothing_is_cut),
	};

	return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
