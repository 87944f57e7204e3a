// SPDX-License-Identifier: Apache-2.0
/*
 * An ELF kernel ("vmlinux"): its segments go to their physical addresses. With
 * a Xen note that names a 32-bit entry point it starts by the PVH protocol,
 * else at the ELF entry point in long mode.
 *
 * ELF-64 object file format; notes: System V ABI, "Note Section".
 */
#include <elf.h>
#include <string.h>

#include "arch/x86_64/kernel.h"
#include "arch/x86_64/layout.h"
#include "base/fdio.h"

/* Caps on what a file may ask for; a kernel has a handful of headers and notes of a few hundred bytes. */
#define KERNEL_ELF_MAX_PHDRS 64
#define KERNEL_ELF_MAX_NOTES (16u << 10)

#define XEN_ELFNOTE_PHYS32_ENTRY 18

static int kernel_elf_check_header(const Elf64_Ehdr *eh, struct err *e)
{
	if (eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_ident[EI_DATA] != ELFDATA2LSB)
		return err_set(e, ENOEXEC, "it is an ELF file, but not a 64-bit little-endian one");
	if (eh->e_machine != EM_X86_64)
		return err_set(e, ENOEXEC, "it is an ELF file for machine type %u; %u (x86-64) is needed",
			       eh->e_machine, EM_X86_64);
	if (eh->e_type != ET_EXEC && eh->e_type != ET_DYN)
		return err_set(e, ENOEXEC, "it is an ELF file of type %u; an executable is needed", eh->e_type);
	if (eh->e_phentsize != sizeof(Elf64_Phdr) || eh->e_phnum == 0 || eh->e_phnum > KERNEL_ELF_MAX_PHDRS)
		return err_set(e, ENOEXEC,
			       "it has %u ELF program headers of %u bytes; 1 to %d of %zu bytes are allowed",
			       eh->e_phnum, eh->e_phentsize, KERNEL_ELF_MAX_PHDRS, sizeof(Elf64_Phdr));
	return 0;
}

/* Reads len bytes at offset into buf. */
static int kernel_elf_read(int fd, uint64_t size, uint64_t offset, void *buf, uint64_t len, const char *what,
			   struct err *e)
{
	uint64_t end;
	int r;

	if (__builtin_add_overflow(offset, len, &end) || end > size)
		return err_set(e, ENOEXEC, "its %s lies outside the file of %llu bytes", what,
			       (unsigned long long)size);
	r = fd_pread_all(fd, buf, len, (off_t)offset);
	return r < 0 ? err_errno(e, -r, "its %s cannot be read", what) : 0;
}

/* Where it goes; image->end grows with it. */
static int kernel_elf_check_segment(const Elf64_Phdr *ph, struct kernel_image *image, struct err *e)
{
	uint64_t end;

	if (ph->p_filesz > ph->p_memsz)
		return err_set(e, ENOEXEC, "an ELF segment has %llu bytes in the file but %llu in memory",
			       (unsigned long long)ph->p_filesz, (unsigned long long)ph->p_memsz);
	if (ph->p_memsz == 0)
		return 0;
	if (ph->p_paddr < ARCH_HIMEM_START || __builtin_add_overflow(ph->p_paddr, ph->p_memsz, &end))
		return err_set(e, ENOEXEC, "an ELF segment wants address 0x%llx; 0x%llx or above is allowed",
			       (unsigned long long)ph->p_paddr, ARCH_HIMEM_START);
	if (end > image->end)
		image->end = end;
	return 0;
}

/* All segments, before the first is loaded: a machine that is too small hears at once what all of them need. */
static int kernel_elf_check_segments(const Elf64_Phdr *phdrs, unsigned int n, struct kernel_image *image, struct err *e)
{
	int r = 0;

	for (unsigned int i = 0; i < n && r == 0; i++) {
		if (phdrs[i].p_type == PT_LOAD)
			r = kernel_elf_check_segment(&phdrs[i], image, e);
	}
	return r;
}

static uint64_t kernel_elf_align(uint64_t value, uint64_t align)
{
	return (value + align - 1) & ~(align - 1);
}

/* Looks through a note segment; true and *entry if it names a PVH entry point. */
static bool kernel_elf_find_pvh(const uint8_t *notes, uint64_t len, uint64_t align, uint64_t *entry)
{
	Elf64_Nhdr nh;
	uint64_t at = 0;

	while (len - at >= sizeof(nh)) {
		uint64_t name, desc, next;

		memcpy(&nh, notes + at, sizeof(nh));
		/* 32-bit sizes: none of these sums overflows. */
		name = at + sizeof(nh);
		desc = kernel_elf_align(name + nh.n_namesz, align);
		next = kernel_elf_align(desc + nh.n_descsz, align);
		if (desc + nh.n_descsz > len)
			return false;
		if (nh.n_type == XEN_ELFNOTE_PHYS32_ENTRY && nh.n_namesz == 4 && memcmp(notes + name, "Xen", 4) == 0 &&
		    (nh.n_descsz == 4 || nh.n_descsz == 8)) {
			*entry = 0;
			memcpy(entry, notes + desc, nh.n_descsz);
			return true;
		}
		if (next > len)
			return false;
		at = next;
	}
	return false;
}

static int kernel_elf_read_notes(int fd, uint64_t size, const Elf64_Phdr *ph, struct kernel_image *image, struct err *e)
{
	uint8_t notes[KERNEL_ELF_MAX_NOTES] = { 0 };
	uint64_t entry;
	int r;

	if (ph->p_filesz == 0)
		return 0;
	if (ph->p_filesz > KERNEL_ELF_MAX_NOTES)
		return err_set(e, ENOEXEC, "its ELF notes have %llu bytes; %u are allowed",
			       (unsigned long long)ph->p_filesz, KERNEL_ELF_MAX_NOTES);
	r = kernel_elf_read(fd, size, ph->p_offset, notes, ph->p_filesz, "ELF note segment", e);
	if (r < 0)
		return r;
	if (kernel_elf_find_pvh(notes, ph->p_filesz, ph->p_align == 8 ? 8 : 4, &entry)) {
		image->protocol = KERNEL_PVH;
		image->entry = entry;
	}
	return 0;
}

static bool kernel_elf_entry_is_loaded(const Elf64_Phdr *phdrs, unsigned int n, uint64_t entry)
{
	for (unsigned int i = 0; i < n; i++) {
		if (phdrs[i].p_type == PT_LOAD && entry >= phdrs[i].p_paddr &&
		    entry - phdrs[i].p_paddr < phdrs[i].p_filesz)
			return true;
	}
	return false;
}

int kernel_load_elf(int fd, uint64_t size, struct guest_mem *mem, struct kernel_image *image, struct err *e)
{
	Elf64_Phdr phdrs[KERNEL_ELF_MAX_PHDRS] = { 0 };
	Elf64_Ehdr eh = { 0 };
	int r;

	r = kernel_elf_read(fd, size, 0, &eh, sizeof(eh), "ELF header", e);
	if (r == 0)
		r = kernel_elf_check_header(&eh, e);
	if (r == 0)
		r = kernel_elf_read(fd, size, eh.e_phoff, phdrs, eh.e_phnum * sizeof(phdrs[0]),
				    "table of ELF program headers", e);
	if (r == 0)
		r = kernel_elf_check_segments(phdrs, eh.e_phnum, image, e);
	if (r == 0)
		r = kernel_check_memory(image, mem, e);
	if (r < 0)
		return r;

	image->protocol = KERNEL_LINUX64;
	image->entry = eh.e_entry;
	for (unsigned int i = 0; i < eh.e_phnum && r == 0; i++) {
		if (phdrs[i].p_type == PT_LOAD && phdrs[i].p_memsz > 0)
			/* What is not in the file is zero, as fresh guest memory is. */
			r = kernel_read_range(fd, size, phdrs[i].p_offset, phdrs[i].p_filesz, mem, phdrs[i].p_paddr, e);
		else if (phdrs[i].p_type == PT_NOTE)
			r = kernel_elf_read_notes(fd, size, &phdrs[i], image, e);
	}
	if (r < 0)
		return r;
	if (!kernel_elf_entry_is_loaded(phdrs, eh.e_phnum, image->entry))
		return err_set(e, ENOEXEC, "its entry point 0x%llx lies in none of its ELF segments",
			       (unsigned long long)image->entry);
	if (image->protocol == KERNEL_LINUX64 && image->end > KERNEL_IDENTITY_MAP_SIZE)
		return err_set(e, ENOEXEC,
			       "it ends at address 0x%llx; an ELF kernel without PVH entry must end below 0x%llx",
			       (unsigned long long)image->end, KERNEL_IDENTITY_MAP_SIZE);
	return 0;
}
