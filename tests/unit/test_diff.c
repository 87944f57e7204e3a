// SPDX-License-Identifier: Apache-2.0
/* snapshot/: a chain of diffs is the memory that was saved, mapped as layers or merged, and nothing else is taken for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <fcntl.h>
#include "base/cleanup.h"
#include "base/fdio.h"
#include "guest_ram.h"
#include "mem/pages.h"
#include "mem/track.h"
#include "snapshot/format.h"
#include "snapshot/inspect.h"
#include "snapshot/layers.h"
#include "snapshot/memfile.h"
#include "snapshot/pair.h"
#include "snapshot/runs.h"
#include "tmpdir.h"

#define MIB  (1024ull * 1024)
#define PAGE MEM_PAGE_SIZE
#define HIGH (1ull << 32)
#define SIZE (6 * MIB)

static const struct mem_layout layout = {
	.num_regions = 2,
	.regions = { { .gpa = 0, .size = 4 * MIB }, { .gpa = HIGH, .size = 2 * MIB } },
};

static struct tmpdir dir;
static struct guest_mem mem;
static struct snapshot_chain chain; /* what mem was at its mark */
static uint8_t saved[SIZE];	    /* what it was at the last snapshot */
static uint32_t seed;

static uint32_t next_random(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

static int setup(void **state)
{
	struct err e;

	(void)state;
	seed = 815;
	chain.num = 0;
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

static void read_all(const struct guest_mem *from, uint8_t *to)
{
	for (unsigned int i = 0; i < from->num_regions; i++)
		memcpy(to + from->regions[i].file_offset, from->regions[i].host, from->regions[i].size);
}

/* As a guest would: writes of any length, zeroes among them, and pages given back. */
static void scramble(struct guest_mem *m, unsigned int times)
{
	static uint8_t bytes[5 * PAGE];

	for (unsigned int i = 0; i < times; i++) {
		gpa_t gpa = next_random() % 2 ? next_random() % (4 * MIB) : HIGH + next_random() % (2 * MIB);
		uint64_t len = 1 + next_random() % sizeof(bytes);

		memset(bytes, next_random() % 3 ? (int)next_random() : 0, sizeof(bytes));
		if (next_random() % 5 == 0)
			(void)!mem_discard(m, gpa / PAGE * PAGE, PAGE * (1 + next_random() % 4));
		else
			(void)!mem_write(m, gpa, bytes, len);
	}
	memset(bytes, 0, PAGE);
	assert_true(mem_write(m, 2 * MIB, bytes, PAGE)); /* a page of zeroes in each */
}

static const char *file(const char *name, const char *kind)
{
	static char names[8][PATH_MAX];
	static unsigned int next;
	char *path = names[next++ % ARRAY_SIZE(names)];

	snprintf(path, PATH_MAX, "%s/%s.%s", dir.path, name, kind);
	return path;
}

static int try_save(struct guest_mem *m, const char *name, const struct snapshot_chain *below, struct err *e)
{
	uint64_t *changed[MEM_MAX_REGIONS] = { NULL };
	struct snapshot_order order = { .state_path = file(name, "state"),
					.mem_path = file(name, "mem"),
					.mem = m,
					.below = below,
					.changed = changed };
	struct enc *enc = enc_new();
	int r;

	for (unsigned int i = 0; i < m->num_regions && below->num > 0; i++) {
		changed[i] = calloc(mem_bitmap_len(&m->regions[i]), 8);
		assert_int_equal(mem_changed_since_mark(m, i, changed[i], e), 0);
	}
	snapshot_chain_save(below, m, enc);
	r = snapshot_write_pair(&order, enc, &chain, e);
	enc_free(enc);
	for (unsigned int i = 0; i < m->num_regions; i++)
		free(changed[i]);
	if (r == 0)
		assert_int_equal(mem_mark(m, e), 0);
	return r;
}

static void save(struct guest_mem *m, const char *name, const struct snapshot_chain *below)
{
	struct err e;

	if (try_save(m, name, below, &e) < 0)
		fail_msg("%s", e.text);
	read_all(m, saved);
}

static void save_full(struct guest_mem *m, const char *name)
{
	static const struct snapshot_chain none = { .num = 0 };

	save(m, name, &none);
}

/* below: names separated by blanks. */
static int try_load(const char *name, const char *mem_name, const char *below, struct guest_mem *out, struct err *e)
{
	char list[2048] = "", words[256], *rest = words, *word, *end = list;
	struct snapshot_chain loaded;
	struct statefile state;
	int r;

	snprintf(words, sizeof(words), "%s", below);
	while ((word = strsep(&rest, " ")) && *word)
		end = stpcpy(end, file(word, "mem")) + 1;
	*end = '\0';
	r = statefile_read(file(name, "state"), &state, e);
	if (r < 0)
		return r;
	r = snapshot_chain_load(&state, &loaded, e);
	if (r == 0)
		r = snapshot_map_memory(&state, &loaded, file(mem_name, "mem"), list, &layout, out, e);
	if (r == 0)
		r = snapshot_put_back(&state, &loaded, out, e);
	statefile_fini(&state);
	if (r == 0) {
		assert_int_equal(mem_mark(out, e), 0);
		chain = loaded;
	}
	return r;
}

static struct guest_mem load(const char *name, const char *mem_name, const char *below)
{
	struct guest_mem loaded;
	struct err e;

	if (try_load(name, mem_name, below, &loaded, &e) < 0)
		fail_msg("%s", e.text);
	return loaded;
}

static void assert_is_saved(const struct guest_mem *m)
{
	static uint8_t now[SIZE];

	read_all(m, now);
	for (size_t at = 0; at < SIZE; at++)
		if (now[at] != saved[at])
			fail_msg("0x%zx: 0x%02x, it was 0x%02x", at, now[at], saved[at]);
}

static void assert_refused(const char *name, const char *mem_name, const char *below, const char *names,
			   const char *text)
{
	struct guest_mem loaded;
	struct err e;

	assert_true(try_load(name, mem_name, below, &loaded, &e) < 0);
	if (!strstr(e.text, file(names, "mem")) || !strstr(e.text, text))
		fail_msg("\"%s\" should name %s and say \"%s\"", e.text, names, text);
}

/* Guests may have anything where records are put. */
static void write_under_records(struct guest_mem *m, uint8_t value)
{
	static uint8_t page[PAGE];

	for (unsigned int i = 0; i < SNAPSHOT_MAX_LAYERS; i++) {
		memset(page, (int)(value + i), sizeof(page));
		assert_true(mem_write(m, SNAPSHOT_RECORD_OFFSET - i * PAGE, page, PAGE));
	}
}

static void save_chain(void)
{
	scramble(&mem, 200);
	write_under_records(&mem, 1);
	save_full(&mem, "full");
	for (unsigned int i = 1; i <= 3; i++) {
		const char name[] = { 'd', (char)('0' + i), '\0' };

		scramble(&mem, 20);
		if (i != 2)
			write_under_records(&mem, (uint8_t)(50 * i));
		save(&mem, name, &chain);
	}
}

static void a_chain_is_the_memory_that_was_saved(void **state)
{
	struct guest_mem clone;

	(void)state;
	save_chain();
	clone = load("d3", "d3", "full d1 d2");
	assert_is_saved(&clone);
	mem_fini(&clone);
	assert_int_equal(memcmp(saved, mem.regions[0].host, 4 * MIB), 0);
}

/* The writer knows where each untouched page comes from, and a diff of a clone lies on the clone's own chain. */
static void clones_of_chains_are_saved_and_go_on(void **state)
{
	struct guest_mem clone, next;

	(void)state;
	save_chain();
	clone = load("d3", "d3", "full d1 d2");
	scramble(&clone, 20);
	save(&clone, "d4", &chain);
	next = load("d4", "d4", "full d1 d2 d3");
	assert_is_saved(&next);
	mem_fini(&next);
	scramble(&clone, 20);
	save_full(&clone, "again");
	next = load("again", "again", "");
	assert_is_saved(&next);
	mem_fini(&next);
	mem_fini(&clone);
}

static void pages_that_nobody_touched_are_in_no_diff(void **state)
{
	struct guest_mem clone;
	struct stat st;

	(void)state;
	save_chain();
	clone = load("d3", "d3", "full d1 d2");
	assert_int_equal(*(const volatile uint8_t *)mem_host(&clone, MIB + PAGE, 1), saved[MIB + PAGE]); /* only read */
	assert_true(mem_write(&clone, 3 * MIB, "x", 1));
	save(&clone, "small", &chain);
	assert_int_equal(stat(file("small", "mem"), &st), 0);
	assert_int_equal(st.st_size, SIZE);
	assert_true(st.st_blocks * 512 <= 8 * (int)PAGE);
	mem_fini(&clone);
}

/* KVM's log, as the guest's. */
static int log_one_page(void *ctx, unsigned int region, uint64_t *bitmap)
{
	if (region == 0)
		bitmap[*(unsigned int *)ctx / 64] |= 1ull << *(unsigned int *)ctx % 64;
	return 0;
}

static void what_the_guest_log_says_is_in_the_diff(void **state)
{
	unsigned int page = 3 * MIB / PAGE + 7;
	struct guest_mem clone;
	struct stat st;

	(void)state;
	mem_set_guest_log(&mem, &(struct mem_guest_log){ .collect = log_one_page, .ctx = &page });
	scramble(&mem, 100);
	save_full(&mem, "full");
	memset(guest_ram(&mem, 3 * MIB + 7 * PAGE, PAGE), 0x77, PAGE); /* not by mem/: the guest */
	assert_true(mem_write(&mem, HIGH, "monitor", 7));
	save(&mem, "d1", &chain);
	assert_int_equal(stat(file("d1", "mem"), &st), 0);
	assert_true(st.st_blocks * 512 <= 8 * (int)PAGE);
	clone = load("d1", "d1", "full");
	assert_is_saved(&clone);
	mem_fini(&clone);
}

static void a_snapshot_that_fails_loses_no_change(void **state)
{
	struct snapshot_chain before;
	struct guest_mem clone;
	struct err e;

	(void)state;
	save_full(&mem, "full");
	scramble(&mem, 20);
	before = chain;
	assert_true(try_save(&mem, "no/such/directory", &before, &e) < 0);
	chain = before;
	scramble(&mem, 5);
	save(&mem, "d1", &chain);
	clone = load("d1", "d1", "full");
	assert_is_saved(&clone);
	mem_fini(&clone);
}

/* More runs than may be mapped: some are copied. */
static void a_diff_in_many_pieces_loads(void **state)
{
	static const struct mem_layout large = { .num_regions = 1, .regions = { { .size = 80 * MIB } } };
	struct mem_run *runs = calloc(10000, sizeof(*runs));
	int base = memfd_create("base", MFD_CLOEXEC), layer = memfd_create("layer", MFD_CLOEXEC);
	struct guest_mem m;
	struct err e;

	(void)state;
	assert_int_equal(ftruncate(base, 80 * MIB) | ftruncate(layer, 80 * MIB), 0);
	for (unsigned int i = 0; i < 10000; i++) {
		runs[i] = (struct mem_run){ .offset = i * 2ull * PAGE, .len = PAGE };
		assert_int_equal(pwrite(layer, &i, sizeof(i), (off_t)runs[i].offset), sizeof(i));
		assert_int_equal(pwrite(base, "base", 4, (off_t)(runs[i].offset + PAGE)), 4);
	}
	runs[5000].len = 2ull * PAGE; /* the longest are mapped; this one has zeroes where the base has not */
	assert_int_equal(mem_init_file(&m, &large, base, &e), 0);
	assert_int_equal(mem_add_layer(&m, layer, runs, 10000, &e), 0);
	for (unsigned int i = 0; i < 10000; i++) {
		assert_memory_equal(mem_host(&m, runs[i].offset, 4), &i, sizeof(i));
		assert_memory_equal(mem_host(&m, runs[i].offset + PAGE, 4), i == 5000 ? "\0\0\0\0" : "base", 4);
	}
	mem_fini(&m);
	free(runs);
}

static void rebase(const char *name, const char *diff)
{
	struct err e;

	if (memfile_rebase(file(name, "mem"), file(diff, "mem"), &e) < 0)
		fail_msg("%s", e.text);
}

static void merged_files_load(void **state)
{
	struct guest_mem clone, mapped;

	(void)state;
	save_chain();
	mapped = load("full", "full", "");
	rebase("full", "d1");
	clone = load("d3", "d3", "full d2");
	assert_is_saved(&clone);
	mem_fini(&clone);
	rebase("d2", "d3"); /* two diffs are one */
	clone = load("d3", "d2", "full");
	assert_is_saved(&clone);
	mem_fini(&clone);
	rebase("full", "d2");
	clone = load("d3", "full", "");
	assert_is_saved(&clone);
	mem_fini(&clone);
	assert_int_equal(*(const uint8_t *)mem_host(&mapped, SNAPSHOT_RECORD_OFFSET, 1), 1); /* as it was */
	mem_fini(&mapped);
}

static void a_chain_may_be_longer_than_there_are_places(void **state)
{
	struct snapshot_chain own;
	struct guest_mem clone;
	char name[16];

	(void)state;
	save_full(&mem, "full");
	for (unsigned int i = 1; i <= 40; i++) {
		scramble(&mem, 3);
		if (i % 7 == 0)
			write_under_records(&mem, (uint8_t)i);
		snprintf(name, sizeof(name), "d%u", i);
		save(&mem, name, &chain);
		own = chain;
		rebase("full", name);
		clone = load(name, "full", "");
		assert_is_saved(&clone);
		mem_fini(&clone);
		chain = own; /* of the machine, not of its clone */
	}
}

static void assert_rebase_refused(const char *name, const char *diff, const char *names, const char *text)
{
	static uint8_t before[SIZE], after[SIZE];
	int fd = open(file(name, "mem"), O_RDONLY | O_CLOEXEC);
	struct err e;

	assert_int_equal(pread(fd, before, SIZE, 0), SIZE);
	close(fd);
	assert_true(memfile_rebase(file(name, "mem"), file(diff, "mem"), &e) < 0);
	if (!strstr(e.text, file(names, "mem")) || !strstr(e.text, text))
		fail_msg("\"%s\" should name %s and say \"%s\"", e.text, names, text);
	fd = open(file(name, "mem"), O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, after, SIZE, 0), SIZE);
	close(fd);
	assert_memory_equal(before, after, SIZE);
}

static void punch(const char *name, uint64_t offset)
{
	int fd = open(file(name, "mem"), O_RDWR | O_CLOEXEC);

	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, PAGE), 0);
	close(fd);
}

static void what_does_not_fit_is_refused_by_name(void **state)
{
	struct err e;

	(void)state;
	save_chain();
	assert_refused("d3", "d3", "", "d3", "is a diff, and the memory that it lies on");
	assert_refused("d3", "d3", "full d1", "d3", "is not the next layer");
	assert_refused("d3", "d3", "full d2", "d2", "is not the next layer");
	assert_refused("d3", "d3", "d1", "d1", "is not the next layer");
	assert_refused("d3", "d2", "full d1", "d2", "no record at offset");
	assert_refused("d3", "full", "", "full", "no record at offset");
	assert_refused("d3", "d3", "full d1 d2 d3", "d3", "is not the next layer");
	assert_rebase_refused("full", "d2", "d2", "lies on the memory with the id");
	assert_rebase_refused("d1", "full", "full", "whole memory");
	assert_true(memfile_rebase(file("full", "state"), file("d1", "mem"), &e) < 0);
	assert_non_null(strstr(e.text, "has no record"));
	/* The page of zeroes that each has: as a hole it would be the base's. */
	punch("d1", 2 * MIB);
	assert_refused("d3", "d3", "full d1 d2", "d1", "has not the holes");
	assert_rebase_refused("full", "d1", "d1", "has not the holes");
}

/* To the name of what it lies on. */
static void a_diff_over_its_base_is_merged(void **state)
{
	struct guest_mem clone;

	(void)state;
	scramble(&mem, 100);
	save_full(&mem, "vm");
	for (unsigned int i = 0; i < 3 * SNAPSHOT_MAX_LAYERS / 2; i++) {
		scramble(&mem, 5);
		save(&mem, "vm", &chain);
	}
	clone = load("vm", "vm", "");
	assert_is_saved(&clone);
	mem_fini(&clone);
}

static void two_sets_of_runs_are_one(void **state)
{
	struct runs a = { .list = NULL }, b = a, both = a;

	(void)state;
	assert_int_equal(runs_add(&a, 0, PAGE) | runs_add(&a, 8 * PAGE, 4 * PAGE) | runs_add(&a, 20 * PAGE, PAGE), 0);
	assert_int_equal(runs_add(&b, PAGE, PAGE) | runs_add(&b, 9 * PAGE, PAGE) | runs_add(&b, 11 * PAGE, 2 * PAGE),
			 0);
	assert_int_equal(runs_union(&both, &a, &b), 0);
	assert_int_equal(both.num, 3);
	assert_int_equal(both.list[0].len, 2 * PAGE);
	assert_int_equal(both.list[1].offset, 8 * PAGE);
	assert_int_equal(both.list[1].len, 5 * PAGE);
	assert_int_equal(both.list[2].offset, 20 * PAGE);
	runs_fini(&a);
	runs_fini(&b);
	runs_fini(&both);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_chain_is_the_memory_that_was_saved),
		TEST(clones_of_chains_are_saved_and_go_on),
		TEST(pages_that_nobody_touched_are_in_no_diff),
		TEST(what_the_guest_log_says_is_in_the_diff),
		TEST(a_snapshot_that_fails_loses_no_change),
		TEST(a_diff_in_many_pieces_loads),
		TEST(merged_files_load),
		TEST(a_chain_may_be_longer_than_there_are_places),
		TEST(what_does_not_fit_is_refused_by_name),
		TEST(a_diff_over_its_base_is_merged),
		TEST(two_sets_of_runs_are_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
