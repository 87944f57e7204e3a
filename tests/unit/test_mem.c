// SPDX-License-Identifier: Apache-2.0
/* mem/mem: ranges that lie whole in a region, and all those that do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "mem/mem.h"

#define MIB (1024ull * 1024)

static const struct mem_layout two = {
	.num_regions = 2,
	.regions = { { .gpa = 0, .size = 2 * MIB }, { .gpa = 1ull << 32, .size = MIB } },
};

static struct guest_mem mem;

static int setup(void **state)
{
	struct err e;

	(void)state;
	return mem_init_anonymous(&mem, &two, &e);
}

static int teardown(void **state)
{
	(void)state;
	mem_fini(&mem);
	mem_fini(&mem); /* twice is fine */
	return 0;
}

static void regions_follow_each_other_in_the_file(void **state)
{
	(void)state;
	assert_int_equal(mem.num_regions, 2);
	assert_int_equal(mem.size, 3 * MIB);
	assert_int_equal(mem.backing_fd, -1);
	assert_int_equal(mem.regions[0].file_offset, 0);
	assert_int_equal(mem.regions[1].file_offset, 2 * MIB);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal((uintptr_t)mem.regions[i].host % (2 * MIB), 0);
}

static void a_range_lies_whole_in_one_region_or_does_not_exist(void **state)
{
	const gpa_t high = 1ull << 32;

	(void)state;
	assert_ptr_equal(mem_host(&mem, 0, 1), mem.regions[0].host);
	assert_ptr_equal(mem_host(&mem, 0, 2 * MIB), mem.regions[0].host);
	assert_ptr_equal(mem_host(&mem, 2 * MIB - 1, 1), mem.regions[0].host + 2 * MIB - 1);
	assert_ptr_equal(mem_host(&mem, high + 5, 10), mem.regions[1].host + 5);
	assert_null(mem_host(&mem, 0, 0));
	assert_null(mem_host(&mem, 0, 2 * MIB + 1));
	assert_null(mem_host(&mem, 2 * MIB - 1, 2));
	assert_null(mem_host(&mem, 2 * MIB, 1));
	assert_null(mem_host(&mem, high - 1, 1));
	assert_null(mem_host(&mem, high - 1, 2));
	assert_null(mem_host(&mem, high + MIB, 1));
	assert_null(mem_host(&mem, UINT64_MAX, 1));
	assert_null(mem_host(&mem, UINT64_MAX, 2)); /* wraps around to region 0 */
	assert_null(mem_host(&mem, UINT64_MAX - 1, UINT64_MAX));
	assert_null(mem_host(&mem, 1, UINT64_MAX));
	assert_null(mem_host(&mem, high + 1, UINT64_MAX - high));
}

static void copies_are_all_or_nothing(void **state)
{
	char buf[4] = "abc";

	(void)state;
	assert_true(mem_write(&mem, 2 * MIB - 4, "wxyz", 4));
	assert_false(mem_write(&mem, 2 * MIB - 2, "1234", 4));
	assert_true(mem_read(&mem, 2 * MIB - 4, buf, 4));
	assert_memory_equal(buf, "wxyz", 4);
	assert_false(mem_read(&mem, 2 * MIB - 3, buf, 4));
	assert_memory_equal(buf, "wxyz", 4);
}

static void assert_layout_refused(const struct mem_layout *layout)
{
	struct guest_mem bad;
	struct err e;

	assert_int_equal(mem_init_anonymous(&bad, layout, &e), -EINVAL);
	assert_int_equal(bad.num_regions, 0);
	mem_fini(&bad);
}

static void impossible_layouts_are_refused(void **state)
{
	struct mem_layout l = { .num_regions = 0 };

	(void)state;
	assert_layout_refused(&l);
	l = (struct mem_layout){ .num_regions = MEM_MAX_REGIONS + 1 };
	assert_layout_refused(&l);
	l = (struct mem_layout){ .num_regions = 1, .regions = { { 0, 0 } } };
	assert_layout_refused(&l);
	l = (struct mem_layout){ .num_regions = 1, .regions = { { 0, 4095 } } };
	assert_layout_refused(&l);
	l = (struct mem_layout){ .num_regions = 1, .regions = { { 1, 4096 } } };
	assert_layout_refused(&l);
	l = (struct mem_layout){ .num_regions = 1, .regions = { { 0, -4096ull } } };
	assert_layout_refused(&l);
	l = (struct mem_layout){ .num_regions = 1, .regions = { { -4096ull, 8192 } } };
	assert_layout_refused(&l);
	l = (struct mem_layout){ .num_regions = 2, .regions = { { 0, 8192 }, { 4096, 4096 } } };
	assert_layout_refused(&l);
	l = (struct mem_layout){ .num_regions = 2, .regions = { { 8192, 4096 }, { 0, 4096 } } };
	assert_layout_refused(&l);
}

static void a_file_is_mapped_privately(void **state)
{
	struct guest_mem restored;
	uint8_t byte = 0;
	struct err e;
	int fd = memfd_create("mem", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(ftruncate(fd, 3 * MIB + 4096), 0);
	assert_int_equal(pwrite(fd, "low", 3, 10), 3);
	assert_int_equal(pwrite(fd, "high", 4, 2 * MIB), 4);
	assert_int_equal(mem_init_file(&restored, &two, fd, &e), 0);
	assert_int_equal(restored.backing_fd, fd);
	assert_memory_equal(mem_host(&restored, 10, 3), "low", 3);
	assert_memory_equal(mem_host(&restored, 1ull << 32, 4), "high", 4);
	assert_true(mem_write(&restored, 10, "X", 1));
	assert_int_equal(pread(fd, &byte, 1, 10), 1);
	assert_int_equal(byte, 'l');
	mem_fini(&restored);
	assert_int_equal(fcntl(fd, F_GETFD), -1); /* it was the memory's */
}

static void a_failed_mapping_closes_the_file(void **state)
{
	struct mem_layout bad = { .num_regions = 0 };
	struct guest_mem restored;
	struct err e;
	int fd = memfd_create("mem", MFD_CLOEXEC), wronly = open("/dev/null", O_WRONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(mem_init_file(&restored, &bad, fd, &e), -EINVAL);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_true(mem_init_file(&restored, &two, wronly, &e) < 0);
	assert_int_equal(fcntl(wronly, F_GETFD), -1);
	mem_fini(&restored);
}

static void zeroed_memory_can_be_finished(void **state)
{
	struct guest_mem zeroed = { .num_regions = 0 }; /* backing_fd is 0: not ours to close */
	int before = fcntl(0, F_GETFD);

	(void)state;
	mem_fini(&zeroed);
	assert_int_equal(fcntl(0, F_GETFD), before);
}

static void memory_costs_nothing_before_it_is_used(void **state)
{
	const struct mem_layout huge = { .num_regions = 1, .regions = { { 0, 256ull * 1024 * MIB } } };
	struct guest_mem big;
	struct err e;

	(void)state;
	assert_int_equal(mem_init_anonymous(&big, &huge, &e), 0);
	assert_true(mem_write(&big, 255ull * 1024 * MIB, "x", 1));
	mem_fini(&big);
}

/* Whether the kernel has the flag "hg" for the mapping that host lies in. */
static bool is_advised(const uint8_t *host)
{
	_cleanup_free_ char *line = NULL;
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long long start, end;
	bool found = false, advised = false;
	size_t size = 0;

	assert_non_null(f);
	while (getline(&line, &size, f) > 0) {
		if (sscanf(line, "%llx-%llx ", &start, &end) == 2) /* neighbours may be one to the kernel */
			found = start <= (uintptr_t)host && (uintptr_t)host < end;
		else if (found && !strncmp(line, "VmFlags:", 8))
			advised = strstr(line, " hg") != NULL;
	}
	fclose(f);
	return advised;
}

static void huge_pages_are_asked_for_in_each_region(void **state)
{
	struct err e;

	(void)state;
	if (access("/sys/kernel/mm/transparent_hugepage", F_OK) < 0) {
		assert_true(mem_use_huge_pages(&mem, &e) < 0);
		skip();
	}
	assert_false(is_advised(mem.regions[0].host));
	assert_int_equal(mem_use_huge_pages(&mem, &e), 0);
	for (unsigned int i = 0; i < mem.num_regions; i++)
		assert_true(is_advised(mem.regions[i].host));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(regions_follow_each_other_in_the_file),
		cmocka_unit_test(a_range_lies_whole_in_one_region_or_does_not_exist),
		cmocka_unit_test(copies_are_all_or_nothing),
		cmocka_unit_test(impossible_layouts_are_refused),
		cmocka_unit_test(a_file_is_mapped_privately),
		cmocka_unit_test(a_failed_mapping_closes_the_file),
		cmocka_unit_test(zeroed_memory_can_be_finished),
		cmocka_unit_test(memory_costs_nothing_before_it_is_used),
		cmocka_unit_test(huge_pages_are_asked_for_in_each_region),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
