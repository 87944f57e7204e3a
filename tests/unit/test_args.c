// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/args.h"

#define MAX_WORDS 8

struct result {
	struct args args;
	enum exit_code code;
	struct err e;
	int r;
};

/* A NULL-terminated list of words behind the program's name. */
static struct result parse(const char *const *words)
{
	static char copies[MAX_WORDS][256];
	char *argv[MAX_WORDS + 2] = { (char[]){ "snapsafe-vmm" } };
	struct result res = { 0 };
	int argc = 1;

	for (; words[argc - 1]; argc++) {
		strncpy(copies[argc - 1], words[argc - 1], sizeof(copies[0]) - 1);
		argv[argc] = copies[argc - 1];
	}
	res.r = args_parse(argc, argv, &res.args, &res.code, &res.e);
	return res;
}

#define PARSE(...) parse((const char *const[]){ __VA_ARGS__, NULL })

static void nothing_given_means_firecrackers_defaults(void **state)
{
	struct result res = parse((const char *const[]){ NULL });

	(void)state;
	assert_int_equal(res.r, 0);
	assert_string_equal(res.args.api_sock, "/run/firecracker.socket");
	assert_string_equal(res.args.id, "anonymous-instance");
	assert_int_equal(res.args.http_api_max_payload_size, 51200);
	assert_int_equal(res.args.level, LOG_LEVEL_INFO);
	assert_false(res.args.no_api);
	assert_false(res.args.no_seccomp);
}

static void a_value_follows_as_a_word_or_behind_an_equals_sign(void **state)
{
	struct result res = PARSE("--api-sock", "/tmp/a", "--id=x-1", "--level", "Warning");

	(void)state;
	assert_int_equal(res.r, 0);
	assert_string_equal(res.args.api_sock, "/tmp/a");
	assert_string_equal(res.args.id, "x-1");
	assert_int_equal(res.args.level, LOG_LEVEL_WARN);
}

static void what_a_jailer_says_of_the_start_is_taken(void **state)
{
	struct result res =
		PARSE("--start-time-us", "18446744073709551615", "--start-time-cpu-us=7", "--parent-cpu-time-us", "0");

	(void)state;
	assert_int_equal(res.r, 0);
	assert_true(res.args.has_start_time);
	assert_int_equal(res.args.start_time_us, UINT64_MAX);
	assert_int_equal(res.args.start_time_cpu_us, 7);
	assert_int_equal(res.args.parent_cpu_time_us, 0);
	assert_false(PARSE("--show-level").args.has_start_time);
}

static void the_metadatas_limit_is_the_bodys_if_it_is_not_given(void **state)
{
	(void)state;
	assert_int_equal(PARSE("--http-api-max-payload-size", "1000").args.mmds_size_limit, 1000);
	assert_int_equal(PARSE("--mmds-size-limit", "5", "--http-api-max-payload-size", "1000").args.mmds_size_limit,
			 5);
	assert_string_equal(PARSE("--metadata", "file").args.metadata, "file");
	assert_true(PARSE("--enable-pci", "--module", "api_server").args.enable_pci);
	assert_string_equal(PARSE("--module", "api_server").args.module, "api_server");
}

static void no_seccomp_is_taken(void **state)
{
	(void)state;
	assert_true(PARSE("--no-seccomp").args.no_seccomp);
	assert_string_equal(PARSE("--seccomp-filter", "f").args.seccomp_filter, "f");
	assert_true(PARSE("--print-seccomp-filter").args.print_seccomp_filter);
}

static void words_after_two_dashes_are_ignored(void **state)
{
	struct result res = PARSE("--show-level", "--", "--nonsense", "more");

	(void)state;
	assert_int_equal(res.r, 0);
	assert_true(res.args.show_level);
}

static void help_and_version_win_over_mistakes(void **state)
{
	(void)state;
	assert_true(PARSE("--nonsense", "--help").args.help);
	assert_int_equal(PARSE("--nonsense", "--help").r, 0);
	assert_true(PARSE("-h").args.help);
	assert_true(PARSE("--id", "not valid!", "--version").args.version);
}

static void mistakes_are_named_and_give_firecrackers_status(void **state)
{
	static const struct {
		const char *words[4];
		const char *text;
		enum exit_code code;
	} cases[] = {
		{ { "--nonsense" }, "Found argument '--nonsense' which wasn't expected", EXIT_CODE_BAD_ARGS },
		{ { "--api" }, "Found argument '--api'", EXIT_CODE_BAD_ARGS },
		{ { "word" }, "Found argument 'word'", EXIT_CODE_BAD_ARGS },
		{ { "-x" }, "Found argument '-x'", EXIT_CODE_BAD_ARGS },
		{ { "--id" }, "The argument 'id' requires a value, but none was supplied.", EXIT_CODE_BAD_ARGS },
		{ { "--id", "--no-api" }, "The argument 'id' requires a value", EXIT_CODE_BAD_ARGS },
		{ { "--id", "a", "--id=b" }, "The argument 'id' was provided more than once.", EXIT_CODE_BAD_ARGS },
		{ { "--no-api=yes" }, "The argument 'no-api' takes no value.", EXIT_CODE_BAD_ARGS },
		{ { "--no-api" }, "Argument 'config-file' required, but not found.", EXIT_CODE_BAD_ARGS },
		{ { "--http-api-max-payload-size", "-1" }, "'-1', allowed are 1 to", EXIT_CODE_BAD_ARGS },
		{ { "--http-api-max-payload-size=9k" }, "'9k', allowed are 1 to", EXIT_CODE_BAD_ARGS },
		{ { "--start-time-us", "" },
		  "'start-time-us' is '', allowed are 0 to 18446744073709551615.",
		  EXIT_CODE_BAD_ARGS },
		{ { "--start-time-cpu-us", "18446744073709551616" }, "'start-time-cpu-us' is", EXIT_CODE_BAD_ARGS },
		{ { "--parent-cpu-time-us", " 1" }, "'parent-cpu-time-us' is ' 1'", EXIT_CODE_BAD_ARGS },
		{ { "--mmds-size-limit", "0" }, "'mmds-size-limit' is '0', allowed are 1 to", EXIT_CODE_BAD_ARGS },
		{ { "--metadata" }, "'metadata' requires a value", EXIT_CODE_BAD_ARGS },
		{ { "--enable-pci=yes" }, "'enable-pci' takes no value", EXIT_CODE_BAD_ARGS },
		{ { "--module", "" }, "module is \"\", allowed are 1 to 64 characters", EXIT_CODE_BAD_CONFIG },
		{ { "--seccomp-filter" }, "'seccomp-filter' requires a value", EXIT_CODE_BAD_ARGS },
		{ { "--seccomp-filter", "f", "--no-seccomp" },
		  "Argument 'no-seccomp' cannot be used together with argument 'seccomp-filter'.",
		  EXIT_CODE_BAD_ARGS },
		{ { "--level", "loud" }, "level is \"loud\", allowed are off,", EXIT_CODE_BAD_CONFIG },
		{ { "--id", "a_b" }, "id", EXIT_CODE_BAD_CONFIG },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct result res = parse(cases[i].words);

		assert_true(res.r < 0);
		assert_non_null(strstr(res.e.text, cases[i].text));
		assert_int_equal(res.code, cases[i].code);
	}
}

static void the_help_text_names_every_option(void **state)
{
	char *text;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	args_print_help(f);
	fclose(f);
	assert_non_null(strstr(text, "--api-sock PATH"));
	assert_non_null(strstr(text, "--describe-snapshot PATH"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_given_means_firecrackers_defaults),
		cmocka_unit_test(a_value_follows_as_a_word_or_behind_an_equals_sign),
		cmocka_unit_test(what_a_jailer_says_of_the_start_is_taken),
		cmocka_unit_test(the_metadatas_limit_is_the_bodys_if_it_is_not_given),
		cmocka_unit_test(no_seccomp_is_taken),
		cmocka_unit_test(words_after_two_dashes_are_ignored),
		cmocka_unit_test(help_and_version_win_over_mistakes),
		cmocka_unit_test(mistakes_are_named_and_give_firecrackers_status),
		cmocka_unit_test(the_help_text_names_every_option),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
