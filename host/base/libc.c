// SPDX-License-Identifier: Apache-2.0
#include "base/libc.h"

#include <link.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* PT_GNU_RELRO: its start is rounded up and its end down, so that what else is on those pages stays as it is. */
static int libc_protect_relocated(struct dl_phdr_info *program, size_t size, void *arg)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)size;
	(void)arg;
	for (unsigned int i = 0; i < program->dlpi_phnum; i++) {
		uintptr_t start = program->dlpi_addr + program->dlpi_phdr[i].p_vaddr;
		uintptr_t end = start + program->dlpi_phdr[i].p_memsz;

		start = (start + page - 1) / page * page;
		end = end / page * page;
		if (program->dlpi_phdr[i].p_type == PT_GNU_RELRO && start < end)
			(void)mprotect((void *)start, end - start, PROT_READ); /* NOLINT(performance-no-int-to-ptr) */
	}
	return 1; /* the first is the program itself; shared libraries are the dynamic linker's */
}

void libc_init(void)
{
	(void)dl_iterate_phdr(libc_protect_relocated, NULL);
#ifdef __GLIBC__
	(void)mallopt(M_ARENA_MAX, 1);
#endif
}

void libc_trim_heap(void)
{
#ifdef __GLIBC__
	(void)malloc_trim(0);
#endif
}
