// SPDX-License-Identifier: Apache-2.0
/* Which of the image formats a file has, and what the parsers share. */
#include "arch/x86_64/kernel.h"

#include <elf.h>
#include <string.h>

#include "arch/x86_64/layout.h"
#include "arch/x86_64/ram.h"
#include "base/fdio.h"

/* Where a bzImage has "HdrS", and how much of a file decides what it is. */
#define KERNEL_HDRS_OFFSET 0x202
#define KERNEL_PROBE_LEN   (KERNEL_HDRS_OFFSET + 4)

int kernel_check_memory(const struct kernel_image *image, const struct guest_mem *mem, struct err *e)
{
	const char *who = image->initrd_len > 0 ? "it and the initrd need" : "it needs";
	gpa_t end = image->end;

	if (image->initrd_len > 0 && end < UINT64_MAX - MEM_PAGE_SIZE) /* the initrd starts at a page */
		end = (end + MEM_PAGE_SIZE - 1) / MEM_PAGE_SIZE * MEM_PAGE_SIZE;
	if (__builtin_add_overflow(end, image->initrd_len, &end))
		end = UINT64_MAX;
	if (image->initrd_len > 0 && end > image->initrd_limit)
		return err_set(
			e, ENOEXEC,
			"the initrd's %llu bytes do not fit between the kernel's end at 0x%llx and 0x%llx, where "
			"an initrd must end",
			(unsigned long long)image->initrd_len, (unsigned long long)image->end,
			(unsigned long long)image->initrd_limit);
	if (end > ARCH_MMIO_GAP_START)
		return err_set(e, ENOEXEC,
			       "%s memory up to address 0x%llx, but the RAM of a machine, however large, goes up to "
			       "0x%llx and on at 0x%llx",
			       who, (unsigned long long)end, ARCH_MMIO_GAP_START, ARCH_MMIO_GAP_END);
	if (end > ram_low_end(mem))
		return err_set(
			e, ENOMEM,
			"%s memory up to address 0x%llx, but this machine's RAM ends at 0x%llx: mem_size_mib must "
			"be %llu or more",
			who, (unsigned long long)end, (unsigned long long)ram_low_end(mem),
			(unsigned long long)((end + (1u << 20) - 1) >> 20));
	return 0;
}

int kernel_read_range(int fd, uint64_t size, uint64_t offset, uint64_t len, struct guest_mem *mem, gpa_t gpa,
		      struct err *e)
{
	uint64_t end;
	void *host;
	int r;

	if (len == 0)
		return 0;
	if (__builtin_add_overflow(offset, len, &end) || end > size)
		return err_set(e, ENOEXEC,
			       "it ends early: %llu bytes at offset %llu are announced, the file has %llu bytes",
			       (unsigned long long)len, (unsigned long long)offset, (unsigned long long)size);
	host = mem_lease_write(mem, gpa, len);
	if (!host) /* kernel_check_memory() has seen that it is there */
		return err_set(e, EFAULT, "there is no memory at 0x%llx", (unsigned long long)gpa);
	r = fd_pread_all(fd, host, len, (off_t)offset);
	mem_release_write(mem, host, len);
	return r < 0 ? err_errno(e, -r, "it cannot be read") : 0;
}

int kernel_load(int fd, uint64_t size, uint64_t initrd_len, struct guest_mem *mem, struct kernel_image *image,
		struct err *e)
{
	uint8_t head[KERNEL_PROBE_LEN] = { 0 };
	int r;

	*image = (struct kernel_image){ .initrd_len = initrd_len, .initrd_limit = ARCH_MMIO_GAP_START };
	r = fd_pread_all(fd, head, size < sizeof(head) ? size : sizeof(head), 0);
	if (r < 0)
		return err_errno(e, -r, "it cannot be read");
	if (memcmp(head, ELFMAG, SELFMAG) == 0)
		return kernel_load_elf(fd, size, mem, image, e);
	if (memcmp(head + KERNEL_HDRS_OFFSET, "HdrS", 4) == 0)
		return kernel_load_bzimage(fd, size, mem, image, e);
	return err_set(e, ENOEXEC,
		       "it is not a kernel image that this program knows: a 64-bit ELF file (vmlinux) or a bzImage "
		       "(vmlinuz) is needed");
}
