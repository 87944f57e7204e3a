// SPDX-License-Identifier: Apache-2.0
/* Memory of hugetlbfs: mem/hugetlb, mem/copied and what discarding is there. The kernel's pages, a real userfaultfd. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "huge_pool.h"
#include "mem/copied.h"
#include "mem/pages.h"
#include "mem/track.h"
#include "mem/userfault.h"
#include "tmpdir.h"

#define PAGE   MEM_PAGE_SIZE
#define HUGE   ((uint64_t)MEM_HUGE_PAGE_SIZE)
#define EACH   (HUGE / PAGE) /* pages of a huge one */
#define HIGH   (1ull << 32)
#define PAGES  4u /* huge ones: three and one */
#define NEEDED PAGES

static const struct mem_layout layout = {
	.huge = true,
	.num_regions = 2,
	.regions = { { .gpa = 0, .size = 3 * HUGE }, { .gpa = HIGH, .size = HUGE } },
};

/* What lies above the file: two pages in the middle of a huge one, and some over the boundary between two. */
static const struct mem_run layer[] = { { 5 * PAGE, 2 * PAGE }, { 2 * HUGE - PAGE, 2 * PAGE } };

static struct fixture {
	struct tmpdir dir;
	struct huge_pool pool;
	struct guest_mem mem;
	int uffd, stop_fd;
	pthread_t thread;
	pthread_mutex_t mutex;
	bool is_served, is_own;
	atomic_uint num_filled;
	atomic_int error;
	uint8_t bytes[HUGE];
	struct mem_copied_page page;
} f;

static void serve(uint64_t address)
{
	uint64_t offset = 0;
	const struct mem_region *region = &f.mem.regions[0];
	int r = 0;

	pthread_mutex_lock(&f.mutex);
	f.num_filled++; /* who waits goes on before this returns */
	if (!f.is_own) {
		offset = (address - (uintptr_t)region->host) / HUGE * HUGE;
		memset(f.bytes, 'H', HUGE);
		r = userfault_copy(f.uffd, region, offset, f.bytes, HUGE);
	} else if (mem_copied_find(&f.mem, address, &f.page)) {
		r = mem_copied_read(&f.page, f.bytes);
		if (r == 0)
			r = mem_copied_put(&f.page, f.uffd, f.bytes);
	}
	f.error = r;
	pthread_mutex_unlock(&f.mutex);
}

static void *server(void *arg)
{
	struct pollfd fds[] = { { .fd = f.stop_fd, .events = POLLIN }, { .fd = f.uffd, .events = POLLIN } };
	struct uffd_msg msg;

	while (poll(fds, 2, -1) >= 0 && !fds[0].revents)
		if (read(f.uffd, &msg, sizeof(msg)) == sizeof(msg))
			serve(msg.arg.pagefault.address);
	return arg;
}

static int populate(void *ctx, const struct mem_region *region, uint64_t offset, uint64_t len)
{
	(void)ctx;
	for (uint64_t at = 0; at < len; at += PAGE)
		(void)*(const volatile uint8_t *)(region->host + offset + at);
	return 0;
}

static int discard(void *ctx, const struct mem_region *region, uint64_t offset, uint64_t len)
{
	static const uint8_t zeroes[HUGE];

	(void)ctx;
	if (!f.is_own)
		return userfault_discard_huge(f.uffd, &f.mem, region, offset, len, zeroes);
	pthread_mutex_lock(&f.mutex);
	mem_copied_discard(&f.mem, region, offset, len);
	pthread_mutex_unlock(&f.mutex);
	return 0;
}

static const struct mem_handler handler = { .populate = populate, .discard = discard };

static int setup(void **state)
{
	(void)state;
	memset(&f, 0, sizeof(f));
	pthread_mutex_init(&f.mutex, NULL);
	(void)huge_pool_take(&f.pool, NEEDED); /* else the tests are skipped */
	return tmpdir_make(&f.dir);
}

static int teardown(void **state)
{
	(void)state;
	if (f.is_served) {
		(void)eventfd_write(f.stop_fd, 1);
		pthread_join(f.thread, NULL);
		close(f.stop_fd);
		close(f.uffd);
	}
	mem_fini(&f.mem);
	huge_pool_give(&f.pool);
	tmpdir_remove(&f.dir);
	return 0;
}

static void need_pages(void)
{
	if (f.pool.fd < 0)
		skip();
}

/* A file whose pages begin with kind and their number. */
static int make_file(const char *name, char kind)
{
	int fd = open(tmpdir_file(&f.dir, name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, PAGES * HUGE), 0);
	for (uint64_t page = 0; page < PAGES * EACH; page++) {
		uint16_t number[2] = { (uint16_t)kind, (uint16_t)page };

		assert_int_equal(pwrite(fd, number, sizeof(number), (off_t)(page * PAGE)), sizeof(number));
	}
	return fd;
}

static void start_server(void)
{
	struct err e;

	need_pages();
	if (userfault_open(&f.uffd, &e) == -EPERM)
		skip();
	assert_int_equal(userfault_register(f.uffd, &f.mem, &e), 0);
	f.stop_fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(pthread_create(&f.thread, NULL, server, NULL), 0);
	f.is_served = true;
}

/* Memory of two files. */
static void map_files(void)
{
	struct err e;

	need_pages();
	f.is_own = true;
	assert_int_equal(mem_init_file(&f.mem, &layout, make_file("below", 'B'), &e), 0);
	assert_int_equal(mem_add_layer(&f.mem, make_file("above", 'A'), layer, 2, &e), 0);
	mem_set_handler(&f.mem, &handler);
	start_server();
}

static void assert_page(gpa_t gpa, char kind, unsigned int number)
{
	uint16_t has[2];

	assert_true(mem_read(&f.mem, gpa, has, sizeof(has)));
	assert_int_equal(has[0], kind);
	assert_int_equal(has[1], number);
}

static void assert_zero(gpa_t gpa, uint64_t len)
{
	static const uint8_t zeroes[PAGE];

	for (uint64_t at = 0; at < len; at += PAGE)
		assert_memory_equal(mem_host(&f.mem, gpa + at, PAGE), zeroes, PAGE);
}

static void assert_content(struct mem_survey *s, uint64_t page, enum mem_content content, uint64_t num)
{
	uint64_t run;

	assert_int_equal(mem_survey_next(s, 0, page * PAGE, &run), content);
	assert_int_equal(run / PAGE, num);
}

static void pages_are_reserved_and_used(void **state)
{
	long left = huge_pool_left(), free = huge_pool_number(HUGE_POOL "free_hugepages");
	struct err e;

	(void)state;
	need_pages();
	assert_int_equal(mem_init_anonymous(&f.mem, &layout, &e), 0);
	assert_int_equal(huge_pool_left(), left - PAGES);
	assert_int_equal(huge_pool_number(HUGE_POOL "free_hugepages"), free);
	assert_true(mem_write(&f.mem, HUGE + 1, "x", 1));
	assert_int_equal(huge_pool_number(HUGE_POOL "free_hugepages"), free - 1);
	mem_fini(&f.mem);
	assert_int_equal(huge_pool_left(), left);
}

static void what_there_is_too_little_of_is_refused_with_numbers(void **state)
{
	const struct mem_layout odd = { .huge = true, .num_regions = 1, .regions = { { 0, HUGE + PAGE } } };
	struct mem_layout large = layout;
	char expected[160];
	long left;
	struct err e;

	(void)state;
	need_pages();
	left = huge_pool_left();
	large.regions[1].size = (uint64_t)left * HUGE;
	assert_int_equal(mem_init_anonymous(&f.mem, &large, &e), -ENOMEM);
	snprintf(expected, sizeof(expected), "huge_pages is 2M: %ld pages of 2 MiB are needed, and %ld of the host's",
		 left + 3, left);
	assert_non_null(strstr(e.text, expected));
	assert_int_equal(huge_pool_left(), left);
	assert_int_equal(mem_init_anonymous(&f.mem, &odd, &e), -EINVAL);
	assert_non_null(strstr(e.text, "0x201000 bytes is no multiple of 2 MiB"));
}

/* The kernel's MADV_DONTNEED says yes to a part of a huge page, and does nothing. */
static void what_is_given_back_is_zero_and_stays_reserved(void **state)
{
	struct err e;
	long free;

	(void)state;
	need_pages();
	assert_int_equal(mem_init_anonymous(&f.mem, &layout, &e), 0);
	for (uint64_t page = 0; page < 3 * EACH; page++)
		assert_true(mem_write(&f.mem, page * PAGE, "own", 4));
	free = huge_pool_left();
	assert_int_equal(mem_discard(&f.mem, 3 * PAGE, PAGE), 0);
	assert_int_equal(mem_discard(&f.mem, HUGE, HUGE), 0);
	assert_int_equal(mem_discard(&f.mem, 3 * HUGE - PAGE, PAGE), 0);
	assert_zero(3 * PAGE, PAGE);
	assert_zero(HUGE, HUGE);
	assert_zero(3 * HUGE - PAGE, PAGE);
	assert_string_equal(mem_host(&f.mem, 4 * PAGE, 4), "own");
	assert_string_equal(mem_host(&f.mem, 2 * HUGE, 4), "own");
	assert_int_equal(huge_pool_left(), free);
}

static void a_page_is_copied_from_the_files_that_have_it(void **state)
{
	(void)state;
	map_files();
	assert_page(0, 'B', 0);
	assert_page(5 * PAGE, 'A', 5);
	assert_page(7 * PAGE, 'B', 7);
	assert_int_equal(f.num_filled, 1);
	assert_page(2 * HUGE - PAGE, 'A', 2 * EACH - 1);
	assert_page(2 * HUGE, 'A', 2 * EACH);
	assert_page(2 * HUGE + PAGE, 'B', 2 * EACH + 1);
	assert_page(HIGH + 3 * PAGE, 'B', 3 * EACH + 3);
	assert_int_equal(f.num_filled, 4);
	assert_true(mem_write(&f.mem, 5 * PAGE, "own", 4));
	assert_string_equal(mem_host(&f.mem, 5 * PAGE, 4), "own");
	assert_int_equal(f.error, 0);
}

static void what_was_not_touched_is_the_files(void **state)
{
	struct mem_survey s;

	(void)state;
	map_files();
	assert_int_equal(mem_survey_init(&s, &f.mem), 0);
	assert_content(&s, 0, MEM_AS_FILE, 5);
	assert_int_equal(s.file, f.mem.backing_fd);
	assert_content(&s, 5, MEM_AS_FILE, 2);
	assert_int_equal(s.file, f.mem.layer_fds[0]);
	assert_page(HUGE, 'B', EACH);
	assert_content(&s, EACH - 1, MEM_AS_FILE, 1);
	assert_content(&s, EACH, MEM_OWN, EACH);
	assert_content(&s, EACH + 7, MEM_OWN, EACH - 7);
	assert_content(&s, 2 * EACH, MEM_AS_FILE, 1);
	mem_survey_fini(&s);
}

static void what_was_given_back_never_shows_the_files_again(void **state)
{
	struct mem_survey s;

	(void)state;
	map_files();
	assert_page(0, 'B', 0);
	/* A part of what is there; a part and the whole of what is not. */
	assert_int_equal(mem_discard(&f.mem, 2 * PAGE, PAGE), 0);
	assert_int_equal(mem_discard(&f.mem, HUGE + PAGE, 3 * PAGE), 0);
	assert_int_equal(mem_discard(&f.mem, HIGH, HUGE), 0);
	assert_int_equal(f.num_filled, 1); /* nobody has waited for a file */
	assert_int_equal(mem_survey_init(&s, &f.mem), 0);
	assert_content(&s, EACH, MEM_AS_FILE, 1);
	assert_content(&s, EACH + 1, MEM_ZERO, 3);
	assert_content(&s, EACH + 4, MEM_AS_FILE, EACH - 5);
	mem_survey_fini(&s);
	assert_zero(2 * PAGE, PAGE);
	assert_zero(HUGE + PAGE, 3 * PAGE);
	assert_page(HUGE + 4 * PAGE, 'B', EACH + 4);
	assert_zero(HIGH, HUGE);
	assert_true(mem_write(&f.mem, HUGE + PAGE, "own", 4));
	assert_int_equal(mem_discard(&f.mem, HUGE + PAGE, PAGE), 0);
	assert_zero(HUGE + PAGE, PAGE);
}

/* Reading takes a while, and is done without the lock. */
static void what_is_given_back_while_it_is_read_is_zero(void **state)
{
	static struct mem_copied_page page;
	static uint8_t bytes[HUGE];

	(void)state;
	map_files();
	assert_true(mem_copied_find(&f.mem, (uintptr_t)f.mem.regions[0].host + HUGE + 9, &page));
	assert_int_equal(mem_copied_read(&page, bytes), 0);
	assert_int_equal(mem_discard(&f.mem, HUGE, 2 * PAGE), 0);
	assert_int_equal(mem_copied_put(&page, f.uffd, bytes), 0);
	assert_zero(HUGE, 2 * PAGE);
	assert_page(HUGE + 2 * PAGE, 'B', EACH + 2);
	assert_int_equal(f.num_filled, 0);
	assert_false(mem_copied_find(&f.mem, (uintptr_t)f.mem.regions[0].host + HUGE, &page)); /* it is there */
	assert_false(mem_copied_find(&f.mem, (uintptr_t)f.mem.regions[0].host - 1, &page));
}

static void a_file_that_was_cut_is_an_error(void **state)
{
	static struct mem_copied_page page;

	(void)state;
	map_files();
	assert_int_equal(ftruncate(f.mem.backing_fd, HUGE + PAGE), 0);
	assert_true(mem_copied_find(&f.mem, (uintptr_t)f.mem.regions[0].host + HUGE, &page));
	assert_int_equal(mem_copied_read(&page, f.bytes), -ENODATA);
	assert_page(0, 'B', 0);
}

/* Nobody is left out: without a log of the guest's a huge page counts as a whole. */
static void what_was_touched_has_changed_and_what_was_not_has_not(void **state)
{
	uint64_t changed[3 * EACH / 64];
	struct err e;

	(void)state;
	map_files();
	assert_int_equal(mem_mark(&f.mem, &e), 0);
	assert_true(mem_write(&f.mem, HUGE + PAGE, "own", 4));
	assert_int_equal(mem_discard(&f.mem, 2 * HUGE, PAGE), 0);
	memset(changed, 0, sizeof(changed));
	assert_int_equal(mem_changed_since_mark(&f.mem, 0, changed, &e), 0);
	for (uint64_t page = 0; page < 3 * EACH; page++)
		assert_int_equal(changed[page / 64] >> page % 64 & 1, page >= EACH && page <= 2 * EACH);
}

static void a_handlers_pages_are_zero_once_they_are_given_back(void **state)
{
	const struct mem_layout one = { .huge = true, .num_regions = 1, .regions = { { 0, 4 * HUGE } } };
	struct err e;

	(void)state;
	need_pages();
	assert_int_equal(mem_init_handler(&f.mem, &one, &handler, &e), 0);
	start_server();
	assert_int_equal(*(const uint8_t *)mem_host(&f.mem, 0, 1), 'H');
	assert_int_equal(mem_discard(&f.mem, PAGE, 2 * PAGE), 0); /* it is there */
	assert_zero(PAGE, 2 * PAGE);
	assert_int_equal(mem_discard(&f.mem, 0, HUGE), 0);
	assert_zero(0, HUGE);
	assert_int_equal(f.num_filled, 1);
	/* It is not: a whole one is not asked for, of others there is a rest. */
	assert_int_equal(mem_discard(&f.mem, HUGE, HUGE + PAGE), 0);
	assert_int_equal(f.num_filled, 2);
	assert_zero(HUGE, HUGE + PAGE);
	assert_int_equal(*(const uint8_t *)mem_host(&f.mem, 2 * HUGE + PAGE, 1), 'H');
	assert_int_equal(f.num_filled, 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(pages_are_reserved_and_used),
		TEST(what_there_is_too_little_of_is_refused_with_numbers),
		TEST(what_is_given_back_is_zero_and_stays_reserved),
		TEST(a_page_is_copied_from_the_files_that_have_it),
		TEST(what_was_not_touched_is_the_files),
		TEST(what_was_given_back_never_shows_the_files_again),
		TEST(what_is_given_back_while_it_is_read_is_zero),
		TEST(a_file_that_was_cut_is_an_error),
		TEST(what_was_touched_has_changed_and_what_was_not_has_not),
		TEST(a_handlers_pages_are_zero_once_they_are_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
