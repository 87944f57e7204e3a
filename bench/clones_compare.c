// SPDX-License-Identifier: Apache-2.0
/*
 * Compares what the readers of the clone experiment got in machines that came
 * from one snapshot.
 *
 * Usage: clones_compare GENERATION SNAPSHOT MEMORY_FILE...
 *
 * SNAPSHOT is the memory file of that snapshot, GENERATION the counter in it; a
 * call is new if the counter was higher before it. Each MEMORY_FILE is of a
 * later snapshot of another one of the machines. A violation is a byte string
 * that new calls in two machines returned. Prints lines of fields, separated by tabs:
 *
 *   violations N                          different byte strings
 *   late N                                calls that were in progress at the resume, and gave what a call in another machine gave
 *   unserved N                            those of them whose bytes had not arrived yet when the snapshot was made, where
 *                                         they arrive before the kernel compares: not of UUIDs and integers
 *   early N                               readers that ended calls after the resume before the counter had moved
 *   reader MACHINE VCPU SOURCE CALLS EQUAL LAST_EQUAL SPAN_NS
 *
 * MACHINE counts the files from 0. CALLS: new ones on record; EQUAL: those that
 * returned what another machine's returned; LAST_EQUAL: the number, from 1, of
 * the last of them; SPAN_NS: guest time from the machine's first new call to
 * the start of that one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clones_ring.h"

#define MAX_READERS  96
#define MAX_MACHINES 64
#define SHARED	     UINT8_MAX

struct machine {
	const uint8_t *memory;
	size_t len;
	const struct ring_page *pages[MAX_READERS][RING_PAGES];
	unsigned int num_readers;
	uint64_t first_tsc;
};

/*
 * Open addressing; the byte strings are random, so they are their own hash.
 * Owners are 0 (none), a machine's number + 1, or SHARED.
 */
struct entry {
	uint8_t bytes[16];
	uint8_t of_new; /* calls */
	uint8_t of_any; /* new or late ones; never 0 in an entry that is used */
};

static struct machine snapshot;
static struct machine *machines;
static unsigned int num_machines;
static uint32_t old_generation;
static struct entry *table;
static size_t table_mask;

static void __attribute__((noreturn)) die(const char *what, const char *why)
{
	fprintf(stderr, "clones_compare: %s: %s\n", what, why);
	exit(EXIT_FAILURE);
}

/* Pages that are not there are holes of the file: nothing was ever read into them. */
static void machine_find_pages(struct machine *m, const char *path)
{
	unsigned int found = 0;

	for (size_t at = 0; at + RING_PAGE_LEN <= m->len; at += RING_PAGE_LEN) {
		const struct ring_page *page = (const struct ring_page *)(m->memory + at);

		if (memcmp(page->magic, RING_MAGIC, RING_MAGIC_LEN) != 0)
			continue;
		if (page->reader >= MAX_READERS || page->index >= RING_PAGES || page->source >= NUM_SOURCES ||
		    page->tsc_khz == 0)
			die(path, "a page of a ring has an impossible header");
		if (m->pages[page->reader][page->index])
			die(path, "a page of a ring is there twice");
		m->pages[page->reader][page->index] = page;
		if (page->reader >= m->num_readers)
			m->num_readers = page->reader + 1u;
		found++;
	}
	if (found == 0 || found != m->num_readers * RING_PAGES)
		die(path, "the rings are not complete");
}

static void machine_load(struct machine *m, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *memory;

	if (fd < 0 || fstat(fd, &st) < 0)
		die(path, strerror(errno));
	memory = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (memory == MAP_FAILED)
		die(path, strerror(errno));
	close(fd);
	m->memory = memory;
	m->len = (size_t)st.st_size;
	machine_find_pages(m, path);
}

static const struct ring_record *machine_record(const struct machine *m, unsigned int reader, unsigned int i)
{
	return &m->pages[reader][i / RING_PAGE_RECORDS]->records[i % RING_PAGE_RECORDS];
}

/* A reader that has not been at work since may have left results of generations before that one. */
static bool is_after(uint32_t generation)
{
	return (int32_t)(generation - old_generation) > 0;
}

static bool is_new(const struct ring_record *r)
{
	return is_after(record_before(r));
}

/* In progress at the resume. Only the first record of a ring can be one. */
static bool is_late(const struct ring_record *r)
{
	return !is_after(record_before(r)) && is_after(record_after(r));
}

static struct entry *table_find(const uint8_t *bytes)
{
	uint64_t hash;
	size_t i;

	memcpy(&hash, bytes, sizeof(hash));
	for (i = hash & table_mask; table[i].of_any; i = (i + 1) & table_mask) {
		if (memcmp(table[i].bytes, bytes, sizeof(table[i].bytes)) == 0)
			break;
	}
	return &table[i];
}

static void claim(uint8_t *owner, unsigned int machine)
{
	if (*owner == 0)
		*owner = (uint8_t)(machine + 1);
	else if (*owner != machine + 1)
		*owner = SHARED;
}

/* Returns 1 if this made a violation. */
static unsigned int table_add(unsigned int machine, const struct ring_record *r)
{
	struct entry *e = table_find(r->bytes);
	bool was_shared = e->of_new == SHARED;

	memcpy(e->bytes, r->bytes, sizeof(e->bytes));
	claim(&e->of_any, machine);
	if (is_new(r))
		claim(&e->of_new, machine);
	return e->of_new == SHARED && !was_shared;
}

static unsigned long add_reader(unsigned int machine, unsigned int reader)
{
	struct machine *m = &machines[machine];
	unsigned long violations = 0;

	for (unsigned int i = 0; i < RING_RECORDS; i++) {
		const struct ring_record *r = machine_record(m, reader, i);

		if (!is_new(r) && !(i == 0 && is_late(r)))
			continue;
		violations += table_add(machine, r);
		if (is_new(r) && (m->first_tsc == 0 || r->start_tsc < m->first_tsc))
			m->first_tsc = r->start_tsc;
	}
	return violations;
}

static void report_reader(unsigned int machine, unsigned int reader)
{
	static const char *const sources[NUM_SOURCES] = { "getrandom", "urandom", "hwrng", "vdso", "uuid", "integers" };
	const struct machine *m = &machines[machine];
	const struct ring_page *page = m->pages[reader][0];
	unsigned long calls = 0, equal = 0, last = 0;
	double span_ns = 0;

	for (unsigned int i = 0; i < RING_RECORDS; i++) {
		const struct ring_record *r = machine_record(m, reader, i);

		if (!is_new(r))
			continue;
		calls++;
		if (table_find(r->bytes)->of_new != SHARED)
			continue;
		equal++;
		last = calls;
		span_ns = (double)(r->start_tsc - m->first_tsc) * 1e6 / page->tsc_khz;
	}
	printf("reader\t%u\t%u\t%s\t%lu\t%lu\t%lu\t%.0f\n", machine, page->vcpu, sources[page->source], calls, equal,
	       last, span_ns);
}

static void report_readers(void)
{
	for (unsigned int m = 0; m < num_machines; m++)
		for (unsigned int reader = 0; reader < machines[m].num_readers; reader++)
			report_reader(m, reader);
}

/* Whether its call in progress gave what another machine got, too. */
static unsigned long is_late_and_equal(unsigned int machine, unsigned int reader)
{
	const struct ring_record *first = machine_record(&machines[machine], reader, 0);

	return is_late(first) && table_find(first->bytes)->of_any == SHARED;
}

/*
 * Whether moreover those bytes were not in the program's memory yet. UUIDs and integers are the kernel's when they are handed
 * out, and only later the program's: where they were nobody can see.
 */
static unsigned long is_unserved(unsigned int machine, unsigned int reader)
{
	const struct ring_record *first = machine_record(&machines[machine], reader, 0);
	const struct ring_page *page = snapshot.pages[reader][0];
	const uint8_t *drawn = page->drawn;

	if (page->source == SOURCE_UUID || page->source == SOURCE_INTEGERS)
		return 0;
	return is_late_and_equal(machine, reader) && memcmp(first->bytes, drawn, sizeof(first->bytes)) != 0;
}

/*
 * Whether it went on after the resume before the counter had moved: the calls that ended then are in no ring, which begins anew when
 * the counter moves. One may be missing in the snapshot's count, if that was made between the end of a call and the count.
 */
static unsigned long is_early(unsigned int machine, unsigned int reader)
{
	const struct ring_record *first = machine_record(&machines[machine], reader, 0);
	uint32_t ended = machines[machine].pages[reader][0]->first - snapshot.pages[reader][0]->calls;

	return (is_new(first) || is_late(first)) && ended > 1;
}

/* The sum over all readers of all machines. */
static unsigned long sum_readers(unsigned long (*visit)(unsigned int machine, unsigned int reader))
{
	unsigned long sum = 0;

	for (unsigned int m = 0; m < num_machines; m++)
		for (unsigned int reader = 0; reader < machines[m].num_readers; reader++)
			sum += visit(m, reader);
	return sum;
}

/* Twice as many entries as there can be strings, at least. */
static void table_init(void)
{
	size_t strings = 0, len = 1;

	for (unsigned int m = 0; m < num_machines; m++)
		strings += (size_t)machines[m].num_readers * RING_RECORDS;
	while (len < 2 * strings)
		len *= 2;
	table = calloc(len, sizeof(*table));
	if (!table)
		die("the table of results", strerror(errno));
	table_mask = len - 1;
}

static uint32_t parse_generation(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (end == text || *end || value > UINT32_MAX)
		die(text, "is no generation");
	return (uint32_t)value;
}

int main(int argc, char **argv)
{
	if (argc < 5 || argc - 3 > MAX_MACHINES)
		die("needs a generation, a snapshot and memory files", "at least two, 64 at most");
	old_generation = parse_generation(argv[1]);
	machine_load(&snapshot, argv[2]);
	num_machines = (unsigned int)argc - 3;
	machines = calloc(num_machines, sizeof(*machines));
	if (!machines)
		die("the machines", strerror(errno));
	for (unsigned int m = 0; m < num_machines; m++)
		machine_load(&machines[m], argv[m + 3]);
	for (unsigned int m = 0; m < num_machines; m++) {
		if (machines[m].num_readers != snapshot.num_readers)
			die(argv[m + 3], "has other readers than the snapshot");
	}
	table_init();
	printf("violations\t%lu\n", sum_readers(add_reader));
	printf("late\t%lu\n", sum_readers(is_late_and_equal));
	printf("unserved\t%lu\n", sum_readers(is_unserved));
	printf("early\t%lu\n", sum_readers(is_early));
	report_readers();
	return EXIT_SUCCESS;
}
