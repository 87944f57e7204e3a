// SPDX-License-Identifier: Apache-2.0
#include "arch/x86_64/boot_info.h"

#include "arch/x86_64/layout.h"
#include "arch/x86_64/ram.h"

#define E820_RAM      1
#define E820_RESERVED 2

unsigned int e820_build(const struct guest_mem *mem, struct boot_e820_entry entries[E820_MAX_ENTRIES])
{
	gpa_t low_end = ram_low_end(mem);
	unsigned int n = 0;

	entries[n++] = (struct boot_e820_entry){ .addr = 0, .size = ARCH_SYSTEM_START, .type = E820_RAM };
	entries[n++] = (struct boot_e820_entry){ .addr = ARCH_SYSTEM_START,
						 .size = ARCH_SYSTEM_END - ARCH_SYSTEM_START,
						 .type = E820_RESERVED };
	if (low_end > ARCH_HIMEM_START)
		entries[n++] = (struct boot_e820_entry){ .addr = ARCH_HIMEM_START,
							 .size = low_end - ARCH_HIMEM_START,
							 .type = E820_RAM };
	for (unsigned int i = 1; i < mem->num_regions; i++)
		entries[n++] = (struct boot_e820_entry){ .addr = mem->regions[i].gpa,
							 .size = mem->regions[i].size,
							 .type = E820_RAM };
	return n;
}
