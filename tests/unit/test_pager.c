// SPDX-License-Identifier: Apache-2.0
/* machine/pager.h: what has to hold while nobody serves. Tests with handlers that do are in tests/system/test_uffd.py. */
#include "machine/pager.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/unix_listener.h"
#include "huge_pool.h"
#include "mem/pages.h"
#include "userfault_permitted.h"

#define PAGE 4096ull

static const struct mem_layout layout = { .num_regions = 2, .regions = { { 0, 16 * PAGE }, { 1ull << 32, 4 * PAGE } } };

static struct fixture {
	char path[256];
	struct unix_listener listener;
	struct loop *loop;
	struct guest_mem mem;
	struct pager *pager;
} f;

static void start_pager(void)
{
	struct err e;

	assert_int_equal(pager_new(f.path, f.loop, &f.pager, &e), 0);
	assert_int_equal(pager_map(f.pager, &layout, &f.mem, &e), 0);
}

static void end_pager(void)
{
	pager_stop(f.pager);
	mem_fini(&f.mem);
	pager_free(f.pager);
}

static int setup(void **state)
{
	struct err e;

	(void)state;
	memset(&f, 0, sizeof(f));
	f.loop = loop_new();
	snprintf(f.path, sizeof(f.path), "/tmp/snapsafe-pager-%d", getpid());
	return f.loop ? unix_listener_open(&f.listener, "socket", f.path, &e) : -1;
}

static int teardown(void **state)
{
	(void)state;
	unix_listener_close(&f.listener);
	loop_free(f.loop);
	return 0;
}

static void the_message_has_every_region_and_the_descriptor(void **state)
{
	char text[1024] = "", expected[1024];
	union {
		struct cmsghdr header;
		uint8_t room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { text, sizeof(text) - 1 };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	int connection, fd;

	(void)state;
	if (!userfault_is_permitted())
		skip();
	start_pager();
	connection = accept(f.listener.fd, NULL, NULL);
	assert_true(connection >= 0);
	assert_true(recvmsg(connection, &message, 0) > 0);
	snprintf(
		expected, sizeof(expected),
		"[{\"base_host_virt_addr\":%llu,\"size\":65536,\"offset\":0,\"page_size\":4096,\"page_size_kib\":4096},"
		"{\"base_host_virt_addr\":%llu,\"size\":16384,\"offset\":65536,\"page_size\":4096,"
		"\"page_size_kib\":4096}]",
		(unsigned long long)(uintptr_t)f.mem.regions[0].host,
		(unsigned long long)(uintptr_t)f.mem.regions[1].host);
	assert_string_equal(text, expected);
	assert_int_equal(CMSG_FIRSTHDR(&message)->cmsg_type, SCM_RIGHTS);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	close(fd);
	end_pager();
	close(connection);
}

static void who_gives_up_lets_nobody_wait(void **state)
{
	struct err e = { "" };
	int r;

	(void)state;
	if (!userfault_is_permitted())
		skip();
	start_pager();
	pager_give_up(f.pager);
	r = mem_prepare(&f.mem, 0, PAGE);
	assert_int_equal(r, -ENOTCONN);
	assert_true(pager_explain(f.pager, r, &e) < 0);
	assert_non_null(strstr(e.text, "has ended"));
	assert_true(pager_start(f.pager, &e) < 0);
	end_pager();
}

/* The loop thread waits for a page, as far as anybody can tell: it gives no sign, and takes no signal. */
static void a_signal_ends_a_process_whose_loop_does_not_come(void **state)
{
	sigset_t set;
	struct err e;
	int status;
	pid_t pid;

	(void)state;
	if (!userfault_is_permitted())
		skip();
	pid = fork();
	if (pid == 0) {
		sigemptyset(&set);
		sigaddset(&set, SIGTERM);
		sigprocmask(SIG_BLOCK, &set, NULL);
		if (pager_new(f.path, f.loop, &f.pager, &e) < 0 || pager_map(f.pager, &layout, &f.mem, &e) < 0)
			_exit(1);
		kill(getpid(), SIGTERM);
		sleep(30);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGTERM);
}

/* How it ends in a process of its own: a thread of it stays in the page for ever. */
static const char *file_is_cut(void)
{
	const struct mem_layout huge = { .huge = true, .num_regions = 1, .regions = { { 0, MEM_HUGE_PAGE_SIZE } } };
	int fd = memfd_create("memory", MFD_CLOEXEC);
	struct err e = { "" };

	if (fd < 0 || ftruncate(fd, MEM_HUGE_PAGE_SIZE) < 0 || mem_init_file(&f.mem, &huge, fd, &e) < 0 ||
	    pager_new_own("file", f.loop, &f.pager, &e) < 0 || pager_serve_files(f.pager, &f.mem, &e) < 0 ||
	    pager_start(f.pager, &e) < 0)
		return "is not made";
	if (ftruncate(fd, PAGE) < 0 || mem_prepare(&f.mem, PAGE, PAGE) != -ENOTCONN)
		return "has the page";
	if (pager_explain(f.pager, -ENOTCONN, &e) >= 0 || !strstr(e.text, "the memory file \"file\" was cut"))
		return "does not say why";
	if (mem_discard(&f.mem, 3 * PAGE, PAGE) < 0)
		return "does not give back";
	return loop_run(f.loop) == 1 ? NULL : "does not end";
}

static void a_memory_file_that_is_cut_ends_the_machine(void **state)
{
	struct huge_pool pool = { .fd = -1 };
	const char *wrong;
	int status;
	pid_t pid;

	(void)state;
	if (!userfault_is_permitted() || !huge_pool_take(&pool, 1))
		skip();
	pid = fork();
	if (pid == 0) {
		wrong = file_is_cut();
		if (wrong)
			fprintf(stderr, "the pager %s\n", wrong);
		_exit(wrong ? 1 : 0);
	}
	waitpid(pid, &status, 0);
	huge_pool_give(&pool);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_message_has_every_region_and_the_descriptor),
		TEST(who_gives_up_lets_nobody_wait),
		TEST(a_signal_ends_a_process_whose_loop_does_not_come),
		TEST(a_memory_file_that_is_cut_ends_the_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
