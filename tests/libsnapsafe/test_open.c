// SPDX-License-Identifier: Apache-2.0
/* What snapsafe_open() accepts, and what becomes of a counter that goes away. */
#include "fake.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "snapsafe_inline.h"
#include "vmclock_page.h"

static char directory[] = "/tmp/snapsafe-test-XXXXXX";

static const char *file_with(const char *name, const void *content, size_t len)
{
	static char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	unlink(path);
	fd = open(path, O_CREAT | O_WRONLY, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, len), len);
	close(fd);
	return path;
}

static struct snapsafe_info info_of(struct snapsafe *s)
{
	struct snapsafe_info info = { .size = sizeof(info) };

	assert_int_equal(snapsafe_get_info(s, &info), 0);
	return info;
}

static int open_path(const char *path)
{
	struct snapsafe *s = NULL;
	int r = snapsafe_open(&s, path);

	if (r)
		assert_null(s);
	else
		snapsafe_close(s);
	return r;
}

static void a_path_that_is_not_there_is_enoent(void **state)
{
	(void)state;
	assert_int_equal(open_path("/nonexistent/vm_gen_counter"), -ENOENT);
}

static void files_that_are_too_short_are_einval(void **state)
{
	(void)state;
	assert_int_equal(open_path(file_with("f", "", 0)), -EINVAL);
	assert_int_equal(open_path(file_with("f", "abc", 3)), -EINVAL);
	assert_int_equal(open_path(file_with("f", "abcdefg", 7)), -EINVAL);
}

static void things_that_are_not_files_are_einval(void **state)
{
	char path[64];

	(void)state;
	assert_int_equal(open_path(directory), -EINVAL);
	assert_int_equal(open_path("/dev/null"), -EINVAL);
	assert_int_equal(open_path("/dev/zero"), -EINVAL);
	snprintf(path, sizeof(path), "%s/pipe", directory);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(open_path(path), -EINVAL);
	unlink(path);
}

static void a_path_that_is_too_long_is_enametoolong(void **state)
{
	char path[5000];

	(void)state;
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = 0;
	assert_int_equal(open_path(path), -ENAMETOOLONG);
}

static void a_file_without_permission_is_eacces(void **state)
{
	const char *path = file_with("secret", "12345678", 8);
	int status;
	pid_t pid;

	(void)state;
	chmod(path, 0);
	chmod(directory, 0755);
	pid = fork();
	if (pid == 0) {
		if (geteuid() == 0 && setresuid(65534, 65534, 65534) < 0)
			_exit(2);
		_exit(open_path(path) == -EACCES ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	unlink(path);
}

static void a_plain_file_is_read_and_never_mapped(void **state)
{
	uint64_t value = 7;
	struct snapsafe *s;

	(void)state;
	assert_int_equal(snapsafe_open(&s, file_with("f", &value, 8)), 0);
	assert_int_equal(snapsafe_generation(s), 7);
	assert_int_equal(info_of(s).features, 0);
	assert_int_equal(info_of(s).state, SNAPSAFE_ACTIVE);
	snapsafe_close(s);
}

static void a_file_of_four_bytes_is_a_32_bit_counter(void **state)
{
	uint32_t value = 0xffffffff;
	struct snapsafe *s;

	(void)state;
	assert_int_equal(snapsafe_open(&s, file_with("f", &value, 4)), 0);
	assert_int_equal(snapsafe_generation(s), 0xffffffff);
	snapsafe_close(s);
}

static void a_memory_file_that_could_shrink_is_not_mapped(void **state)
{
	int fd = memfd_create("loose", MFD_CLOEXEC);
	char path[64];
	struct snapsafe *s;

	(void)state;
	assert_int_equal(ftruncate(fd, 4096), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_int_equal(snapsafe_open(&s, path), 0);
	assert_int_equal(info_of(s).features & SNAPSAFE_F_MAPPED, 0);
	snapsafe_close(s);
	close(fd);
}

static void the_drivers_page_is_mapped(void **state)
{
	unsigned int all = SNAPSAFE_F_MAPPED | SNAPSAFE_F_IDENTITY | SNAPSAFE_F_BUFFERED | SNAPSAFE_F_RESEEDED;
	struct fake_page fake;
	struct snapsafe *s;

	(void)state;
	fake_page_init(&fake);
	assert_int_equal(snapsafe_open(&s, fake.path), 0);
	assert_int_equal(info_of(s).features, all);
	assert_string_equal(info_of(s).path, fake.path);
	fake_page_leak(&fake, 1, false);
	assert_int_equal(info_of(s).features, SNAPSAFE_F_MAPPED | SNAPSAFE_F_IDENTITY);
	snapsafe_close(s);
	fake_page_fini(&fake);
}

static void a_page_without_the_magic_is_only_read(void **state)
{
	struct fake_page fake;
	struct snapsafe *s;
	unsigned char id[SNAPSAFE_IDENTITY_LEN];

	(void)state;
	fake_page_init(&fake);
	fake.page->magic = 0;
	assert_int_equal(snapsafe_open(&s, fake.path), 0);
	assert_int_equal(info_of(s).features, 0);
	fake_page_set_generation(&fake, 9);
	assert_int_equal(snapsafe_generation(s), 9);
	assert_int_equal(snapsafe_identity(s, id), -ENOTSUP);
	snapsafe_close(s);
	fake_page_fini(&fake);
}

/* As any monitor with the device has it, in the memory file's place of /dev/vmclock0. */
static struct vmclock_page *fake_vmclock(struct fake_page *fake)
{
	struct vmclock_page *page;

	fake_page_init(fake);
	memset(fake->page, 0, sizeof(*fake->page));
	page = (void *)fake->page;
	*page = (struct vmclock_page){ .magic = htole32(VMCLOCK_MAGIC),
				       .size = htole32(VMCLOCK_PAGE_SIZE),
				       .version = htole16(VMCLOCK_VERSION),
				       .flags = htole64(VMCLOCK_FLAG_VM_GEN_COUNTER_PRESENT),
				       .vm_generation_counter = htole64(UINT64_C(7) << 32) };
	return page;
}

static void a_vmclocks_generation_is_mapped(void **state)
{
	struct snapsafe_words words = { .size = sizeof(words) };
	unsigned char id[SNAPSAFE_IDENTITY_LEN];
	struct snapsafe_token token;
	struct vmclock_page *page;
	struct fake_page fake;
	struct snapsafe *s;

	(void)state;
	page = fake_vmclock(&fake);
	assert_int_equal(snapsafe_open(&s, fake.path), 0);
	assert_int_equal(info_of(s).features & ~SNAPSAFE_F_VDSO, SNAPSAFE_F_MAPPED);
	assert_int_equal(info_of(s).state, SNAPSAFE_ACTIVE);
	assert_int_equal(snapsafe_generation(s), UINT64_C(7) << 32);
	assert_int_equal(snapsafe_identity(s, id), -ENOTSUP);
	token = snapsafe_token(s);
	assert_int_equal(snapsafe_words(s, &words), 0);
	page->seq_count += 2; /* the host has set its clock: no copy was made */
	page->disruption_marker++;
	assert_int_equal(snapsafe_check(s, &token), 1);
	assert_int_equal(snapsafe_check_inline(&words, &token), 1);
	page->vm_generation_counter = htole64((UINT64_C(7) << 32) + 1);
	assert_int_equal(snapsafe_check(s, &token), 0);
	assert_int_equal(snapsafe_check_inline(&words, &token), 0);
	snapsafe_close(s);
	fake_page_fini(&fake);
}

/* It would be constant for ever, and nobody would be told. */
static void a_vmclock_without_a_generation_is_no_counter(void **state)
{
	struct vmclock_page *page;
	struct fake_page fake;

	(void)state;
	page = fake_vmclock(&fake);
	page->flags = htole64(VMCLOCK_FLAG_NOTIFICATION_PRESENT);
	assert_int_equal(open_path(fake.path), -ENOENT);
	page->flags = htole64(VMCLOCK_FLAG_VM_GEN_COUNTER_PRESENT);
	page->version = htole16(VMCLOCK_VERSION + 1);
	assert_int_equal(open_path(fake.path), -ENOENT);
	page->version = htole16(VMCLOCK_VERSION);
	page->size = htole32(sizeof(*page) - 1);
	assert_int_equal(open_path(fake.path), -ENOENT);
	page->size = htole32(sizeof(*page));
	assert_int_equal(open_path(fake.path), 0);
	fake_page_fini(&fake);
}

static void the_counter_wraps_without_being_missed(void **state)
{
	struct snapsafe_token token;
	struct fake_page fake;
	struct snapsafe *s;
	uint64_t generation = UINT64_MAX;

	(void)state;
	fake_page_init(&fake);
	fake_page_set_generation(&fake, UINT64_MAX);
	assert_int_equal(snapsafe_open(&s, fake.path), 0);
	assert_true(snapsafe_generation(s) == UINT64_MAX);
	token = snapsafe_token(s);
	assert_true(snapsafe_holds(s, &token));
	fake_page_leak(&fake, 1, true);
	assert_int_equal(snapsafe_generation(s), 0);
	assert_false(snapsafe_holds(s, &token));
	assert_int_equal(snapsafe_wait(s, &generation, 0), 1);
	assert_int_equal(generation, 0);
	snapsafe_close(s);
	fake_page_fini(&fake);
}

/* The device is unplugged and the file behind the counter goes with it. */
static void check_lost(struct snapsafe *s, const struct snapsafe_token *token)
{
	uint64_t generation = 5;
	uint8_t buf[32] = { 0 }, zeros[32] = { 0 };

	assert_int_equal(snapsafe_generation(s), 5);
	assert_int_equal(info_of(s).state, SNAPSAFE_LOST);
	assert_false(snapsafe_holds(s, token));
	assert_int_equal(snapsafe_wait(s, &generation, 1000), -ENODEV);
	assert_int_equal(snapsafe_dispatch(s), -ENODEV);
	assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), 0);
	assert_memory_not_equal(buf, zeros, sizeof(buf));
}

static void a_file_that_shrinks_is_lost_and_nobody_dies(void **state)
{
	struct snapsafe_token token, later;
	uint64_t value = 5;
	const char *path = file_with("f", &value, 8);
	struct snapsafe *s;

	(void)state;
	assert_int_equal(snapsafe_open(&s, path), 0);
	token = snapsafe_token(s);
	assert_true(snapsafe_holds(s, &token));
	assert_int_equal(truncate(path, 0), 0);
	check_lost(s, &token);
	later = snapsafe_token(s);
	assert_true(snapsafe_holds(s, &later)); /* or loops that wait for it would never end */
	snapsafe_close(s);
}

static void a_descriptor_closed_behind_our_back_is_lost(void **state)
{
	struct snapsafe_token token;
	uint64_t value = 5;
	struct snapsafe *s;
	int probe = open("/dev/null", O_RDONLY);

	(void)state;
	close(probe); /* the number that comes next */
	assert_int_equal(snapsafe_open(&s, file_with("f", &value, 8)), 0);
	token = snapsafe_token(s);
	close(probe);
	assert_int_equal(open("/dev/zero", O_RDONLY), probe);
	check_lost(s, &token);
	snapsafe_close(s);
}

static void a_counter_that_nobody_watches_says_so(void **state)
{
	struct snapsafe_token token;
	struct fake_page fake;
	struct snapsafe *s;
	uint64_t calls;
	uint8_t buf[16];

	(void)state;
	fake_page_init(&fake);
	assert_int_equal(snapsafe_open(&s, fake.path), 0);
	token = snapsafe_token(s);
	__atomic_store_n(&fake.page->unwatched, 1, __ATOMIC_RELEASE);
	assert_int_equal(info_of(s).state, SNAPSAFE_UNWATCHED);
	assert_false(snapsafe_holds(s, &token));
	calls = fake_kernel_calls();
	for (int i = 0; i < 10; i++)
		assert_int_equal(snapsafe_random(s, buf, sizeof(buf)), 0);
	assert_int_equal(fake_kernel_calls() - calls, 10); /* nothing is kept */
	snapsafe_close(s);
	fake_page_fini(&fake);
}

static void identities_are_the_pages(void **state)
{
	unsigned char id[SNAPSAFE_IDENTITY_LEN], want[SNAPSAFE_IDENTITY_LEN];
	struct fake_page fake;
	struct snapsafe *s;

	(void)state;
	fake_page_init(&fake);
	memset(want, 0xa5, sizeof(want));
	assert_int_equal(snapsafe_open(&s, fake.path), 0);
	assert_int_equal(snapsafe_identity(s, id), 0);
	assert_memory_equal(id, want, sizeof(id));
	memset(fake.page->identity, 0, sizeof(id));
	assert_int_equal(snapsafe_identity(s, id), -ENOTSUP);
	snapsafe_close(s);
	fake_page_fini(&fake);
}

static void info_refuses_a_size_that_it_does_not_know(void **state)
{
	struct snapsafe_info info = { .size = 4 };

	(void)state;
	assert_int_equal(snapsafe_get_info(NULL, &info), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_path_that_is_not_there_is_enoent),
		cmocka_unit_test(files_that_are_too_short_are_einval),
		cmocka_unit_test(things_that_are_not_files_are_einval),
		cmocka_unit_test(a_path_that_is_too_long_is_enametoolong),
		cmocka_unit_test(a_file_without_permission_is_eacces),
		cmocka_unit_test(a_plain_file_is_read_and_never_mapped),
		cmocka_unit_test(a_file_of_four_bytes_is_a_32_bit_counter),
		cmocka_unit_test(a_memory_file_that_could_shrink_is_not_mapped),
		cmocka_unit_test(the_drivers_page_is_mapped),
		cmocka_unit_test(a_page_without_the_magic_is_only_read),
		cmocka_unit_test(a_vmclocks_generation_is_mapped),
		cmocka_unit_test(a_vmclock_without_a_generation_is_no_counter),
		cmocka_unit_test(the_counter_wraps_without_being_missed),
		cmocka_unit_test(a_file_that_shrinks_is_lost_and_nobody_dies),
		cmocka_unit_test(a_descriptor_closed_behind_our_back_is_lost),
		cmocka_unit_test(a_counter_that_nobody_watches_says_so),
		cmocka_unit_test(identities_are_the_pages),
		cmocka_unit_test(info_refuses_a_size_that_it_does_not_know),
	};
	int r;

	setenv("SNAPSAFE_DEVICE", "none", 1);
	if (!mkdtemp(directory))
		return 1;
	r = cmocka_run_group_tests_name("open", tests, NULL, NULL);
	unlink(file_with("f", "", 0));
	rmdir(directory);
	return r;
}
