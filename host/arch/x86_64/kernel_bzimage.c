// SPDX-License-Identifier: Apache-2.0
/*
 * A bzImage: real-mode sectors with the setup header, then the part that runs
 * in protected or long mode, which goes to 1 MiB. It is entered at its 64-bit
 * entry point, unpacks itself to an address of its own choice and needs
 * init_size bytes there (Linux Documentation/arch/x86/boot.rst).
 */
#include <stddef.h>
#include <string.h>

#include "arch/x86_64/kernel.h"
#include "arch/x86_64/layout.h"
#include "base/fdio.h"

#define BZIMAGE_SECTOR	       512u
#define BZIMAGE_HEADER_OFFSET  0x1f1u
#define BZIMAGE_BOOT_FLAG      0xaa55
#define BZIMAGE_VERSION_NEEDED 0x020c /* the first with xloadflags */
#define BZIMAGE_ENTRY64	       0x200u /* behind the load address */

static int bzimage_read_header(int fd, uint64_t size, struct setup_header *setup, struct err *e)
{
	uint8_t jump_offset;
	uint64_t end;
	int r;

	*setup = (struct setup_header){ 0 };
	if (size < BZIMAGE_HEADER_OFFSET + sizeof(*setup))
		return err_set(e, ENOEXEC, "it has only %llu bytes, less than a bzImage's header",
			       (unsigned long long)size);
	r = fd_pread_all(fd, setup, sizeof(*setup), BZIMAGE_HEADER_OFFSET);
	if (r < 0)
		return err_errno(e, -r, "it cannot be read");
	/* The header ends where its jump instruction (opcode, then a byte of distance) goes; what follows is code. */
	jump_offset = (uint8_t)(setup->jump >> 8);
	end = offsetof(struct setup_header, header) + jump_offset;
	if (end < sizeof(*setup))
		memset((uint8_t *)setup + end, 0, sizeof(*setup) - end);
	return 0;
}

static int bzimage_check_header(const struct setup_header *setup, struct err *e)
{
	if (setup->boot_flag != BZIMAGE_BOOT_FLAG)
		return err_set(e, ENOEXEC, "its boot flag is 0x%04x; a bzImage has 0x%04x", setup->boot_flag,
			       BZIMAGE_BOOT_FLAG);
	if (setup->version < BZIMAGE_VERSION_NEEDED)
		return err_set(e, ENOEXEC, "it has boot protocol %u.%02u; 2.12 (Linux 3.8) or later is needed",
			       setup->version >> 8, setup->version & 0xff);
	if (!(setup->xloadflags & XLF_KERNEL_64) || !(setup->loadflags & LOADED_HIGH))
		return err_set(e, ENOEXEC, "it is a bzImage without 64-bit entry point; an x86-64 kernel is needed");
	if (setup->kernel_alignment == 0 || (setup->kernel_alignment & (setup->kernel_alignment - 1)) != 0)
		return err_set(e, ENOEXEC, "its header has kernel_alignment 0x%x; a power of two is allowed",
			       setup->kernel_alignment);
	return 0;
}

/*
 * Is all of it there? syssize counts the part that goes to memory, in units of 16 bytes, and rounded up; what may stand
 * behind it (a signature) is not counted. The compressed kernel lies within (boot.rst, payload_offset, payload_length).
 */
static int bzimage_check_size(const struct setup_header *setup, uint64_t payload, uint64_t size, struct err *e)
{
	uint64_t needed = payload + (uint64_t)setup->syssize * 16;
	uint64_t packed = payload + (uint64_t)setup->payload_offset + setup->payload_length;

	if (setup->syssize > 0)
		needed -= 15;
	if (packed > needed)
		needed = packed;
	if (payload + BZIMAGE_ENTRY64 >= size)
		return err_set(e, ENOEXEC, "it ends early: the kernel starts at offset %llu, the file has %llu bytes",
			       (unsigned long long)payload, (unsigned long long)size);
	if (needed > size)
		return err_set(e, ENOEXEC, "it ends early: its header announces %llu bytes, the file has %llu bytes",
			       (unsigned long long)needed, (unsigned long long)size);
	return 0;
}

/* Where the memory ends that the kernel uses before it reads the memory map. */
static int bzimage_find_end(const struct setup_header *setup, uint64_t payload_len, gpa_t *end, struct err *e)
{
	uint64_t align = setup->kernel_alignment;
	uint64_t start = setup->pref_address, run_end;

	if (setup->relocatable_kernel && start < ARCH_HIMEM_START)
		start = ARCH_HIMEM_START;
	if (setup->relocatable_kernel && __builtin_add_overflow(start, align - 1, &start))
		start = UINT64_MAX;
	if (setup->relocatable_kernel)
		start &= ~(align - 1);
	if (__builtin_add_overflow(start, setup->init_size, &run_end))
		return err_set(e, ENOEXEC, "its header has pref_address 0x%llx, which is no address in memory",
			       (unsigned long long)setup->pref_address);
	*end = ARCH_HIMEM_START + payload_len; /* the length of a file: less than 2^63 */
	if (run_end > *end)
		*end = run_end;
	return 0;
}

int kernel_load_bzimage(int fd, uint64_t size, struct guest_mem *mem, struct kernel_image *image, struct err *e)
{
	struct setup_header *setup = &image->setup;
	uint64_t payload, len;
	int r;

	r = bzimage_read_header(fd, size, setup, e);
	if (r == 0)
		r = bzimage_check_header(setup, e);
	if (r < 0)
		return r;
	payload = (setup->setup_sects == 0 ? 5u : setup->setup_sects + 1u) * BZIMAGE_SECTOR;
	r = bzimage_check_size(setup, payload, size, e);
	if (r < 0)
		return r;
	len = size - payload;
	r = bzimage_find_end(setup, len, &image->end, e);
	if (r < 0)
		return r;
	if (!(setup->xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G) && setup->initrd_addr_max < image->initrd_limit)
		image->initrd_limit = (gpa_t)setup->initrd_addr_max + 1;
	r = kernel_check_memory(image, mem, e);
	if (r < 0)
		return r;

	image->protocol = KERNEL_LINUX64;
	image->entry = ARCH_HIMEM_START + BZIMAGE_ENTRY64;
	return kernel_read_range(fd, size, payload, len, mem, ARCH_HIMEM_START, e);
}
