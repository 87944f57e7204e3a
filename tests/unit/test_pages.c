// SPDX-License-Identifier: Apache-2.0
/* mem/pages: what a page holds, by where it comes from; a page that was given back is zero whatever that is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fake_handler.h"
#include "guest_ram.h"
#include "mem/pages.h"

#define PAGE  MEM_PAGE_SIZE
#define PAGES 64u
#define HIGH  (1ull << 32)

static const struct mem_layout layout = {
	.num_regions = 2,
	.regions = { { .gpa = 0, .size = PAGES * PAGE }, { .gpa = HIGH, .size = 4 * PAGE } },
};

static struct guest_mem mem;

static void no_huge_pages(void)
{
	for (unsigned int i = 0; i < mem.num_regions; i++)
		madvise(mem.regions[i].writable, mem.regions[i].size, MADV_NOHUGEPAGE);
}

static void map_anonymous(void)
{
	struct err e;

	assert_int_equal(mem_init_anonymous(&mem, &layout, &e), 0);
	no_huge_pages();
}

/* A file of 'F's, and memory that maps it. */
static void map_file(const struct mem_layout *of, uint64_t size)
{
	int fd = memfd_create("mem", MFD_CLOEXEC);
	uint8_t page[PAGE];
	struct err e;

	memset(page, 'F', sizeof(page));
	for (uint64_t at = 0; at < size; at += PAGE)
		assert_int_equal(pwrite(fd, page, PAGE, (off_t)at), PAGE);
	assert_int_equal(mem_init_file(&mem, of, fd, &e), 0);
	no_huge_pages();
}

static enum mem_content content(unsigned int region, uint64_t page, uint64_t *num)
{
	struct mem_survey survey;
	enum mem_content found;
	uint64_t run;

	assert_int_equal(mem_survey_init(&survey, &mem), 0);
	found = mem_survey_next(&survey, region, page * PAGE, &run);
	mem_survey_fini(&survey);
	assert_int_equal(run % PAGE, 0);
	*num = run / PAGE;
	return found;
}

static void assert_content(unsigned int region, uint64_t page, enum mem_content wanted, uint64_t num_wanted)
{
	uint64_t num;

	assert_int_equal(content(region, page, &num), wanted);
	assert_int_equal(num, num_wanted);
}

static enum mem_content content_without_pagemap(unsigned int region, uint64_t page, uint64_t *num)
{
	struct rlimit limit, none;
	enum mem_content found;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	found = content(region, page, num);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	return found;
}

static void assert_page(gpa_t gpa, uint8_t value)
{
	const volatile uint8_t *page = mem_host(&mem, gpa, PAGE);

	for (unsigned int i = 0; i < PAGE; i++)
		assert_int_equal(page[i], value);
}

static void anonymous_memory_is_zero_or_own(void **state)
{
	(void)state;
	map_anonymous();
	assert_content(0, 0, MEM_ZERO, PAGES);
	assert_true(guest_write(&mem, 5 * PAGE, "x", 1));
	assert_true(guest_write(&mem, 6 * PAGE, "x", 1));
	assert_content(0, 0, MEM_ZERO, 5);
	assert_content(0, 5, MEM_OWN, 2);
	assert_content(0, 7, MEM_ZERO, PAGES - 7);
	assert_content(1, 0, MEM_ZERO, 4);
	mem_fini(&mem);
}

static void memory_of_a_file_is_the_files_until_it_is_written(void **state)
{
	uint64_t num;

	(void)state;
	map_file(&layout, (PAGES + 4) * PAGE);
	assert_content(0, 0, MEM_AS_FILE, PAGES);
	assert_page(3 * PAGE, 'F'); /* only read */
	assert_content(0, 0, MEM_AS_FILE, PAGES);
	assert_true(guest_write(&mem, HIGH + PAGE, "x", 1));
	assert_content(1, 0, MEM_AS_FILE, 1);
	assert_content(1, 1, MEM_OWN, 1);
	assert_int_equal(content_without_pagemap(1, 0, &num), MEM_DOUBTFUL);
	assert_int_equal(num, 4);
	mem_fini(&mem);
}

static void a_discarded_page_of_anonymous_memory_is_zero(void **state)
{
	(void)state;
	map_anonymous();
	memset(guest_ram(&mem, 0, PAGES * PAGE), 'A', PAGES * PAGE);
	assert_int_equal(mem_discard(&mem, PAGE, 2 * PAGE), 0);
	assert_content(0, 0, MEM_OWN, 1);
	assert_content(0, 1, MEM_ZERO, 2);
	assert_page(0, 'A');
	assert_page(PAGE, 0);
	assert_page(2 * PAGE, 0);
	assert_page(3 * PAGE, 'A');
	mem_fini(&mem);
}

/* MADV_DONTNEED would show the file's bytes, which this test would find. */
static void a_discarded_page_of_a_file_never_shows_the_file_again(void **state)
{
	uint64_t num;

	(void)state;
	map_file(&layout, (PAGES + 4) * PAGE);
	assert_true(guest_write(&mem, 2 * PAGE, "x", 1));
	assert_int_equal(mem_discard(&mem, PAGE, 3 * PAGE), 0); /* one was the guest's, two the file's */
	assert_content(0, 0, MEM_AS_FILE, 1);
	assert_content(0, 1, MEM_ZERO, 3);
	assert_content(0, 4, MEM_AS_FILE, PAGES - 4);
	assert_int_equal(content_without_pagemap(0, 1, &num), MEM_OWN); /* it can be read */
	assert_int_equal(num, 3);
	assert_page(0, 'F');
	for (unsigned int page = 1; page < 4; page++)
		assert_page(page * PAGE, 0);
	assert_page(4 * PAGE, 'F');
	assert_true(guest_write(&mem, PAGE, "y", 1));		 /* the guest takes it back */
	assert_content(0, 1, MEM_OWN, 3);			 /* the zero page was touched above */
	assert_int_equal(mem_discard(&mem, 0, PAGES * PAGE), 0); /* some for the second time */
	for (unsigned int page = 0; page < PAGES; page++)
		assert_page(page * PAGE, 0);
	assert_page(HIGH, 'F');
	mem_fini(&mem);
}

static void only_whole_pages_of_memory_are_discarded(void **state)
{
	(void)state;
	map_file(&layout, (PAGES + 4) * PAGE);
	assert_int_equal(mem_discard(&mem, 1, PAGE), -EINVAL);
	assert_int_equal(mem_discard(&mem, 0, PAGE + 1), -EINVAL);
	assert_int_equal(mem_discard(&mem, 0, 0), -EINVAL);
	assert_int_equal(mem_discard(&mem, 0, (PAGES + 1) * PAGE), -EINVAL);
	assert_int_equal(mem_discard(&mem, HIGH - PAGE, PAGE), -EINVAL);
	assert_int_equal(mem_discard(&mem, HIGH + 3 * PAGE, PAGE), 0);
	assert_page(0, 'F');
	assert_page(HIGH + 2 * PAGE, 'F');
	assert_page(HIGH + 3 * PAGE, 0);
	mem_fini(&mem);
}

static unsigned int num_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned int num = 0;
	int c;

	assert_non_null(maps);
	while ((c = fgetc(maps)) != EOF)
		num += c == '\n';
	fclose(maps);
	return num;
}

/* A process has 65530 mappings, and a guest chooses its pages: it must not be able to use them up. */
static void a_guest_cannot_use_up_the_mappings(void **state)
{
	const struct mem_layout large = { .num_regions = 1, .regions = { { .gpa = 0, .size = 40000 * PAGE } } };
	unsigned int before = num_mappings(), after;

	(void)state;
	map_file(&large, 40000 * PAGE);
	for (uint64_t page = 0; page < 40000; page += 2)
		assert_int_equal(mem_discard(&mem, page * PAGE, PAGE), 0);
	after = num_mappings();
	assert_in_range(after - before, 20000, 34000);
	for (uint64_t page = 0; page < 40000; page += 2) {
		assert_page(page * PAGE, 0);
		assert_int_equal(*(const uint8_t *)mem_host(&mem, (page + 1) * PAGE, 1), 'F');
	}
	/* What joins its neighbours costs nothing more. */
	assert_int_equal(mem_discard(&mem, 0, 1000 * PAGE), 0);
	assert_true(num_mappings() < after - 900);
	assert_page(999 * PAGE, 0);
	mem_fini(&mem);
}

static void what_a_handler_has_is_unserved(void **state)
{
	struct fake_handler h;
	uint64_t num;

	(void)state;
	fake_handler_map(&h, &mem, &layout);
	no_huge_pages();
	assert_content(0, 0, MEM_UNSERVED, PAGES);
	assert_int_equal(mem_populate(&mem, &mem.regions[0], 2 * PAGE, 2 * PAGE), 0);
	assert_content(0, 0, MEM_UNSERVED, 2);
	assert_content(0, 2, MEM_OWN, 2);
	assert_page(2 * PAGE, 'H');
	assert_int_equal(content_without_pagemap(0, 0, &num), MEM_UNSERVED);
	assert_int_equal(num, PAGES);
	assert_int_equal(mem_discard(&mem, PAGE, 2 * PAGE), 0);
	assert_content(0, 0, MEM_UNSERVED, 1);
	assert_content(0, 1, MEM_ZERO, 2);
	assert_content(0, 3, MEM_OWN, 1);
	h.fails = -ETIMEDOUT;
	assert_int_equal(mem_populate(&mem, &mem.regions[1], 0, PAGE), -ETIMEDOUT);
	mem_fini(&mem);
}

static void memory_without_a_handler_is_not_populated(void **state)
{
	(void)state;
	map_anonymous();
	assert_true(mem_populate(&mem, &mem.regions[0], 0, PAGE) < 0);
	mem_fini(&mem);
}

static void what_cannot_be_read_is_an_error(void **state)
{
	uint8_t page[PAGE];

	(void)state;
	map_file(&layout, (PAGES + 4) * PAGE);
	assert_int_equal(mem_read_carefully(&mem.regions[1], PAGE, page, PAGE), 0);
	assert_int_equal(page[PAGE - 1], 'F');
	assert_int_equal(ftruncate(mem.backing_fd, PAGES * PAGE), 0);
	assert_int_equal(mem_read_carefully(&mem.regions[1], PAGE, page, PAGE), -EFAULT);
	assert_int_equal(mem_read_carefully(&mem.regions[0], 0, page, PAGE), 0);
	mem_fini(&mem);
}

static void one_byte_makes_a_page_no_page_of_zeroes(void **state)
{
	static uint8_t page[PAGE];

	(void)state;
	assert_true(mem_page_is_zero(page));
	for (size_t at = 0; at < PAGE; at++) {
		page[at] = 1;
		assert_false(mem_page_is_zero(page));
		page[at] = 0;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_byte_makes_a_page_no_page_of_zeroes),
		cmocka_unit_test(anonymous_memory_is_zero_or_own),
		cmocka_unit_test(memory_of_a_file_is_the_files_until_it_is_written),
		cmocka_unit_test(a_discarded_page_of_anonymous_memory_is_zero),
		cmocka_unit_test(a_discarded_page_of_a_file_never_shows_the_file_again),
		cmocka_unit_test(only_whole_pages_of_memory_are_discarded),
		cmocka_unit_test(a_guest_cannot_use_up_the_mappings),
		cmocka_unit_test(what_a_handler_has_is_unserved),
		cmocka_unit_test(memory_without_a_handler_is_not_populated),
		cmocka_unit_test(what_cannot_be_read_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
