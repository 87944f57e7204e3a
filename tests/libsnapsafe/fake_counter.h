/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A counter page for tests of the library as it is installed: a sealed memory
 * file that looks as the driver's page does.
 */
#ifndef TESTS_LIB_FAKE_COUNTER_H
#define TESTS_LIB_FAKE_COUNTER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "snapsafe_page.h"

/* Generation 0, reseeded, with an identity. @path is what snapsafe_open() takes. */
static inline void fake_counter_make(char *path, size_t len)
{
	struct snapsafe_page page = { .magic = SNAPSAFE_PAGE_MAGIC, .version = SNAPSAFE_PAGE_VERSION };
	int fd = memfd_create("counter", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	memset(page.identity, 0xa5, sizeof(page.identity));
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(pwrite(fd, &page, sizeof(page), 0), sizeof(page));
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	snprintf(path, len, "/proc/self/fd/%d", fd);
}

#endif /* TESTS_LIB_FAKE_COUNTER_H */
