// SPDX-License-Identifier: Apache-2.0
/* mem/track: what has changed since a mark, by whoever it was; nothing that did is missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "guest_ram.h"
#include "mem/pages.h"
#include "mem/place.h"
#include "mem/track.h"

#define PAGE  MEM_PAGE_SIZE
#define PAGES 130u /* of the first region: two words and a bit */
#define HIGH  (1ull << 32)

static const struct mem_layout layout = {
	.num_regions = 2,
	.regions = { { .gpa = 0, .size = PAGES * PAGE }, { .gpa = HIGH, .size = 4 * PAGE } },
};

/* The guest's log: what it has written since it was asked. */
struct fake_log {
	uint64_t bits[2][3];
	int error;
	unsigned int asked;
};

static struct guest_mem mem;
static struct fake_log guest;

static int fake_collect(void *ctx, unsigned int region, uint64_t *bitmap)
{
	struct fake_log *f = ctx;

	f->asked++;
	if (f->error)
		return f->error;
	for (unsigned int i = 0; i < (region ? 1 : 3); i++) {
		bitmap[i] |= f->bits[region][i];
		f->bits[region][i] = 0;
	}
	return 0;
}

static int setup(void **state)
{
	struct err e;

	(void)state;
	memset(&guest, 0, sizeof(guest));
	if (mem_init_anonymous(&mem, &layout, &e))
		return -1;
	mem_set_guest_log(&mem, &(struct mem_guest_log){ .collect = fake_collect, .ctx = &guest });
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	mem_fini(&mem);
	return 0;
}

static void mark(void)
{
	struct err e;

	assert_int_equal(mem_mark(&mem, &e), 0);
}

/* Have exactly pages first to last of the region changed? first > last: none. */
static void assert_changed(unsigned int region, unsigned int first, unsigned int last)
{
	uint64_t bitmap[3] = { 0 };
	struct err e;

	assert_int_equal(mem_bitmap_len(&mem.regions[region]), region ? 1 : 3);
	assert_int_equal(mem_changed_since_mark(&mem, region, bitmap, &e), 0);
	for (unsigned int page = 0; page < sizeof(bitmap) * 8; page++)
		if ((bitmap[page / 64] >> page % 64 & 1) != (page >= first && page <= last))
			fail_msg("page %u of region %u: %s", page, region,
				 page >= first && page <= last ? "has changed" : "has not changed");
}

static void nothing_has_changed_after_a_mark(void **state)
{
	(void)state;
	assert_true(mem_write(&mem, 0, "x", 1));
	guest.bits[0][1] = 5;
	mark();
	assert_changed(0, 1, 0);
	assert_changed(1, 1, 0);
}

static void copies_and_stores_are_noted(void **state)
{
	static const uint8_t data[2 * PAGE];
	struct mem_place place;

	(void)state;
	assert_true(mem_find_place(&mem, HIGH + PAGE, 3 * PAGE, &place));
	mark();
	assert_true(mem_write(&mem, 63 * PAGE + PAGE - 1, data, PAGE + 2)); /* three pages, across a word */
	assert_changed(0, 63, 65);
	assert_changed(1, 1, 0);
	mark();
	mem_place_store_le16(&place, 2 * PAGE, 0x1234);
	assert_changed(0, 1, 0);
	assert_changed(1, 3, 3);
	assert_memory_equal(mem_host(&mem, HIGH + 3 * PAGE, 2), "\x34\x12", 2);
	mark();
	mem_place_write(&place, PAGE - 1, data, 2);
	assert_changed(1, 1, 2);
	mark();
	assert_true(mem_write(&mem, PAGES * PAGE - 1, data, 1)); /* the last byte */
	assert_changed(0, PAGES - 1, PAGES - 1);
}

static void what_is_no_memory_changes_nothing(void **state)
{
	struct mem_place place;

	(void)state;
	mark();
	assert_false(mem_write(&mem, PAGES * PAGE - 1, "xy", 2));
	assert_false(mem_find_place(&mem, PAGES * PAGE - 1, 2, &place));
	assert_null(mem_lease_write(&mem, HIGH + 4 * PAGE, 1));
	assert_int_equal(mem.num_leases, 0);
	assert_changed(0, 1, 0);
	assert_changed(1, 1, 0);
}

static void a_lease_is_noted_when_it_is_given_back(void **state)
{
	uint8_t *a, *b;

	(void)state;
	mark();
	a = mem_lease_write(&mem, 10 * PAGE, 2 * PAGE);
	b = mem_lease_write(&mem, HIGH, 1);
	assert_int_equal(mem.num_leases, 2);
	a[0] = 1;
	mem_release_write(&mem, a, 2 * PAGE);
	assert_changed(0, 10, 11);
	assert_changed(1, 1, 0);
	/* Taken before a mark, and given back after it: nobody knows when it was written. */
	mark();
	mem_release_write(&mem, b, 1);
	assert_changed(0, 1, 0);
	assert_changed(1, 0, 0);
	assert_int_equal(mem.num_leases, 0);
}

/* KVM gives each bit once. */
static void the_guests_log_is_remembered(void **state)
{
	(void)state;
	mark();
	guest.bits[0][2] = 3;
	assert_true(mem_write(&mem, 127 * PAGE, "x", 1));
	assert_changed(0, 127, 129);
	assert_int_equal(guest.bits[0][2], 0);
	assert_changed(0, 127, 129);
	mark();
	assert_changed(0, 1, 0);
}

static void an_error_of_the_log_loses_nothing(void **state)
{
	uint64_t bitmap[3];
	struct err e;

	(void)state;
	mark();
	assert_true(mem_write(&mem, 5 * PAGE, "x", 1));
	guest.error = -EIO;
	assert_int_equal(mem_changed_since_mark(&mem, 0, bitmap, &e), -EIO);
	assert_int_equal(mem_mark(&mem, &e), -EIO);
	guest.error = 0;
	assert_changed(0, 5, 5);
}

static void without_a_mark_there_is_no_answer(void **state)
{
	uint64_t bitmap[3];
	struct err e;

	(void)state;
	assert_int_equal(mem_changed_since_mark(&mem, 0, bitmap, &e), -EINVAL);
	assert_true(mem_write(&mem, 0, "x", 1));
	mark();
	mem_unmark(&mem);
	assert_true(mem_write(&mem, 0, "x", 1));
	assert_int_equal(mem_changed_since_mark(&mem, 0, bitmap, &e), -EINVAL);
	assert_null(mem.regions[0].discarded);
}

/* The guest writes unseen: all that the process has pages for may have changed, and nothing else can have. */
static void without_a_log_own_pages_count_as_changed(void **state)
{
	(void)state;
	madvise(mem.regions[0].writable, PAGES * PAGE, MADV_NOHUGEPAGE);
	mem_set_guest_log(&mem, &(struct mem_guest_log){ .collect = NULL });
	assert_true(guest_write(&mem, 7 * PAGE, "x", 1));
	mark();
	assert_true(guest_write(&mem, 8 * PAGE, "x", 1));
	assert_true(mem_write(&mem, 9 * PAGE, "x", 1));
	assert_changed(0, 7, 9);
	assert_int_equal(guest.asked, 0);
}

static void a_page_that_is_given_back_has_changed(void **state)
{
	(void)state;
	assert_true(mem_write(&mem, 4 * PAGE, "x", 1));
	mark();
	assert_int_equal(mem_discard(&mem, 4 * PAGE, 2 * PAGE), 0);
	assert_changed(0, 4, 5);
}

static void *write_odd_pages(void *arg)
{
	(void)arg;
	for (unsigned int page = 1; page < PAGES; page += 2)
		(void)!mem_write(&mem, page * PAGE, "x", 1);
	return NULL;
}

/* Devices have a lock each, not one together. */
static void threads_note_pages_in_the_same_word(void **state)
{
	pthread_t thread;

	(void)state;
	for (unsigned int round = 0; round < 200; round++) {
		mark();
		assert_int_equal(pthread_create(&thread, NULL, write_odd_pages, NULL), 0);
		for (unsigned int page = 0; page < PAGES; page += 2)
			(void)!mem_write(&mem, page * PAGE, "y", 1);
		assert_int_equal(pthread_join(thread, NULL), 0);
		assert_changed(0, 0, PAGES - 1);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_has_changed_after_a_mark),	     TEST(copies_and_stores_are_noted),
		TEST(what_is_no_memory_changes_nothing),     TEST(a_lease_is_noted_when_it_is_given_back),
		TEST(the_guests_log_is_remembered),	     TEST(an_error_of_the_log_loses_nothing),
		TEST(without_a_mark_there_is_no_answer),     TEST(without_a_log_own_pages_count_as_changed),
		TEST(a_page_that_is_given_back_has_changed), TEST(threads_note_pages_in_the_same_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
