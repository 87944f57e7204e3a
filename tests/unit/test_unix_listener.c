// SPDX-License-Identifier: Apache-2.0
/* Whose socket file is it: stale ones are replaced, all others are left alone. */
#include <fcntl.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/unix_listener.h"
#include "tmpdir.h"

static struct tmpdir dir;
static struct err e;

static int make_directory(void **state)
{
	(void)state;
	assert_int_equal(tmpdir_make(&dir), 0);
	return chdir(dir.path);
}

static int remove_directory(void **state)
{
	(void)state;
	tmpdir_remove(&dir);
	return 0;
}

/* A socket bound to path; the caller closes it, which leaves the file there. */
static int bind_to(const char *path, bool listening)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(addr.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	if (listening)
		assert_int_equal(listen(fd, 0), 0);
	return fd;
}

static int connect_to(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strcpy(addr.sun_path, path);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void the_file_comes_and_goes_with_the_socket(void **state)
{
	struct unix_listener s;
	struct stat st;
	int fd;

	(void)state;
	umask(022);
	assert_int_equal(unix_listener_open(&s, "socket", "s", &e), 0);
	assert_int_equal(lstat("s", &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0640); /* connecting needs write permission */
	assert_int_equal(umask(022), 022);
	fd = connect_to("s");
	assert_true(fd >= 0);
	close(fd);
	unix_listener_close(&s);
	assert_int_equal(access("s", F_OK), -1);
	unix_listener_close(&s); /* twice is fine */
}

static void a_stale_socket_is_replaced(void **state)
{
	struct unix_listener s;
	int fd;

	(void)state;
	close(bind_to("s", true));
	assert_int_equal(connect_to("s"), -1);
	assert_int_equal(unix_listener_open(&s, "socket", "s", &e), 0);
	fd = connect_to("s");
	assert_true(fd >= 0);
	close(fd);
	unix_listener_close(&s);
}

static void a_live_socket_is_refused_and_left_alone(void **state)
{
	struct unix_listener s = { .fd = -1 };
	int fd = bind_to("s", true), client;

	(void)state;
	assert_int_equal(unix_listener_open(&s, "socket", "s", &e), -EADDRINUSE);
	assert_non_null(strstr(e.text, "socket \"s\" is in use"));
	client = connect_to("s"); /* still reachable; this fills its queue */
	while (client >= 0) {
		int next = connect_to("s");

		if (next < 0)
			break;
		close(client);
		client = next;
	}
	assert_int_equal(unix_listener_open(&s, "socket", "s", &e), -EADDRINUSE); /* busy is alive */
	unix_listener_close(&s);						  /* of one that was never open */
	assert_int_equal(access("s", F_OK), 0);
	close(client);
	close(fd);
	unlink("s");
}

static void what_is_not_a_socket_is_left_alone(void **state)
{
	struct unix_listener s;
	struct stat st;

	(void)state;
	close(open("file", O_CREAT | O_WRONLY, 0600));
	assert_int_equal(mkdir("dir", 0700), 0);
	assert_int_equal(symlink("elsewhere", "link"), 0);
	assert_int_equal(unix_listener_open(&s, "socket", "file", &e), -EEXIST);
	assert_non_null(strstr(e.text, "not a socket"));
	assert_int_equal(unix_listener_open(&s, "socket", "dir", &e), -EEXIST);
	assert_int_equal(unix_listener_open(&s, "socket", "link", &e), -EEXIST);
	assert_int_equal(lstat("file", &st) | lstat("dir", &st) | lstat("link", &st), 0);
	unlink("file");
	unlink("link");
	rmdir("dir");
}

static void bad_paths_are_refused_with_a_sentence(void **state)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
	struct unix_listener s;

	(void)state;
	memset(path, 'a', sizeof(path));
	path[sizeof(path) - 2] = '\0'; /* 107: the longest */
	assert_int_equal(strlen(path), 107);
	assert_int_equal(unix_listener_open(&s, "socket", path, &e), 0);
	unix_listener_close(&s);
	path[107] = 'a';
	path[108] = '\0';
	assert_int_equal(unix_listener_open(&s, "socket", path, &e), -EINVAL);
	assert_non_null(strstr(e.text, "the path has 108 bytes; a socket's path has 1 to 107"));
	assert_int_equal(unix_listener_open(&s, "socket", "", &e), -EINVAL);
	assert_int_equal(unix_listener_open(&s, "socket", "no/such/directory", &e), -ENOENT);
	assert_non_null(strstr(e.text, "No such file or directory"));
}

static void a_file_that_is_no_longer_ours_is_not_removed(void **state)
{
	struct unix_listener s, other;

	(void)state;
	assert_int_equal(unix_listener_open(&s, "socket", "s", &e), 0);
	unlink("s");
	assert_int_equal(unix_listener_open(&other, "socket", "s", &e), 0);
	unix_listener_close(&s);
	assert_int_equal(access("s", F_OK), 0);
	unix_listener_close(&other);
	assert_int_equal(access("s", F_OK), -1);
}

/* What the API asks before there is a machine: nothing is made. */
static void a_path_can_be_judged_without_being_taken(void **state)
{
	struct unix_listener s;
	char path[200];

	(void)state;
	assert_int_equal(unix_listener_check("uds_path", "s", &e), 0);
	assert_int_equal(access("s", F_OK), -1);
	close(bind_to("s", false)); /* stale */
	assert_int_equal(unix_listener_check("uds_path", "s", &e), 0);
	assert_int_equal(access("s", F_OK), 0);
	assert_int_equal(unix_listener_open(&s, "uds_path", "s", &e), 0);
	assert_int_equal(unix_listener_check("uds_path", "s", &e), -EADDRINUSE);
	assert_non_null(strstr(e.text, "uds_path \"s\" is in use: another process answers on it"));
	unix_listener_close(&s);
	close(open("file", O_CREAT | O_WRONLY, 0600));
	assert_int_equal(unix_listener_check("uds_path", "file", &e), -EEXIST);
	assert_int_equal(unix_listener_check("uds_path", "file/s", &e), -ENOTDIR);
	assert_non_null(strstr(e.text, "\"file\" is not a directory"));
	unlink("file");
	assert_int_equal(unix_listener_check("uds_path", "none/s", &e), -ENOENT);
	assert_non_null(strstr(e.text, "the directory \"none\""));
	memset(path, 'a', 108);
	path[108] = '\0';
	assert_int_equal(unix_listener_check("uds_path", path, &e), -EINVAL);
	/* One may write into a directory that one may not list. */
	assert_int_equal(mkdir("closed", 0300), 0);
	assert_int_equal(unix_listener_check("uds_path", "closed/s", &e), 0);
	rmdir("closed");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_file_comes_and_goes_with_the_socket),
		cmocka_unit_test(a_stale_socket_is_replaced),
		cmocka_unit_test(a_live_socket_is_refused_and_left_alone),
		cmocka_unit_test(what_is_not_a_socket_is_left_alone),
		cmocka_unit_test(bad_paths_are_refused_with_a_sentence),
		cmocka_unit_test(a_file_that_is_no_longer_ours_is_not_removed),
		cmocka_unit_test(a_path_can_be_judged_without_being_taken),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
