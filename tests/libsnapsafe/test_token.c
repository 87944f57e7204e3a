// SPDX-License-Identifier: Apache-2.0
/* The third answer, and the words for those who look without a call. */
#include "fake.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "snapsafe_inline.h"

static struct fake_page fake;
static struct snapsafe *s;
static struct snapsafe_words words;

static int start(void **state)
{
	(void)state;
	fake_page_init(&fake);
	words.size = sizeof(words);
	return snapsafe_open(&s, fake.path) || snapsafe_words(s, &words);
}

static int stop(void **state)
{
	(void)state;
	snapsafe_close(s);
	fake_page_fini(&fake);
	return 0;
}

static void a_leak_is_noticed_by_all(void **state)
{
	struct snapsafe_token token = snapsafe_token(s);

	(void)state;
	assert_int_equal(snapsafe_holds(s, &token), 1);
	assert_int_equal(snapsafe_check(s, &token), 1);
	assert_int_equal(snapsafe_check_inline(&words, &token), 1);
	fake_page_leak(&fake, 1, true);
	assert_int_equal(snapsafe_holds(s, &token), 0);
	assert_int_equal(snapsafe_check(s, &token), 0);
	assert_int_equal(snapsafe_check_inline(&words, &token), 0);
}

static void a_fork_is_noticed_by_all(void **state)
{
	struct snapsafe_token token = snapsafe_token(s);
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		/* inline first: before the child has a number, and after */
		bool noticed = !snapsafe_check_inline(&words, &token) && !snapsafe_check(s, &token) &&
			       !snapsafe_holds(s, &token) && !snapsafe_check_inline(&words, &token);

		token = snapsafe_token(s);
		_exit(noticed && snapsafe_check_inline(&words, &token) ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(snapsafe_check_inline(&words, &token), 1);
}

static void a_counter_that_nobody_watches_is_no_promise(void **state)
{
	struct snapsafe_token token = snapsafe_token(s);

	(void)state;
	__atomic_store_n(&fake.page->unwatched, 1, __ATOMIC_RELEASE);
	assert_int_equal(snapsafe_check(s, &token), 0);
	assert_int_equal(snapsafe_check_inline(&words, &token), 0);
	token = snapsafe_token(s);
	assert_int_equal(snapsafe_holds(s, &token), 1);
	assert_int_equal(snapsafe_check(s, &token), -ENODEV);
	assert_int_equal(snapsafe_check_inline(&words, &token), 0);
	/* watched again: what was between then and now is not known */
	__atomic_store_n(&fake.page->unwatched, 0, __ATOMIC_RELEASE);
	assert_int_equal(snapsafe_check(s, &token), 0);
	assert_int_equal(snapsafe_check_inline(&words, &token), 0);
}

static void another_handle_is_another_token(void **state)
{
	struct snapsafe_token token;
	struct snapsafe *same;

	(void)state;
	assert_int_equal(snapsafe_open(&same, fake.path), 0);
	token = snapsafe_token(same);
	assert_int_equal(snapsafe_check(same, &token), 1);
	assert_int_equal(snapsafe_check_inline(&words, &token), 0);
	snapsafe_close(same);
}

static void without_a_counter_there_is_a_third_answer(void **state)
{
	struct snapsafe_words none = { .size = sizeof(none) };
	struct snapsafe_token token = snapsafe_token(NULL);
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(snapsafe_holds(NULL, &token), 1);
	assert_int_equal(snapsafe_check(NULL, &token), -ENODEV);
	assert_int_equal(snapsafe_words(NULL, &none), -ENODEV);
	assert_null(none.generation);
	pid = fork();
	if (pid == 0)
		_exit(snapsafe_check(NULL, &token) == 0 ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void words_of_a_counter_that_is_read_are_not_given(void **state)
{
	struct snapsafe_words none = { .size = sizeof(none) };
	struct snapsafe *plain;

	(void)state;
	assert_int_equal(snapsafe_open(&plain, "/proc/swaps"), 0);
	assert_int_equal(snapsafe_words(plain, &none), -ENOTSUP);
	none.size = 8;
	assert_int_equal(snapsafe_words(s, &none), -EINVAL);
	snapsafe_close(plain);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_leak_is_noticed_by_all, start, stop),
		cmocka_unit_test_setup_teardown(a_fork_is_noticed_by_all, start, stop),
		cmocka_unit_test_setup_teardown(a_counter_that_nobody_watches_is_no_promise, start, stop),
		cmocka_unit_test_setup_teardown(another_handle_is_another_token, start, stop),
		cmocka_unit_test_setup_teardown(without_a_counter_there_is_a_third_answer, start, stop),
		cmocka_unit_test_setup_teardown(words_of_a_counter_that_is_read_are_not_given, start, stop),
	};

	return cmocka_run_group_tests_name("token", tests, NULL, NULL);
}
