// SPDX-License-Identifier: Apache-2.0
/*
 * Each row of the table of system calls in snapsafe.h, under a filter that
 * allows what the row says and kills for anything else. The library is the real
 * one, as programs load it.
 *
 * Usage: test_lib_filter SNAPSAFE_H LIBSNAPSAFE_MAP
 */
#include "fake_counter.h"

#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "snapsafe_inline.h"

#define TEXT_MAX 512

static const char *header_path, *map_path;
static char counter_path[64];

static void call_version(struct snapsafe *s)
{
	(void)s;
	(void)snapsafe_version();
}

static void call_generation(struct snapsafe *s)
{
	(void)snapsafe_generation(s);
}

static void call_identity(struct snapsafe *s)
{
	unsigned char id[SNAPSAFE_IDENTITY_LEN];

	(void)!snapsafe_identity(s, id);
}

static void call_get_info(struct snapsafe *s)
{
	struct snapsafe_info info = { .size = sizeof(info) };

	(void)snapsafe_get_info(s, &info);
}

static void call_token(struct snapsafe *s)
{
	(void)snapsafe_token(s);
}

static struct snapsafe_token token;

static void call_holds(struct snapsafe *s)
{
	(void)!snapsafe_holds(s, &token);
}

static void call_check(struct snapsafe *s)
{
	(void)!snapsafe_check(s, &token);
}

static void call_words(struct snapsafe *s)
{
	struct snapsafe_words words = { .size = sizeof(words) };

	(void)!snapsafe_words(s, &words);
}

/* More than one seed, small and large. */
static void call_random(struct snapsafe *s)
{
	unsigned char buf[4096];

	for (int i = 0; i < 10000; i++)
		if (snapsafe_random(s, buf, i % 100 ? 16 : sizeof(buf)))
			_exit(9);
}

static void ignore(void *data, uint64_t generation)
{
	(void)data;
	(void)generation;
}

static void call_on_change(struct snapsafe *s)
{
	(void)!snapsafe_on_change(s, ignore, NULL);
}

static void call_off_change(struct snapsafe *s)
{
	(void)snapsafe_off_change(s, ignore, NULL);
}

static void call_fd(struct snapsafe *s)
{
	(void)!snapsafe_fd(s);
}

static void call_dispatch(struct snapsafe *s)
{
	(void)snapsafe_dispatch(s);
}

static void call_wait(struct snapsafe *s)
{
	uint64_t generation = snapsafe_generation(s);

	(void)!snapsafe_wait(s, &generation, 250);
}

static void call_init(struct snapsafe *s)
{
	(void)s;
	(void)snapsafe_init();
}

static void call_open(struct snapsafe *s)
{
	struct snapsafe *more;

	(void)s;
	if (snapsafe_open(&more, counter_path) == 0 && snapsafe_open(&more, NULL) == 0)
		return;
}

static void call_close(struct snapsafe *s)
{
	snapsafe_close(s);
}

/* Each exported function. */
static const struct row {
	const char *function;
	void (*call)(struct snapsafe *s);
} rows[] = {
	{ "snapsafe_version", call_version },
	{ "snapsafe_generation", call_generation },
	{ "snapsafe_identity", call_identity },
	{ "snapsafe_get_info", call_get_info },
	{ "snapsafe_token", call_token },
	{ "snapsafe_holds", call_holds },
	{ "snapsafe_check", call_check },
	{ "snapsafe_words", call_words },
	{ "snapsafe_random", call_random },
	{ "snapsafe_on_change", call_on_change },
	{ "snapsafe_off_change", call_off_change },
	{ "snapsafe_fd", call_fd },
	{ "snapsafe_dispatch", call_dispatch },
	{ "snapsafe_wait", call_wait },
	{ "snapsafe_init", call_init },
	{ "snapsafe_open", call_open },
	{ "snapsafe_close", call_close },
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

/* The text of a row, its continuation lines with it. */
static void read_row(const char *function, char text[TEXT_MAX])
{
	FILE *header = fopen(header_path, "r");
	char line[256], start[64];
	bool inside = false;

	assert_non_null(header);
	snprintf(start, sizeof(start), " *\t%s\t", function);
	text[0] = 0;
	while (fgets(line, sizeof(line), header)) {
		if (strncmp(line, start, strlen(start)) == 0)
			inside = true;
		else if (strncmp(line, " *\t\t", 4) != 0)
			inside = false;
		if (inside)
			strncat(text, line + 2 + (strstr(line, function) ? strlen(function) + 1 : 0),
				TEXT_MAX - strlen(text) - 1);
	}
	fclose(header);
	if (!text[0])
		fail_msg("%s has no row in the table of snapsafe.h", function);
}

static void allow_text(scmp_filter_ctx filter, char *text)
{
	static const char *const prose[] = { "none", "and", "those", "of", "(snapsafe_inline.h)" };
	char *rest = NULL, more[TEXT_MAX];

	for (char *word = strtok_r(text, " \t\n,", &rest); word; word = strtok_r(NULL, " \t\n,", &rest)) {
		bool is_prose = false;
		int nr;

		for (size_t i = 0; i < sizeof(prose) / sizeof(prose[0]); i++)
			is_prose |= strcmp(word, prose[i]) == 0;
		if (is_prose)
			continue;
		if (strncmp(word, "snapsafe_", 9) == 0) {
			read_row(word, more);
			allow_text(filter, more);
			continue;
		}
		nr = seccomp_syscall_resolve_name(word);
		if (nr == __NR_SCMP_ERROR)
			fail_msg("\"%s\" in the table is no system call", word);
		(void)seccomp_rule_add(filter, SCMP_ACT_ALLOW, nr, 0); /* -EEXIST: it is there twice */
	}
}

static scmp_filter_ctx make_filter(const char *function, struct snapsafe *s, bool read)
{
	struct snapsafe_info info = { .size = sizeof(info) };
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	char text[TEXT_MAX];

	assert_non_null(filter);
	read_row(function, text);
	allow_text(filter, text);
	strcpy(text, "exit_group");
	if (read)
		strcat(text, " fstat newfstatat pread64");
	assert_int_equal(snapsafe_get_info(s, &info), 0);
	if (info.features & SNAPSAFE_F_VDSO)
		strcat(text, " mmap munmap rt_sigprocmask sched_getaffinity futex");
	allow_text(filter, text);
	return filter;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

/* Those without a system call, or nearly so, again after a second that takes none: nobody may look for a device then. */
static int status_under_filter(const struct row *row, struct snapsafe *s, scmp_filter_ctx filter)
{
	bool again = !s && (row->call == call_random || row->call == call_generation || row->call == call_holds);
	int64_t start = now_ms();
	int status;
	pid_t pid;

	pid = fork();
	if (pid == 0) {
		if (seccomp_load(filter))
			_exit(8);
		row->call(s);
		while (again && now_ms() - start < 1050)
			;
		if (again)
			row->call(s);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void run_rows(struct snapsafe *s, bool read, const char *what)
{
	for (size_t i = 0; i < ROWS; i++) {
		scmp_filter_ctx filter = make_filter(rows[i].function, s, read);
		int status;

		token = snapsafe_token(s);
		status = status_under_filter(&rows[i], s, filter);
		seccomp_release(filter);
		if (status)
			fail_msg("%s, %s: status %#x", rows[i].function, what, (unsigned int)status);
	}
}

static void rows_hold_without_a_counter(void **state)
{
	(void)state;
	setenv("SNAPSAFE_DEVICE", "none", 1);
	run_rows(NULL, false, "without a counter");
}

static void rows_hold_for_a_handle(void **state)
{
	struct snapsafe *s;

	(void)state;
	assert_int_equal(snapsafe_open(&s, counter_path), 0);
	assert_true(snapsafe_fd(s) >= 0);
	run_rows(s, false, "mapped");
	snapsafe_close(s);
}

static void rows_hold_for_a_counter_that_is_read(void **state)
{
	struct snapsafe *s;

	(void)state;
	assert_int_equal(snapsafe_open(&s, "/proc/swaps"), 0);
	run_rows(s, true, "read");
	snapsafe_close(s);
}

/* The last: the default handle stays. */
static void rows_hold_for_the_default_handle(void **state)
{
	(void)state;
	setenv("SNAPSAFE_DEVICE", counter_path, 1);
	assert_int_equal(snapsafe_init(), 0);
	run_rows(NULL, false, "default");
}

static void call_getppid(struct snapsafe *s)
{
	(void)s;
	(void)getppid();
}

static void the_filter_kills(void **state)
{
	static const struct row bad = { "snapsafe_version", call_getppid };
	scmp_filter_ctx filter = make_filter(bad.function, NULL, false);
	int status = status_under_filter(&bad, NULL, filter);

	(void)state;
	seccomp_release(filter);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

static void every_function_has_a_row(void **state)
{
	FILE *map = fopen(map_path, "r");
	char line[128];
	size_t functions = 0;

	(void)state;
	assert_non_null(map);
	while (fgets(line, sizeof(line), map)) {
		bool known = false;

		if (strncmp(line, "\tsnapsafe_", 10) != 0)
			continue;
		line[strcspn(line, ";")] = 0;
		functions++;
		for (size_t i = 0; i < ROWS; i++)
			known |= strcmp(line + 1, rows[i].function) == 0;
		if (!known)
			fail_msg("%s is exported and has no row here", line + 1);
	}
	fclose(map);
	assert_int_equal(functions, ROWS);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_function_has_a_row),
		cmocka_unit_test(the_filter_kills),
		cmocka_unit_test(rows_hold_without_a_counter),
		cmocka_unit_test(rows_hold_for_a_handle),
		cmocka_unit_test(rows_hold_for_a_counter_that_is_read),
		cmocka_unit_test(rows_hold_for_the_default_handle),
	};

	if (argc != 3)
		return EXIT_FAILURE;
	header_path = argv[1];
	map_path = argv[2];
	fake_counter_make(counter_path, sizeof(counter_path));
	return cmocka_run_group_tests_name("filter", tests, NULL, NULL);
}
