// SPDX-License-Identifier: Apache-2.0
/* The jailer's command line: what Firecracker's clients give is taken, what would lead out of a jail's place is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "jailer/options.h"

#define MAX_WORDS 200

struct result {
	struct jailer_options options;
	struct err e;
	int r;
};

/* words: NULL-terminated, behind the program's name and what is required. */
static struct result parse_with(const char *const *first, const char *const *words)
{
	static char *argv[MAX_WORDS];
	static struct result res;
	int argc = 0;

	argv[argc++] = (char[]){ "snapsafe-jailer" };
	for (; *first; first++)
		argv[argc++] = (char *)(uintptr_t)*first;
	for (; *words; words++)
		argv[argc++] = (char *)(uintptr_t)*words;
	argv[argc] = NULL;
	memset(&res, 0, sizeof(res));
	res.r = jailer_options_parse(argc, argv, &res.options, &res.e);
	return res;
}

#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define REQUIRED   WORDS("--id", "vm-1", "--exec-file", "/bin/vmm", "--uid", "100", "--gid", "200")
#define PARSE(...) parse_with(REQUIRED, WORDS(__VA_ARGS__))

static void what_is_not_given_is_as_firecrackers_jailer_has_it(void **state)
{
	struct result res = parse_with(REQUIRED, (const char *const[]){ NULL });

	(void)state;
	assert_int_equal(res.r, 0);
	assert_string_equal(res.options.id, "vm-1");
	assert_string_equal(res.options.exec_file, "/bin/vmm");
	assert_int_equal(res.options.uid, 100);
	assert_int_equal(res.options.gid, 200);
	assert_string_equal(res.options.chroot_base, "/srv/jailer");
	assert_null(res.options.netns);
	assert_null(res.options.parent_cgroup);
	assert_int_equal(res.options.cgroup_version, 1);
	assert_int_equal(res.options.num_cgroups, 0);
	assert_int_equal(res.options.max_open_files, 2048);
	assert_false(res.options.limits_file_size);
	assert_false(res.options.daemonize);
	assert_false(res.options.new_pid_ns);
	assert_null(res.options.args[0]);
}

/* The line of firecracker-go-sdk's JailerCommandBuilder. */
static void a_whole_line_is_taken(void **state)
{
	struct result res = PARSE("--cgroup", "cpuset.mems=0", "--cgroup", "cpuset.cpus=0-1", "--cgroup-version", "2",
				  "--chroot-base-dir", "/jails", "--netns", "/var/run/netns/x", "--daemonize",
				  "--new-pid-ns", "--parent-cgroup=a/b", "--resource-limit", "fsize=4096",
				  "--resource-limit=no-file=99", "--", "--no-seccomp", "--", "--api-sock");

	(void)state;
	assert_int_equal(res.r, 0);
	assert_int_equal(res.options.num_cgroups, 2);
	assert_int_equal(res.options.cgroups[1].file_len, strlen("cpuset.cpus"));
	assert_memory_equal(res.options.cgroups[1].file, "cpuset.cpus=", 12);
	assert_string_equal(res.options.cgroups[1].value, "0-1");
	assert_int_equal(res.options.cgroup_version, 2);
	assert_string_equal(res.options.chroot_base, "/jails");
	assert_string_equal(res.options.netns, "/var/run/netns/x");
	assert_true(res.options.daemonize && res.options.new_pid_ns);
	assert_string_equal(res.options.parent_cgroup, "a/b");
	assert_true(res.options.limits_file_size);
	assert_int_equal(res.options.max_file_size, 4096);
	assert_int_equal(res.options.max_open_files, 99);
	assert_string_equal(res.options.args[0], "--no-seccomp");
	assert_string_equal(res.options.args[1], "--");
	assert_string_equal(res.options.args[2], "--api-sock");
	assert_null(res.options.args[3]);
}

static void a_mistake_is_told_in_a_sentence(void **state)
{
	static const struct {
		const char *words[3];
		const char *text;
	} rows[] = {
		{ { "--id=x" }, "The argument 'id' was provided more than once." },
		{ { "--nonsense" }, "Found argument '--nonsense' which wasn't expected" },
		{ { "--netns" }, "The argument 'netns' requires a value" },
		{ { "--daemonize=yes" }, "The argument 'daemonize' takes no value." },
		{ { "--daemonize", "--daemonize" }, "more than once" },
		{ { "--cgroup-version", "3" }, "'cgroup-version' is '3', allowed are 1 to 2" },
		{ { "--cgroup", "cpu.shares" }, "cgroup is \"cpu.shares\", expected FILE=VALUE" },
		{ { "--cgroup", "cpu.shares=" }, "expected FILE=VALUE" },
		{ { "--cgroup", "cpu.shares=1=2" }, "expected FILE=VALUE" },
		{ { "--cgroup", "shares=1.5" }, "expected the name of a file with its controller" },
		{ { "--cgroup", ".shares=1" }, "expected the name of a file with its controller" },
		{ { "--cgroup", "cpu.x/../../tasks=1" }, "expected the name of a file with its controller" },
		{ { "--cgroup", "../cpu.shares=1" }, "expected the name of a file with its controller" },
		{ { "--parent-cgroup", "/a" }, "parent-cgroup is \"/a\"" },
		{ { "--parent-cgroup", "a/../b" }, "parent-cgroup is \"a/../b\"" },
		{ { "--parent-cgroup", "." }, "parent-cgroup is \".\"" },
		{ { "--parent-cgroup", "a//b" }, "parent-cgroup is \"a//b\"" },
		{ { "--parent-cgroup", "a/" }, "parent-cgroup is \"a/\"" },
		{ { "--parent-cgroup=" }, "parent-cgroup is \"\"" },
		{ { "--resource-limit", "stack=1" }, "resource-limit is \"stack=1\"" },
		{ { "--resource-limit", "fsize=" }, "'resource-limit fsize' is ''" },
		{ { "--resource-limit", "no-file=-1" }, "'resource-limit no-file' is '-1'" },
		{ { "--resource-limit", "fsize=18446744073709551616" }, "'resource-limit fsize' is" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct result res = parse_with(REQUIRED, rows[i].words);

		assert_int_not_equal(res.r, 0);
		if (!strstr(res.e.text, rows[i].text))
			fail_msg("%s: %s", rows[i].words[0], res.e.text);
	}
}

static void an_id_cannot_lead_elsewhere(void **state)
{
	static const char long_id[] = "0123456789012345678901234567890123456789012345678901234567890123";
	const char *const bad[] = { "", ".", "..", "../x", "a/b", "a_b", "a b", "\xc3\xa9", "a\n" };
	char longer[sizeof(long_id) + 1];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct result res = parse_with(WORDS("--exec-file=x", "--uid=1", "--gid=1", "--id", bad[i]),
					       (const char *const[]){ NULL });

		assert_int_not_equal(res.r, 0);
		assert_non_null(strstr(res.e.text, "instance id"));
	}
	assert_int_equal(
		parse_with(WORDS("--exec-file=x", "--uid=1", "--gid=1", "--id", long_id), WORDS("--daemonize")).r, 0);
	snprintf(longer, sizeof(longer), "%sx", long_id);
	assert_int_not_equal(
		parse_with(WORDS("--exec-file=x", "--uid=1", "--gid=1", "--id", longer), WORDS("--daemonize")).r, 0);
}

static void what_is_required_is_asked_for_by_name(void **state)
{
	static const char *const names[] = { "id", "exec-file", "uid", "gid" };
	static const char *const words[] = { "--id=a", "--exec-file=x", "--uid=1", "--gid=1" };

	(void)state;
	for (size_t missing = 0; missing < ARRAY_SIZE(names); missing++) {
		const char *given[ARRAY_SIZE(words)] = { 0 };
		char text[64];
		size_t n = 0;

		for (size_t i = 0; i < ARRAY_SIZE(words); i++)
			if (i != missing)
				given[n++] = words[i];
		snprintf(text, sizeof(text), "Argument '%s' required, but not found.", names[missing]);
		assert_string_equal(parse_with(given, (const char *const[]){ NULL }).e.text, text);
	}
}

/* (uid_t)-1 stands for "no change" in setresuid(2): the monitor would stay root. */
static void a_user_that_means_no_change_is_refused(void **state)
{
	const char *const bad[] = { "4294967295", "-1", "root", "", "+1", "0x1" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_not_equal(
			parse_with(WORDS("--id=a", "--exec-file=x", "--gid=1", "--uid", bad[i]), WORDS("--daemonize"))
				.r,
			0);
		assert_int_not_equal(
			parse_with(WORDS("--id=a", "--exec-file=x", "--uid=1", "--gid", bad[i]), WORDS("--daemonize"))
				.r,
			0);
	}
	assert_int_equal(
		parse_with(WORDS("--id=a", "--exec-file=x", "--gid=0", "--uid=4294967294"), WORDS("--daemonize")).r, 0);
}

static void cgroups_have_a_limit(void **state)
{
	const char *words[JAILER_MAX_CGROUPS + 2] = { 0 };

	(void)state;
	for (int i = 0; i < JAILER_MAX_CGROUPS; i++)
		words[i] = "--cgroup=cpu.shares=1";
	assert_int_equal(parse_with(REQUIRED, words).r, 0);
	words[JAILER_MAX_CGROUPS] = "--cgroup=cpu.shares=1";
	assert_string_equal(parse_with(REQUIRED, words).e.text, "cgroup is given more than 64 times");
}

static void help_and_version_win(void **state)
{
	(void)state;
	assert_true(parse_with(WORDS("--nonsense", "-h"), WORDS("--x")).options.help);
	assert_true(parse_with(WORDS("--version"), (const char *const[]){ NULL }).options.version);
	assert_false(PARSE("--", "--help").options.help);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_given_is_as_firecrackers_jailer_has_it),
		cmocka_unit_test(a_whole_line_is_taken),
		cmocka_unit_test(a_mistake_is_told_in_a_sentence),
		cmocka_unit_test(an_id_cannot_lead_elsewhere),
		cmocka_unit_test(what_is_required_is_asked_for_by_name),
		cmocka_unit_test(a_user_that_means_no_change_is_refused),
		cmocka_unit_test(cgroups_have_a_limit),
		cmocka_unit_test(help_and_version_win),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
