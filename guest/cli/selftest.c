// SPDX-License-Identifier: Apache-2.0
/*
 * `snapsafe selftest`: tries on this machine what programs rely on, without a
 * snapshot. One line a check; what the kernel or the driver lacks is said.
 */
#include "cli.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAMPLES 64
#define SAMPLE	16

struct selftest {
	const struct cli *cli;
	struct snapsafe_info info;
	const char *hint; /* set by a check that fails */
};

static bool check_watched(struct selftest *t)
{
	t->hint = t->info.state == SNAPSAFE_UNWATCHED ? "its device or driver is not there" : "the file has gone";
	return t->info.state == SNAPSAFE_ACTIVE;
}

static bool check_mapped(struct selftest *t)
{
	t->hint = "it is a file that could vanish, or a driver without the page's magic: each look is a system call";
	return t->info.features & SNAPSAFE_F_MAPPED;
}

static bool check_identity(struct selftest *t)
{
	char hex[2 * SNAPSAFE_IDENTITY_LEN + 1];

	t->hint = "the driver gives none: clones are told apart only after the kernel has reseeded";
	return cli_identity_hex(t->cli, hex);
}

static bool check_reseeded(struct selftest *t)
{
	t->hint = "the kernel's generator may repeat what clones of this machine have drawn";
	return t->info.features & SNAPSAFE_F_RESEEDED;
}

static bool check_wait(struct selftest *t)
{
	uint64_t generation = snapsafe_generation(t->cli->handle);
	int fd = snapsafe_fd(t->cli->handle);

	t->hint = "no descriptor can be had, or waiting fails";
	return fd >= 0 && poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 0) >= 0 &&
	       snapsafe_dispatch(t->cli->handle) >= 0 && snapsafe_wait(t->cli->handle, &generation, 1) == 0;
}

static bool differ(uint8_t (*samples)[SAMPLE], int count)
{
	for (int a = 0; a < count; a++)
		for (int b = a + 1; b < count; b++)
			if (memcmp(samples[a], samples[b], SAMPLE) == 0)
				return false;
	return true;
}

static bool check_random(struct selftest *t)
{
	uint8_t samples[SAMPLES][SAMPLE];

	t->hint = "snapsafe_random() fails or repeats";
	for (int i = 0; i < SAMPLES; i++)
		if (snapsafe_random(t->cli->handle, samples[i], SAMPLE))
			return false;
	return differ(samples, SAMPLES);
}

/* One from the child, into shared memory, and one from each side of the fork. */
static bool check_fork(struct selftest *t)
{
	struct snapsafe_token token = snapsafe_token(t->cli->handle);
	uint8_t(*samples)[SAMPLE] = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 1;
	bool good;
	pid_t pid;

	t->hint = "a forked child draws what its parent draws, or its tokens still hold";
	if (samples == MAP_FAILED || snapsafe_random(t->cli->handle, samples[0], SAMPLE))
		return false;
	pid = fork();
	if (pid == 0)
		_exit(snapsafe_random(t->cli->handle, samples[1], SAMPLE) || snapsafe_holds(t->cli->handle, &token));
	good = snapsafe_random(t->cli->handle, samples[2], SAMPLE) == 0;
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	good = good && pid > 0 && status == 0 && differ(samples, 3) && snapsafe_holds(t->cli->handle, &token);
	munmap(samples, 4096);
	return good;
}

static const struct check {
	const char *name;
	bool (*run)(struct selftest *t);
	bool needed; /* otherwise a failure is worth a note only */
} checks[] = {
	{ "leaks are reported", check_watched, true },
	{ "the counter is mapped", check_mapped, false },
	{ "this machine has an identity", check_identity, false },
	{ "the kernel is reseeded in this generation", check_reseeded, false },
	{ "changes can be waited for", check_wait, true },
	{ "random bytes differ", check_random, true },
	{ "forked children draw other bytes", check_fork, true },
};

int cli_selftest(const struct cli *cli)
{
	struct selftest t = { .cli = cli };
	int failed = 0;

	if (!cli_have_counter(cli, &t.info))
		return EXIT_NO_COUNTER;
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		bool good = checks[i].run(&t);

		printf("%-6s %s%s%s\n",
		       good		  ? "ok"
		       : checks[i].needed ? "FAILED"
					  : "note",
		       checks[i].name, good ? "" : ": ", good ? "" : t.hint);
		fflush(stdout); /* before a check forks */
		failed += !good && checks[i].needed;
	}
	return failed ? EXIT_NOT_SAFE : EXIT_OK;
}
