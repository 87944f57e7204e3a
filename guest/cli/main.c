// SPDX-License-Identifier: Apache-2.0
/*
 * The `snapsafe` tool: command line, and what its commands share.
 */
#include "cli.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum option_id {
	OPT_DEVICE = 256,
	OPT_JSON,
	OPT_COUNT,
	OPT_TIMEOUT,
	OPT_ONCE,
	OPT_SOURCE,
	OPT_BACK,
	OPT_CHECK,
	OPT_HELP,
	OPT_VERSION
};

static const struct option options[] = {
	{ "device", required_argument, NULL, OPT_DEVICE },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "count", required_argument, NULL, OPT_COUNT },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "once", no_argument, NULL, OPT_ONCE },
	{ "source", required_argument, NULL, OPT_SOURCE },
	{ "back", no_argument, NULL, OPT_BACK },
	{ "check", no_argument, NULL, OPT_CHECK },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ 0 },
};

static const struct command {
	const char *name;
	int (*run)(const struct cli *cli);
	const char *allowed; /* options, each between commas */
	bool takes_command;
	const char *help;
} commands[] = {
	{ "status", cli_status, ",device,json,", false, "whether this machine notices snapshots, and how" },
	{ "id", cli_id, ",device,", false, "the identity of this machine's present life" },
	{ "watch", cli_watch, ",device,json,count,timeout,", false, "a line for each restore" },
	{ "run-on-change", cli_run_on_change, ",device,once,timeout,", true, "runs a program after each restore" },
	{ "selftest", cli_selftest, ",device,", false, "tries what programs rely on" },
	{ "clock", cli_clock, ",source,back,check,", false, "sets this machine's clock by its host's" },
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

volatile sig_atomic_t cli_stopped;

void cli_complain(const char *format, ...)
{
	va_list args;

	fputs("snapsafe: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

bool cli_have_counter(const struct cli *cli, struct snapsafe_info *info)
{
	info->size = sizeof(*info);
	snapsafe_get_info(cli->handle, info);
	if (info->state != SNAPSAFE_ABSENT)
		return true;
	if (info->error == -ENOENT || info->error == -ENODEV)
		cli_complain(
			"this machine has no generation counter (is the virtio-rng driver with leak queues loaded?)");
	else
		cli_complain("the generation counter cannot be used: %s", strerror(-info->error));
	return false;
}

bool cli_identity_hex(const struct cli *cli, char hex[2 * SNAPSAFE_IDENTITY_LEN + 1])
{
	unsigned char id[SNAPSAFE_IDENTITY_LEN];

	if (snapsafe_identity(cli->handle, id))
		return false;
	for (int i = 0; i < SNAPSAFE_IDENTITY_LEN; i++)
		snprintf(hex + 2 * i, 3, "%02x", id[i]);
	return true;
}

int64_t cli_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

/* Sleeps until there may be news. SIGINT and SIGTERM are blocked but in here: none comes between a look and the sleep. */
static int sleep_for_news(int fd, int64_t left_ms, const sigset_t *before)
{
	struct timespec left = { .tv_sec = left_ms / 1000, .tv_nsec = left_ms % 1000 * 1000000 };
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (ppoll(&p, 1, left_ms < 0 ? NULL : &left, before) < 0 && errno != EINTR)
		return -errno;
	return 0;
}

static int wait_blocked(const struct cli *cli, uint64_t *generation, int64_t deadline_ms, const sigset_t *before)
{
	int fd, r;

	for (;;) {
		int64_t left = deadline_ms < 0 ? -1 : deadline_ms - cli_now_ms();

		if (!cli->handle)
			(void)snapsafe_init(); /* the driver may have come back */
		fd = snapsafe_fd(cli->handle);
		if (fd < 0)
			return fd;
		(void)snapsafe_dispatch(cli->handle); /* takes note: what comes after this wakes us */
		r = snapsafe_wait(cli->handle, generation, 0);
		if (r)
			return r;
		if (cli_stopped)
			return -EINTR;
		if (deadline_ms >= 0 && left <= 0)
			return 0;
		r = sleep_for_news(fd, left, before);
		if (r)
			return r;
	}
}

int cli_wait(const struct cli *cli, uint64_t *generation, int64_t deadline_ms)
{
	sigset_t stop, before;
	int r;

	sigemptyset(&stop);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGTERM);
	sigprocmask(SIG_BLOCK, &stop, &before);
	r = wait_blocked(cli, generation, deadline_ms, &before);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return r;
}

static void on_stop(int number)
{
	(void)number;
	cli_stopped = 1;
}

static void print_help(void)
{
	puts("usage: snapsafe COMMAND [OPTION]...\n");
	for (size_t i = 0; i < COMMANDS; i++)
		printf("  %-14s %s\n", commands[i].name, commands[i].help);
	puts("\n"
	     "  --device PATH  the counter file, instead of this machine's first one\n"
	     "  --json         status, watch: for programs\n"
	     "  --count N      watch: end after N restores\n"
	     "  --timeout S    watch, run-on-change: give up after S seconds without one\n"
	     "  --once         run-on-change: end after the first one, with the program's exit status\n"
	     "  --source PATH  clock: a VMClock or PTP device, instead of this machine's first one\n"
	     "  --back         clock: it may be set back\n"
	     "  --check        clock: say how far it is off, and set nothing\n"
	     "  --help, --version\n\n"
	     "Exit status: 0 success; 1 not protected, or failed; 2 wrong usage; 3 no counter, no source of time; 4 "
	     "timeout.");
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(name, commands[i].name) == 0)
			return &commands[i];
	return NULL;
}

/* A whole number from 1 to max; -1 after complaining. */
static int64_t parse_number(const char *option, const char *text, int64_t max)
{
	char *end;
	long long value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno || end == text || *end || value < 1 || value > max) {
		cli_complain("--%s is \"%s\": it must be a number from 1 to %lld", option, text, (long long)max);
		return -1;
	}
	return value;
}

static bool is_allowed(const struct command *command, const char *option)
{
	char quoted[32];

	snprintf(quoted, sizeof(quoted), ",%s,", option);
	if (strstr(command->allowed, quoted))
		return true;
	cli_complain("%s does not take --%s", command->name, option);
	return false;
}

/* 0, or the exit status to end with; -1: end with success. */
static int take_option(struct cli *cli, const struct command *command, int id, int index)
{
	int r;

	if (id == OPT_HELP || id == OPT_VERSION) {
		if (id == OPT_HELP)
			print_help();
		else
			printf("snapsafe %s, libsnapsafe %s\n", SNAPSAFE_VERSION, snapsafe_version());
		return -1;
	}
	if (id == '?' || !is_allowed(command, options[index].name))
		return EXIT_USAGE;
	if (id == OPT_JSON)
		cli->json = true;
	if (id == OPT_ONCE)
		cli->once = true;
	if (id == OPT_BACK)
		cli->back = true;
	if (id == OPT_CHECK)
		cli->check = true;
	if (id == OPT_SOURCE)
		cli->source = optarg;
	if (id == OPT_COUNT && (cli->count = parse_number("count", optarg, INT_MAX)) < 0)
		return EXIT_USAGE;
	if (id == OPT_TIMEOUT) {
		cli->timeout_ms = parse_number("timeout", optarg, INT_MAX);
		if (cli->timeout_ms < 0)
			return EXIT_USAGE;
		cli->timeout_ms *= 1000;
	}
	if (id == OPT_DEVICE) {
		snapsafe_close(cli->handle);
		cli->handle = NULL;
		r = snapsafe_open(&cli->handle, optarg);
		if (r) {
			cli_complain("cannot use %s as a generation counter: %s", optarg,
				     r == -EINVAL ? "it is none" : strerror(-r));
			return EXIT_NO_COUNTER;
		}
	}
	return 0;
}

static int run(struct cli *cli, int argc, char **argv)
{
	const struct command *command = argc > 1 ? find_command(argv[1]) : NULL;
	int id, index = 0, r;

	if (!command) {
		if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0))
			return print_help(), EXIT_OK;
		if (argc > 1 && strcmp(argv[1], "--version") == 0)
			return take_option(cli, NULL, OPT_VERSION, 0), EXIT_OK;
		if (argc > 1)
			cli_complain("there is no command \"%s\"", argv[1]);
		print_help();
		return EXIT_USAGE;
	}
	/* "+": what follows the first word that is no option belongs to the program to run. */
	optind = 2;
	while ((id = getopt_long(argc, argv, "+", options, &index)) >= 0) {
		r = take_option(cli, command, id, index);
		if (r)
			return r < 0 ? EXIT_OK : r;
	}
	if (command->takes_command && optind == argc) {
		cli_complain("%s needs a program to run", command->name);
		return EXIT_USAGE;
	}
	if (!command->takes_command && optind < argc) {
		cli_complain("%s takes no \"%s\"", command->name, argv[optind]);
		return EXIT_USAGE;
	}
	cli->command = argv + optind;
	return command->run(cli);
}

int main(int argc, char **argv)
{
	struct sigaction act = { .sa_handler = on_stop };
	struct cli cli = { .count = -1, .timeout_ms = -1 };
	int r;

	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	r = run(&cli, argc, argv);
	snapsafe_close(cli.handle);
	if (fflush(stdout) == EOF || ferror(stdout)) {
		cli_complain("cannot write to standard output: %s", strerror(errno));
		return EXIT_NOT_SAFE;
	}
	return r;
}
