// SPDX-License-Identifier: Apache-2.0
/* Kernel images: ELF and bzImage. */
#include "fuzz.h"

#include "arch/x86_64/kernel.h"
#include "arch/x86_64/ram.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct mem_layout layout = {
		.num_regions = 2,
		.regions = { { .gpa = 0, .size = 32ull << 20 }, { .gpa = 1ull << 32, .size = 1ull << 20 } },
	};
	uint64_t initrd_len = size % 3 == 0 ? size * size : 0;
	struct kernel_image image;
	struct guest_mem mem;
	struct fuzz_file file;
	struct err e = { "" };
	int r;

	fuzz_expect(mem_init_anonymous(&mem, &layout, &e) == 0);
	fuzz_file_init(&file, data, size);
	r = kernel_load(file.fd, size, initrd_len, &mem, &image, &e);
	fuzz_expect(r == 0 || (r < 0 && e.text[0]));
	if (r == 0) {
		fuzz_expect(image.protocol == KERNEL_LINUX64 || image.protocol == KERNEL_PVH);
		fuzz_expect(image.entry >= 0x100000 && image.entry < image.end);
		fuzz_expect(image.end <= ram_low_end(&mem));
		fuzz_expect(initrd_len == 0 || image.end + initrd_len <= image.initrd_limit);
	}
	fuzz_file_fini(&file);
	mem_fini(&mem);
	return 0;
}
