// SPDX-License-Identifier: Apache-2.0
/*
 * Runs in the guest of the clone experiment: on each vCPU one thread that calls
 * getrandom(2), one that reads /dev/urandom, one that reads /dev/hwrng, one that
 * reads the kernel's UUIDs, one that reads integers of its batches
 * (clones_integers/) and, where there is one, one that calls getrandom() of the
 * vDSO, 16 bytes at a time and for ever. Each notes what it got, and the generation
 * counter before and after, in its ring (clones_ring.h).
 *
 * A ring is begun anew when the counter has moved. When it is full its reader
 * goes on without notes: the next snapshot shall find it at work.
 *
 * Prints "ready", then "full N" when one ring on each vCPU is full of results of
 * generation N. Not all: readers of hwrng are slow, and to a guest that was
 * stopped for long it looks as if the thread that was running then had had that
 * time; the scheduler makes it wait for as long.
 *
 * Usage: clones_reader COUNTER
 *
 * COUNTER is the driver's file vm_gen_counter. "-", for guests without the driver,
 * makes a page like the driver's, which whoever runs the machine finds in its
 * memory and counts up while the machine is stopped; and there /dev/hwrng is not
 * read, as it may have no device.
 */
#include <cpuid.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "../abi/snapsafe_page.h"
#include "clones_ring.h"
#include "vdso.h"

#define MAX_VCPUS	32
#define CALLS_PER_VISIT 64

struct reader {
	pthread_t thread;
	unsigned int vcpu;
	enum ring_source source;
	int fd;
	struct vdso_getrandom *vdso;
	struct ring_page *pages;
	uint32_t generation; /* that the ring is about; its thread's own, as is the next */
	unsigned int used;   /* records */
	uint32_t full;	     /* the last generation that filled the ring, for the main thread */
};

static const uint64_t *counter;
static bool has_driver;
static struct reader readers[MAX_VCPUS * NUM_SOURCES];
static unsigned int num_readers;

static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("clones_reader: ", stdout);
	vprintf(format, args);
	puts("");
	va_end(args);
	fflush(stdout);
	_exit(EXIT_FAILURE);
}

static uint32_t generation_now(void)
{
	return (uint32_t)__atomic_load_n(counter, __ATOMIC_SEQ_CST);
}

/* As read(2) returns: a UUID, of which the file shows another one each time. */
static ssize_t draw_uuid(int fd, uint8_t *to, size_t len)
{
	char text[40], pair[3] = "";
	ssize_t n = pread(fd, text, sizeof(text), 0);
	size_t done = 0;

	for (ssize_t i = 0; i + 1 < n && done < len; i++) {
		if (!isxdigit((unsigned char)text[i]))
			continue;
		memcpy(pair, text + i++, 2);
		to[done++] = (uint8_t)strtoul(pair, NULL, 16);
	}
	return n < 0 ? n : (ssize_t)done;
}

/* As read(2) returns. */
static ssize_t draw_once(const struct reader *r, uint8_t *to, size_t len)
{
	ssize_t n;

	if (r->source == SOURCE_GETRANDOM)
		return getrandom(to, len, 0);
	if (r->source == SOURCE_UUID)
		return draw_uuid(r->fd, to, len);
	if (r->source != SOURCE_VDSO)
		return read(r->fd, to, len);
	n = vdso_getrandom(r->vdso, to, len, 0);
	if (n < 0)
		errno = (int)-n;
	return n;
}

static void draw(const struct reader *r, uint8_t *to, size_t len)
{
	while (len > 0) {
		ssize_t n = draw_once(r, to, len);

		if (n <= 0 && errno != EINTR)
			die("source %d gives nothing: %s", (int)r->source, strerror(errno));
		if (n > 0) {
			to += n;
			len -= (size_t)n;
		}
	}
}

static void reader_note(struct reader *r, const struct ring_record *record)
{
	struct ring_record *to = &r->pages[r->used / RING_PAGE_RECORDS].records[r->used % RING_PAGE_RECORDS];

	to->start_tsc = record->start_tsc;
	memcpy(to->bytes, record->bytes, sizeof(to->bytes));
	__atomic_store_n(&to->generations, record->generations, __ATOMIC_RELEASE);
	if (++r->used == RING_RECORDS)
		__atomic_store_n(&r->full, r->generation, __ATOMIC_RELEASE);
}

/*
 * CPUID always takes the processor to the host and back, for fear that an emulated host loses the interrupt that should do so,
 * and is kept by a guest that makes no exits of its own.
 */
static void visit_host(void)
{
	unsigned int a, b, c, d;

	__cpuid(0, a, b, c, d);
}

static void *reader_run(void *arg)
{
	struct reader *r = arg;

	for (unsigned int i = 0;; i++) {
		struct ring_record record = { .generations = generation_now() };
		uint32_t after;

		if (i % CALLS_PER_VISIT == 0)
			visit_host();
		record.start_tsc = __rdtsc();
		draw(r, r->pages->drawn, sizeof(r->pages->drawn));
		after = generation_now();
		memcpy(record.bytes, r->pages->drawn, sizeof(record.bytes));
		record.generations |= (uint64_t)after << 32;
		if (after != r->generation) {
			r->generation = after;
			r->used = 0;
			r->pages->first = r->pages->calls;
		}
		if (r->used < RING_RECORDS)
			reader_note(r, &record);
		__atomic_store_n(&r->pages->calls, r->pages->calls + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static uint32_t measure_tsc_khz(void)
{
	struct timespec start, end;
	uint64_t ticks, ns;

	clock_gettime(CLOCK_MONOTONIC, &start);
	ticks = __rdtsc();
	usleep(200000);
	clock_gettime(CLOCK_MONOTONIC, &end);
	ticks = __rdtsc() - ticks;
	ns = (uint64_t)((end.tv_sec - start.tv_sec) * 1000000000 + end.tv_nsec - start.tv_nsec);
	return (uint32_t)(ticks * 1000000 / ns);
}

/* Written to, so that each page is there, and locked: it stays where it is. */
static struct ring_page *make_ring(const struct reader *r, unsigned int number, uint32_t tsc_khz)
{
	size_t len = (size_t)RING_PAGES * RING_PAGE_LEN;
	struct ring_page *pages =
		mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED | MAP_POPULATE, -1, 0);

	if (pages == MAP_FAILED)
		die("no memory for a ring: %s", strerror(errno));
	for (unsigned int i = 0; i < RING_PAGES; i++) {
		struct ring_page *page = &pages[i];

		page->reader = (uint16_t)number;
		page->vcpu = (uint16_t)r->vcpu;
		page->source = (uint16_t)r->source;
		page->index = (uint16_t)i;
		page->tsc_khz = tsc_khz;
		memcpy(page->magic, RING_MAGIC, RING_MAGIC_LEN);
	}
	return pages;
}

static void add_reader(unsigned int vcpu, enum ring_source source, uint32_t tsc_khz)
{
	static const char *const paths[NUM_SOURCES] = {
		[SOURCE_URANDOM] = "/dev/urandom",
		[SOURCE_HWRNG] = "/dev/hwrng",
		[SOURCE_UUID] = "/proc/sys/kernel/random/uuid",
		[SOURCE_INTEGERS] = "/proc/clones_integers",
	};
	struct reader *r = &readers[num_readers];

	if (source == SOURCE_HWRNG && !has_driver)
		return;
	if (source == SOURCE_VDSO) {
		r->vdso = vdso_getrandom_new();
		if (!r->vdso && errno == ENOSYS)
			return; /* an older kernel */
		if (!r->vdso)
			die("no memory for the state of the vDSO");
	}
	r->vcpu = vcpu;
	r->source = source;
	r->fd = paths[source] ? open(paths[source], O_RDONLY) : -1;
	if (paths[source] && r->fd < 0)
		die("cannot open %s: %s", paths[source], strerror(errno));
	r->pages = make_ring(r, num_readers++, tsc_khz);
}

static void start_readers(void)
{
	for (unsigned int i = 0; i < num_readers; i++) {
		struct reader *r = &readers[i];
		pthread_attr_t attr;
		cpu_set_t set;
		int err;

		CPU_ZERO(&set);
		CPU_SET(r->vcpu, &set);
		pthread_attr_init(&attr);
		pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
		err = pthread_create(&r->thread, &attr, reader_run, r);
		if (err)
			die("cannot start reader %u: %s", i, strerror(err));
		pthread_attr_destroy(&attr);
	}
}

static bool is_full_of(unsigned int vcpu, uint32_t generation)
{
	for (unsigned int i = 0; i < num_readers; i++) {
		if (readers[i].vcpu == vcpu && __atomic_load_n(&readers[i].full, __ATOMIC_ACQUIRE) == generation)
			return true;
	}
	return false;
}

/* On each vCPU one ring is full of it. */
static bool is_full(unsigned int vcpus, uint32_t generation)
{
	for (unsigned int vcpu = 0; vcpu < vcpus; vcpu++) {
		if (!is_full_of(vcpu, generation))
			return false;
	}
	return true;
}

static void map_counter(const char *path)
{
	int fd = open(path, O_RDONLY);
	void *page = fd < 0 ? MAP_FAILED : mmap(NULL, RING_PAGE_LEN, PROT_READ, MAP_SHARED, fd, 0);

	if (page == MAP_FAILED)
		die("cannot map %s: %s", path, strerror(errno));
	counter = page;
	has_driver = true;
}

static void make_counter(void)
{
	struct snapsafe_page *page = mmap(NULL, RING_PAGE_LEN, PROT_READ | PROT_WRITE,
					  MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED | MAP_POPULATE, -1, 0);

	if (page == MAP_FAILED)
		die("no memory for a counter: %s", strerror(errno));
	page->magic = SNAPSAFE_PAGE_MAGIC;
	page->version = SNAPSAFE_PAGE_VERSION;
	counter = (const uint64_t *)&page->generation;
}

int main(int argc, char **argv)
{
	long vcpus = sysconf(_SC_NPROCESSORS_ONLN);
	uint32_t said = 0, tsc_khz;

	if (argc != 2)
		die("needs one argument, the counter's file or -");
	if (vcpus > MAX_VCPUS)
		die("%ld processors; up to %d are allowed", vcpus, MAX_VCPUS);
	if (strcmp(argv[1], "-") == 0)
		make_counter();
	else
		map_counter(argv[1]);
	tsc_khz = measure_tsc_khz();
	for (unsigned int vcpu = 0; vcpu < (unsigned int)vcpus; vcpu++)
		for (unsigned int source = 0; source < NUM_SOURCES; source++)
			add_reader(vcpu, source, tsc_khz);
	start_readers();
	printf("ready\n");
	for (;;) {
		uint32_t generation = generation_now();

		if (generation != said && is_full((unsigned int)vcpus, generation)) {
			printf("full %u\n", generation);
			said = generation;
		}
		fflush(stdout);
		usleep(10000);
	}
}
