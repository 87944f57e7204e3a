// SPDX-License-Identifier: Apache-2.0
/*
 * What a monitor's process costs, against another monitor that takes the same
 * requests: until its API answers, and until a snapshot is loaded.
 *
 * Usage: bench_start ROUNDS OURS STATE MEMORY THEIRS STATE MEMORY
 *
 * Prints "name: median unit min max" a line, as bench/run wants it. Each round
 * starts each monitor three times, in turns, and every fifth one eight clones of
 * each snapshot, one after the other, which all stay until the last one runs. Both
 * get the same requests in the same bytes, and this program tries to connect
 * every 50 us. Private memory is taken when the process is alone, and again when
 * another one of the same monitor runs: then pages of the program are shared.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "report.h"

#define MAX_ROUNDS   1001u
#define CONNECT_US   50u
#define IDLE_US	     50000u
#define GUEST_KIB    65536u /* a mapping of that size or more is the guest's */
#define NUM_CLONES   8u
#define CLONES_EVERY 5u /* rounds; odd, so that either comes first in turns */

enum figure {
	API_MS,
	API_CPU_MS,
	API_FAULTS,
	API_KIB,
	API_BESIDE_KIB,
	LOADED_MS,
	LOADED_CPU_MS,
	LOAD_MS,
	LOAD_IDLE_MS,
	LOADED_FAULTS,
	LOADED_KIB,
	LOADED_BESIDE_KIB,
	NUM_FIGURES
};

static const char *const figures[NUM_FIGURES][2] = {
	[API_MS] = { "exec to the API's first answer", "ms" },
	[API_CPU_MS] = { "the same, processor time of all threads", "ms" },
	[API_FAULTS] = { "page faults until then", "n" },
	[API_KIB] = { "private memory then", "KiB" },
	[API_BESIDE_KIB] = { "the same, when another one runs", "KiB" },
	[LOADED_MS] = { "exec to a loaded machine", "ms" },
	[LOADED_CPU_MS] = { "the same, processor time of all threads", "ms" },
	[LOAD_MS] = { "load request to its answer", "ms" },
	[LOAD_IDLE_MS] = { "the same, when the process has waited 50 ms", "ms" },
	[LOADED_FAULTS] = { "page faults until then", "n" },
	[LOADED_KIB] = { "private memory then, beyond the guest's", "KiB" },
	[LOADED_BESIDE_KIB] = { "the same, when another one runs", "KiB" },
};

struct monitor {
	char *binary;
	const char *state, *memory;
	pid_t pid;
	int fd; /* connected */
	double values[NUM_FIGURES][MAX_ROUNDS];
	double clones_per_s[MAX_ROUNDS / CLONES_EVERY + 1];
};

static char socket_path[64];

static double ms_since(uint64_t start_ns)
{
	return (double)(clock_now_ns() - start_ns) / 1e6;
}

/* Returns when it has been started. */
static uint64_t start(struct monitor *m)
{
	char option[] = "--api-sock", *argv[] = { m->binary, option, socket_path, NULL };
	char *envp[] = { NULL };
	posix_spawn_file_actions_t files;
	uint64_t start_ns;

	unlink(socket_path);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&files, 1, 2);
	start_ns = clock_now_ns();
	errno = posix_spawn(&m->pid, m->binary, &files, NULL, argv, envp);
	expect(errno == 0, m->binary);
	posix_spawn_file_actions_destroy(&files);
	return start_ns;
}

static void end(pid_t pid, int fd)
{
	close(fd);
	expect(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid, "the end of a monitor");
}

static void connect_to(struct monitor *m)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
	m->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	expect(m->fd >= 0, "socket");
	while (connect(m->fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		expect(errno == ENOENT || errno == ECONNREFUSED, "connect");
		expect(waitpid(m->pid, NULL, WNOHANG) == 0, m->binary);
		usleep(CONNECT_US);
	}
}

static void request(const struct monitor *m, const char *text, const char *status)
{
	char answer[4096];
	size_t len = 0;

	expect(send(m->fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text), "send");
	do {
		ssize_t n = recv(m->fd, answer + len, sizeof(answer) - 1 - len, 0);

		expect(n > 0, "recv");
		len += (size_t)n;
		answer[len] = 0;
	} while (!strstr(answer, "\r\n\r\n"));
	if (strncmp(answer + strlen("HTTP/1.1 "), status, strlen(status)) != 0) {
		fprintf(stderr, "bench: %s answered: %s\n", m->binary, answer);
		exit(EXIT_FAILURE);
	}
}

/* Of all threads that there are or have been. */
static double cpu_ms(pid_t pid)
{
	struct timespec ts;
	clockid_t clock;

	errno = clock_getcpuclockid(pid, &clock);
	expect(errno == 0 && clock_gettime(clock, &ts) == 0, "the processor time of a monitor");
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

/* Of them all, too. */
static double page_faults(pid_t pid)
{
	unsigned long long minor, major;
	char text[1024];
	size_t len;
	FILE *f;

	snprintf(text, sizeof(text), "/proc/%d/stat", (int)pid);
	f = fopen(text, "re");
	expect(f != NULL, text);
	len = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[len] = 0;
	/* The name, in brackets, may have any characters. */
	errno = EINVAL;
	expect(strrchr(text, ')') &&
		       sscanf(strrchr(text, ')'), ") %*c %*d %*d %*d %*d %*d %*u %llu %*u %llu", &minor, &major) == 2,
	       "/proc/PID/stat");
	return (double)(minor + major);
}

/* Of all mappings but the guest's. */
static double private_kib(pid_t pid)
{
	unsigned long long kib, total_kib = 0;
	bool of_guest = false;
	char line[512];
	FILE *f;

	snprintf(line, sizeof(line), "/proc/%d/smaps", (int)pid);
	f = fopen(line, "re");
	expect(f != NULL, line);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Size: %llu", &kib) == 1)
			of_guest = kib >= GUEST_KIB;
		if (!of_guest &&
		    (sscanf(line, "Private_Clean: %llu", &kib) == 1 || sscanf(line, "Private_Dirty: %llu", &kib) == 1))
			total_kib += kib;
	}
	fclose(f);
	return (double)total_kib;
}

static void ask(const struct monitor *m)
{
	request(m, "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n", "200");
}

static void load(const struct monitor *m)
{
	char body[1024], text[2048];

	snprintf(body, sizeof(body),
		 "{\"snapshot_path\": \"%s\", \"mem_backend\": {\"backend_type\": \"File\", \"backend_path\": \"%s\"}, "
		 "\"resume_vm\": true}",
		 m->state, m->memory);
	snprintf(text, sizeof(text),
		 "PUT /snapshot/load HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
		 "%zu\r\n\r\n%s",
		 strlen(body), body);
	request(m, text, "204");
}

/* While another process of the same monitor is there, which has been prepared as it was. */
static double private_kib_beside(struct monitor *m, void (*prepare)(const struct monitor *m))
{
	const pid_t pid = m->pid;
	const int fd = m->fd;
	double kib;

	start(m);
	connect_to(m);
	prepare(m);
	kib = private_kib(pid);
	end(m->pid, m->fd);
	m->pid = pid;
	m->fd = fd;
	return kib;
}

static void measure_api(struct monitor *m, size_t round)
{
	uint64_t start_ns = start(m);

	connect_to(m);
	ask(m);
	m->values[API_MS][round] = ms_since(start_ns);
	m->values[API_CPU_MS][round] = cpu_ms(m->pid);
	m->values[API_FAULTS][round] = page_faults(m->pid);
	m->values[API_KIB][round] = private_kib(m->pid);
	m->values[API_BESIDE_KIB][round] = private_kib_beside(m, ask);
	end(m->pid, m->fd);
}

static void measure_load(struct monitor *m, size_t round)
{
	uint64_t start_ns = start(m), request_ns;

	connect_to(m);
	request_ns = clock_now_ns();
	load(m);
	m->values[LOAD_MS][round] = ms_since(request_ns);
	m->values[LOADED_MS][round] = ms_since(start_ns);
	m->values[LOADED_CPU_MS][round] = cpu_ms(m->pid);
	m->values[LOADED_FAULTS][round] = page_faults(m->pid);
	m->values[LOADED_KIB][round] = private_kib(m->pid);
	m->values[LOADED_BESIDE_KIB][round] = private_kib_beside(m, load);
	end(m->pid, m->fd);
}

/* As a client that has made its processes before it needs them. */
static void measure_idle_load(struct monitor *m, size_t round)
{
	uint64_t request_ns;

	start(m);
	connect_to(m);
	usleep(IDLE_US);
	request_ns = clock_now_ns();
	load(m);
	m->values[LOAD_IDLE_MS][round] = ms_since(request_ns);
	end(m->pid, m->fd);
}

static void measure_clones(struct monitor *m, size_t round)
{
	struct {
		pid_t pid;
		int fd;
	} clones[NUM_CLONES];
	uint64_t start_ns = clock_now_ns();

	for (unsigned int i = 0; i < NUM_CLONES; i++) {
		start(m);
		connect_to(m);
		load(m);
		clones[i].pid = m->pid;
		clones[i].fd = m->fd;
	}
	m->clones_per_s[round] = NUM_CLONES * 1000 / ms_since(start_ns);
	for (unsigned int i = 0; i < NUM_CLONES; i++)
		end(clones[i].pid, clones[i].fd);
}

int main(int argc, char **argv)
{
	static struct monitor ours, theirs;
	char directory[] = "/tmp/bench-start-XXXXXX";
	size_t rounds;

	errno = EINVAL;
	expect(argc == 8, "usage: bench_start ROUNDS OURS STATE MEMORY THEIRS STATE MEMORY");
	rounds = strtoul(argv[1], NULL, 10);
	expect(rounds > 0 && rounds <= MAX_ROUNDS, "rounds");
	ours = (struct monitor){ .binary = argv[2], .state = argv[3], .memory = argv[4] };
	theirs = (struct monitor){ .binary = argv[5], .state = argv[6], .memory = argv[7] };
	expect(mkdtemp(directory) != NULL, directory);
	snprintf(socket_path, sizeof(socket_path), "%s/sock", directory);
	for (size_t i = 0; i < rounds; i++) {
		/* Who comes after the other's machine has its end to wait for: each in every other round. */
		struct monitor *first = i % 2 ? &theirs : &ours, *second = i % 2 ? &ours : &theirs;

		measure_api(first, i);
		measure_api(second, i);
		measure_load(first, i);
		measure_load(second, i);
		measure_idle_load(first, i);
		measure_idle_load(second, i);
		if (i % CLONES_EVERY == 0) {
			measure_clones(first, i / CLONES_EVERY);
			measure_clones(second, i / CLONES_EVERY);
		}
	}
	unlink(socket_path);
	rmdir(directory);
	for (size_t f = 0; f < NUM_FIGURES; f++)
		report_against(figures[f][0], ours.values[f], "theirs", theirs.values[f], rounds, figures[f][1]);
	report_against("clones a second", ours.clones_per_s, "theirs", theirs.clones_per_s,
		       (rounds - 1) / CLONES_EVERY + 1, "1/s");
	return EXIT_SUCCESS;
}
