// SPDX-License-Identifier: Apache-2.0
/* The zero page of the Linux boot protocol (Linux Documentation/arch/x86/zero-page.rst). */
#include "arch/x86_64/zero_page.h"

#include "arch/x86_64/layout.h"

#define ZERO_PAGE_BOOT_FLAG	   0xaa55
#define ZERO_PAGE_HDRS		   0x53726448 /* "HdrS" */
#define ZERO_PAGE_ELF_ALIGNMENT	   0x1000000
#define ZERO_PAGE_LOADER_UNDEFINED 0xff

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
