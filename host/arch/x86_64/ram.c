// SPDX-License-Identifier: Apache-2.0
/* Where RAM goes: below the MMIO gap first, what does not fit from 4 GiB on. Pure. */
#include "arch/x86_64/ram.h"

#include "arch/arch.h"
#include "mem/pages.h"

void arch_mem_layout(uint64_t size, struct mem_layout *layout)
{
	uint64_t low = size < ARCH_MMIO_GAP_START ? size : ARCH_MMIO_GAP_START;

	*layout = (struct mem_layout){ .num_regions = 1, .regions = { { .gpa = 0, .size = low } } };
	if (size > low) {
		layout->regions[1].gpa = ARCH_MMIO_GAP_END;
		layout->regions[1].size = size - low;
		layout->num_regions = 2;
	}
}

gpa_t ram_low_end(const struct guest_mem *mem)
{
	return mem->num_regions > 0 && mem->regions[0].gpa == 0 ? mem->regions[0].size : 0;
}

int arch_prepare_own(const struct guest_mem *mem)
{
	return mem_prepare(mem, ARCH_VMCLOCK_GPA, ARCH_VMGENID_GPA + MEM_PAGE_SIZE - ARCH_VMCLOCK_GPA);
}
