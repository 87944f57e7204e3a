// SPDX-License-Identifier: Apache-2.0
/* `snapsafe watch` and `snapsafe run-on-change`. */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int64_t deadline_of(const struct cli *cli)
{
	return cli->timeout_ms < 0 ? -1 : cli_now_ms() + cli->timeout_ms;
}

/* What a wait that found no change ends the command with. */
static int end_of_wait(int r)
{
	if (r == 0)
		return EXIT_TIMEOUT;
	if (r == -EINTR)
		return EXIT_OK;
	if (r == -ENODEV)
		cli_complain("the generation counter has gone");
	else
		cli_complain("cannot wait for a change: %s", strerror(-r));
	return r == -ENODEV ? EXIT_NO_COUNTER : EXIT_NOT_SAFE;
}

static void print_change(const struct cli *cli, uint64_t generation)
{
	char hex[2 * SNAPSAFE_IDENTITY_LEN + 1], when[32];
	bool identity = cli_identity_hex(cli, hex);
	time_t now = time(NULL);
	struct tm tm;

	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
	if (cli->json)
		printf("{\"time\":\"%s\",\"generation\":%" PRIu64 ",\"identity\":%s%s%s}\n", when, generation,
		       identity ? "\"" : "", identity ? hex : "null", identity ? "\"" : "");
	else
		printf("%s  generation %" PRIu64 "  identity %s\n", when, generation, identity ? hex : "none");
	fflush(stdout);
}

int cli_watch(const struct cli *cli)
{
	struct snapsafe_info info;
	uint64_t generation;
	int r;

	if (!cli_have_counter(cli, &info))
		return EXIT_NO_COUNTER;
	generation = snapsafe_generation(cli->handle);
	for (int64_t seen = 0; cli->count < 0 || seen < cli->count; seen++) {
		r = cli_wait(cli, &generation, deadline_of(cli));
		if (r != 1)
			return end_of_wait(r);
		print_change(cli, generation);
		if (ferror(stdout))
			return EXIT_NOT_SAFE;
	}
	return EXIT_OK;
}

static void export_change(const struct cli *cli, uint64_t generation)
{
	char hex[2 * SNAPSAFE_IDENTITY_LEN + 1], number[24];

	snprintf(number, sizeof(number), "%" PRIu64, generation);
	setenv("SNAPSAFE_GENERATION", number, 1);
	if (cli_identity_hex(cli, hex))
		setenv("SNAPSAFE_IDENTITY", hex, 1);
	else
		unsetenv("SNAPSAFE_IDENTITY");
}

/* Until the program has ended; a SIGINT or SIGTERM for us is handed on. Its exit status, 128 + a signal. */
static int reap(pid_t pid)
{
	bool told = false;
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return EXIT_NOT_SAFE;
		if (cli_stopped && !told)
			kill(pid, SIGTERM);
		told = cli_stopped;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run_command(const struct cli *cli, uint64_t generation)
{
	pid_t pid;
	int r;

	export_change(cli, generation);
	r = posix_spawnp(&pid, cli->command[0], NULL, NULL, cli->command, environ);
	if (r) {
		cli_complain("cannot run %s: %s", cli->command[0], strerror(r));
		return r == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
	}
	r = reap(pid);
	if (r)
		cli_complain("%s ended with status %d", cli->command[0], r);
	return r;
}

int cli_run_on_change(const struct cli *cli)
{
	struct snapsafe_info info;
	uint64_t generation;
	int r;

	if (!cli_have_counter(cli, &info))
		return EXIT_NO_COUNTER;
	generation = snapsafe_generation(cli->handle);
	for (;;) {
		r = cli_wait(cli, &generation, deadline_of(cli));
		if (r != 1)
			return end_of_wait(r);
		r = run_command(cli, generation);
		if (cli->once || r == EXIT_NOT_FOUND || r == EXIT_NOT_EXECUTABLE)
			return r;
	}
}
