// SPDX-License-Identifier: Apache-2.0
/*
 * mem/touched, mem/ahead: what a machine has touched, in that order; and pages that are mapped before anybody needs them,
 * which changes nothing that can be asked.
 *
 * The files are memfds with holes: the kernel has nothing there that it could map beside what is touched.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest_ram.h"
#include "mem/ahead.h"
#include "mem/pages.h"
#include "mem/touched.h"
#include "mem/track.h"

#define PAGE	 MEM_PAGE_SIZE
#define PAGES	 256u
#define HIGH	 (1ull << 32)
#define MAX_RUNS 16u
#define ROUNDS	 40

static const struct mem_layout layout = {
	.num_regions = 2,
	.regions = { { .gpa = 0, .size = PAGES * PAGE }, { .gpa = HIGH, .size = 4 * PAGE } },
};

static struct guest_mem mem;
static struct mem_touched touched;
static int file; /* the memory's, which has it */

static void map_holes(void)
{
	struct err e;

	file = memfd_create("mem", MFD_CLOEXEC);
	assert_int_equal(ftruncate(file, (PAGES + 4) * PAGE), 0);
	assert_int_equal(mem_init_file(&mem, &layout, file, &e), 0);
}

static void fill_file(void)
{
	uint8_t page[PAGE];

	memset(page, 'F', sizeof(page));
	for (uint64_t at = 0; at < (PAGES + 4) * PAGE; at += PAGE)
		assert_int_equal(pwrite(file, page, PAGE, (off_t)at), PAGE);
}

static void begin(size_t max_runs)
{
	struct err e;

	map_holes();
	assert_int_equal(mem_touched_init(&touched, &mem, max_runs, &e), 0);
}

static void end(void)
{
	mem_touched_end(&touched);
	mem_touched_fini(&touched);
	mem_fini(&mem);
}

static void read_page(gpa_t gpa)
{
	const volatile uint8_t *page = mem_host(&mem, gpa, PAGE);

	(void)*page;
}

static void assert_run(size_t i, uint64_t page, uint64_t pages)
{
	assert_true(i < touched.num_runs);
	assert_int_equal(touched.runs[i].offset / PAGE, page);
	assert_int_equal(touched.runs[i].len / PAGE, pages);
}

static void runs_are_in_the_order_of_the_looks_and_then_the_largest_first(void **state)
{
	(void)state;
	begin(MAX_RUNS);
	assert_int_equal(mem_touched_look(&touched), 0);
	assert_int_equal(touched.num_runs, 0);
	read_page(5 * PAGE);
	assert_int_equal(mem_touched_look(&touched), 0);
	read_page(2 * PAGE);
	assert_true(guest_write(&mem, 9 * PAGE, "x", 1));
	for (unsigned int page = 20; page < 28; page++)
		read_page(page * PAGE);
	read_page(HIGH + PAGE);
	read_page(5 * PAGE); /* once is enough */
	assert_int_equal(mem_touched_look(&touched), 0);
	assert_int_equal(touched.num_runs, 5);
	assert_run(0, 5, 1);
	assert_run(1, 20, 8);
	assert_run(2, 2, 1);
	assert_run(3, 9, 1);
	assert_run(4, PAGES + 1, 1); /* regions follow each other in the file */
	end();
}

static void a_run_goes_on_at_the_seam_of_two_regions(void **state)
{
	(void)state;
	begin(MAX_RUNS);
	read_page((PAGES - 1) * PAGE);
	read_page(HIGH);
	assert_int_equal(mem_touched_look(&touched), 0);
	assert_int_equal(touched.num_runs, 1);
	assert_run(0, PAGES - 1, 2);
	end();
}

static void a_page_that_was_given_back_is_not_recorded(void **state)
{
	(void)state;
	begin(MAX_RUNS);
	read_page(4 * PAGE);
	assert_int_equal(mem_discard(&mem, 4 * PAGE, 2 * PAGE), 0);
	read_page(4 * PAGE);
	assert_true(guest_write(&mem, 5 * PAGE, "x", 1));
	read_page(6 * PAGE);
	assert_int_equal(mem_touched_look(&touched), 0);
	assert_int_equal(touched.num_runs, 1);
	assert_run(0, 6, 1);
	end();
}

static void what_comes_after_too_many_runs_is_left_out(void **state)
{
	(void)state;
	begin(2);
	read_page(10 * PAGE);
	read_page(12 * PAGE);
	assert_int_equal(mem_touched_look(&touched), 0);
	read_page(2 * PAGE);
	read_page(30 * PAGE);
	assert_int_equal(mem_touched_look(&touched), -ENOSPC);
	assert_int_equal(touched.num_runs, 2);
	assert_run(0, 10, 1);
	assert_run(1, 12, 1);
	end();
}

static void memory_that_is_of_no_file_has_no_working_set(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(mem_init_anonymous(&mem, &layout, &e), 0);
	assert_int_equal(mem_check_ahead(&mem, &e), -EOPNOTSUPP);
	assert_int_equal(mem_touched_init(&touched, &mem, MAX_RUNS, &e), -EOPNOTSUPP);
	mem_fini(&mem);
}

static enum mem_content content(uint64_t page)
{
	struct mem_survey survey;
	enum mem_content found;
	uint64_t run;

	assert_int_equal(mem_survey_init(&survey, &mem), 0);
	found = mem_survey_next(&survey, 0, page * PAGE, &run);
	mem_survey_fini(&survey);
	return found;
}

static bool is_mapped(uint64_t page)
{
	struct pagemap pagemap;
	uint64_t run;
	bool mapped;

	assert_int_equal(pagemap_init(&pagemap), 0);
	mapped = pagemap_next_mapped(&pagemap, mem.regions[0].host + page * PAGE, PAGE, &run);
	pagemap_fini(&pagemap);
	return mapped;
}

static void assert_page(uint64_t page, uint8_t value)
{
	const volatile uint8_t *bytes = mem_host(&mem, page * PAGE, PAGE);

	for (unsigned int i = 0; i < PAGE; i++)
		assert_int_equal(bytes[i], value);
}

static void pages_that_are_mapped_ahead_are_still_the_files(void **state)
{
	struct err e;

	(void)state;
	map_holes();
	fill_file();
	assert_int_equal(mem_check_ahead(&mem, &e), 0);
	mem_will_need(&mem, 8 * PAGE, 8 * PAGE);
	assert_false(is_mapped(8));
	assert_int_equal(mem_map_ahead(&mem, 8 * PAGE, 8 * PAGE), 0);
	for (uint64_t page = 8; page < 16; page++) {
		assert_true(is_mapped(page));
		assert_int_equal(content(page), MEM_AS_FILE);
		assert_page(page, 'F');
	}
	mem_fini(&mem);
}

static void an_own_page_stays_as_it_is(void **state)
{
	uint64_t changed[PAGES / 64];
	struct err e;

	(void)state;
	map_holes();
	fill_file();
	assert_int_equal(mem_mark(&mem, &e), 0);
	assert_true(guest_write(&mem, 8 * PAGE, "own", 3));
	assert_int_equal(mem_map_ahead(&mem, 0, (PAGES + 4) * PAGE), 0);
	assert_int_equal(content(8), MEM_OWN);
	assert_memory_equal(mem_host(&mem, 8 * PAGE, 3), "own", 3);
	/* Nor does a diff have more than what was changed. */
	assert_int_equal(mem_changed_since_mark(&mem, 0, changed, &e), 0);
	assert_true(changed[0] == 1ull << 8);
	for (size_t i = 1; i < PAGES / 64; i++)
		assert_true(changed[i] == 0);
	mem_fini(&mem);
}

static void a_page_that_was_given_back_is_left_out(void **state)
{
	(void)state;
	map_holes();
	fill_file();
	assert_int_equal(mem_discard(&mem, 8 * PAGE, 2 * PAGE), 0);
	assert_int_equal(mem_map_ahead(&mem, 0, 16 * PAGE), 0);
	assert_true(is_mapped(7));
	assert_false(is_mapped(8));
	assert_false(is_mapped(9));
	assert_true(is_mapped(10));
	assert_int_equal(content(8), MEM_ZERO);
	assert_page(8, 0);
	mem_fini(&mem);
}

static void a_file_that_was_cut_is_an_error_and_no_signal(void **state)
{
	(void)state;
	map_holes();
	fill_file();
	assert_int_equal(ftruncate(file, 8 * PAGE), 0);
	mem_will_need(&mem, 0, 16 * PAGE);
	assert_int_equal(mem_map_ahead(&mem, 0, 16 * PAGE), -EFAULT);
	mem_fini(&mem);
}

static void *map_all_again_and_again(void *arg)
{
	const bool *stop = arg;

	while (!__atomic_load_n(stop, __ATOMIC_ACQUIRE))
		(void)!mem_map_ahead(&mem, 0, PAGES * PAGE);
	return NULL;
}

/* While another thread maps everything ahead: a page that was given back never shows the file's bytes again. */
static void giving_back_and_mapping_ahead_at_once(void **state)
{
	pthread_t thread;
	bool stop = false;

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		map_holes();
		fill_file();
		stop = false;
		assert_int_equal(pthread_create(&thread, NULL, map_all_again_and_again, &stop), 0);
		for (uint64_t page = 1; page < 64; page += 3) {
			assert_int_equal(mem_discard(&mem, page * PAGE, PAGE), 0);
			assert_page(page, 0);
		}
		__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
		assert_int_equal(pthread_join(thread, NULL), 0);
		for (uint64_t page = 1; page < 64; page += 3)
			assert_page(page, 0);
		assert_page(2, 'F');
		mem_fini(&mem);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_are_in_the_order_of_the_looks_and_then_the_largest_first),
		cmocka_unit_test(a_run_goes_on_at_the_seam_of_two_regions),
		cmocka_unit_test(a_page_that_was_given_back_is_not_recorded),
		cmocka_unit_test(what_comes_after_too_many_runs_is_left_out),
		cmocka_unit_test(memory_that_is_of_no_file_has_no_working_set),
		cmocka_unit_test(pages_that_are_mapped_ahead_are_still_the_files),
		cmocka_unit_test(an_own_page_stays_as_it_is),
		cmocka_unit_test(a_page_that_was_given_back_is_left_out),
		cmocka_unit_test(a_file_that_was_cut_is_an_error_and_no_signal),
		cmocka_unit_test(giving_back_and_mapping_ahead_at_once),
	};

	return cmocka_run_group_tests_name("touched", tests, NULL, NULL);
}
