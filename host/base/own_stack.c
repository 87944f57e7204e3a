// SPDX-License-Identifier: Apache-2.0
/* makecontext(3): the thread stays the same, so that filters, signal masks and the thread's id do, too. */
#include "base/own_stack.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

struct own_stack {
	ucontext_t caller;
	ucontext_t callee;
	void (*fn)(void *ctx);
	void *ctx;
};

/* makecontext(3) passes ints: a pointer takes two. */
static void own_stack_enter(unsigned int high, unsigned int low)
{
	uintptr_t address = (uintptr_t)high << 32 | low;
	struct own_stack *s;

	memcpy(&s, &address, sizeof(s));
	s->fn(s->ctx);
}

int own_stack_run(size_t size, void (*fn)(void *ctx), void *ctx, struct err *e)
{
	size_t guard = (size_t)sysconf(_SC_PAGESIZE);
	struct own_stack s = { .fn = fn, .ctx = ctx };
	uint8_t *base;
	int r = 0;

	base = mmap(NULL, guard + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (base == MAP_FAILED)
		return err_errno(e, errno, "cannot get a stack of %zu bytes", size);
	if (mprotect(base, guard, PROT_NONE) < 0 || getcontext(&s.callee) < 0) {
		r = err_errno(e, errno, "cannot set up a stack of %zu bytes", size);
		goto unmap;
	}
	s.callee.uc_stack.ss_sp = base + guard;
	s.callee.uc_stack.ss_size = size;
	s.callee.uc_link = &s.caller;
	makecontext(&s.callee, (void (*)(void))own_stack_enter, 2, (unsigned int)((uintptr_t)&s >> 32),
		    (unsigned int)(uintptr_t)&s);
	if (swapcontext(&s.caller, &s.callee) < 0)
		r = err_errno(e, errno, "cannot change to a stack of %zu bytes", size);
unmap:
	munmap(base, guard + size);
	return r;
}
