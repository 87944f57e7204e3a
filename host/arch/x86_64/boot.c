// SPDX-License-Identifier: Apache-2.0
/*
 * From files to a machine that stands before its kernel's first instruction.
 * Memory is fresh (all zero) when this runs, and no vCPU has run yet.
 */
#include "arch/x86_64/boot.h"

#include <fcntl.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/x86_64/acpi.h"
#include "arch/x86_64/kernel.h"
#include "arch/x86_64/mptable.h"
#include "arch/x86_64/pvh.h"
#include "arch/x86_64/ram.h"
#include "arch/x86_64/regs.h"
#include "arch/x86_64/zero_page.h"
#include "base/cleanup.h"
#include "base/fdio.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"

static int boot_write_cmdline(struct guest_mem *mem, const char *cmdline, struct boot_info *info, struct err *e)
{
	size_t len = strlen(cmdline);

	if (len >= ARCH_CMDLINE_MAX)
		return err_set(e, EINVAL, "the kernel command line has %zu bytes; at most %d are allowed", len,
			       ARCH_CMDLINE_MAX - 1);
	if (!mem_write(mem, ARCH_CMDLINE_GPA, cmdline, len + 1))
		return err_set(e, ENOMEM, "this machine has too little RAM for a kernel command line");
	info->cmdline_len = (uint32_t)len;
	return 0;
}

static int boot_load_kernel(struct guest_mem *mem, const char *path, uint64_t initrd_len, struct kernel_image *image,
			    struct err *e)
{
	_cleanup_close_ int fd = -1;
	uint64_t size;
	int r;

	r = file_open_regular("kernel image", path, O_RDONLY, &fd, &size, e);
	if (r < 0)
		return r;
	r = kernel_load(fd, size, initrd_len, mem, image, e);
	return r < 0 ? err_wrap(e, r, "kernel image \"%s\"", path) : 0;
}

/* First of all: what memory is needed is known once the initrd's size is. */
static int boot_open_initrd(const char *path, int *fd, uint64_t *size, struct err *e)
{
	_cleanup_close_ int opened = -1;
	int r = file_open_regular("initrd", path, O_RDONLY, &opened, size, e);

	if (r < 0)
		return r;
	if (*size == 0)
		return err_set(e, ENOEXEC, "initrd \"%s\": it is empty", path);
	*fd = take_fd(&opened);
	return 0;
}

/* At the top of low RAM, out of the way of a kernel that unpacks itself below; kernel_load() has seen that it fits. */
static int boot_load_initrd(struct guest_mem *mem, const char *path, int fd, const struct kernel_image *image,
			    struct boot_info *info, struct err *e)
{
	gpa_t top = image->initrd_limit < ram_low_end(mem) ? image->initrd_limit : ram_low_end(mem);
	uint64_t size = image->initrd_len;
	void *host;
	int r;

	info->initrd = (top - size) / MEM_PAGE_SIZE * MEM_PAGE_SIZE;
	info->initrd_len = size;
	host = mem_lease_write(mem, info->initrd, size);
	if (!host)
		return err_set(e, ENOMEM, "initrd \"%s\": there is no memory at 0x%llx", path,
			       (unsigned long long)info->initrd);
	r = fd_pread_all(fd, host, size, 0);
	mem_release_write(mem, host, size);
	return r < 0 ? err_errno(e, -r, "initrd \"%s\" cannot be read", path) : 0;
}

/*
 * Linux takes hardware-reduced ACPI for a sign of EFI, finds no EFI to reset the machine by, and at last calls a BIOS. So
 * there is one that can do just that: the reset command of the keyboard controller, in real-mode code.
 */
static int boot_write_reset_vector(struct guest_mem *mem, struct err *e)
{
	static const uint8_t code[] = {
		0xb0, 0xfe,		   /* mov al, 0xfe */
		0xe6, ARCH_I8042_PORT + 4, /* out 0x64, al */
		0xf4,			   /* hlt */
		0xeb, 0xfd,		   /* jmp back to hlt */
	};

	if (!mem_write(mem, ARCH_RESET_VECTOR_GPA, code, sizeof(code)))
		return err_set(e, ENOMEM, "this machine has too little RAM for a reset vector");
	return 0;
}

static int boot_write_tables(const struct vm *vm, const struct boot_config *config, const struct kernel_image *image,
			     const struct boot_info *info, struct err *e)
{
	int r;

	r = boot_write_reset_vector(vm->mem, e);
	if (r == 0)
		r = mptable_write(vm->mem, vm->num_vcpus, e);
	if (r == 0)
		r = acpi_write(vm->mem, vm->num_vcpus, config->board, e);
	if (r == 0)
		r = regs_write_tables(vm->mem, image, e);
	if (r == 0 && image->protocol == KERNEL_PVH)
		r = pvh_write(vm->mem, info, e);
	else if (r == 0)
		r = zero_page_write(vm->mem, image, info, e);
	return r;
}

int boot_machine(struct vm *vm, const struct boot_config *config, struct err *e)
{
	_cleanup_close_ int initrd = -1;
	uint64_t initrd_len = 0;
	struct kernel_image image;
	struct boot_info info = { 0 };
	int r;

	r = boot_write_cmdline(vm->mem, config->cmdline, &info, e);
	if (r == 0 && config->initrd_path)
		r = boot_open_initrd(config->initrd_path, &initrd, &initrd_len, e);
	if (r == 0)
		r = boot_load_kernel(vm->mem, config->kernel_path, initrd_len, &image, e);
	if (r == 0 && config->initrd_path)
		r = boot_load_initrd(vm->mem, config->initrd_path, initrd, &image, &info, e);
	if (r == 0)
		r = boot_write_tables(vm, config, &image, &info, e);
	for (unsigned int i = 0; i < vm->num_vcpus && r == 0; i++)
		r = regs_set_common(&vm->vcpus[i], e);
	return r < 0 ? r : regs_set_entry(&vm->vcpus[0], &image, e);
}
