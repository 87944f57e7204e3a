// SPDX-License-Identifier: Apache-2.0
/* snapshot/statefile: a good file is read, and every other one gets one clear sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <endian.h>
#include <string.h>
#include <sys/wait.h>

#include "snapshot/format.h"
#include "snapshot/statefile.h"
#include "tmpdir.h"

#define MEM_SIZE (128ull * 1024 * 1024)

static struct tmpdir dir;
static char path[PATH_MAX];
static const struct memfile_mark mark = { .id = "0123456789abcdef",
					  .mem_size = MEM_SIZE,
					  .offset = SNAPSHOT_RECORD_OFFSET };
static uint8_t good[1024]; /* the bytes of a good file */
static size_t good_len;

static int setup(void **state)
{
	struct enc *enc = enc_new();
	uint8_t *payload;
	size_t len;
	int fd;

	(void)state;
	alarm(120); /* nothing here may wait */
	if (tmpdir_make(&dir) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/state", dir.path);
	enc_str(enc, "hello", "world");
	enc_u64(enc, "number", 42);
	if (enc_finish(enc, &payload, &len) < 0)
		return -1;
	enc_free(enc);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (statefile_write(fd, &mark, payload, len) < 0)
		return -1;
	free(payload);
	good_len = (size_t)pread(fd, good, sizeof(good), 0);
	close(fd);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tmpdir_remove(&dir);
	return 0;
}

static void a_good_file_is_read(void **state)
{
	struct statefile file;
	struct snapshot_version version;
	struct err e;

	(void)state;
	assert_int_equal(tmpdir_write(path, good, good_len), 0);
	assert_int_equal(statefile_read(path, &file, &e), 0);
	assert_int_equal(file.version.major, SNAPSHOT_VERSION_MAJOR);
	assert_int_equal(file.mark.mem_size, MEM_SIZE);
	assert_memory_equal(file.mark.id, mark.id, sizeof(mark.id));
	assert_int_equal(file.mark.offset, mark.offset);
	assert_string_equal(dec_str(file.state, "hello", 10), "world");
	assert_int_equal(dec_u64(file.state, "number", 0, 100), 42);
	assert_int_equal(dec_error(file.state, &e), 0);
	assert_int_equal(dec_version(file.state), SNAPSHOT_VERSION_MINOR);
	statefile_fini(&file);
	assert_int_equal(statefile_version(path, &version, &e), 0);
	assert_int_equal(version.major, SNAPSHOT_VERSION_MAJOR);
	assert_int_equal(version.minor, SNAPSHOT_VERSION_MINOR);
	assert_int_equal(version.patch, SNAPSHOT_VERSION_PATCH);
}

static void assert_path_refused(const char *name, const char *text)
{
	struct snapshot_version version;
	struct dec *untouched = (struct dec *)&version;
	struct statefile file = { .state = untouched };
	struct err e;

	assert_true(statefile_read(name, &file, &e) < 0);
	assert_ptr_equal(file.state, untouched);
	if (!strstr(e.text, name) || !strstr(e.text, text))
		fail_msg("\"%s\" should name \"%s\" and say \"%s\"", e.text, name, text);
	assert_true(statefile_version(name, &version, &e) < 0);
}

static void assert_refused(const void *data, size_t len, const char *text)
{
	assert_int_equal(tmpdir_write(path, data, len), 0);
	assert_path_refused(path, text);
}

static void every_truncation_is_refused(void **state)
{
	(void)state;
	for (size_t len = 0; len < good_len; len++)
		assert_refused(good, len, len < 8 ? "another kind of file" : "cut short");
}

static void every_changed_byte_is_refused(void **state)
{
	static const uint8_t masks[] = { 0x01, 0x80, 0xff };
	uint8_t bad[sizeof(good)];

	(void)state;
	for (size_t i = 0; i < good_len; i++) {
		for (size_t k = 0; k < sizeof(masks); k++) {
			memcpy(bad, good, good_len);
			bad[i] ^= masks[k];
			assert_refused(bad, good_len, i < 8 ? "another kind of file" : "is damaged");
		}
	}
}

static void bytes_behind_the_end_are_refused(void **state)
{
	uint8_t longer[sizeof(good) + 32] = { 0 };

	(void)state;
	memcpy(longer, good, good_len);
	for (size_t n = 1; n <= 32; n++)
		assert_refused(longer, good_len + n, "is damaged");
}

/* Puts the right checksum under data. */
static void reseal(uint8_t *data, size_t len)
{
	struct snapshot_checksum checksum;

	snapshot_checksum_of(data, len - sizeof(checksum), &checksum);
	memcpy(data + len - sizeof(checksum), &checksum, sizeof(checksum));
}

#define EDITED(statement, text)                               \
	do {                                                  \
		struct snapshot_state_header *header;         \
		uint8_t bad[sizeof(good)];                    \
		memcpy(bad, good, good_len);                  \
		header = (struct snapshot_state_header *)bad; \
		statement;                                    \
		reseal(bad, good_len);                        \
		assert_refused(bad, good_len, text);          \
	} while (0)

static void a_right_checksum_does_not_excuse_wrong_values(void **state)
{
	(void)state;
	EDITED(header->version_major = htole16(3),
	       "is a snapshot of format v3.1.0, this monitor reads v1.0.0 up to v1.1.x");
	EDITED(header->version_major = 0, "is a snapshot of format v0.1.0");
	EDITED(header->version_minor = htole16(2), "is a snapshot of format v1.2.0");
	EDITED(header->arch = htole16(SNAPSHOT_ARCH_AARCH64 + SNAPSHOT_ARCH_X86_64 - snapshot_arch()),
	       "this monitor runs on");
	EDITED(header->arch = htole16(7), "is for an unknown processor (7)");
	EDITED(header->header_len = htole32(63), "has a header of 63 bytes, it must have 64");
	EDITED(header->header_len = htole32(UINT32_MAX), "has a header of 4294967295 bytes");
	EDITED(header->payload_len = htole64(le64toh(header->payload_len) + 1), "bytes of state, its size allows");
	EDITED(header->payload_len = htole64(0), "claims 0 bytes of state");
	EDITED(header->payload_len = htole64(UINT64_MAX), "bytes of state, its size allows");
	EDITED(header->mem_size = 0, "claims 0 bytes of memory");
	EDITED(header->mem_size = htole64(4097), "claims 4097 bytes of memory");
	EDITED(header->mem_size = htole64(-4096ull), "claims 18446744073709547520 bytes of memory");
	EDITED(header->reserved0 = 1, "reserved header bytes");
	EDITED(header->version_minor = 0, "reserved header bytes"); /* which had no record_offset */
	EDITED(header->record_offset = htole64(16),
	       "says that the record of its memory file is at 16, multiples of 4096 below");
	EDITED(header->record_offset = htole64(MEM_SIZE),
	       "is at 134217728, multiples of 4096 below 134217728 are allowed");
	EDITED(header->record_offset = htole64(-4096ull), "multiples of 4096 below 134217728 are allowed");
	EDITED(bad[sizeof(*header)] = 0x80, "the state cannot be read");
	EDITED(bad[sizeof(*header)] = 0xff, "the state cannot be read");
}

static void a_newer_patch_level_is_read(void **state)
{
	struct snapshot_version version;
	uint8_t newer[sizeof(good)];
	struct err e;

	(void)state;
	memcpy(newer, good, good_len);
	((struct snapshot_state_header *)newer)->version_patch = htole16(9);
	reseal(newer, good_len);
	assert_int_equal(tmpdir_write(path, newer, good_len), 0);
	assert_int_equal(statefile_version(path, &version, &e), 0);
	assert_int_equal(version.patch, 9);
}

static void every_changed_payload_byte_with_a_right_checksum_is_harmless(void **state)
{
	uint8_t bad[sizeof(good)];
	struct statefile file;
	struct err e;

	(void)state;
	for (size_t i = sizeof(struct snapshot_state_header); i < good_len - sizeof(struct snapshot_checksum); i++) {
		for (unsigned int value = 0; value < 256; value++) {
			memcpy(bad, good, good_len);
			bad[i] = (uint8_t)value;
			reseal(bad, good_len);
			assert_int_equal(tmpdir_write(path, bad, good_len), 0);
			if (statefile_read(path, &file, &e) == 0) {
				dec_str(file.state, "hello", 10);
				dec_u64(file.state, "number", 0, 100);
				dec_end(file.state);
				(void)!dec_error(file.state, &e);
				statefile_fini(&file);
			}
		}
	}
}

static void sizes_beyond_the_limit_are_refused_unread(void **state)
{
	(void)state;
	assert_int_equal(tmpdir_write(path, good, good_len), 0);
	assert_int_equal(truncate(path, STATEFILE_MAX_SIZE + 1), 0);
	assert_path_refused(path, "at most 16777216 are allowed");
	assert_int_equal(truncate(path, 1ll << 40), 0);
	assert_path_refused(path, "at most 16777216 are allowed");
	assert_int_equal(truncate(path, STATEFILE_MAX_SIZE), 0);
	assert_path_refused(path, "is damaged or cut short");
}

static void a_state_that_is_too_large_is_not_written(void **state)
{
	static uint8_t large[STATEFILE_MAX_SIZE];
	int fd = open(tmpdir_file(&dir, "large"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	(void)state;
	assert_int_equal(statefile_write(fd, &mark, large, sizeof(large)), -EFBIG);
	close(fd);
}

static void what_is_not_a_file_gets_a_sentence_at_once(void **state)
{
	char fifo[PATH_MAX], link[PATH_MAX];

	(void)state;
	assert_path_refused(tmpdir_file(&dir, "nothing"), "No such file or directory");
	assert_path_refused(dir.path, "is a directory, it must be a regular file");
	snprintf(fifo, sizeof(fifo), "%s", tmpdir_file(&dir, "fifo"));
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_path_refused(fifo, "is a FIFO, it must be a regular file");
	snprintf(link, sizeof(link), "%s", tmpdir_file(&dir, "to-fifo"));
	assert_int_equal(symlink(fifo, link), 0);
	assert_path_refused(link, "is a FIFO");
	snprintf(link, sizeof(link), "%s", tmpdir_file(&dir, "to-dir"));
	assert_int_equal(symlink(dir.path, link), 0);
	assert_path_refused(link, "is a directory");
	assert_path_refused("/dev/zero", "is a character device");
}

static void a_file_without_permission_gets_a_sentence(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(tmpdir_write(path, good, good_len), 0);
	assert_int_equal(chmod(path, 0), 0);
	assert_int_equal(chmod(dir.path, 0755), 0);
	pid = fork();
	if (pid == 0) { /* root may read anything: become somebody else */
		struct statefile file;
		struct err e;

		if (geteuid() == 0 && setuid(65534) < 0)
			_exit(2);
		_exit(statefile_read(path, &file, &e) == -EACCES && strstr(e.text, "Permission denied") ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(chmod(path, 0600), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_file_is_read),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(every_changed_byte_is_refused),
		cmocka_unit_test(bytes_behind_the_end_are_refused),
		cmocka_unit_test(a_right_checksum_does_not_excuse_wrong_values),
		cmocka_unit_test(a_newer_patch_level_is_read),
		cmocka_unit_test(every_changed_payload_byte_with_a_right_checksum_is_harmless),
		cmocka_unit_test(sizes_beyond_the_limit_are_refused_unread),
		cmocka_unit_test(a_state_that_is_too_large_is_not_written),
		cmocka_unit_test(what_is_not_a_file_gets_a_sentence_at_once),
		cmocka_unit_test(a_file_without_permission_gets_a_sentence),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
