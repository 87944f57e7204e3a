// SPDX-License-Identifier: Apache-2.0
/* Kernel images, good and hostile, and what a kernel is told about the machine. No KVM. */
#include <asm/bootparam.h>
#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "arch/arch.h"
#include "arch/x86_64/boot.h"
#include "arch/x86_64/kernel.h"
#include "arch/x86_64/mptable.h"
#include "arch/x86_64/pvh.h"
#include "arch/x86_64/zero_page.h"
#include "base/cleanup.h"
#include "kvm/vm.h"
#include "mem/pages.h"
#include "mem/track.h"

#define MIB	   (1ull << 20)
#define MEMORY	   (32 * MIB)
#define CODE_LEN   300u
#define ELF_LEN	   1024u
#define SECTOR	   512u
#define SETUP_AT   0x1f1u
#define BZ_SECTS   2u
#define BZ_PAYLOAD ((BZ_SECTS + 1) * SECTOR)
#define BZ_LEN	   (BZ_PAYLOAD + 2048)

/* A vmlinux with a segment of CODE_LEN bytes and a note. */
struct elf_file {
	Elf64_Ehdr eh;
	Elf64_Phdr note_ph;
	Elf64_Phdr load_ph;
	struct {
		Elf64_Nhdr head;
		char name[4];
		uint64_t entry;
	} note;
	uint8_t code[CODE_LEN];
};

static struct guest_mem new_memory(uint64_t size)
{
	struct guest_mem mem;
	struct mem_layout layout;
	struct err e;

	arch_mem_layout(size, &layout);
	assert_int_equal(mem_init_anonymous(&mem, &layout, &e), 0);
	return mem;
}

static struct elf_file elf_file(void)
{
	struct elf_file f = {
		.eh = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_EXEC,
			.e_machine = EM_X86_64,
			.e_entry = 2 * MIB + 16,
			.e_phoff = offsetof(struct elf_file, note_ph),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 2 },
		.note_ph = { .p_type = PT_NOTE,
			     .p_offset = offsetof(struct elf_file, note),
			     .p_filesz = sizeof(f.note),
			     .p_align = 4 },
		.load_ph = { .p_type = PT_LOAD,
			     .p_offset = offsetof(struct elf_file, code),
			     .p_paddr = 2 * MIB,
			     .p_filesz = CODE_LEN,
			     .p_memsz = 4096 },
		.note = { .head = { .n_namesz = 4, .n_descsz = 8, .n_type = 7 }, .name = "Xen", .entry = 2 * MIB + 32 },
	};

	memset(f.code, 0xcc, sizeof(f.code));
	return f;
}

/* A bzImage that unpacks to 16 MiB and needs 8 MiB there. */
static void make_bzimage(uint8_t image[BZ_LEN])
{
	struct setup_header setup = { .setup_sects = BZ_SECTS,
				      .boot_flag = 0xaa55,
				      .jump = 0xeb | 0x66 << 8,
				      .header = 0x53726448,
				      .version = 0x020f,
				      .loadflags = LOADED_HIGH,
				      .initrd_addr_max = 0x7fffffff,
				      .kernel_alignment = 2 * MIB,
				      .relocatable_kernel = 1,
				      .xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G,
				      .pref_address = 16 * MIB,
				      .init_size = 8 * MIB,
				      .syssize = (BZ_LEN - BZ_PAYLOAD + 15) / 16,
				      .payload_offset = 0x200,
				      .payload_length = BZ_LEN - BZ_PAYLOAD - 0x200 };

	memset(image, 0xcc, BZ_LEN);
	memcpy(image + SETUP_AT, &setup, sizeof(setup));
}

static struct setup_header *bzimage_setup(uint8_t *image)
{
	return (struct setup_header *)(void *)(image + SETUP_AT); /* packed: any alignment will do */
}

static int no_guest(void *ctx, unsigned int region, uint64_t *bitmap)
{
	(void)ctx;
	(void)region;
	(void)bitmap;
	return 0;
}

/* What is not zero any more, mem/ was told of. */
static void assert_noted(struct guest_mem *mem)
{
	const struct mem_region *region = &mem->regions[0];
	uint64_t *bitmap = calloc(mem_bitmap_len(region), sizeof(*bitmap)), run;
	static const uint8_t zero[MEM_PAGE_SIZE];
	struct mem_survey survey;
	struct err e;

	assert_non_null(bitmap);
	assert_int_equal(mem_changed_since_mark(mem, 0, bitmap, &e), 0);
	assert_int_equal(mem_survey_init(&survey, mem), 0);
	for (uint64_t at = 0; at < region->size; at += run) {
		if (mem_survey_next(&survey, 0, at, &run) == MEM_ZERO)
			continue;
		run = MEM_PAGE_SIZE;
		if (memcmp(region->host + at, zero, MEM_PAGE_SIZE) != 0)
			assert_true(bitmap[at / MEM_PAGE_SIZE / 64] >> at / MEM_PAGE_SIZE % 64 & 1);
	}
	mem_survey_fini(&survey);
	free(bitmap);
}

static int load(const void *file, size_t len, struct guest_mem *mem, struct kernel_image *image, struct err *e)
{
	int fd = memfd_create("kernel", MFD_CLOEXEC), r;

	assert_true(fd >= 0);
	mem_set_guest_log(mem, &(struct mem_guest_log){ .collect = no_guest });
	assert_int_equal(mem_mark(mem, e), 0);
	assert_int_equal(write(fd, file, len), len);
	*e = (struct err){ 0 };
	r = kernel_load(fd, len, 0, mem, image, e);
	assert_true(r == 0 || e->text[0] != '\0');
	close(fd);
	assert_int_equal(mem->num_leases, 0);
	return r;
}

/* The file is refused with a sentence that has these words. */
static void assert_refused(const void *file, size_t len, const char *words)
{
	struct guest_mem mem = new_memory(MEMORY);
	struct kernel_image image;
	struct err e;

	assert_true(load(file, len, &mem, &image, &e) < 0);
	if (!strstr(e.text, words))
		fail_msg("'%s' is not in '%s'", words, e.text);
	mem_fini(&mem);
}

static void what_is_no_kernel_is_refused(void **state)
{
	static const uint8_t gzip[2000] = { 0x1f, 0x8b };

	(void)state;
	assert_refused("", 0, "not a kernel image");
	assert_refused("#!/bin/sh\n", 10, "not a kernel image");
	assert_refused(gzip, sizeof(gzip), "not a kernel image");
	assert_refused("\177ELF", 4, "outside the file");
}

static void an_elf_kernel_is_loaded_and_entered_at_its_entry_point(void **state)
{
	struct guest_mem mem = new_memory(MEMORY);
	struct elf_file f = elf_file();
	struct kernel_image image;
	struct err e;

	(void)state;
	assert_int_equal(load(&f, sizeof(f), &mem, &image, &e), 0);
	assert_int_equal(image.protocol, KERNEL_LINUX64);
	assert_int_equal(image.entry, 2 * MIB + 16);
	assert_int_equal(image.end, 2 * MIB + 4096);
	assert_int_equal(image.initrd_limit, ARCH_MMIO_GAP_START);
	assert_memory_equal(mem_host(&mem, 2 * MIB, CODE_LEN), f.code, CODE_LEN);
	assert_noted(&mem);
	mem_fini(&mem);
}

static void a_pvh_note_wins_in_both_of_its_sizes(void **state)
{
	struct guest_mem mem = new_memory(MEMORY);
	struct elf_file f = elf_file();
	struct kernel_image image;
	struct err e;

	(void)state;
	f.note.head.n_type = 18;
	assert_int_equal(load(&f, sizeof(f), &mem, &image, &e), 0);
	assert_int_equal(image.protocol, KERNEL_PVH);
	assert_int_equal(image.entry, 2 * MIB + 32);
	f.note.head.n_descsz = 4;
	assert_int_equal(load(&f, sizeof(f), &mem, &image, &e), 0);
	assert_int_equal(image.protocol, KERNEL_PVH);
	f.note.name[0] = 'x'; /* somebody else's */
	assert_int_equal(load(&f, sizeof(f), &mem, &image, &e), 0);
	assert_int_equal(image.protocol, KERNEL_LINUX64);
	mem_fini(&mem);
}

/* Changes one field of a good file. */
#define ASSERT_ELF_REFUSED(field, value, words)         \
	do {                                            \
		struct elf_file f_ = elf_file();        \
                                                        \
		f_.field = (value);                     \
		assert_refused(&f_, sizeof(f_), words); \
	} while (0)

static void an_elf_file_for_something_else_is_refused(void **state)
{
	(void)state;
	ASSERT_ELF_REFUSED(eh.e_ident[EI_CLASS], ELFCLASS32, "not a 64-bit");
	ASSERT_ELF_REFUSED(eh.e_ident[EI_DATA], ELFDATA2MSB, "not a 64-bit");
	ASSERT_ELF_REFUSED(eh.e_machine, EM_AARCH64, "machine type 183");
	ASSERT_ELF_REFUSED(eh.e_type, ET_REL, "type 1");
}

static void hostile_elf_numbers_are_refused(void **state)
{
	(void)state;
	ASSERT_ELF_REFUSED(eh.e_phnum, 0, "program headers");
	ASSERT_ELF_REFUSED(eh.e_phnum, 0xffff, "program headers");
	ASSERT_ELF_REFUSED(eh.e_phentsize, 8, "program headers");
	ASSERT_ELF_REFUSED(eh.e_phoff, sizeof(struct elf_file), "outside the file");
	ASSERT_ELF_REFUSED(eh.e_phoff, UINT64_MAX, "outside the file");
	ASSERT_ELF_REFUSED(eh.e_entry, 0, "entry point 0x0");
	ASSERT_ELF_REFUSED(eh.e_entry, 2 * MIB + CODE_LEN, "entry point");
	ASSERT_ELF_REFUSED(load_ph.p_paddr, 4096, "0x100000 or above");
	ASSERT_ELF_REFUSED(load_ph.p_paddr, UINT64_MAX, "0x100000 or above");
	ASSERT_ELF_REFUSED(load_ph.p_paddr, MEMORY, "RAM ends at 0x2000000");
	ASSERT_ELF_REFUSED(load_ph.p_memsz, UINT64_MAX, "0x100000 or above");
	ASSERT_ELF_REFUSED(load_ph.p_memsz, MEMORY, "RAM ends at");
	ASSERT_ELF_REFUSED(load_ph.p_memsz, 1, "300 bytes in the file but 1 in memory");
	ASSERT_ELF_REFUSED(load_ph.p_memsz, 0, "300 bytes in the file but 0 in memory");
	ASSERT_ELF_REFUSED(load_ph.p_filesz, 4096, "ends early");
	ASSERT_ELF_REFUSED(load_ph.p_offset, UINT64_MAX, "ends early");
	ASSERT_ELF_REFUSED(note_ph.p_filesz, 65537, "65537 bytes");
	ASSERT_ELF_REFUSED(note_ph.p_filesz, UINT64_MAX, "notes have");
	ASSERT_ELF_REFUSED(note_ph.p_offset, UINT64_MAX, "outside the file");
}

static void hostile_note_sizes_end_the_search(void **state)
{
	static const uint32_t sizes[] = { 0, 1, 3, 5, 0x7fffffff, 0xfffffff0, UINT32_MAX };
	struct guest_mem mem = new_memory(MEMORY);
	struct kernel_image image;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (size_t j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++) {
			struct elf_file f = elf_file();

			f.note.head = (Elf64_Nhdr){ .n_namesz = sizes[i], .n_descsz = sizes[j], .n_type = 18 };
			assert_int_equal(load(&f, sizeof(f), &mem, &image, &e), 0);
			assert_int_equal(image.protocol, KERNEL_LINUX64);
		}
	}
	mem_fini(&mem);
}

static void a_truncated_elf_file_is_refused_at_every_length(void **state)
{
	struct elf_file f = elf_file();

	(void)state;
	for (size_t len = 0; len < sizeof(f); len++) {
		if (len < offsetof(struct elf_file, code) + CODE_LEN)
			assert_refused(&f, len, "it");
	}
}

static void a_bzimage_goes_to_1_mib_and_is_entered_at_its_64_bit_entry(void **state)
{
	struct guest_mem mem = new_memory(MEMORY);
	uint8_t file[BZ_LEN];
	struct kernel_image image;
	struct err e;

	(void)state;
	make_bzimage(file);
	file[BZ_PAYLOAD] = 0x42;
	assert_int_equal(load(file, sizeof(file), &mem, &image, &e), 0);
	assert_int_equal(image.protocol, KERNEL_LINUX64);
	assert_int_equal(image.entry, MIB + 0x200);
	assert_int_equal(image.end, 24 * MIB); /* where it unpacks itself */
	assert_int_equal(image.setup.version, 0x020f);
	assert_memory_equal(mem_host(&mem, MIB, BZ_LEN - BZ_PAYLOAD), file + BZ_PAYLOAD, BZ_LEN - BZ_PAYLOAD);
	assert_noted(&mem);
	mem_fini(&mem);
}

static void no_setup_sectors_in_a_bzimage_means_four(void **state)
{
	struct guest_mem mem = new_memory(MEMORY);
	uint8_t file[BZ_LEN];
	struct kernel_image image;
	struct err e;

	(void)state;
	make_bzimage(file);
	bzimage_setup(file)->setup_sects = 0;
	bzimage_setup(file)->syssize = 0;
	bzimage_setup(file)->payload_length = 0;
	file[5 * SECTOR] = 0x42;
	assert_int_equal(load(file, sizeof(file), &mem, &image, &e), 0);
	assert_int_equal(*(const uint8_t *)mem_host(&mem, MIB, 1), 0x42);
	mem_fini(&mem);
}

static void a_bzimage_says_how_high_its_initrd_may_lie(void **state)
{
	struct guest_mem mem = new_memory(MEMORY);
	uint8_t file[BZ_LEN];
	struct kernel_image image;
	struct err e;

	(void)state;
	make_bzimage(file);
	bzimage_setup(file)->initrd_addr_max = 30 * MIB - 1;
	assert_int_equal(load(file, sizeof(file), &mem, &image, &e), 0);
	assert_int_equal(image.initrd_limit, ARCH_MMIO_GAP_START); /* it can take it anywhere */
	bzimage_setup(file)->xloadflags = XLF_KERNEL_64;
	assert_int_equal(load(file, sizeof(file), &mem, &image, &e), 0);
	assert_int_equal(image.initrd_limit, 30 * MIB);
	mem_fini(&mem);
}

#define ASSERT_BZIMAGE_REFUSED(field, value, words)          \
	do {                                                 \
		uint8_t file_[BZ_LEN];                       \
                                                             \
		make_bzimage(file_);                         \
		bzimage_setup(file_)->field = (value);       \
		assert_refused(file_, sizeof(file_), words); \
	} while (0)

static void a_bzimage_that_cannot_run_here_is_refused(void **state)
{
	(void)state;
	ASSERT_BZIMAGE_REFUSED(boot_flag, 0, "boot flag");
	ASSERT_BZIMAGE_REFUSED(version, 0x0206, "protocol 2.06; 2.12");
	ASSERT_BZIMAGE_REFUSED(xloadflags, 0, "without 64-bit entry");
	ASSERT_BZIMAGE_REFUSED(loadflags, 0, "without 64-bit entry");
	ASSERT_BZIMAGE_REFUSED(kernel_alignment, 0, "kernel_alignment 0x0");
	ASSERT_BZIMAGE_REFUSED(kernel_alignment, 3, "kernel_alignment 0x3");
	ASSERT_BZIMAGE_REFUSED(init_size, 17 * MIB, "it needs memory up to address 0x2100000");
	ASSERT_BZIMAGE_REFUSED(pref_address, UINT64_MAX - 4095, "pref_address");
	ASSERT_BZIMAGE_REFUSED(setup_sects, 40, "ends early");
}

static void a_truncated_bzimage_is_refused(void **state)
{
	uint8_t file[BZ_LEN];

	(void)state;
	make_bzimage(file);
	for (size_t len = 0; len < BZ_LEN; len += 7)
		assert_refused(file, len, "it");
	assert_refused(file, BZ_LEN - 1, "it ends early: its header announces");
	/* Either of the two lengths alone says so, too. */
	bzimage_setup(file)->syssize = 0;
	assert_refused(file, BZ_LEN - 1, "it ends early: its header announces");
	make_bzimage(file);
	bzimage_setup(file)->payload_length = 0;
	assert_refused(file, BZ_LEN - 17, "it ends early: its header announces");
}

/* Whatever a byte is changed to, the parsers end with an answer, and without a sanitizer's complaint. */
static void no_single_byte_makes_a_parser_stumble(void **state)
{
	static const uint8_t values[] = { 0, 1, 0x7f, 0x80, 0xff };
	struct guest_mem mem = new_memory(MEMORY);
	uint8_t files[2][BZ_LEN] = { 0 };
	struct elf_file f = elf_file();
	struct kernel_image image;
	struct err e;

	(void)state;
	memcpy(files[0], &f, sizeof(f));
	make_bzimage(files[1]);
	for (size_t i = 0; i < 0x268; i++) {
		for (size_t v = 0; v < sizeof(values); v++) {
			for (size_t k = 0; k < 2; k++) {
				uint8_t before = files[k][i];

				files[k][i] = values[v];
				(void)load(files[k], sizeof(files[k]), &mem, &image, &e);
				files[k][i] = before;
			}
		}
	}
	mem_fini(&mem);
}

static void ram_lies_around_the_mmio_gap(void **state)
{
	struct mem_layout layout;

	(void)state;
	arch_mem_layout(128 * MIB, &layout);
	assert_int_equal(layout.num_regions, 1);
	assert_int_equal(layout.regions[0].gpa, 0);
	assert_int_equal(layout.regions[0].size, 128 * MIB);
	arch_mem_layout(3072 * MIB, &layout);
	assert_int_equal(layout.num_regions, 1);
	arch_mem_layout(4096 * MIB, &layout);
	assert_int_equal(layout.num_regions, 2);
	assert_int_equal(layout.regions[0].size, 3072 * MIB);
	assert_int_equal(layout.regions[1].gpa, 4096 * MIB);
	assert_int_equal(layout.regions[1].size, 1024 * MIB);
}

static void assert_e820(const struct boot_e820_entry *entry, uint64_t from, uint64_t to, uint32_t type)
{
	assert_int_equal(entry->addr, from);
	assert_int_equal(entry->addr + entry->size, to);
	assert_int_equal(entry->type, type);
}

static void the_memory_map_has_all_ram_but_the_firmware_tables(void **state)
{
	struct boot_e820_entry entries[E820_MAX_ENTRIES];
	struct guest_mem mem = new_memory(4096 * MIB);

	(void)state;
	assert_int_equal(e820_build(&mem, entries), 4);
	assert_e820(&entries[0], 0, 0x9fc00, 1);
	assert_e820(&entries[1], 0x9fc00, 0xe0000, 2);
	assert_e820(&entries[2], MIB, 3072 * MIB, 1);
	assert_e820(&entries[3], 4096 * MIB, 5120 * MIB, 1);
	mem_fini(&mem);
	mem = new_memory(MIB);
	assert_int_equal(e820_build(&mem, entries), 2);
	mem_fini(&mem);
}

static void the_zero_page_tells_a_linux_kernel_where_everything_is(void **state)
{
	struct boot_info info = { .cmdline_len = 7, .initrd = 30 * MIB, .initrd_len = 12345 };
	struct kernel_image image = { .setup = { .header = 0x53726448, .version = 0x020f, .setup_data = 77 } };
	struct guest_mem mem = new_memory(MEMORY);
	const struct boot_params *params = mem_host(&mem, ARCH_ZERO_PAGE_GPA, sizeof(*params));
	struct err e;

	(void)state;
	assert_int_equal(zero_page_write(&mem, &image, &info, &e), 0);
	assert_int_equal(params->hdr.version, 0x020f);
	assert_int_equal(params->hdr.type_of_loader, 0xff);
	assert_int_equal(params->hdr.setup_data, 0);
	assert_int_equal(params->hdr.cmd_line_ptr, ARCH_CMDLINE_GPA);
	assert_int_equal(params->hdr.cmdline_size, 7);
	assert_int_equal(params->hdr.ramdisk_image, 30 * MIB);
	assert_int_equal(params->hdr.ramdisk_size, 12345);
	assert_int_equal(params->acpi_rsdp_addr, ARCH_RSDP_GPA);
	assert_int_equal(params->e820_entries, 3);
	image.setup = (struct setup_header){ 0 }; /* an ELF kernel */
	assert_int_equal(zero_page_write(&mem, &image, &info, &e), 0);
	assert_int_equal(params->hdr.header, 0x53726448);
	assert_int_equal(params->hdr.boot_flag, 0xaa55);
	mem_fini(&mem);
}

static void start_info_tells_a_pvh_kernel_the_same(void **state)
{
	struct boot_info info = { .cmdline_len = 7, .initrd = 30 * MIB, .initrd_len = 12345 };
	struct guest_mem mem = new_memory(MEMORY);
	const uint32_t *start = mem_host(&mem, ARCH_PVH_START_INFO_GPA, 64);
	const uint64_t *module = mem_host(&mem, ARCH_PVH_MODLIST_GPA, 32);
	const uint64_t *map = mem_host(&mem, ARCH_ZERO_PAGE_GPA, 3 * 24);
	struct err e;

	(void)state;
	assert_int_equal(pvh_write(&mem, &info, &e), 0);
	assert_int_equal(start[0], 0x336ec578);
	assert_int_equal(start[1], 1); /* version with memory map */
	assert_int_equal(start[3], 1); /* modules */
	assert_int_equal(start[4], ARCH_PVH_MODLIST_GPA);
	assert_int_equal(start[6], ARCH_CMDLINE_GPA);
	assert_int_equal(start[8], ARCH_RSDP_GPA);
	assert_int_equal(start[10], ARCH_ZERO_PAGE_GPA);
	assert_int_equal(start[12], 3);
	assert_int_equal(module[0], 30 * MIB);
	assert_int_equal(module[1], 12345);
	assert_int_equal(map[6], MIB);
	assert_int_equal(map[7], MEMORY - MIB);
	info.initrd_len = 0;
	assert_int_equal(pvh_write(&mem, &info, &e), 0);
	assert_int_equal(start[3], 0);
	mem_fini(&mem);
}

static uint8_t sum_bytes(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint8_t sum = 0;

	while (len-- > 0)
		sum = (uint8_t)(sum + *p++);
	return sum;
}

static void the_mp_table_adds_up_and_fits_for_32_processors(void **state)
{
	struct guest_mem mem = new_memory(MEMORY);
	const uint8_t *floating = mem_host(&mem, ARCH_MPTABLE_GPA, 16), *table = floating + 16;
	struct err e;

	(void)state;
	for (unsigned int n = 1; n <= 32; n++) {
		unsigned int len, count = 0;

		assert_int_equal(mptable_write(&mem, n, &e), 0);
		assert_memory_equal(floating, "_MP_", 4);
		assert_int_equal(sum_bytes(floating, 16), 0);
		assert_int_equal(*(const uint32_t *)(const void *)(floating + 4), ARCH_MPTABLE_GPA + 16);
		assert_memory_equal(table, "PCMP", 4);
		len = table[4] | (unsigned int)table[5] << 8;
		assert_true(16 + len <= 1024);
		assert_int_equal(sum_bytes(table, len), 0);
		for (unsigned int at = 44; at < len; at += table[at] == 0 ? 20 : 8)
			count += table[at] == 0;
		assert_int_equal(count, n);
		assert_int_equal(table[34] | table[35] << 8, n + 1 + 1 + 24 + 2);
	}
	assert_int_equal(mptable_write(&mem, 33, &e), -EINVAL);
	mem_fini(&mem);
}

/* Writes a file that the test may name; the caller unlinks and frees. */
static char *write_file(const void *data, size_t len)
{
	char *path = strdup("/tmp/snapsafe-boot-XXXXXX");
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
	return path;
}

static const struct arch_board no_devices;

static void assert_boot_refused(const struct boot_config *config, int error, const char *words)
{
	struct guest_mem mem = new_memory(MEMORY);
	struct vm vm = { .mem = &mem };
	struct err e;

	assert_int_equal(boot_machine(&vm, config, &e), error);
	if (!strstr(e.text, words))
		fail_msg("'%s' is not in '%s'", words, e.text);
	mem_fini(&mem);
}

/* Whether a machine with mib MiB takes what config names; no KVM is there, so it stops at the tables that have no room for 33. */
static bool loads_with(const struct boot_config *config, uint64_t mib, struct err *e)
{
	struct guest_mem mem = new_memory(mib * MIB);
	struct vm vm = { .mem = &mem, .num_vcpus = 33 };
	int r = boot_machine(&vm, config, e);

	mem_fini(&mem);
	if (r != -EINVAL && r != -ENOMEM)
		fail_msg("%d: %s", r, e->text);
	return r == -EINVAL && strstr(e->text, "MP table");
}

/* What is said of a machine with 2 MiB is enough, and nothing less is. */
static void assert_hint_is_right(const void *kernel, size_t len, uint64_t initrd_len)
{
	char *kernel_path = write_file(kernel, len), *initrd_path = write_file("", 0);
	struct boot_config config = { .board = &no_devices,
				      .kernel_path = kernel_path,
				      .initrd_path = initrd_len > 0 ? initrd_path : NULL,
				      .cmdline = "" };
	unsigned long mib = 0;
	const char *hint;
	struct err e;

	assert_int_equal(truncate(initrd_path, (off_t)initrd_len), 0);
	assert_false(loads_with(&config, 2, &e));
	hint = strstr(e.text, "mem_size_mib must be ");
	if (!hint || sscanf(hint, "mem_size_mib must be %lu or more", &mib) != 1)
		fail_msg("no amount in '%s'", e.text);
	if (loads_with(&config, mib - 1, &e))
		fail_msg("%lu MiB are said to be needed, one less is enough", mib);
	if (!loads_with(&config, mib, &e))
		fail_msg("%lu MiB were said to be enough: %s", mib, e.text);
	unlink(kernel_path);
	unlink(initrd_path);
	free(kernel_path);
	free(initrd_path);
}

static void the_memory_that_a_kernel_is_said_to_need_is_enough(void **state)
{
	static const uint64_t initrds[] = { 0, 1, 4096, 4097, MIB, 5 * MIB - 4096, 5 * MIB + 1 };
	static uint8_t large[9 * MIB];
	struct elf_file f = elf_file();
	uint8_t file[BZ_LEN];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(initrds); i++) {
		f = elf_file();
		f.load_ph.p_memsz = 3 * MIB + 5;
		assert_hint_is_right(&f, sizeof(f), initrds[i]);
		f.note_ph = f.load_ph; /* two segments, the upper one last, then first */
		f.load_ph.p_paddr = 9 * MIB;
		f.eh.e_entry = f.load_ph.p_paddr;
		assert_hint_is_right(&f, sizeof(f), initrds[i]);
		f.note_ph.p_paddr = 20 * MIB;
		assert_hint_is_right(&f, sizeof(f), initrds[i]);

		make_bzimage(file);
		assert_hint_is_right(file, sizeof(file), initrds[i]);
		memcpy(large, file, sizeof(file)); /* a file that alone is larger than the machine */
		bzimage_setup(large)->syssize = (sizeof(large) - BZ_PAYLOAD) / 16;
		assert_hint_is_right(large, sizeof(large), initrds[i]);
	}
}

/* No amount is named where none is enough. */
static void what_no_machine_has_room_for_is_refused(void **state)
{
	struct guest_mem mem = new_memory(MEMORY);
	struct elf_file f = elf_file();
	struct kernel_image image;
	uint8_t file[BZ_LEN];
	struct err e = { "" };
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	(void)state;
	f.load_ph.p_memsz = ARCH_MMIO_GAP_START - 2 * MIB + 1;
	assert_refused(&f, sizeof(f), "however large");
	make_bzimage(file);
	bzimage_setup(file)->xloadflags = XLF_KERNEL_64;
	bzimage_setup(file)->initrd_addr_max = 30 * MIB - 1;
	assert_int_equal(write(fd, file, sizeof(file)), sizeof(file));
	assert_int_equal(kernel_load(fd, sizeof(file), 6 * MIB, &mem, &image, &e), 0);
	assert_int_equal(kernel_load(fd, sizeof(file), 6 * MIB + 1, &mem, &image, &e), -ENOEXEC);
	assert_non_null(strstr(e.text, "where an initrd must end"));
	assert_int_equal(kernel_load(fd, sizeof(file), UINT64_MAX, &mem, &image, &e), -ENOEXEC);
	close(fd);
	mem_fini(&mem);
}

static void a_machine_that_cannot_boot_says_what_is_wrong(void **state)
{
	static uint8_t large[31 * MIB];
	struct elf_file f = elf_file();
	char *kernel = write_file(&f, sizeof(f)), *empty = write_file("", 0),
	     *initrd = write_file(large, sizeof(large));
	struct boot_config config = { .board = &no_devices, .kernel_path = "/nonexistent/vmlinux", .cmdline = "" };
	char cmdline[ARCH_CMDLINE_MAX + 1];

	(void)state;
	assert_boot_refused(&config, -ENOENT, "/nonexistent/vmlinux");
	config.kernel_path = "/tmp";
	assert_boot_refused(&config, -EINVAL, "/tmp");
	config.kernel_path = empty;
	assert_boot_refused(&config, -ENOEXEC, empty);
	config.kernel_path = kernel;
	config.initrd_path = "/nonexistent/initrd";
	assert_boot_refused(&config, -ENOENT, "/nonexistent/initrd");
	config.initrd_path = empty;
	assert_boot_refused(&config, -ENOEXEC, "empty");
	config.initrd_path = initrd;
	assert_boot_refused(&config, -ENOMEM, "it and the initrd need memory up to address 0x2101000");
	memset(cmdline, 'a', sizeof(cmdline));
	cmdline[ARCH_CMDLINE_MAX] = '\0';
	config.cmdline = cmdline;
	assert_boot_refused(&config, -EINVAL, "has 2048 bytes; at most 2047");
	unlink(kernel);
	unlink(empty);
	unlink(initrd);
	free(kernel);
	free(empty);
	free(initrd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_kernel_is_refused),
		cmocka_unit_test(an_elf_kernel_is_loaded_and_entered_at_its_entry_point),
		cmocka_unit_test(a_pvh_note_wins_in_both_of_its_sizes),
		cmocka_unit_test(an_elf_file_for_something_else_is_refused),
		cmocka_unit_test(hostile_elf_numbers_are_refused),
		cmocka_unit_test(hostile_note_sizes_end_the_search),
		cmocka_unit_test(a_truncated_elf_file_is_refused_at_every_length),
		cmocka_unit_test(a_bzimage_goes_to_1_mib_and_is_entered_at_its_64_bit_entry),
		cmocka_unit_test(no_setup_sectors_in_a_bzimage_means_four),
		cmocka_unit_test(a_bzimage_says_how_high_its_initrd_may_lie),
		cmocka_unit_test(a_bzimage_that_cannot_run_here_is_refused),
		cmocka_unit_test(a_truncated_bzimage_is_refused),
		cmocka_unit_test(no_single_byte_makes_a_parser_stumble),
		cmocka_unit_test(ram_lies_around_the_mmio_gap),
		cmocka_unit_test(the_memory_map_has_all_ram_but_the_firmware_tables),
		cmocka_unit_test(the_zero_page_tells_a_linux_kernel_where_everything_is),
		cmocka_unit_test(start_info_tells_a_pvh_kernel_the_same),
		cmocka_unit_test(a_machine_that_cannot_boot_says_what_is_wrong),
		cmocka_unit_test(the_memory_that_a_kernel_is_said_to_need_is_enough),
		cmocka_unit_test(what_no_machine_has_room_for_is_refused),
		cmocka_unit_test(the_mp_table_adds_up_and_fits_for_32_processors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
