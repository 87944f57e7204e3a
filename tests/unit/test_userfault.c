// SPDX-License-Identifier: Apache-2.0
/* Memory that a real userfaultfd serves; the handler is a thread of the test's. */
#include "mem/userfault.h"

#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "mem/pages.h"

#define PAGE  4096ull
#define PAGES 16ull

static const struct mem_layout layout = { .num_regions = 2,
					  .regions = { { 0, PAGES *PAGE }, { 64 * PAGE, PAGES *PAGE } } };

static struct fixture {
	struct guest_mem mem;
	int uffd, stop_fd;
	pthread_t thread;
	atomic_uint num_faults, num_removed; /* pages that were asked for; that were given back */
	atomic_bool silent;		     /* does not serve, nor read */
} f;

static int serve(uint64_t address)
{
	uint8_t bytes[PAGE];
	struct uffdio_copy copy = { .dst = address, .src = (uintptr_t)bytes, .len = PAGE };

	memset(bytes, 'H', PAGE);
	return ioctl(f.uffd, UFFDIO_COPY, &copy) < 0 ? -errno : 0;
}

static void *handler_thread(void *arg)
{
	struct pollfd fds[] = { { .fd = f.stop_fd, .events = POLLIN }, { .fd = f.uffd, .events = POLLIN } };
	struct uffdio_range page = { .len = PAGE };
	struct uffd_msg msg;

	(void)arg;
	while (poll(fds, 2, 10) >= 0 && !fds[0].revents) {
		if (f.silent || read(f.uffd, &msg, sizeof(msg)) != sizeof(msg))
			continue;
		if (msg.event == UFFD_EVENT_REMOVE) {
			f.num_removed += (unsigned int)((msg.arg.remove.end - msg.arg.remove.start) / PAGE);
			continue;
		}
		f.num_faults++;
		page.start = msg.arg.pagefault.address & ~(PAGE - 1);
		/* There is a REMOVE to be read first: whoever waits asks again. */
		if (serve(page.start) == -EAGAIN)
			(void)ioctl(f.uffd, UFFDIO_WAKE, &page);
	}
	return NULL;
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
	(void)ctx;
	return userfault_discard(f.uffd, region, offset, len);
}

static int setup(void **state)
{
	const struct mem_handler handler = { .populate = populate, .discard = discard };
	struct err e;

	(void)state;
	memset(&f, 0, sizeof(f));
	if (userfault_open(&f.uffd, &e) == -EPERM)
		return 0; /* the tests are skipped */
	f.stop_fd = eventfd(0, 0);
	assert_int_equal(mem_init_handler(&f.mem, &layout, &handler, &e), 0);
	assert_int_equal(userfault_register(f.uffd, &f.mem, &e), 0);
	return pthread_create(&f.thread, NULL, handler_thread, NULL);
}

static int teardown(void **state)
{
	(void)state;
	if (f.mem.num_regions == 0)
		return 0;
	eventfd_write(f.stop_fd, 1);
	pthread_join(f.thread, NULL);
	mem_fini(&f.mem);
	close(f.uffd);
	close(f.stop_fd);
	return 0;
}

static void need_permission(void)
{
	if (f.mem.num_regions == 0)
		skip();
}

static uint8_t byte_at(gpa_t gpa)
{
	uint8_t byte = 0;

	assert_true(mem_read(&f.mem, gpa, &byte, 1));
	return byte;
}

static void a_page_is_the_handlers_until_it_is_written(void **state)
{
	(void)state;
	need_permission();
	assert_int_equal(byte_at(3 * PAGE), 'H');
	assert_true(mem_write(&f.mem, 65 * PAGE, "w", 1));
	assert_int_equal(byte_at(65 * PAGE), 'w');
	assert_int_equal(byte_at(65 * PAGE + 1), 'H');
	assert_int_equal(f.num_faults, 2);
}

static void what_is_prepared_is_not_asked_for_again(void **state)
{
	(void)state;
	need_permission();
	assert_int_equal(mem_prepare(&f.mem, 2 * PAGE - 1, 2), 0);
	assert_int_equal(f.num_faults, 2);
	assert_int_equal(byte_at(PAGE), 'H');
	assert_int_equal(byte_at(2 * PAGE), 'H');
	assert_int_equal(f.num_faults, 2);
	/* No memory: nothing to do. */
	assert_int_equal(mem_prepare(&f.mem, 32 * PAGE, PAGE), 0);
	assert_int_equal(f.num_faults, 2);
}

/* Whether the handler has served it or not: it is told, and never asked again. */
static void a_page_that_is_given_back_is_zero_for_good(void **state)
{
	(void)state;
	need_permission();
	assert_int_equal(byte_at(3 * PAGE), 'H');
	assert_int_equal(mem_discard(&f.mem, 2 * PAGE, 4 * PAGE), 0);
	for (unsigned int i = 0; i < 1000 && f.num_removed < 4; i++) /* it counts after it has read */
		usleep(1000);
	assert_int_equal(f.num_removed, 4);
	for (uint64_t page = 2; page < 6; page++)
		assert_int_equal(byte_at(page * PAGE), 0);
	assert_int_equal(f.num_faults, 1);
	/* A handler that serves all the same, ahead of a touch, finds that there is a page. */
	assert_int_equal(serve((uintptr_t)f.mem.regions[0].host + 4 * PAGE), -EEXIST);
	assert_int_equal(byte_at(4 * PAGE), 0);
	/* The guest uses it, and gives it back once more. */
	assert_true(mem_write(&f.mem, 4 * PAGE, "g", 1));
	assert_int_equal(mem_discard(&f.mem, 4 * PAGE, PAGE), 0);
	assert_int_equal(byte_at(4 * PAGE), 0);
	assert_int_equal(byte_at(6 * PAGE), 'H');
}

/* A snapshot finds zeroes there, and asks nobody. */
static void what_was_given_back_is_the_machines_own(void **state)
{
	struct mem_survey survey;
	uint64_t run;

	(void)state;
	need_permission();
	assert_int_equal(mem_discard(&f.mem, 2 * PAGE, 4 * PAGE), 0);
	assert_int_equal(mem_survey_init(&survey, &f.mem), 0);
	assert_int_equal(mem_survey_next(&survey, 0, 0, &run), MEM_UNSERVED);
	assert_int_equal(run, 2 * PAGE);
	assert_int_equal(mem_survey_next(&survey, 0, 2 * PAGE, &run), MEM_OWN);
	assert_int_equal(run, 4 * PAGE);
	assert_int_equal(mem_survey_next(&survey, 0, 6 * PAGE, &run), MEM_UNSERVED);
	mem_survey_fini(&survey);
	assert_int_equal(f.num_faults, 0);
}

static atomic_bool toucher_reads;

static void *toucher_thread(void *arg)
{
	while (toucher_reads)
		(void)*(const volatile uint8_t *)arg;
	return NULL;
}

/* A guest that reads what it gives back: whatever comes between, in the end it is zero. */
static void who_touches_it_meanwhile_does_not_bring_it_back(void **state)
{
	pthread_t toucher;

	(void)state;
	need_permission();
	toucher_reads = true;
	assert_int_equal(pthread_create(&toucher, NULL, toucher_thread, (void *)(uintptr_t)(f.mem.regions[0].host)), 0);
	for (unsigned int i = 0; i < 50; i++) {
		assert_int_equal(mem_discard(&f.mem, 0, 8 * PAGE), 0);
		for (uint64_t page = 0; page < 8; page++)
			assert_int_equal(byte_at(page * PAGE), 0);
	}
	toucher_reads = false;
	pthread_join(toucher, NULL);
}

static void *waiting_thread(void *arg)
{
	return (void *)(uintptr_t)(*(const volatile uint8_t *)arg + 1);
}

static void nobody_waits_for_memory_that_is_let_go(void **state)
{
	void *result = NULL;
	pthread_t waiting;

	(void)state;
	need_permission();
	f.silent = true;
	assert_int_equal(pthread_create(&waiting, NULL, waiting_thread, (void *)(uintptr_t)f.mem.regions[1].host), 0);
	usleep(50000);
	assert_int_equal(pthread_tryjoin_np(waiting, &result), EBUSY);
	userfault_unregister(f.uffd, &f.mem);
	assert_int_equal(pthread_join(waiting, &result), 0);
	assert_ptr_equal(result, (void *)1); /* a zero */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_page_is_the_handlers_until_it_is_written),      TEST(what_is_prepared_is_not_asked_for_again),
		TEST(a_page_that_is_given_back_is_zero_for_good),      TEST(what_was_given_back_is_the_machines_own),
		TEST(who_touches_it_meanwhile_does_not_bring_it_back), TEST(nobody_waits_for_memory_that_is_let_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
