// SPDX-License-Identifier: Apache-2.0
/* The default handle: no device, a device that comes later, one that is replaced. */
#include "fake.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapsafe.h"

static int called;

static void count_call(void *data, uint64_t generation)
{
	(void)data;
	(void)generation;
	called++;
}

static struct snapsafe_info info_now(void)
{
	struct snapsafe_info info = { .size = sizeof(info) };

	assert_int_equal(snapsafe_get_info(NULL, &info), 0);
	return info;
}

/* The one test of this process: the default handle lives as long as it does. */
static void the_default_handle_follows_the_device(void **state)
{
	struct fake_page first, second;
	struct snapsafe_token token;
	unsigned char id[SNAPSAFE_IDENTITY_LEN];
	uint64_t generation = 0;
	uint8_t buf[16];
	int fd;

	(void)state;
	fake_page_init(&first);
	fake_page_init(&second);
	fake_page_set_generation(&first, 3);
	fake_page_set_generation(&second, 3);

	/* no device */
	setenv("SNAPSAFE_DEVICE", "none", 1);
	assert_int_equal(snapsafe_init(), -ENOENT);
	assert_int_equal(info_now().state, SNAPSAFE_ABSENT);
	assert_int_equal(info_now().error, -ENOENT);
	assert_string_equal(info_now().path, "");
	assert_int_equal(snapsafe_generation(NULL), 0);
	assert_int_equal(snapsafe_identity(NULL, id), -ENODEV);
	assert_int_equal(snapsafe_wait(NULL, &generation, 10), -ENODEV);
	assert_int_equal(snapsafe_fd(NULL), -ENODEV);
	assert_int_equal(snapsafe_on_change(NULL, count_call, NULL), 0);
	assert_int_equal(snapsafe_dispatch(NULL), -ENODEV);
	assert_int_equal(snapsafe_random(NULL, buf, sizeof(buf)), 0);
	token = snapsafe_token(NULL);
	assert_true(snapsafe_holds(NULL, &token));

	assert_int_equal(snapsafe_init(), -ENOENT);

	/* a device comes: nobody looks until asked */
	setenv("SNAPSAFE_DEVICE", first.path, 1);
	usleep(1100000);
	assert_int_equal(snapsafe_generation(NULL), 0);
	assert_int_equal(snapsafe_init(), 0);
	assert_int_equal(snapsafe_generation(NULL), 3);
	assert_int_equal(info_now().state, SNAPSAFE_ACTIVE);
	assert_int_equal(info_now().error, 0);
	assert_false(snapsafe_holds(NULL, &token));
	assert_int_equal(snapsafe_dispatch(NULL), 1);
	assert_int_equal(called, 1);
	fd = snapsafe_fd(NULL);
	assert_true(fd >= 0);
	token = snapsafe_token(NULL);

	/* its driver goes, and another one comes with a page of its own that stands at the same number */
	__atomic_store_n(&first.page->unwatched, 1, __ATOMIC_RELEASE);
	setenv("SNAPSAFE_DEVICE", second.path, 1);
	assert_string_equal(info_now().path, first.path);
	assert_int_equal(info_now().state, SNAPSAFE_UNWATCHED);
	assert_int_equal(snapsafe_init(), 0);
	assert_string_equal(info_now().path, second.path);
	assert_int_equal(snapsafe_generation(NULL), 3);
	assert_false(snapsafe_holds(NULL, &token));
	assert_int_equal(snapsafe_dispatch(NULL), 1);
	assert_int_equal(called, 2);
	assert_int_equal(snapsafe_fd(NULL), fd);
	assert_int_equal(snapsafe_dispatch(NULL), 0);
	fake_page_leak(&second, 1, true);
	assert_int_equal(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 2000), 1);
	assert_int_equal(snapsafe_dispatch(NULL), 1);
	assert_int_equal(snapsafe_wait(NULL, &generation, 0), 1);
	assert_int_equal(generation, 4);

	/* its driver goes and nothing else comes: kept, for it may come back */
	__atomic_store_n(&second.page->unwatched, 1, __ATOMIC_RELEASE);
	setenv("SNAPSAFE_DEVICE", "none", 1);
	assert_int_equal(snapsafe_init(), -ENOENT);
	assert_int_equal(info_now().state, SNAPSAFE_UNWATCHED);
	setenv("SNAPSAFE_DEVICE", second.path, 1);
	assert_int_equal(snapsafe_init(), -ENODEV);
	__atomic_store_n(&second.page->unwatched, 0, __ATOMIC_RELEASE);
	assert_int_equal(info_now().state, SNAPSAFE_ACTIVE);
	assert_int_equal(snapsafe_init(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_default_handle_follows_the_device),
	};

	return cmocka_run_group_tests_name("default", tests, NULL, NULL);
}
