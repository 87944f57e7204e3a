// SPDX-License-Identifier: Apache-2.0
/*
 * The number stands in memory that the kernel wipes in a forked child, whatever
 * system call made it; the last one given out stands in ordinary memory, which
 * the child inherits. A process without a number takes the next one.
 */
#include "process.h"

#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sys.h"

struct process_page {
	_Atomic uint64_t number; /* 0: none yet in this process */
};

static _Atomic(struct process_page *) process_page;
static _Atomic uint64_t process_last;

static struct process_page *process_page_new(void)
{
	struct process_page *page = sns_sys_map_wiped(sizeof(*page)), *other = NULL;

	if (!page)
		return NULL;
	if (atomic_compare_exchange_strong(&process_page, &other, page))
		return page;
	munmap(page, sizeof(*page));
	return other;
}

void sns_process_init(void)
{
	if (!atomic_load(&process_page))
		(void)process_page_new();
}

/* An atomic word of the same size and layout, on every machine that this is built for. */
const uint64_t *sns_process_word(void)
{
	return (const uint64_t *)atomic_load_explicit(&process_page, memory_order_acquire);
}

uint64_t sns_process_number(void)
{
	struct process_page *page = atomic_load_explicit(&process_page, memory_order_acquire);
	uint64_t number, none = 0;

	if (!page)
		page = process_page_new();
	/* A kernel older than 4.14. Misses a child that got the number of a dead ancestor. */
	if (!page)
		return (uint64_t)getpid();
	number = atomic_load_explicit(&page->number, memory_order_relaxed);
	if (number)
		return number;
	number = atomic_fetch_add(&process_last, 1) + 1;
	if (atomic_compare_exchange_strong(&page->number, &none, number))
		return number;
	return none;
}
