// SPDX-License-Identifier: Apache-2.0
/*
 * The thread stays the same, so that filters, signal masks and the thread's id do, too. By hand: not every C library has
 * makecontext(3).
 */
#include "base/own_stack.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef __x86_64__
#error "How a function is called on another stack is written for x86_64 only."
#endif

/* System V ABI, AMD64, 3.2: the stack is aligned to 16 bytes at a call, and RBX is the callee's to put back. */
static void own_stack_call(uint8_t *top, void (*fn)(void *ctx), void *ctx)
{
	__asm__ volatile("movq %%rsp, %%rbx\n\t"
			 "movq %[top], %%rsp\n\t"
			 "callq *%[fn]\n\t"
			 "movq %%rbx, %%rsp"
			 : "+D"(ctx), [fn] "+r"(fn)
			 : [top] "r"(top)
			 : "rax", "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3",
			   "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
			   "xmm15", "cc", "memory");
}

int own_stack_run(size_t size, void (*fn)(void *ctx), void *ctx, struct err *e)
{
	size_t guard = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *base;
	int r = 0;

	base = mmap(NULL, guard + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (base == MAP_FAILED)
		return err_errno(e, errno, "cannot get a stack of %zu bytes", size);
	if (mprotect(base, guard, PROT_NONE) < 0)
		r = err_errno(e, errno, "cannot set up a stack of %zu bytes", size);
	else
		own_stack_call(base + guard + size, fn, ctx);
	munmap(base, guard + size);
	return r;
}
