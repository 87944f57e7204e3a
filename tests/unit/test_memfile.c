// SPDX-License-Identifier: Apache-2.0
/* snapshot/memfile: what is in memory is in the file, what costs nothing stays free, and other files are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/fdio.h"
#include "fake_handler.h"
#include "guest_ram.h"
#include "mem/pages.h"
#include "snapshot/format.h"
#include "snapshot/memfile.h"
#include "tmpdir.h"

#define MIB  (1024ull * 1024)
#define PAGE MEM_PAGE_SIZE
#define HIGH (1ull << 32)

#define MEM_SIZE (8 * MIB)

static const struct mem_layout layout = {
	.num_regions = 2,
	.regions = { { .gpa = 0, .size = 6 * MIB }, { .gpa = HIGH, .size = 2 * MIB } },
};

static struct tmpdir dir;
static struct guest_mem mem;
static const struct memfile_mark mark = { .id = "0123456789abcdef",
					  .mem_size = MEM_SIZE,
					  .offset = SNAPSHOT_RECORD_OFFSET };
static const struct memfile_mark other = { .id = "0123456789abcdeF",
					   .mem_size = MEM_SIZE,
					   .offset = SNAPSHOT_RECORD_OFFSET };
static const struct memfile_mark old = { .id = "0123456789abcdef", .mem_size = MEM_SIZE, .offset = MEM_SIZE };
static const struct snapshot_chain chain = {
	.num = 1,
	.layers = { { .id = "0123456789abcdef", .offset = SNAPSHOT_RECORD_OFFSET } },
};
static const struct snapshot_chain other_chain = {
	.num = 1,
	.layers = { { .id = "0123456789abcdeF", .offset = SNAPSHOT_RECORD_OFFSET } },
};
static uint32_t seed = 4711;

static uint32_t next_random(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

static int setup(void **state)
{
	struct err e;

	(void)state;
	alarm(300);
	if (tmpdir_make(&dir) < 0)
		return -1;
	return mem_init_anonymous(&mem, &layout, &e);
}

static int teardown(void **state)
{
	(void)state;
	mem_fini(&mem);
	tmpdir_remove(&dir);
	return 0;
}

static int new_file(const char *name)
{
	int fd = open(tmpdir_file(&dir, name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	return fd;
}

static void write_image(const char *name, const struct guest_mem *from)
{
	int fd = new_file(name);
	struct err e;

	if (memfile_write(fd, from, &chain, &e) < 0)
		fail_msg("%s", e.text);
	close(fd);
}

static uint64_t disk_bytes(const char *name)
{
	struct stat st;

	assert_int_equal(stat(tmpdir_file(&dir, name), &st), 0);
	assert_int_equal(st.st_size, MEM_SIZE);
	return (uint64_t)st.st_blocks * 512;
}

/* The image must be what the memory is now, but where it has its record. Reads memory, hence comes after everything that counts pages. */
static void assert_image_equals(const char *name, const struct guest_mem *expected)
{
	static uint8_t buf[MIB];
	struct snapshot_mem_record record;
	int fd = open(tmpdir_file(&dir, name), O_RDONLY | O_CLOEXEC);

	for (unsigned int i = 0; i < expected->num_regions; i++) {
		const struct mem_region *region = &expected->regions[i];

		for (uint64_t at = 0; at < region->size; at += sizeof(buf)) {
			assert_int_equal(fd_pread_all(fd, buf, sizeof(buf), (off_t)(region->file_offset + at)), 0);
			if (!i && !at) {
				memfile_record(&chain, 0, MEM_SIZE, &record);
				assert_memory_equal(buf + SNAPSHOT_RECORD_OFFSET, &record, sizeof(record));
				memcpy(buf + SNAPSHOT_RECORD_OFFSET, region->host + SNAPSHOT_RECORD_OFFSET, PAGE);
			}
			assert_true(memcmp(buf, region->host + at, sizeof(buf)) == 0);
		}
	}
	close(fd);
}

/* Restores from the named file. */
static struct guest_mem restore(const char *name)
{
	struct guest_mem restored;
	struct err e;
	int fd;

	if (memfile_open(tmpdir_file(&dir, name), &mark, &fd, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(mem_init_file(&restored, &layout, fd, &e), 0);
	return restored;
}

/* Pages of the mapping that are present in any way, and the process's own among them. */
static void count_pages(const struct guest_mem *m, unsigned int *present, unsigned int *own)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry;

	*present = *own = 0;
	assert_true(fd >= 0);
	for (unsigned int i = 0; i < m->num_regions; i++) {
		for (uint64_t at = 0; at < m->regions[i].size; at += PAGE) {
			off_t where = (off_t)(((uintptr_t)m->regions[i].host + at) / PAGE * 8);

			assert_int_equal(fd_pread_all(fd, &entry, sizeof(entry), where), 0);
			*present += entry >> 63;
			*own += entry >> 63 && !(entry >> 61 & 1);
		}
	}
	close(fd);
}

static void fill(struct guest_mem *m, gpa_t gpa, uint8_t value, uint64_t len)
{
	void *host = guest_ram(m, gpa, len);

	assert_non_null(host);
	memset(host, value, len);
}

static void untouched_memory_is_one_page_on_disk(void **state)
{
	unsigned int present, own;

	(void)state;
	write_image("empty", &mem);
	assert_true(disk_bytes("empty") <= 4 * PAGE);
	count_pages(&mem, &present, &own);
	assert_int_equal(present, 0);
	assert_image_equals("empty", &mem);
}

static void pages_of_zeroes_are_holes(void **state)
{
	volatile uint8_t *host = guest_ram(&mem, 0, MEM_SIZE - 2 * MIB);

	(void)state;
	madvise(mem.regions[0].writable, 6 * MIB, MADV_NOHUGEPAGE);
	fill(&mem, 0, 0, MIB);	       /* written, but zero */
	(void)host[3 * MIB];	       /* only read */
	fill(&mem, 2 * MIB + 5, 7, 1); /* one byte */
	fill(&mem, 3 * MIB - 1, 8, 2); /* two pages */
	fill(&mem, 6 * MIB - 1, 9, 1); /* the last byte of a region */
	fill(&mem, HIGH, 10, 1);       /* the first of the next */
	fill(&mem, HIGH + 2 * MIB - 1, 11, 1);
	write_image("sparse", &mem);
	assert_true(disk_bytes("sparse") <= 12 * PAGE);
	assert_image_equals("sparse", &mem);
}

static void huge_pages_are_written_right_and_sparse(void **state)
{
	(void)state;
	madvise(mem.regions[0].writable, 6 * MIB, MADV_HUGEPAGE);
	fill(&mem, 2 * MIB + 9 * PAGE, 1, 1); /* makes 2 MiB present, if the host does that */
	write_image("huge", &mem);
	assert_true(disk_bytes("huge") <= 4 * PAGE);
	assert_image_equals("huge", &mem);
}

static void dropped_pages_are_zero_again(void **state)
{
	(void)state;
	fill(&mem, 0, 0xaa, 4 * MIB);
	assert_int_equal(madvise(mem.regions[0].writable, 3 * MIB, MADV_DONTNEED), 0);
	write_image("dropped", &mem);
	assert_true(disk_bytes("dropped") <= MIB + 8 * PAGE);
	assert_image_equals("dropped", &mem);
}

static void a_full_memory_is_written_whole(void **state)
{
	(void)state;
	fill(&mem, 0, 0x11, 6 * MIB);
	fill(&mem, HIGH, 0x22, 2 * MIB);
	write_image("full", &mem);
	assert_true(disk_bytes("full") >= MEM_SIZE);
	assert_image_equals("full", &mem);
}

/* Pages 0..9 MiB of all kinds, as a base to restore from. */
static void write_base(const char *name)
{
	fill(&mem, MIB, 1, MIB);
	fill(&mem, 4 * MIB, 2, 64 * 1024);
	fill(&mem, HIGH + 64 * 1024, 3, MIB);
	write_image(name, &mem);
}

static void a_clone_costs_what_it_changed(void **state)
{
	unsigned int before, after, own_before, own_after;
	struct guest_mem clone;

	(void)state;
	write_base("base");
	clone = restore("base");
	fill(&clone, MIB + 5 * PAGE, 0, PAGE); /* data becomes zero */
	fill(&clone, MIB + 9 * PAGE, 77, 1);   /* data changes */
	fill(&clone, 3 * MIB, 78, 2 * PAGE);   /* a hole becomes data */
	fill(&clone, 6 * MIB - 1, 79, 1);      /* ends of regions */
	fill(&clone, HIGH, 80, 1);
	assert_int_equal(*(const volatile uint8_t *)mem_host(&clone, MIB, 1), 1); /* only read */
	count_pages(&clone, &before, &own_before);
	write_image("clone", &clone);
	count_pages(&clone, &after, &own_after);
	assert_int_equal(after, before);
	assert_int_equal(own_after, own_before);
	assert_true(disk_bytes("clone") <= disk_bytes("base") + 12 * PAGE);
	assert_image_equals("clone", &clone);
	mem_fini(&clone);
}

static enum pagemap_kind kind_at(const struct guest_mem *m, gpa_t gpa)
{
	enum pagemap_kind kind;
	struct pagemap pm;
	uint64_t run;

	assert_int_equal(pagemap_init(&pm), 0);
	kind = pagemap_next(&pm, mem_host(m, gpa, PAGE), PAGE, &run);
	assert_int_equal(run, PAGE);
	pagemap_fini(&pm);
	return kind;
}

/* Such a page may vanish with the end of its file: it must not be touched. */
static void a_page_that_was_only_read_is_still_the_files(void **state)
{
	struct guest_mem clone;

	(void)state;
	write_base("kinds");
	clone = restore("kinds");
	assert_int_equal(kind_at(&clone, MIB), PAGEMAP_UNTOUCHED);
	assert_int_equal(*(const volatile uint8_t *)mem_host(&clone, MIB, 1), 1);
	assert_int_equal(kind_at(&clone, MIB), PAGEMAP_UNTOUCHED);
	fill(&clone, MIB, 5, 1);
	assert_int_equal(kind_at(&clone, MIB), PAGEMAP_PRIVATE);
	mem_fini(&clone);
}

static void a_clone_from_another_file_system_is_copied_by_hand(void **state)
{
	int fd = memfd_create("base", MFD_CLOEXEC);
	struct guest_mem clone;
	struct err e;

	(void)state;
	write_base("unused");
	assert_int_equal(memfile_write(fd, &mem, &chain, &e), 0);
	assert_int_equal(mem_init_file(&clone, &layout, fd, &e), 0);
	fill(&clone, MIB + 5 * PAGE, 0, PAGE);
	fill(&clone, 3 * MIB, 78, 2 * PAGE);
	write_image("from-memfd", &clone);
	assert_true(disk_bytes("from-memfd") <= disk_bytes("unused") + 8 * PAGE);
	assert_image_equals("from-memfd", &clone);
	mem_fini(&clone);
}

/* Nothing can be opened any more: /proc/self/pagemap is out of reach, as in a jail without /proc. */
static int write_without_pagemap(int fd, const struct guest_mem *from, struct err *e)
{
	struct rlimit limit, none;
	int r;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	r = memfile_write(fd, from, &chain, e);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	return r;
}

static void without_pagemap_everything_is_read(void **state)
{
	struct guest_mem clone;
	struct err e;
	int fd;

	(void)state;
	write_base("base2");
	fd = new_file("blind");
	assert_int_equal(write_without_pagemap(fd, &mem, &e), 0);
	close(fd);
	assert_true(disk_bytes("blind") <= disk_bytes("base2") + 8 * PAGE);
	assert_image_equals("blind", &mem);

	clone = restore("base2");
	fill(&clone, MIB + 5 * PAGE, 0, PAGE);
	fill(&clone, 3 * MIB, 78, 2 * PAGE);
	fd = new_file("blind-clone");
	assert_int_equal(write_without_pagemap(fd, &clone, &e), 0);
	close(fd);
	assert_true(disk_bytes("blind-clone") <= disk_bytes("base2") + 8 * PAGE);
	assert_image_equals("blind-clone", &clone);

	/* Memory that cannot be read is an error, not a signal. */
	assert_int_equal(mprotect(guest_ram(&clone, 2 * MIB, PAGE), PAGE, PROT_NONE), 0);
	fd = new_file("unreadable");
	assert_int_equal(write_without_pagemap(fd, &clone, &e), -EIO);
	close(fd);
	mem_fini(&clone);
}

/* The base has other bytes there, and they must not come back with the next clone. */
static void pages_that_were_given_back_are_saved_as_zeroes(void **state)
{
	struct guest_mem clone, next;
	struct err e;
	int fd;

	(void)state;
	write_base("given");
	clone = restore("given");
	fill(&clone, MIB + 2 * PAGE, 5, PAGE);				/* one that the guest has changed, */
	assert_int_equal(mem_discard(&clone, MIB + PAGE, 4 * PAGE), 0); /* beside those it has not */
	assert_int_equal(mem_discard(&clone, HIGH + 64 * 1024, MIB), 0);
	fill(&clone, HIGH + 80 * 1024, 6, 1); /* and takes back */
	write_image("after", &clone);
	assert_true(disk_bytes("after") <= disk_bytes("given") - MIB + 8 * PAGE);
	fd = new_file("after-blind");
	assert_int_equal(write_without_pagemap(fd, &clone, &e), 0);
	close(fd);
	next = restore("after");
	for (unsigned int at = 0; at < 4 * PAGE; at++)
		assert_int_equal(*((const uint8_t *)mem_host(&next, MIB + PAGE, 4 * PAGE) + at), 0);
	mem_fini(&next);
	assert_image_equals("after", &clone);
	assert_image_equals("after-blind", &clone);
	mem_fini(&clone);
}

/* A hole where a page was not served would be a page of zeroes to whoever loads the snapshot. */
static void pages_of_a_handler_are_never_holes(void **state)
{
	struct fake_handler handler;
	struct guest_mem served;
	struct err e;
	int fd;

	(void)state;
	fake_handler_map(&handler, &served, &layout);
	assert_int_equal(mem_populate(&served, &served.regions[0], 2 * PAGE, PAGE), 0);
	fill(&served, 2 * PAGE, 9, 1);
	assert_int_equal(mem_discard(&served, 4 * PAGE, PAGE), 0);
	write_image("served", &served);
	assert_int_equal(handler.num_served, MEM_SIZE / PAGE - 1);
	assert_image_equals("served", &served);
	assert_int_equal(*(const uint8_t *)mem_host(&served, 4 * PAGE, 1), 0);
	assert_int_equal(*(const uint8_t *)mem_host(&served, 2 * PAGE, 1), 9);
	assert_int_equal(*(const uint8_t *)mem_host(&served, HIGH + 2 * MIB - 1, 1), 'H');
	mem_fini(&served);

	fake_handler_map(&handler, &served, &layout);
	fd = new_file("served-blind");
	assert_int_equal(write_without_pagemap(fd, &served, &e), 0);
	close(fd);
	assert_int_equal(handler.num_served, MEM_SIZE / PAGE);
	assert_image_equals("served-blind", &served);
	mem_fini(&served);
}

static void a_handler_that_does_not_serve_is_an_error(void **state)
{
	struct fake_handler handler;
	struct guest_mem unserved;
	struct err e;
	int fd = new_file("unserved");

	(void)state;
	fake_handler_map(&handler, &unserved, &layout);
	handler.fails = -ETIMEDOUT;
	assert_int_equal(memfile_write(fd, &unserved, &chain, &e), -ETIMEDOUT);
	assert_non_null(strstr(e.text, "the handler of the guest's pages has not served all of them"));
	unserved.handler.populate = NULL; /* gone */
	assert_true(memfile_write(fd, &unserved, &chain, &e) < 0);
	assert_non_null(strstr(e.text, "has not served"));
	close(fd);
	mem_fini(&unserved);
}

static void a_base_that_was_cut_is_an_error_not_a_signal(void **state)
{
	struct guest_mem clone;
	struct err e;
	int fd;

	(void)state;
	write_base("cut");
	clone = restore("cut");
	assert_int_equal(truncate(tmpdir_file(&dir, "cut"), 2 * MIB), 0);
	fd = new_file("from-cut");
	assert_int_equal(memfile_write(fd, &clone, &chain, &e), -EIO);
	assert_non_null(strstr(e.text, "has been cut to 2097152 bytes"));
	close(fd);
	mem_fini(&clone);
}

static void scramble(struct guest_mem *m)
{
	for (int i = 0; i < 60; i++) {
		gpa_t gpa = next_random() % (4 * MIB) + (next_random() % 3 == 0 ? HIGH : 0);
		uint64_t len = 1 + next_random() % (8 * PAGE);
		uint8_t *host = guest_ram(m, gpa, len);

		if (!host)
			continue;
		if (next_random() % 4 == 0)
			madvise(host - (uintptr_t)host % PAGE, len, MADV_DONTNEED);
		else
			memset(host, next_random() % 3 == 0 ? 0 : (int)next_random(), len);
	}
}

static void generations_of_clones_stay_true_to_their_memory(void **state)
{
	struct guest_mem current = mem;
	char name[32];

	(void)state;
	for (int round = 0; round < 25; round++) {
		scramble(&current);
		snprintf(name, sizeof(name), "generation-%d", round);
		write_image(name, &current);
		assert_image_equals(name, &current);
		if (round > 0)
			mem_fini(&current);
		current = restore(name);
	}
	mem_fini(&current);
}

static void a_full_disk_is_an_error(void **state)
{
	struct rlimit limit = { .rlim_cur = MIB + 100, .rlim_max = RLIM_INFINITY };
	struct err e;
	int fd;

	(void)state;
	write_base("whole");
	signal(SIGXFSZ, SIG_IGN);
	fd = new_file("limited");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(memfile_write(fd, &mem, &chain, &e), -EFBIG);
	limit.rlim_cur = RLIM_INFINITY;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_non_null(strstr(e.text, "File too large"));
	close(fd);
}

static void assert_open_refused(const char *path, const struct memfile_mark *want, const char *text)
{
	struct err e;
	int fd = -1;

	assert_true(memfile_open(path, want, &fd, &e) < 0);
	assert_int_equal(fd, -1);
	if (!strstr(e.text, path) || !strstr(e.text, text))
		fail_msg("\"%s\" should name \"%s\" and say \"%s\"", e.text, path, text);
}

static void the_file_of_another_snapshot_is_refused(void **state)
{
	struct memfile_mark larger = mark;
	const char *path;

	(void)state;
	write_base("mine");
	path = tmpdir_file(&dir, "mine");
	assert_open_refused(path, &other, "belongs to another snapshot: its id is 30313233");
	larger.mem_size += PAGE;
	assert_open_refused(path, &larger, "has 8388608 bytes, the state file wants 8392704");
	assert_open_refused(path, &old, "has 8388608 bytes, the state file wants 8392704");
}

static const char *refusal_of_changed_byte(off_t at)
{
	return at < 8 ? "another kind of file" : "damaged";
}

/* Whatever else is the same: one machine's memory from two moments may differ in nothing else. */
static void every_changed_byte_of_the_record_is_refused(void **state)
{
	const char *path;
	uint8_t byte;
	int fd;

	(void)state;
	write_image("id", &mem);
	path = tmpdir_file(&dir, "id");
	fd = open(path, O_RDWR | O_CLOEXEC);
	for (off_t at = SNAPSHOT_RECORD_OFFSET; at < (off_t)(SNAPSHOT_RECORD_OFFSET + PAGE); at++) {
		assert_int_equal(fd_pread_all(fd, &byte, 1, at), 0);
		byte ^= 0x40;
		assert_int_equal(fd_pwrite_all(fd, &byte, 1, at), 0);
		assert_open_refused(path, &mark, refusal_of_changed_byte(at - (off_t)SNAPSHOT_RECORD_OFFSET));
		byte ^= 0x40;
		assert_int_equal(fd_pwrite_all(fd, &byte, 1, at), 0);
	}
	close(fd);
}

static void sizes_must_be_exact(void **state)
{
	static const uint64_t sizes[] = { MEM_SIZE + PAGE, MEM_SIZE + 1, MEM_SIZE - 1, PAGE, 0 };
	const char *path;

	(void)state;
	write_base("sized");
	path = tmpdir_file(&dir, "sized");
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(truncate(path, (off_t)sizes[i]), 0);
		assert_open_refused(path, &mark, "it is cut short or another kind of file");
	}
}

static void write_trailer(int fd, uint64_t mem_size)
{
	struct snapshot_mem_record trailer = { .magic = SNAPSHOT_MEM_MAGIC, .mem_size = htole64(mem_size) };

	memcpy(trailer.id, old.id, sizeof(trailer.id));
	snapshot_checksum_of(&trailer, offsetof(struct snapshot_mem_record, checksum), &trailer.checksum);
	assert_int_equal(fd_pwrite_all(fd, &trailer, sizeof(trailer), MEM_SIZE), 0);
}

static void a_trailer_of_version_1_0_is_checked(void **state)
{
	const char *path;
	uint8_t byte;
	int fd = new_file("trailer"), opened;
	struct err e;

	(void)state;
	path = tmpdir_file(&dir, "trailer");
	write_trailer(fd, MEM_SIZE - PAGE);
	assert_open_refused(path, &old, "has 8388608 bytes of memory, its record says 8384512");
	write_trailer(fd, MEM_SIZE);
	assert_int_equal(memfile_open(path, &old, &opened, &e), 0);
	close(opened);
	assert_open_refused(path, &mark, "has 8392704 bytes, the state file wants 8388608");
	for (off_t at = MEM_SIZE; at < (off_t)(MEM_SIZE + PAGE); at++) {
		assert_int_equal(fd_pread_all(fd, &byte, 1, at), 0);
		byte ^= 0x40;
		assert_int_equal(fd_pwrite_all(fd, &byte, 1, at), 0);
		assert_open_refused(path, &old, refusal_of_changed_byte(at - (off_t)MEM_SIZE));
		byte ^= 0x40;
		assert_int_equal(fd_pwrite_all(fd, &byte, 1, at), 0);
	}
	close(fd);
}

static void what_is_not_a_file_gets_a_sentence_at_once(void **state)
{
	char path[PATH_MAX];

	(void)state;
	snprintf(path, sizeof(path), "%s", tmpdir_file(&dir, "fifo"));
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_open_refused(path, &mark, "is a FIFO");
	assert_open_refused(dir.path, &mark, "is a directory");
	assert_open_refused(tmpdir_file(&dir, "nothing"), &mark, "No such file or directory");
	snprintf(path, sizeof(path), "%s", tmpdir_file(&dir, "dangling"));
	assert_int_equal(symlink("/no/such/file", path), 0);
	assert_open_refused(path, &mark, "cannot open");
}

static void an_interrupted_commit_is_found_under_its_temporary_name(void **state)
{
	char path[PATH_MAX], tmp[PATH_MAX + 32];
	struct err e;
	int fd;

	(void)state;
	write_image("committed", &mem);
	snprintf(path, sizeof(path), "%s", tmpdir_file(&dir, "committed"));
	snprintf(tmp, sizeof(tmp), "%s" SNAPSHOT_TMP_SUFFIX, path);
	assert_int_equal(rename(path, tmp), 0);
	assert_int_equal(memfile_open(path, &mark, &fd, &e), 0); /* nothing at path */
	close(fd);
	fd = new_file("committed");
	assert_int_equal(memfile_write(fd, &mem, &other_chain, &e), 0);
	close(fd);
	assert_int_equal(memfile_open(path, &mark, &fd, &e), 0); /* an older snapshot's at path */
	close(fd);
	assert_int_equal(memfile_open(path, &other, &fd, &e), 0);
	close(fd);
	assert_int_equal(chdir(dir.path), 0);
	assert_int_equal(memfile_open("committed", &mark, &fd, &e), 0);
	close(fd);
	assert_int_equal(symlink("committed", "link"), 0);
	assert_int_equal(memfile_open("link", &mark, &fd, &e), 0);
	close(fd);
	assert_int_equal(chdir("/"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(untouched_memory_is_one_page_on_disk),
		TEST(pages_of_zeroes_are_holes),
		TEST(huge_pages_are_written_right_and_sparse),
		TEST(dropped_pages_are_zero_again),
		TEST(a_full_memory_is_written_whole),
		TEST(a_clone_costs_what_it_changed),
		TEST(a_page_that_was_only_read_is_still_the_files),
		TEST(a_clone_from_another_file_system_is_copied_by_hand),
		TEST(without_pagemap_everything_is_read),
		TEST(pages_that_were_given_back_are_saved_as_zeroes),
		TEST(pages_of_a_handler_are_never_holes),
		TEST(a_handler_that_does_not_serve_is_an_error),
		TEST(a_base_that_was_cut_is_an_error_not_a_signal),
		TEST(generations_of_clones_stay_true_to_their_memory),
		TEST(a_full_disk_is_an_error),
		TEST(the_file_of_another_snapshot_is_refused),
		TEST(sizes_must_be_exact),
		TEST(every_changed_byte_of_the_record_is_refused),
		TEST(a_trailer_of_version_1_0_is_checked),
		TEST(what_is_not_a_file_gets_a_sentence_at_once),
		TEST(an_interrupted_commit_is_found_under_its_temporary_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
