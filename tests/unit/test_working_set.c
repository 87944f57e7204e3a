// SPDX-License-Identifier: Apache-2.0
/* snapshot/working_set: the file is written whole or not at all, and nothing in it is believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "snapshot/format.h"
#include "snapshot/working_set.h"
#include "tmpdir.h"

#define MEM_SIZE (64ull * MEM_PAGE_SIZE)
#define NUM	 3

static const struct memfile_mark mark = { .id = { 1, 2, 3 }, .mem_size = MEM_SIZE };
static const struct mem_run runs[NUM] = {
	{ 8 * MEM_PAGE_SIZE, 4 * MEM_PAGE_SIZE },
	{ 0, MEM_PAGE_SIZE },
	{ 63 * MEM_PAGE_SIZE, MEM_PAGE_SIZE },
};

static struct tmpdir dir;
/* A good file, to be damaged; aligned as malloc(3)'s memory is. */
static struct {
	struct snapshot_working_set header;
	struct snapshot_run runs[NUM];
	struct snapshot_checksum checksum;
} __attribute__((packed, aligned(16))) file;

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

static void read_whole(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(read(fd, &file, sizeof(file)), sizeof(file));
	close(fd);
}

static const char *write_good(void)
{
	const char *path = tmpdir_file(&dir, "good");
	struct err e;

	assert_int_equal(working_set_write(path, &mark, runs, NUM, &e), 0);
	read_whole(path);
	return path;
}

static void seal(void)
{
	snapshot_checksum_of(&file, offsetof(__typeof__(file), checksum), &file.checksum);
}

static int parse(struct err *e)
{
	const struct snapshot_run *found;
	size_t num;

	return working_set_parse(&file, sizeof(file), &mark, &found, &num, e);
}

static void assert_refused(const char *said)
{
	struct err e = { "" };

	assert_int_equal(parse(&e), -EINVAL);
	if (!strstr(e.text, said))
		fail_msg("\"%s\" does not say \"%s\"", e.text, said);
}

static void what_was_written_is_read(void **state)
{
	const struct snapshot_run *found;
	struct err e;
	size_t num;

	(void)state;
	write_good();
	assert_int_equal(working_set_parse(&file, sizeof(file), &mark, &found, &num, &e), 0);
	assert_int_equal(num, NUM);
	for (size_t i = 0; i < NUM; i++) {
		assert_int_equal(le64toh(found[i].offset), runs[i].offset);
		assert_int_equal(le64toh(found[i].len), runs[i].len);
	}
}

static void a_set_of_nothing_is_one(void **state)
{
	const struct snapshot_run *found;
	uint8_t bytes[WORKING_SET_MIN_SIZE] __attribute__((aligned(16)));
	const char *path;
	struct err e;
	size_t num;
	int fd;

	(void)state;
	path = tmpdir_file(&dir, "nothing");
	assert_int_equal(working_set_write(path, &mark, NULL, 0, &e), 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, bytes, sizeof(bytes)), sizeof(bytes));
	close(fd);
	assert_int_equal(working_set_parse(bytes, sizeof(bytes), &mark, &found, &num, &e), 0);
	assert_int_equal(num, 0);
}

static void every_length_and_every_changed_byte_is_refused(void **state)
{
	const struct snapshot_run *found;
	struct err e;
	size_t num;

	(void)state;
	write_good();
	for (size_t len = 0; len < sizeof(file); len++) {
		/* Of its own, so that a sanitizer sees what is read behind it. */
		_cleanup_free_ uint8_t *copy = malloc(len + 1);

		memcpy(copy, &file, len);
		assert_int_equal(working_set_parse(copy, len, &mark, &found, &num, &e), -EINVAL);
	}
	for (size_t i = 0; i < sizeof(file); i++) {
		((uint8_t *)&file)[i] ^= 0x40;
		assert_int_equal(parse(&e), -EINVAL);
		((uint8_t *)&file)[i] ^= 0x40;
	}
	assert_int_equal(parse(&e), 0);
}

#define AT(member) offsetof(__typeof__(file), member)

static void forge(size_t at, uint64_t value, const char *said)
{
	uint8_t *field = (uint8_t *)&file + at;
	__le64 before, forged = htole64(value);

	memcpy(&before, field, sizeof(before));
	memcpy(field, &forged, sizeof(forged));
	seal();
	assert_refused(said);
	memcpy(field, &before, sizeof(before));
	seal();
}

static void a_right_checksum_does_not_help(void **state)
{
	struct err e;

	(void)state;
	write_good();
	forge(AT(header.num_runs), 2, "which are not those of 2 runs");
	forge(AT(header.num_runs), 4, "which are not those of 4 runs");
	forge(AT(header.num_runs), (1ull << 60) + NUM, "at most 65536"); /* times 16 that is 3 runs again */
	forge(AT(header.num_runs), UINT64_MAX, "at most 65536");
	forge(AT(header.mem_size), MEM_SIZE / 2, "the snapshot's has 262144");
	forge(AT(runs[1].offset), 1, "run 1, ");
	forge(AT(runs[1].offset), MEM_SIZE, "run 1, ");
	forge(AT(runs[1].offset), 0 - (uint64_t)MEM_PAGE_SIZE, "run 1, ");
	forge(AT(runs[2].len), 0, "run 2, ");
	forge(AT(runs[2].len), 2 * MEM_PAGE_SIZE, "run 2, ");
	forge(AT(runs[2].len), 0 - (uint64_t)MEM_PAGE_SIZE, "run 2, ");
	forge(AT(runs[1].len), 60 * MEM_PAGE_SIZE, "its runs have more than the 262144 bytes");
	file.header.version = htole32(SNAPSHOT_WSET_VERSION + 1);
	seal();
	assert_refused("it has version 2, this monitor reads 1");
	file.header.version = htole32(SNAPSHOT_WSET_VERSION);
	file.header.header_len = htole32(80);
	seal();
	assert_refused("which are not those of");
	file.header.header_len = htole32(sizeof(file.header));
	file.header.id[15] = 9;
	seal();
	assert_refused("it belongs to another memory file: its id is 01020300000000000000000000000009");
	file.header.id[15] = 0;
	seal();
	assert_int_equal(parse(&e), 0);
}

static void only_a_working_set_is_replaced(void **state)
{
	static const struct memfile_mark other = { .id = { 9 }, .mem_size = MEM_SIZE };
	const char *path;
	struct stat st;
	struct err e;

	(void)state;
	path = write_good();
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07, 0);
	assert_int_equal(working_set_write(path, &other, runs, 1, &e), 0);
	path = tmpdir_file(&dir, "mine");
	assert_int_equal(tmpdir_write(path, "something of mine", 17), 0);
	assert_int_equal(working_set_check_target(path, &e), -EEXIST);
	assert_int_equal(working_set_write(path, &mark, runs, NUM, &e), -EEXIST);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 17);
	assert_int_equal(tmpdir_write(path, "", 0), 0);
	assert_int_equal(working_set_check_target(path, &e), -EEXIST);
	assert_true(working_set_check_target(dir.path, &e) < 0);
	assert_int_equal(working_set_check_target(tmpdir_file(&dir, "none"), &e), 0);
	path = tmpdir_file(&dir, "fifo");
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_true(working_set_check_target(path, &e) < 0);
}

static void what_a_dead_writer_left_is_cleared_and_a_living_one_is_not(void **state)
{
	char tmp[PATH_MAX + 16];
	const char *path;
	struct err e;
	int fd;

	(void)state;
	path = tmpdir_file(&dir, "left");
	snprintf(tmp, sizeof(tmp), "%s" SNAPSHOT_TMP_SUFFIX, path);
	assert_int_equal(tmpdir_write(tmp, "half", 4), 0);
	fd = open(tmp, O_RDWR | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(working_set_write(path, &mark, runs, NUM, &e), -EBUSY);
	assert_int_equal(access(tmp, F_OK), 0);
	assert_int_equal(access(path, F_OK), -1);
	close(fd);
	assert_int_equal(working_set_write(path, &mark, runs, NUM, &e), 0);
	assert_int_equal(access(tmp, F_OK), -1);
	read_whole(path);
	assert_int_equal(parse(&e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written_is_read),
		cmocka_unit_test(a_set_of_nothing_is_one),
		cmocka_unit_test(every_length_and_every_changed_byte_is_refused),
		cmocka_unit_test(a_right_checksum_does_not_help),
		cmocka_unit_test(only_a_working_set_is_replaced),
		cmocka_unit_test(what_a_dead_writer_left_is_cleared_and_a_living_one_is_not),
	};

	return cmocka_run_group_tests_name("working_set", tests, setup, teardown);
}
