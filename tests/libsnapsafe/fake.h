/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine for the library under test: a counter page that the test writes,
 * a kernel that repeats its random bytes in clones, and a fork() that behaves
 * like a restored snapshot.
 */
#ifndef TESTS_LIB_FAKE_H
#define TESTS_LIB_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "snapsafe_page.h"
#include "sys.h"

struct fake_page {
	int fd;
	struct snapsafe_page *page; /* writable */
	char path[64];		    /* what snapsafe_open() takes */
};

/* A page as the driver makes it: generation 0, reseeded, an identity. */
void fake_page_init(struct fake_page *fake);
void fake_page_fini(struct fake_page *fake);

/* A leak: a new identity made from @name, the next generation; the kernel is fresh or not. */
void fake_page_leak(struct fake_page *fake, uint64_t name, bool reseeded);
void fake_page_set_generation(struct fake_page *fake, uint64_t generation);

/* From now on getrandom() gives a sequence that depends on how often it was called only. */
void fake_kernel_repeats(bool repeats);
uint64_t fake_kernel_calls(void);
void fake_kernel_fails(int error); /* 0: works again */

/* Memory that should be wiped in a child is kept: a child is a clone of the machine. */
void fake_fork_clones(bool clones);
void fake_wipe_unsupported(bool unsupported);

/* getrandom() is a call of the vDSO, for handles that are opened from now on. */
void fake_vdso(bool vdso);
uint64_t fake_vdso_calls(void);

/* The clock of the library goes forward. */
void fake_time_passes(uint64_t seconds);

/* The kernel takes a page of the memory for secrets away. Page 0 to fake_secret_pages() - 1. */
size_t fake_secret_pages(void);
void fake_drop_page(size_t page);

/* 16-byte strings that have been seen. Not for several threads. */
struct fake_seen {
	uint64_t (*entries)[2];
	size_t slots, used;
};

void fake_seen_init(struct fake_seen *seen, size_t max);
void fake_seen_fini(struct fake_seen *seen);
/* False if it has been there before. */
bool fake_seen_add(struct fake_seen *seen, const void *bytes);
/* Whether any aligned 16 bytes of a stand at any place (multiple of 16) in b. */
bool fake_have_common(const uint8_t *a, const uint8_t *b, size_t len);

/* Memory that parent and child share; the kernel frees it with the process. */
void *fake_shared(size_t len);

#endif /* TESTS_LIB_FAKE_H */
