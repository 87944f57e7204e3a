/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel is told about the machine, by either boot protocol. */
#ifndef ARCH_X86_64_BOOT_INFO_H
#define ARCH_X86_64_BOOT_INFO_H

#include <asm/bootparam.h>
#include <stdint.h>

#include "mem/mem.h"

struct boot_info {
	uint32_t cmdline_len; /* bytes without NUL; the text is at ARCH_CMDLINE_GPA */
	gpa_t initrd;	      /* with initrd_len 0: none */
	uint64_t initrd_len;
};

/* Entries of the memory map: conventional memory, firmware tables, RAM from 1 MiB, and what other regions there are. */
#define E820_MAX_ENTRIES (3 + MEM_MAX_REGIONS)

/* Fills in the memory map in ascending order; how many entries. */
unsigned int e820_build(const struct guest_mem *mem, struct boot_e820_entry entries[E820_MAX_ENTRIES]);

#endif
