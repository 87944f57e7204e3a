// SPDX-License-Identifier: Apache-2.0
/*
 * Start info of the PVH protocol (Xen xen/include/public/arch-x86/hvm/start_info.h):
 * the kernel finds it by EBX and, from there, command line, initrd, RSDP and
 * memory map.
 */
#include "arch/x86_64/pvh.h"

#include "arch/x86_64/layout.h"

#define PVH_START_MAGIC	  0x336ec578
#define PVH_START_VERSION 1

struct pvh_start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t nr_modules;
	uint64_t modlist_paddr;
	uint64_t cmdline_paddr;
	uint64_t rsdp_paddr;
	uint64_t memmap_paddr;
	uint32_t memmap_entries;
	uint32_t reserved;
};

struct pvh_module {
	uint64_t paddr;
	uint64_t size;
	uint64_t cmdline_paddr;
	uint64_t reserved;
};

struct pvh_memmap_entry {
	uint64_t addr;
	uint64_t size;
	uint32_t type; /* as in the E820 map */
	uint32_t reserved;
};

_Static_assert(sizeof(struct pvh_start_info) == 56, "ABI");
_Static_assert(sizeof(struct pvh_module) == 32, "ABI");
_Static_assert(sizeof(struct pvh_memmap_entry) == 24, "ABI");

int pvh_write(struct guest_mem *mem, const struct boot_info *info, struct err *e)
{
	struct pvh_module module = { .paddr = info->initrd, .size = info->initrd_len };
	struct pvh_memmap_entry memmap[E820_MAX_ENTRIES] = { 0 };
	struct boot_e820_entry e820[E820_MAX_ENTRIES];
	struct pvh_start_info start = {
		.magic = PVH_START_MAGIC,
		.version = PVH_START_VERSION,
		.nr_modules = info->initrd_len > 0,
		.modlist_paddr = info->initrd_len > 0 ? ARCH_PVH_MODLIST_GPA : 0,
		.cmdline_paddr = ARCH_CMDLINE_GPA,
		.rsdp_paddr = ARCH_RSDP_GPA,
		.memmap_paddr = ARCH_ZERO_PAGE_GPA,
	};

	start.memmap_entries = e820_build(mem, e820);
	for (unsigned int i = 0; i < start.memmap_entries; i++)
		memmap[i] =
			(struct pvh_memmap_entry){ .addr = e820[i].addr, .size = e820[i].size, .type = e820[i].type };

	if (!mem_write(mem, ARCH_PVH_START_INFO_GPA, &start, sizeof(start)) ||
	    !mem_write(mem, ARCH_PVH_MODLIST_GPA, &module, sizeof(module)) ||
	    !mem_write(mem, ARCH_ZERO_PAGE_GPA, memmap, sizeof(memmap)))
		return err_set(e, ENOMEM, "this machine has too little RAM for the kernel's boot parameters");
	return 0;
}
