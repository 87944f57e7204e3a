// SPDX-License-Identifier: Apache-2.0
/*
 * host/sandbox/custom.h: what a file of custom filters may say, what it becomes, and that the kernel then enforces it. A case
 * that is tried on the kernel is a child process, as in test_sandbox.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "sandbox/asan.h"
#include "sandbox/crash.h"
#include "sandbox/custom.h"
#include "tmpdir.h"

#define CHILD_FAILED 77
#define TEXT_MAX     (512u * 1024)

#define ENDS		    "{\"syscall\":\"exit\"},{\"syscall\":\"exit_group\"}"
#define ALLOW_LIST(rules)   "{\"default_action\":\"trap\",\"filter_action\":\"allow\",\"filter\":[" rules "]}"
#define DENY_LIST(rules)    "{\"default_action\":\"allow\",\"filter_action\":\"trap\",\"filter\":[" rules "]}"
#define RULE(rule)	    DENY_LIST(rule)
#define ARG(arg)	    DENY_LIST("{\"syscall\":\"socket\",\"args\":[" arg "]}")
#define ARGS(op, type, val) ARG("{\"index\":0,\"op\":" op ",\"type\":\"" type "\",\"val\":" val "}")

static struct tmpdir dir;
static char text[TEXT_MAX];

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

/* A file whose filters all allow everything, but for one. */
static const char *file_with(enum sandbox_filter which, const char *filter)
{
	size_t len = (size_t)snprintf(text, sizeof(text), "{");

	for (unsigned int i = 0; i < SANDBOX_NUM_FILTERS; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s\"%s\":%s", i ? "," : "", sandbox_names[i],
					i == which ? filter : DENY_LIST(""));
	assert_true(len + 2 < sizeof(text));
	strcpy(text + len, "}");
	return text;
}

static void free_programs(struct sock_fprog *programs)
{
	for (unsigned int i = 0; i < SANDBOX_NUM_FILTERS; i++)
		free(programs[i].filter);
}

static void the_printed_filters_are_the_built_in_ones(void **state)
{
	struct sock_fprog programs[SANDBOX_NUM_FILTERS];
	struct err e;

	(void)state;
	if (sandbox_custom_compile(sandbox_builtin_json, strlen(sandbox_builtin_json), programs, &e) < 0)
		fail_msg("%s", e.text);
	for (unsigned int i = 0; i < SANDBOX_NUM_FILTERS; i++) {
		assert_int_equal(programs[i].len, sandbox_programs[i].num_insns);
		assert_memory_equal(programs[i].filter, sandbox_programs[i].insns,
				    programs[i].len * sizeof(struct sock_filter));
	}
	free_programs(programs);
}

static void mistakes_are_named(void **state)
{
	static const struct {
		const char *filter;
		const char *message;
	} cases[] = {
		{ "[]", "field \"vcpu\": an array of 0 is not allowed: expected an object" },
		{ "null", "field \"vcpu\": null is not allowed: expected an object" },
		{ "{}", "missing field \"vcpu.default_action\"" },
		{ "{\"default_action\":\"allow\",\"filter_action\":\"trap\"}", "missing field \"vcpu.filter\"" },
		{ "{\"default_action\":\"allow\",\"filter\":[]}", "missing field \"vcpu.filter_action\"" },
		{ "{\"default_action\":\"Allow\",\"filter_action\":\"trap\",\"filter\":[]}",
		  "field \"vcpu.default_action\": \"Allow\" is not allowed: expected \"allow\", \"log\", \"trap\"" },
		{ "{\"default_action\":{\"errno\":4096},\"filter_action\":\"trap\",\"filter\":[]}",
		  "field \"vcpu.default_action\": an object is not allowed: expected \"allow\", \"log\", \"trap\", "
		  "\"kill_thread\", \"kill_process\", {\"errno\": 0 to 4095} or {\"trace\": 0 to 65535}" },
		{ "{\"default_action\":{\"errno\":-1},\"filter_action\":\"trap\",\"filter\":[]}", "default_action" },
		{ "{\"default_action\":{\"errno\":1,\"trace\":1},\"filter_action\":\"trap\",\"filter\":[]}",
		  "default_action" },
		{ "{\"default_action\":\"trap\",\"filter_action\":7,\"filter\":[]}",
		  "field \"vcpu.filter_action\": 7 is not allowed" },
		{ "{\"default_action\":\"trap\",\"filter_action\":\"allow\",\"filter\":[],\"mode\":1}",
		  "unknown field \"mode\" in \"vcpu\": allowed are default_action, filter_action, filter, comment" },
		{ DENY_LIST("7"), "field \"vcpu.filter[0]\": 7 is not allowed: expected an object" },
		{ DENY_LIST("{}"), "missing field \"vcpu.filter[0].syscall\"" },
		{ DENY_LIST("{\"syscall\":\"opennat\"}"),
		  "field \"vcpu.filter[0].syscall\": \"opennat\" is not allowed: expected the name of a system call of "
		  "this architecture" },
		{ DENY_LIST("{\"syscall\":\"socketcall\"}"), "\"socketcall\" is not allowed" },
		{ DENY_LIST("{\"syscall\":41}"), "field \"vcpu.filter[0].syscall\": 41 is not allowed" },
		{ DENY_LIST("{\"syscall\":\"socket\",\"comment\":1}"), "field \"vcpu.filter[0].comment\": 1" },
		{ DENY_LIST("{\"syscall\":\"socket\",\"arg\":[]}"),
		  "unknown field \"arg\" in \"vcpu.filter[0]\": allowed are syscall, args, action, comment" },
		{ DENY_LIST("{\"syscall\":\"socket\",\"args\":{}}"), "expected an array of 0 to 6 objects" },
		{ DENY_LIST("{\"syscall\":\"socket\",\"action\":\"allow\"}"),
		  "filter \"vcpu\": filter[0]: its action is not allowed: expected another one than the "
		  "default_action" },
		{ DENY_LIST("{\"syscall\":\"socket\"},{\"syscall\":\"socket\",\"action\":\"log\"}"),
		  "filter \"vcpu\": filter[1]: its action is not allowed: expected that of filter[0], which has the "
		  "same system call" },
		{ ARG("{\"op\":\"eq\",\"type\":\"dword\",\"val\":1}"),
		  "missing field \"vcpu.filter[0].args[0].index\"" },
		{ ARG("{\"index\":6,\"op\":\"eq\",\"type\":\"dword\",\"val\":1}"),
		  "field \"vcpu.filter[0].args[0].index\": 6 is not allowed: expected an integer from 0 to 5" },
		{ ARG("{\"index\":0,\"op\":\"eq\",\"type\":\"dword\",\"val\":1,\"value\":1}"),
		  "unknown field \"value\" in \"vcpu.filter[0].args[0]\": allowed are index, type, op, val, comment" },
		{ ARGS("\"eq\"", "word", "1"), "expected \"dword\" or \"qword\"" },
		{ ARGS("\"==\"", "dword", "1"),
		  "field \"vcpu.filter[0].args[0].op\": \"==\" is not allowed: expected \"eq\", \"ne\"" },
		{ ARGS("{\"masked_eq\":0}", "dword", "1"), "a mask from 1 to 9223372036854775807" },
		{ ARGS("{\"masked_eq\":4294967296}", "dword", "1"),
		  "filter \"vcpu\": filter[0]: args[0]: field \"op\": {\"masked_eq\": 4294967296} is not allowed with "
		  "type "
		  "\"dword\": expected a mask from 1 to 4294967295" },
		{ ARGS("{\"masked_eq\":2}", "dword", "1"),
		  "field \"val\": 1 is not allowed: expected none but bits of the mask 2" },
		{ ARGS("\"eq\"", "dword", "4294967296"), "field \"val\": 4294967296 is not allowed with type "
							 "\"dword\": expected an integer from 0 to 4294967295" },
		{ ARGS("\"eq\"", "qword", "-1"), "\"vcpu.filter[0].args[0].val\": -1 is not allowed" },
		{ ARGS("\"eq\"", "qword", "18446744073709551615"), "numbers may be up to 9223372036854775807" },
		{ ARGS("\"eq\"", "dword", "\"AF_UNIX\""),
		  "\"vcpu.filter[0].args[0].val\": \"AF_UNIX\" is not allowed" },
		{ ARG("{\"index\":1,\"op\":\"ge\",\"type\":\"dword\",\"val\":1},"
		      "{\"index\":1,\"op\":\"le\",\"type\":\"dword\",\"val\":2}"),
		  "filter \"vcpu\": filter[0]: args[1]: field \"index\": 1 is not allowed a second time" },
		{ ALLOW_LIST("{\"syscall\":\"exit\"}"), "filter \"vcpu\": exit_group is not allowed by it" },
		{ ALLOW_LIST("{\"syscall\":\"exit_group\"}"), "filter \"vcpu\": exit is not allowed by it" },
		{ DENY_LIST("{\"syscall\":\"exit\"}"), "filter \"vcpu\": exit is not allowed by it" },
		{ ALLOW_LIST("{\"syscall\":\"exit_group\"},{\"syscall\":\"exit\",\"args\":[{\"index\":0,\"op\":\"eq\","
			     "\"type\":\"dword\",\"val\":0}]}"),
		  "filter \"vcpu\": exit is not allowed by it: each filter has to allow exit and exit_group" },
	};
	struct sock_fprog programs[SANDBOX_NUM_FILTERS];
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *file = file_with(SANDBOX_VCPU, cases[i].filter);

		if (sandbox_custom_compile(file, strlen(file), programs, &e) == 0)
			fail_msg("%s is taken", cases[i].filter);
		if (!strstr(e.text, cases[i].message))
			fail_msg("case %zu: \"%s\" lacks \"%s\"", i, e.text, cases[i].message);
	}
}

static void what_is_no_file_of_filters_is_refused(void **state)
{
	static const char compiled[] = "\3\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0api\1\0\0\0\0\0\0\0\6\0\0\0\0\0\377\177";
	static const struct {
		const char *data;
		size_t len;
		const char *message;
	} cases[] = {
		{ compiled, sizeof(compiled) - 1, "it is not text, as a filter that seccompiler-bin has compiled" },
		{ "", 0, "invalid JSON at line 1" },
		{ "[]", 2, "an array of 0 is not allowed here: expected a JSON object" },
		{ "{}", 2, "missing field \"setup\"" },
		{ "{\"vmm\":{},\"api\":{},\"vcpu\":{}}", 29, "the thread categories are Firecracker's" },
		{ "{\"setup\":{},\"setup\":{}}", 23, "duplicate object key" },
		{ "{\"pager\":{}}", 12,
		  "unknown field \"pager\": allowed are setup, loop, vcpu, io, files, sockets, stream, ahead" },
	};
	struct sock_fprog programs[SANDBOX_NUM_FILTERS];
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_true(sandbox_custom_compile(cases[i].data, cases[i].len, programs, &e) < 0);
		if (!strstr(e.text, cases[i].message))
			fail_msg("case %zu: \"%s\" lacks \"%s\"", i, e.text, cases[i].message);
	}
}

static void a_file_has_bounds(void **state)
{
	static char filter[TEXT_MAX / 2];
	struct sock_fprog programs[SANDBOX_NUM_FILTERS];
	const char *file;
	struct stat st;
	struct err e;
	size_t len;

	(void)state;
	for (unsigned int num = 1024; num <= 1025; num++) {
		len = (size_t)sprintf(filter, "{\"default_action\":\"allow\",\"filter_action\":\"trap\",\"filter\":[");
		for (unsigned int i = 0; i < num; i++)
			len += (size_t)sprintf(
				filter + len,
				"%s{\"syscall\":\"socket\",\"args\":[{\"index\":%u,\"type\":\"qword\",\"op\":"
				"{\"masked_eq\":%u},\"val\":%u},{\"index\":%u,\"type\":\"qword\",\"op\":\"gt\","
				"\"val\":%u}]}",
				i ? "," : "", i % 3, i | 1, i | 1, 3 + i % 3, i);
		strcpy(filter + len, "]}");
		file = file_with(SANDBOX_IO, filter);
		assert_true(sandbox_custom_compile(file, strlen(file), programs, &e) < 0);
		assert_non_null(strstr(e.text, num == 1024 ? "instructions when compiled, allowed are 4096"
							   : "expected an array of 0 to 1024 objects"));
	}
	assert_int_equal(tmpdir_write(tmpdir_file(&dir, "large"), "{}", 2), 0);
	assert_int_equal(truncate(tmpdir_file(&dir, "large"), (1 << 20) + 1), 0);
	assert_int_equal(stat(tmpdir_file(&dir, "large"), &st), 0);
	assert_true(sandbox_custom_load(tmpdir_file(&dir, "large"), &e) < 0);
	assert_non_null(strstr(e.text, "seccomp-filter: "));
	assert_int_equal(mkfifo(tmpdir_file(&dir, "fifo"), 0600), 0);
	assert_true(sandbox_custom_load(tmpdir_file(&dir, "fifo"), &e) < 0);
	assert_true(sandbox_custom_load(tmpdir_file(&dir, "absent"), &e) < 0);
	assert_non_null(strstr(e.text, "No such file or directory"));
}

struct call {
	const char *filter; /* of the calling thread */
	long number;
	long args[3];
	int status; /* exit status of a child that makes the call and then exits with errno */
};

/* 0 to 76: the call's errno. */
static int child_status(const struct call *c)
{
	const char *file = file_with(SANDBOX_SETUP, c->filter);
	int status;
	pid_t pid;

	assert_int_equal(tmpdir_write(tmpdir_file(&dir, "filters"), file, strlen(file)), 0);
	pid = fork();
	if (pid == 0) {
		struct err e;

		if (log_set_path(tmpdir_file(&dir, "log"), &e) < 0 || sandbox_init(true, &e) < 0 ||
		    sandbox_custom_load(tmpdir_file(&dir, "filters"), &e) < 0 || sandbox_enter(SANDBOX_SETUP, &e) < 0)
			_exit(CHILD_FAILED);
		errno = 0;
		syscall(c->number, c->args[0], c->args[1], c->args[2]);
		_exit(errno);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

#define SOCKET_IF(op, type, val) ARGS(op, type, val), SYS_socket

static void the_kernel_enforces_them(void **state)
{
	static const struct call calls[] = {
		{ DENY_LIST(""), SYS_socket, { 99 }, EAFNOSUPPORT },
		{ DENY_LIST("{\"syscall\":\"socket\"}"), SYS_socket, { 99 }, CRASH_EXIT_SIGSYS },
		{ DENY_LIST("{\"syscall\":\"socket\",\"action\":{\"errno\":7}}"), SYS_socket, { 99 }, E2BIG },
		{ DENY_LIST("{\"syscall\":\"socket\",\"action\":\"kill_process\"}"), SYS_socket, { 99 }, -SIGSYS },
		{ DENY_LIST("{\"syscall\":\"socket\",\"action\":{\"trace\":1}}"), SYS_socket, { 99 }, ENOSYS },
		{ "{\"default_action\":{\"errno\":5},\"filter_action\":\"allow\",\"filter\":[" ENDS "]}",
		  SYS_socket,
		  { 99 },
		  EIO },
		{ ALLOW_LIST(ENDS ",{\"syscall\":\"socket\"}"), SYS_socket, { 99 }, EAFNOSUPPORT },
		{ SOCKET_IF("\"eq\"", "dword", "99"), { 99 }, CRASH_EXIT_SIGSYS },
		{ SOCKET_IF("\"eq\"", "dword", "99"), { 98 }, EAFNOSUPPORT },
		{ SOCKET_IF("\"eq\"", "dword", "99"), { (1L << 32) + 99 }, CRASH_EXIT_SIGSYS },
		{ SOCKET_IF("\"eq\"", "qword", "99"), { (1L << 32) + 99 }, EAFNOSUPPORT },
		{ SOCKET_IF("\"ne\"", "dword", "99"), { 98 }, CRASH_EXIT_SIGSYS },
		{ SOCKET_IF("\"ne\"", "dword", "99"), { 99 }, EAFNOSUPPORT },
		{ SOCKET_IF("\"lt\"", "dword", "99"), { 98 }, CRASH_EXIT_SIGSYS },
		{ SOCKET_IF("\"lt\"", "dword", "99"), { 99 }, EAFNOSUPPORT },
		{ SOCKET_IF("\"le\"", "dword", "99"), { 99 }, CRASH_EXIT_SIGSYS },
		{ SOCKET_IF("\"le\"", "dword", "99"), { 100 }, EAFNOSUPPORT },
		{ SOCKET_IF("\"gt\"", "dword", "99"), { 100 }, CRASH_EXIT_SIGSYS },
		{ SOCKET_IF("\"gt\"", "dword", "99"), { 99 }, EAFNOSUPPORT },
		{ SOCKET_IF("\"ge\"", "dword", "99"), { 99 }, CRASH_EXIT_SIGSYS },
		{ SOCKET_IF("\"ge\"", "dword", "99"), { 98 }, EAFNOSUPPORT },
		{ SOCKET_IF("{\"masked_eq\":65}", "dword", "64"), { 98 }, CRASH_EXIT_SIGSYS },
		{ SOCKET_IF("{\"masked_eq\":65}", "dword", "64"), { 99 }, EAFNOSUPPORT },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		int status = child_status(&calls[i]);

		if (status != calls[i].status)
			fail_msg("case %zu: %d, not %d", i, status, calls[i].status);
	}
}

static void the_own_process_id_is_put_in(void **state)
{
	const char *file =
		file_with(SANDBOX_SETUP, DENY_LIST("{\"syscall\":\"getpgid\",\"args\":[{\"index\":0,\"type\":"
						   "\"dword\",\"op\":\"eq\",\"val\":2136627802}]}"));
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(tmpdir_write(tmpdir_file(&dir, "filters"), file, strlen(file)), 0);
	pid = fork();
	if (pid == 0) {
		struct err e;

		if (sandbox_init(true, &e) < 0 || sandbox_custom_load(tmpdir_file(&dir, "filters"), &e) < 0 ||
		    sandbox_enter(SANDBOX_SETUP, &e) < 0)
			_exit(CHILD_FAILED);
		(void)syscall(SYS_getpgid, getpid());
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), CRASH_EXIT_SIGSYS);
}

/* An AddressSanitizer build has no filters in force, but reads and compiles them. */
#define NUM_WITHOUT_FILTERS 4

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_printed_filters_are_the_built_in_ones),
		cmocka_unit_test(mistakes_are_named),
		cmocka_unit_test(what_is_no_file_of_filters_is_refused),
		cmocka_unit_test(a_file_has_bounds),
		cmocka_unit_test(the_kernel_enforces_them),
		cmocka_unit_test(the_own_process_id_is_put_in),
	};

	return _cmocka_run_group_tests("custom_filter", tests,
				       SANDBOX_UNDER_ASAN ? NUM_WITHOUT_FILTERS : ARRAY_SIZE(tests), setup, teardown);
}
