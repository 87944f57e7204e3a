// SPDX-License-Identifier: Apache-2.0
/*
 * The memory map, and the zero page that carries it in the Linux boot protocol
 * (Linux Documentation/arch/x86/zero-page.rst).
 */
#include "arch/x86_64/boot_info.h"

#include "arch/x86_64/layout.h"
#include "arch/x86_64/ram.h"

#define E820_RAM      1
#define E820_RESERVED 2

#define ZERO_PAGE_BOOT_FLAG	   0xaa55
#define ZERO_PAGE_HDRS		   0x53726448 /* "HdrS" */
#define ZERO_PAGE_ELF_ALIGNMENT	   0x1000000
#define ZERO_PAGE_LOADER_UNDEFINED 0xff

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

/* An ELF kernel has no setup header of its own; it gets the fields that Linux looks at. */
static void zero_page_fill_elf_header(struct setup_header *hdr)
{
	hdr->boot_flag = ZERO_PAGE_BOOT_FLAG;
	hdr->header = ZERO_PAGE_HDRS;
	hdr->kernel_alignment = ZERO_PAGE_ELF_ALIGNMENT;
}

int zero_page_write(struct guest_mem *mem, const struct kernel_image *image, const struct boot_info *info,
		    struct err *e)
{
	struct boot_params params = { .hdr = image->setup };
	struct setup_header *hdr = &params.hdr;

	if (hdr->header == 0)
		zero_page_fill_elf_header(hdr);
	hdr->type_of_loader = ZERO_PAGE_LOADER_UNDEFINED;
	hdr->setup_data = 0;
	hdr->cmd_line_ptr = (uint32_t)ARCH_CMDLINE_GPA;
	hdr->cmdline_size = info->cmdline_len;
	hdr->ramdisk_image = (uint32_t)info->initrd;
	hdr->ramdisk_size = (uint32_t)info->initrd_len;
	params.acpi_rsdp_addr = ARCH_RSDP_GPA;
	params.e820_entries = (uint8_t)e820_build(mem, params.e820_table);
	if (!mem_write(mem, ARCH_ZERO_PAGE_GPA, &params, sizeof(params)))
		return err_set(e, ENOMEM, "this machine has too little RAM for the kernel's boot parameters");
	return 0;
}
