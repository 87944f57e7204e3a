/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel images: an ELF file or a bzImage is read into guest memory and
 * described by what the boot code needs to know. The parsers take nothing but a
 * descriptor and memory, believe no number in the file, and keep no state: a
 * fuzzer can call them as they are.
 */
#ifndef ARCH_X86_64_KERNEL_H
#define ARCH_X86_64_KERNEL_H

#include <asm/bootparam.h>
#include <stdint.h>

#include "base/err.h"
#include "mem/mem.h"

/* How the first instruction is reached. */
enum kernel_protocol {
	KERNEL_LINUX64, /* long mode, RSI = zero page (Linux Documentation/arch/x86/boot.rst, "64-bit Boot Protocol") */
	KERNEL_PVH,	/* 32-bit protected mode, EBX = start info (Xen docs/misc/pvh.pandoc) */
};

/* Long mode starts with this much of memory mapped one to one. */
#define KERNEL_IDENTITY_MAP_SIZE (1ull << 30)

struct kernel_image {
	enum kernel_protocol protocol;
	gpa_t entry;
	gpa_t end;		   /* behind all that the kernel needs for itself before it looks at the memory map */
	uint64_t initrd_len;	   /* bytes; 0: there is none */
	gpa_t initrd_limit;	   /* the initrd must end here or below, however much memory there is */
	struct setup_header setup; /* for the zero page; zero but for a bzImage */
};

/*
 * Reads the kernel image in fd (size bytes) into memory. The memory that it claims to need is there if this returns 0, and
 * behind it room for an initrd of initrd_len bytes (0: there is none); it is -ENOMEM if a larger mem_size_mib helps.
 */
int kernel_load(int fd, uint64_t size, uint64_t initrd_len, struct guest_mem *mem, struct kernel_image *image,
		struct err *e) must_check;

/* The two formats; the caller has seen that the file begins as one. */
int kernel_load_elf(int fd, uint64_t size, struct guest_mem *mem, struct kernel_image *image, struct err *e) must_check;
int kernel_load_bzimage(int fd, uint64_t size, struct guest_mem *mem, struct kernel_image *image,
			struct err *e) must_check;

/* Reads len bytes at offset of fd to gpa; both ranges are checked against size and memory. */
int kernel_read_range(int fd, uint64_t size, uint64_t offset, uint64_t len, struct guest_mem *mem, gpa_t gpa,
		      struct err *e) must_check;
/* Is there memory up to image->end, and for image->initrd_len bytes behind it? Before anything is read: the sentence is about all. */
int kernel_check_memory(const struct kernel_image *image, const struct guest_mem *mem, struct err *e) must_check;

#endif
