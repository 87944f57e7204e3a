// SPDX-License-Identifier: Apache-2.0
/* base/fdio: whole transfers, and paths that are not what they should be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/fdio.h"
#include "base/rand.h"
#include "tmpdir.h"

static struct tmpdir dir;

static int setup(void **state)
{
	(void)state;
	alarm(60); /* nothing here may wait */
	return tmpdir_make(&dir);
}

static int teardown(void **state)
{
	(void)state;
	tmpdir_remove(&dir);
	return 0;
}

static void transfers_are_whole_or_fail(void **state)
{
	char buf[8];
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(fd_write_all(fds[1], "12345678", 8), 0);
	assert_int_equal(fd_read_all(fds[0], buf, 5), 0);
	close(fds[1]);
	assert_int_equal(fd_read_all(fds[0], buf, 5), -ENODATA);
	assert_int_equal(fd_read_all(fds[0], buf, 0), 0);
	close(fds[0]);
	assert_int_equal(fd_read_all(-1, buf, 1), -EBADF);
	assert_int_equal(fd_pread_all(-1, buf, 1, 0), -EBADF);
	assert_int_equal(fd_pwrite_all(-1, buf, 1, 0), -EBADF);
}

static void a_file_is_read_whole_with_a_limit(void **state)
{
	const char *path = tmpdir_file(&dir, "file");
	char *data;
	size_t len;
	struct err e;

	(void)state;
	assert_int_equal(tmpdir_write(path, "content", 7), 0);
	assert_int_equal(file_read("thing", path, 7, &data, &len, &e), 0);
	assert_int_equal(len, 7);
	assert_string_equal(data, "content");
	free(data);
	assert_int_equal(file_read("thing", path, 6, &data, &len, &e), -EFBIG);
	assert_non_null(strstr(e.text, "has 7 bytes, at most 6 are allowed"));
}

static void assert_refused(const char *path, int flags, int code, const char *text)
{
	uint64_t size;
	struct err e;
	int fd;

	assert_int_equal(file_open_regular("kernel image", path, flags, &fd, &size, &e), code);
	if (!strstr(e.text, text) || !strstr(e.text, path) || !strstr(e.text, "kernel image"))
		fail_msg("\"%s\" should name \"%s\" and say \"%s\"", e.text, path, text);
}

static void what_is_not_a_regular_file_gets_a_sentence(void **state)
{
	char fifo[PATH_MAX], link[PATH_MAX];

	(void)state;
	assert_refused(tmpdir_file(&dir, "nothing"), O_RDONLY, -ENOENT, "No such file or directory");
	assert_refused(dir.path, O_RDONLY, -EINVAL, "is a directory");
	assert_refused(dir.path, O_RDWR, -EINVAL, "is a directory");
	snprintf(fifo, sizeof(fifo), "%s", tmpdir_file(&dir, "fifo"));
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_refused(fifo, O_RDONLY, -EINVAL, "is a FIFO");
	assert_refused(fifo, O_WRONLY, -EINVAL, "is a FIFO");
	snprintf(link, sizeof(link), "%s", tmpdir_file(&dir, "link"));
	assert_int_equal(symlink(fifo, link), 0);
	assert_refused(link, O_RDONLY, -EINVAL, "is a FIFO");
	assert_refused("/dev/null", O_RDONLY, -EINVAL, "is a character device");
	if (geteuid() != 0) {
		assert_int_equal(tmpdir_write(tmpdir_file(&dir, "secret"), "x", 1), 0);
		assert_int_equal(chmod(dir.file, 0), 0);
		assert_refused(dir.file, O_RDONLY, -EACCES, "Permission denied");
	}
}

static void an_opened_file_has_plain_flags(void **state)
{
	uint64_t size;
	struct err e;
	int fd;

	(void)state;
	assert_int_equal(tmpdir_write(tmpdir_file(&dir, "plain"), "xyz", 3), 0);
	assert_int_equal(file_open_regular("x", dir.file, O_RDWR, &fd, &size, &e), 0);
	assert_int_equal(size, 3);
	assert_int_equal(fcntl(fd, F_GETFL) & (O_NONBLOCK | O_ACCMODE), O_RDWR);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	close(fd);
}

static void directories_can_be_synced(void **state)
{
	(void)state;
	assert_int_equal(fsync_parent(tmpdir_file(&dir, "x")), 0);
	assert_int_equal(fsync_parent("x"), 0);
	assert_int_equal(fsync_parent("/x"), 0);
	assert_int_equal(fsync_parent("/no/such/directory"), -ENOENT);
}

static void random_bytes_fill_the_buffer(void **state)
{
	uint8_t a[64] = { 0 }, b[64] = { 0 };

	(void)state;
	assert_int_equal(rand_bytes(a, sizeof(a)), 0);
	assert_int_equal(rand_bytes(b, sizeof(b)), 0);
	assert_memory_not_equal(a, b, sizeof(a));
	assert_int_equal(rand_bytes(NULL, 0), 0);
	assert_int_equal(rand_bytes((void *)16, 8), -EFAULT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(transfers_are_whole_or_fail),
		cmocka_unit_test(a_file_is_read_whole_with_a_limit),
		cmocka_unit_test(what_is_not_a_regular_file_gets_a_sentence),
		cmocka_unit_test(an_opened_file_has_plain_flags),
		cmocka_unit_test(directories_can_be_synced),
		cmocka_unit_test(random_bytes_fill_the_buffer),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
