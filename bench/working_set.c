// SPDX-License-Identifier: Apache-2.0
/*
 * Usage: bench_working_set FILE
 *
 * What a guest waits for after a restore whose memory file is not in the page
 * cache, without KVM: a thread touches 64 MiB of a memory of 512 MiB as a vCPU
 * would, which is to fault pages in through the private mapping of the file. Plain mapping
 * against one whose working set is mapped ahead by the monitor's own thread,
 * which begins at the same moment; each in a process of its own, in turns. What
 * is mapped ahead was recorded before, by the monitor's own recorder.
 *
 * A fault that blocks is one at which the thread sleeps: it does nothing else that could make it (its voluntary switches).
 * Major faults are fewer: the kernel does not count one that waits for what somebody else reads already.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench.h"
#include "machine/working_set.h"
#include "snapshot/working_set.h"

#define PAGE	  MEM_PAGE_SIZE
#define NUM_PAGES (512u << 20 >> 12)
#define TOUCHED	  (64u << 20 >> 12)
#define ROUNDS	  9
#define PIECE	  (1u << 20)

static const struct mem_layout layout = { .num_regions = 1, .regions = { { .size = (uint64_t)NUM_PAGES * PAGE } } };
static const struct memfile_mark mark = { .id = { 1 }, .mem_size = (uint64_t)NUM_PAGES * PAGE };

static uint32_t order[TOUCHED]; /* pages, as they are touched */
static char *memory_path;

struct outcome {
	double ms, blocking, minor, major, cpu_ms;
};

static uint32_t next_random(void)
{
	static uint64_t seed = 1;

	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33);
}

/* Pieces of so many pages, each at a place of its own, in no order. */
static void choose_pages(unsigned int piece)
{
	unsigned int places = NUM_PAGES / piece, num = TOUCHED / piece;
	uint32_t *place = calloc(places, sizeof(*place));

	expect(place != NULL, "memory");
	for (unsigned int i = 0; i < places; i++)
		place[i] = i;
	for (unsigned int i = 0; i < num; i++) {
		unsigned int other = i + next_random() % (places - i);
		uint32_t chosen = place[other];

		place[other] = place[i];
		for (unsigned int page = 0; page < piece; page++)
			order[i * piece + page] = chosen * piece + page;
	}
	free(place);
}

static void write_memory(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	uint32_t *piece = malloc(PIECE);

	expect(fd >= 0 && piece, path);
	for (unsigned int at = 0; at < NUM_PAGES; at += PIECE / PAGE) {
		for (unsigned int i = 0; i < PIECE / sizeof(*piece); i++)
			piece[i] = next_random();
		expect(write(fd, piece, PIECE) == PIECE, path);
	}
	expect(fsync(fd) == 0, path);
	free(piece);
	close(fd);
}

static void empty_cache(const char *path)
{
	uint8_t *there = malloc(NUM_PAGES), *map;
	unsigned int cached = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	expect(fd >= 0 && there && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0, path);
	map = mmap(NULL, (size_t)NUM_PAGES * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	expect(map != MAP_FAILED && mincore(map, (size_t)NUM_PAGES * PAGE, there) == 0, path);
	for (unsigned int i = 0; i < NUM_PAGES; i++)
		cached += there[i] & 1;
	errno = EBUSY;
	expect(cached == 0, "the file stays in the page cache: a disk's file system is needed");
	munmap(map, (size_t)NUM_PAGES * PAGE);
	free(there);
	close(fd);
}

static double ms_of(struct timeval t)
{
	return (double)t.tv_sec * 1000 + (double)t.tv_usec / 1000;
}

/* The calling thread is the vCPU. */
static void touch(const struct guest_mem *mem, struct outcome *out)
{
	struct rusage before, after;
	uint64_t start_ns;

	expect(getrusage(RUSAGE_THREAD, &before) == 0, "getrusage");
	start_ns = clock_now_ns();
	for (unsigned int i = 0; i < TOUCHED; i++)
		(void)*(const volatile uint8_t *)(mem->regions[0].host + (uint64_t)order[i] * PAGE);
	out->ms = (double)(clock_now_ns() - start_ns) / 1e6;
	expect(getrusage(RUSAGE_THREAD, &after) == 0, "getrusage");
	out->blocking = (double)(after.ru_nvcsw - before.ru_nvcsw);
	out->minor = (double)(after.ru_minflt - before.ru_minflt);
	out->major = (double)(after.ru_majflt - before.ru_majflt);
	expect(getrusage(RUSAGE_SELF, &after) == 0, "getrusage");
	out->cpu_ms = ms_of(after.ru_utime) + ms_of(after.ru_stime);
}

/* In a process of its own: a restored machine's memory, and its end. */
static void restore(enum working_set_use use, struct outcome *out)
{
	const struct snapshot_load_config how = { .mem_file_path = memory_path, .working_set = use };
	int fd = open(memory_path, O_RDONLY | O_CLOEXEC);
	struct loop *loop = loop_new();
	struct working_set *ws;
	struct guest_mem mem;
	struct err e;

	expect(fd >= 0 && loop && mem_init_file(&mem, &layout, fd, &e) == 0, memory_path);
	expect(working_set_new(&how, &mark, &mem, loop, &ws, &e) == 0, e.text);
	expect((ws != NULL) == (use != WORKING_SET_IGNORE), "working set");
	working_set_begin(ws);
	touch(&mem, out);
	if (use == WORKING_SET_RECORD) {
		char path[4096];

		working_set_stop(ws);
		snprintf(path, sizeof(path), "%s.working-set", memory_path);
		while (access(path, F_OK) < 0)
			usleep(1000);
	}
	if (working_set_free(ws))
		mem_fini(&mem);
}

static struct outcome run(enum working_set_use use)
{
	struct outcome out = { 0 };
	int ends[2], status;
	pid_t pid;

	empty_cache(memory_path);
	expect(pipe(ends) == 0, "pipe");
	pid = fork();
	if (pid == 0) {
		restore(use, &out);
		_exit(write(ends[1], &out, sizeof(out)) == sizeof(out) ? 0 : 1);
	}
	expect(pid > 0 && read(ends[0], &out, sizeof(out)) == sizeof(out), "fork");
	expect(waitpid(pid, &status, 0) == pid && status == 0, "the restored machine");
	close(ends[0]);
	close(ends[1]);
	return out;
}

static void compare(const char *what, unsigned int piece)
{
	double ours[5][ROUNDS], plain[5][ROUNDS];
	static const char *const names[] = { "time", "blocking faults", "minor faults", "major faults",
					     "processor's time" };
	static const char *const units[] = { "ms", "", "", "", "ms" };
	char path[4096];

	choose_pages(piece);
	snprintf(path, sizeof(path), "%s.working-set", memory_path);
	(void)unlink(path);
	(void)run(WORKING_SET_RECORD);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		struct outcome p = run(WORKING_SET_IGNORE), o = run(WORKING_SET_USE);

		for (unsigned int n = 0; n < 5; n++) {
			plain[n][i] = (&p.ms)[n];
			ours[n][i] = (&o.ms)[n];
		}
	}
	for (unsigned int n = 0; n < 5; n++) {
		char name[128];

		snprintf(name, sizeof(name), "%s: %s, ahead", what, names[n]);
		report(name, ours[n], ROUNDS, *units[n] ? units[n] : "-");
		snprintf(name, sizeof(name), "%s: %s, plain", what, names[n]);
		report(name, plain[n], ROUNDS, *units[n] ? units[n] : "-");
	}
	(void)unlink(path);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: bench_working_set FILE\n");
		return 2;
	}
	memory_path = argv[1];
	write_memory(memory_path);
	compare("pieces of 4 MiB", 1024);
	compare("pieces of 64 KiB", 16);
	compare("single pages", 1);
	(void)unlink(memory_path);
	return 0;
}
