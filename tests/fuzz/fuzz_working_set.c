// SPDX-License-Identifier: Apache-2.0
/*
 * Working sets: the file, and what is done with one that was read.
 *
 * The first byte of an input says what the rest is: a whole file; one whose
 * checksum is made for it; or runs of pages, for which header and checksum are
 * made. The second byte gives a page back before the runs are mapped.
 */
#include "fuzz.h"

#include <endian.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mem/ahead.h"
#include "mem/pages.h"
#include "snapshot/format.h"
#include "snapshot/working_set.h"

#define PAGES	 64u
#define HIGH	 (1ull << 32)
#define MEM_SIZE ((PAGES + 4ull) * MEM_PAGE_SIZE)
#define MAX_LEN	 4096u

static const struct mem_layout layout = {
	.num_regions = 2,
	.regions = { { .gpa = 0, .size = PAGES * MEM_PAGE_SIZE }, { .gpa = HIGH, .size = 4 * MEM_PAGE_SIZE } },
};
static const struct memfile_mark mark = { .id = { 1, 2, 3 }, .mem_size = MEM_SIZE };

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

static size_t make_file(uint8_t kind, struct fuzz_input *in, uint8_t *file)
{
	const struct snapshot_working_set header = {
		.magic = SNAPSHOT_WSET_MAGIC,
		.version = htole32(SNAPSHOT_WSET_VERSION),
		.header_len = htole32(sizeof(header)),
		.mem_size = htole64(MEM_SIZE),
		.id = { 1, 2, 3 },
		.num_runs = htole64(in->len / sizeof(struct snapshot_run)),
	};
	struct snapshot_checksum checksum;
	const uint8_t *data;
	size_t len = 0, num;

	if (kind % 4 > 1) {
		memcpy(file, &header, sizeof(header));
		len = sizeof(header);
	}
	data = fuzz_bytes(in, MAX_LEN - len - sizeof(checksum), &num);
	if (kind % 4 > 1)
		num -= num % sizeof(struct snapshot_run);
	memcpy(file + len, data, num);
	len += num;
	if (kind % 4 == 0)
		return len;
	snapshot_checksum_of(file, len, &checksum);
	memcpy(file + len, &checksum, sizeof(checksum));
	return len + sizeof(checksum);
}

/* Whatever was mapped ahead: a page is the file's or, given back, zero, and none is the process's own. */
static void check_memory(const struct guest_mem *mem, gpa_t zero)
{
	static const uint8_t page[MEM_PAGE_SIZE];
	struct mem_survey survey;
	uint64_t run;

	fuzz_expect(mem_survey_init(&survey, mem) == 0);
	for (unsigned int i = 0; i < mem->num_regions; i++)
		for (uint64_t at = 0; at < mem->regions[i].size; at += run)
			fuzz_expect(mem_survey_next(&survey, i, at, &run) != MEM_OWN);
	mem_survey_fini(&survey);
	fuzz_expect(memcmp(mem_host(mem, zero, MEM_PAGE_SIZE), page, sizeof(page)) == 0);
}

static void map_ahead(const struct snapshot_run *runs, size_t num, uint8_t given_back)
{
	int fd = memfd_create("mem", MFD_CLOEXEC);
	gpa_t zero = given_back % PAGES * (gpa_t)MEM_PAGE_SIZE;
	struct guest_mem mem;
	struct err e;

	fuzz_expect(fd >= 0 && ftruncate(fd, (off_t)MEM_SIZE) == 0);
	fuzz_expect(pwrite(fd, "file", 4, (off_t)zero) == 4);
	fuzz_expect(mem_init_file(&mem, &layout, fd, &e) == 0);
	fuzz_expect(mem_discard(&mem, zero, MEM_PAGE_SIZE) == 0);
	for (size_t i = 0; i < num; i++) {
		mem_will_need(&mem, le64toh(runs[i].offset), le64toh(runs[i].len));
		fuzz_expect(mem_map_ahead(&mem, le64toh(runs[i].offset), le64toh(runs[i].len)) == 0);
	}
	check_memory(&mem, zero);
	mem_fini(&mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	uint8_t kind = fuzz_u8(&in), given_back = fuzz_u8(&in);
	uint8_t *file = malloc(MAX_LEN), *exact;
	const struct snapshot_run *runs;
	struct err e = { "" };
	size_t len, num;
	int r;

	fuzz_expect(file != NULL);
	len = make_file(kind, &in, file);
	/* Of its own length, so that a sanitizer sees what is read behind it. */
	exact = malloc(len + 1);
	fuzz_expect(exact != NULL);
	memcpy(exact, file, len);
	r = working_set_parse(exact, len, &mark, &runs, &num, &e);
	fuzz_expect(r == 0 || (r == -EINVAL && e.text[0]));
	if (r == 0)
		map_ahead(runs, num, given_back);
	free(exact);
	free(file);
	return 0;
}
