// SPDX-License-Identifier: Apache-2.0
/* base/log: the line format, and that no reader, client text or flood can hold up or mislead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <pthread.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/metrics.h"
#include "tmpdir.h"

#define STAMP "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{9} "

static struct tmpdir dir;
static char log_text[256 * 1024];

static int setup(void **state)
{
	(void)state;
	return tmpdir_make(&dir);
}

static int teardown(void **state)
{
	(void)state;
	tmpdir_remove(&dir);
	return 0;
}

static void start_log(const char *name)
{
	struct err e;

	assert_int_equal(log_set_path(tmpdir_file(&dir, name), &e), 0);
	log_set_id("vm-1");
	log_set_level(LOG_LEVEL_INFO);
	log_set_show(false, false);
}

static const char *read_log(const char *name)
{
	(void)log_drain(5000);
	assert_true(tmpdir_read(tmpdir_file(&dir, name), log_text, sizeof(log_text)) >= 0);
	return log_text;
}

static void assert_matches(const char *text, const char *pattern)
{
	regex_t re;

	assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	if (regexec(&re, text, 0, NULL, 0) != 0)
		fail_msg("\"%s\" does not match \"%s\"", text, pattern);
	regfree(&re);
}

static uint64_t counted(const _Atomic uint64_t *counter)
{
	return atomic_load(counter);
}

static void plain_line_has_stamp_id_and_thread(void **state)
{
	(void)state;
	start_log("plain");
	log_info("hello %d", 5);
	assert_matches(read_log("plain"), STAMP "\\[vm-1:main\\] hello 5\n$");
}

static void level_and_origin_are_shown_when_asked_for(void **state)
{
	(void)state;
	start_log("level");
	log_set_show(true, false);
	log_error("a");
	assert_matches(read_log("level"), STAMP "\\[vm-1:main:ERROR\\] a\n$");
	start_log("both");
	log_set_show(true, true);
	log_set_thread_name("fc_vcpu 0");
	log_warn("a");
	log_set_thread_name("main");
	assert_matches(read_log("both"), STAMP "\\[vm-1:fc_vcpu 0:WARN:[^:]*test_log\\.c:[0-9]+\\] a\n$");
	start_log("origin");
	log_set_show(false, true);
	log_warn("a");
	assert_matches(read_log("origin"), STAMP "\\[vm-1:main:[^:]*test_log\\.c:[0-9]+\\] a\n$");
}

static void lines_above_the_level_are_not_written(void **state)
{
	(void)state;
	start_log("filter");
	log_debug("no");
	log_set_level(LOG_LEVEL_ERROR);
	log_info("no");
	log_warn("no");
	log_set_level(LOG_LEVEL_OFF);
	log_error("no");
	assert_string_equal(read_log("filter"), "");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("yes");
	assert_non_null(strstr(read_log("filter"), "yes"));
}

static void level_names_are_read_in_any_case(void **state)
{
	enum log_level level;

	(void)state;
	assert_true(log_level_parse("Warning", &level) && level == LOG_LEVEL_WARN);
	assert_true(log_level_parse("WARN", &level) && level == LOG_LEVEL_WARN);
	assert_true(log_level_parse("off", &level) && level == LOG_LEVEL_OFF);
	assert_true(log_level_parse("eRRor", &level) && level == LOG_LEVEL_ERROR);
	assert_true(log_level_parse("info", &level) && level == LOG_LEVEL_INFO);
	assert_true(log_level_parse("Debug", &level) && level == LOG_LEVEL_DEBUG);
	assert_true(log_level_parse("Trace", &level) && level == LOG_LEVEL_TRACE);
	assert_false(log_level_parse("", &level));
	assert_false(log_level_parse("infos", &level));
}

static void a_text_cannot_forge_a_line_or_drive_a_terminal(void **state)
{
	const char *text;

	(void)state;
	start_log("escape");
	log_info("a\nb\r\tc\x1b[2J\x7f"
		 "d\xc2\x9b"
		 "e\xff gr\xc3\xbc\xc3\x9f \"q\" \\ \xe2\x82");
	text = read_log("escape");
	assert_matches(text, STAMP);
	assert_non_null(
		strstr(text, "] a\\nb\\r\\tc\\x1b[2J\\x7fd\\xc2\\x9be\\xff gr\xc3\xbc\xc3\x9f \"q\" \\ \\xe2\\x82\n"));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static void a_line_fits_into_an_atomic_pipe_write(void **state)
{
	static char longer[3 * PIPE_BUF];
	const char *text;

	(void)state;
	start_log("long");
	memset(longer, 'x', sizeof(longer) - 1);
	log_info("%s", longer);
	memset(longer, 1, sizeof(longer) - 1); /* four characters each */
	log_info("%s", longer);
	text = read_log("long");
	for (int i = 0; i < 2; i++) {
		const char *end = strchr(text, '\n');

		assert_non_null(end);
		assert_true(end + 1 - text <= PIPE_BUF);
		assert_memory_equal(end - 3, "...", 3);
		text = end + 1;
	}
	assert_string_equal(text, "");
}

static void a_site_prints_ten_lines_and_counts_the_rest(void **state)
{
	uint64_t before = counted(&logger_metrics.rate_limited_log_count);
	int lines = 0;

	(void)state;
	start_log("flood");
	for (int i = 0; i < 25; i++)
		log_info("line %d", i);
	log_info("another site");
	for (const char *s = read_log("flood"); (s = strchr(s, '\n')); s++)
		lines++;
	assert_int_equal(lines, 11);
	assert_int_equal(counted(&logger_metrics.rate_limited_log_count) - before, 15);
}

static void an_existing_file_is_continued(void **state)
{
	(void)state;
	assert_int_equal(tmpdir_write(tmpdir_file(&dir, "old"), "before\n", 7), 0);
	start_log("old");
	log_info("after");
	assert_matches(read_log("old"), "^before\n.*after\n$");
}

static void a_path_that_cannot_be_opened_changes_nothing(void **state)
{
	struct err e;

	(void)state;
	start_log("keeps");
	assert_int_equal(log_set_path(dir.path, &e), -EISDIR);
	assert_non_null(strstr(e.text, dir.path));
	assert_int_equal(log_set_path(tmpdir_file(&dir, "no/such"), &e), -ENOENT);
	log_info("still here");
	assert_non_null(strstr(read_log("keeps"), "still here"));
}

static void log_same_site(int i)
{
	static struct log_site site = { .file = "x", .line = 1 };

	site.in_window = 0; /* each line as if it came after a pause */
	log_write(&site, LOG_LEVEL_INFO, "line %d", i);
}

static void a_fifo_without_a_reader_never_blocks(void **state)
{
	uint64_t before = counted(&logger_metrics.missed_log_count);

	(void)state;
	assert_int_equal(mkfifo(tmpdir_file(&dir, "fifo"), 0600), 0);
	alarm(30); /* a write that waits is a failure, not a hang */
	start_log("fifo");
	for (int i = 0; i < 3000; i++)
		log_same_site(i);
	alarm(0);
	assert_true(counted(&logger_metrics.missed_log_count) > before);
	assert_false(log_drain(200));
	tmpdir_read(tmpdir_file(&dir, "fifo"), log_text, sizeof(log_text));
	assert_matches(log_text, "line 0\n.*line 1\n.*line 99\n");
}

#define THREADS		 4
#define LINES_PER_THREAD 100 /* all of them fit into the room that the log has while its thread gets no processor */

static void *log_many(void *arg)
{
	log_set_thread_name(arg);
	for (int i = 0; i < LINES_PER_THREAD; i++) {
		struct log_site site = { .file = "x", .line = 1 };

		log_write(&site, LOG_LEVEL_INFO, "0123456789012345678901234567890123456789-%d-end", i);
	}
	return NULL;
}

static void threads_write_whole_lines(void **state)
{
	static char names[THREADS][8];
	pthread_t threads[THREADS];
	int lines = 0;

	(void)state;
	start_log("threads");
	for (int i = 0; i < THREADS; i++) {
		snprintf(names[i], sizeof(names[i]), "t%d", i);
		assert_int_equal(pthread_create(&threads[i], NULL, log_many, names[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	read_log("threads");
	for (char *line = strtok(log_text, "\n"); line; line = strtok(NULL, "\n")) {
		assert_matches(line, STAMP "\\[vm-1:t[0-3]\\] 0123456789012345678901234567890123456789-[0-9]+-end$");
		lines++;
	}
	assert_int_equal(lines, THREADS * LINES_PER_THREAD);
}

static void only_the_module_that_was_asked_for_is_logged(void **state)
{
	static struct log_site sites[] = {
		{ .file = "../../host/virtio/blk.c" }, { .file = "host/virtio/blk_io.c" },
		{ .file = "../host/api/server.c" },    { .file = "host/main.c" },
		{ .file = "host/vmm/vmm.c" },
	};
	/* Which of the sites; the last row says everything again. */
	static const struct {
		const char *module, *logged;
	} rows[] = {
		{ "virtio", "01" }, { "virtio/blk", "0" },     { "virtio::blk", "0" }, { "virt", "" },
		{ "main", "3" },    { "firecracker", "3" },    { "api_server", "2" },  { "api_server::x", "2" },
		{ "vmm", "014" },   { "vmm::devices", "014" }, { "elsewhere", "" },    { "", "01234" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char logged[ARRAY_SIZE(sites) + 1] = "";
		char name[16];

		snprintf(name, sizeof(name), "module%zu", i);
		start_log(name);
		log_set_module(rows[i].module);
		for (size_t s = 0; s < ARRAY_SIZE(sites); s++) {
			sites[s].in_window = 0;
			log_write(&sites[s], LOG_LEVEL_INFO, "%zu", s);
		}
		read_log(name);
		for (char *line = strtok(log_text, "\n"); line; line = strtok(NULL, "\n"))
			strncat(logged, line + strlen(line) - 1, 1);
		assert_string_equal(logged, rows[i].logged);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_line_has_stamp_id_and_thread),
		cmocka_unit_test(level_and_origin_are_shown_when_asked_for),
		cmocka_unit_test(lines_above_the_level_are_not_written),
		cmocka_unit_test(level_names_are_read_in_any_case),
		cmocka_unit_test(a_text_cannot_forge_a_line_or_drive_a_terminal),
		cmocka_unit_test(a_line_fits_into_an_atomic_pipe_write),
		cmocka_unit_test(a_site_prints_ten_lines_and_counts_the_rest),
		cmocka_unit_test(an_existing_file_is_continued),
		cmocka_unit_test(a_path_that_cannot_be_opened_changes_nothing),
		cmocka_unit_test(a_fifo_without_a_reader_never_blocks),
		cmocka_unit_test(threads_write_whole_lines),
		cmocka_unit_test(only_the_module_that_was_asked_for_is_logged),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
