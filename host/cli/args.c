// SPDX-License-Identifier: Apache-2.0
/*
 * getopt_long(3) does the parsing. It would accept unambiguous abbreviations
 * and a value that looks like an option; Firecracker does neither, so names are
 * checked in full before.
 */
#include "cli/args.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "config/config.h"

#define DEFAULT_API_SOCK    "/run/firecracker.socket"
#define DEFAULT_ID	    "anonymous-instance"
#define DEFAULT_MAX_PAYLOAD 51200
#define MAX_MAX_PAYLOAD	    (64u * 1024 * 1024)

enum option_id {
	OPT_API_SOCK = 256,
	OPT_CONFIG_FILE,
	OPT_NO_API,
	OPT_ID,
	OPT_LOG_PATH,
	OPT_LEVEL,
	OPT_MODULE,
	OPT_SHOW_LEVEL,
	OPT_SHOW_LOG_ORIGIN,
	OPT_METRICS_PATH,
	OPT_BOOT_TIMER,
	OPT_START_TIME,
	OPT_START_CPU_TIME,
	OPT_PARENT_CPU_TIME,
	OPT_MAX_PAYLOAD,
	OPT_METADATA,
	OPT_MMDS_SIZE_LIMIT,
	OPT_ENABLE_PCI,
	OPT_NO_SECCOMP,
	OPT_SECCOMP_FILTER,
	OPT_VERSION,
	OPT_SNAPSHOT_VERSION,
	OPT_DESCRIBE_SNAPSHOT,
	OPT_HELP,
	OPT_END,
};

#define NUM_OPTIONS (OPT_END - OPT_API_SOCK)

/* In the order of enum option_id. */
static const struct {
	const char *name;
	const char *value; /* what --help calls the value, NULL for a switch */
	const char *help;
} options[NUM_OPTIONS] = {
	{ "api-sock", "PATH", "Unix socket of the API [" DEFAULT_API_SOCK "]" },
	{ "config-file", "PATH", "JSON file with a machine to start at once" },
	{ "no-api", NULL, "serve no API; needs --config-file" },
	{ "id", "ID", "name of this instance: 1 to 64 letters, digits and '-' [" DEFAULT_ID "]" },
	{ "log-path", "PATH", "file or FIFO for the log [standard output]" },
	{ "level", "LEVEL", "off, error, warn, info, debug or trace [info]" },
	{ "module", "MODULE", "log what this module of the source says, and nothing else" },
	{ "show-level", NULL, "put the level into each log line" },
	{ "show-log-origin", NULL, "put file and line into each log line" },
	{ "metrics-path", "PATH", "file or FIFO for the metrics" },
	{ "boot-timer", NULL, "add the device by which a guest reports its boot time" },
	{ "start-time-us", "TIME", "when the process was asked for, by the monotonic clock" },
	{ "start-time-cpu-us", "TIME",
	  "how much time of a processor the process had used when it became this program" },
	{ "parent-cpu-time-us", "TIME", "how much its parent had used" },
	{ "http-api-max-payload-size", "BYTES", "largest request body [51200]" },
	{ "metadata", "PATH", "JSON file with metadata for the guest" },
	{ "mmds-size-limit", "BYTES", "largest metadata, as compact JSON [http-api-max-payload-size]" },
	{ "enable-pci", NULL, "accepted; devices are on MMIO all the same" },
	{ "no-seccomp", NULL, "do without the system call filters" },
	{ "seccomp-filter", "PATH", "not supported yet" },
	{ "version", NULL, "print the version and exit" },
	{ "snapshot-version", NULL, "print the version of the snapshot format that is written and exit" },
	{ "describe-snapshot", "PATH", "print the format version of a state file and exit" },
	{ "help", NULL, "print this and exit" },
};

void args_print_help(FILE *out)
{
	fputs("Usage: snapsafe-vmm [OPTION]...\n\n"
	      "A microVM monitor whose machines never reuse randomness after a snapshot.\n\n",
	      out);
	for (size_t i = 0; i < NUM_OPTIONS; i++) {
		char left[64];

		snprintf(left, sizeof(left), "--%s%s%s", options[i].name, options[i].value ? " " : "",
			 options[i].value ? options[i].value : "");
		fprintf(out, "  %-36s %s\n", left, options[i].help);
	}
	fputs("\nAn option's value may also follow '='. Requests: see docs/api.md.\n", out);
}

static int find_option(const char *name, size_t len)
{
	for (int i = 0; i < NUM_OPTIONS; i++)
		if (strlen(options[i].name) == len && memcmp(options[i].name, name, len) == 0)
			return i;
	return -1;
}

/* Every word of the command line must be an option in full, or the value of the one before it. */
static int check_words(int argc, char **argv, struct err *e)
{
	bool seen[NUM_OPTIONS] = { false };

	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		size_t len = strcspn(argv[i], "=");
		bool has_value = argv[i][len] == '=';
		int option = strncmp(argv[i], "--", 2) == 0 ? find_option(argv[i] + 2, len - 2) : -1;

		if (option < 0)
			return err_set(e, EINVAL,
				       "Found argument '%s' which wasn't expected, or isn't valid in this context.",
				       argv[i]);
		if (seen[option])
			return err_set(e, EINVAL, "The argument '%s' was provided more than once.",
				       options[option].name);
		seen[option] = true;
		if (!options[option].value && has_value)
			return err_set(e, EINVAL, "The argument '%s' takes no value.", options[option].name);
		if (!options[option].value || has_value)
			continue;
		if (i + 1 == argc || strncmp(argv[i + 1], "--", 2) == 0)
			return err_set(e, EINVAL, "The argument '%s' requires a value, but none was supplied.",
				       options[option].name);
		i++;
	}
	return 0;
}

static int parse_number(enum option_id id, const char *text, uint64_t min, uint64_t max, uint64_t *number,
			struct err *e)
{
	char *end;
	uintmax_t value;

	errno = 0;
	value = strtoumax(text, &end, 10);
	/* strtoumax(3) takes blanks and signs, too. */
	if (errno || *end || text[0] < '0' || text[0] > '9' || value < min || value > max)
		return err_set(e, EINVAL, "The argument '%s' is '%s', allowed are %llu to %llu.",
			       options[id - OPT_API_SOCK].name, text, (unsigned long long)min, (unsigned long long)max);
	*number = value;
	return 0;
}

/* The options whose value is a number. */
static int take_number(struct args *args, enum option_id id, const char *value, struct err *e)
{
	switch (id) {
	case OPT_START_TIME:
		return parse_number(id, value, 0, UINT64_MAX, &args->start_time_us, e);
	case OPT_START_CPU_TIME:
		return parse_number(id, value, 0, UINT64_MAX, &args->start_time_cpu_us, e);
	case OPT_PARENT_CPU_TIME:
		return parse_number(id, value, 0, UINT64_MAX, &args->parent_cpu_time_us, e);
	case OPT_MAX_PAYLOAD:
		return parse_number(id, value, 1, MAX_MAX_PAYLOAD, &args->http_api_max_payload_size, e);
	case OPT_MMDS_SIZE_LIMIT:
		return parse_number(id, value, 1, MAX_MAX_PAYLOAD, &args->mmds_size_limit, e);
	default:
		return 0;
	}
}

static int take_option(struct args *args, enum option_id id, const char *value, struct err *e)
{
	switch (id) {
	case OPT_API_SOCK:
		args->api_sock = value;
		break;
	case OPT_CONFIG_FILE:
		args->config_file = value;
		break;
	case OPT_NO_API:
		args->no_api = true;
		break;
	case OPT_ID:
		args->id = value;
		break;
	case OPT_LOG_PATH:
		args->log_path = value;
		break;
	case OPT_LEVEL:
		args->level_name = value;
		break;
	case OPT_MODULE:
		args->module = value;
		break;
	case OPT_SHOW_LEVEL:
		args->show_level = true;
		break;
	case OPT_SHOW_LOG_ORIGIN:
		args->show_log_origin = true;
		break;
	case OPT_METRICS_PATH:
		args->metrics_path = value;
		break;
	case OPT_BOOT_TIMER:
		args->boot_timer = true;
		break;
	case OPT_START_TIME:
		args->has_start_time = true;
		return take_number(args, id, value, e);
	case OPT_START_CPU_TIME:
	case OPT_PARENT_CPU_TIME:
	case OPT_MAX_PAYLOAD:
	case OPT_MMDS_SIZE_LIMIT:
		return take_number(args, id, value, e);
	case OPT_METADATA:
		args->metadata = value;
		break;
	case OPT_ENABLE_PCI:
		args->enable_pci = true;
		break;
	case OPT_NO_SECCOMP:
		args->no_seccomp = true;
		break;
	case OPT_SECCOMP_FILTER:
		return err_set(
			e, ENOTSUP,
			"The argument 'seccomp-filter' is not supported yet: there are the built-in filters, and "
			"'no-seccomp'.");
	case OPT_VERSION:
		args->version = true;
		break;
	case OPT_SNAPSHOT_VERSION:
		args->snapshot_version = true;
		break;
	case OPT_DESCRIBE_SNAPSHOT:
		args->describe_snapshot = value;
		break;
	case OPT_HELP:
		args->help = true;
		break;
	case OPT_END:
		break;
	}
	return 0;
}

/* What wins over every mistake elsewhere on the line. */
static bool find_help_or_version(int argc, char **argv, struct args *args)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		args->help |= strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
		args->version |= strcmp(argv[i], "--version") == 0;
	}
	return args->help || args->version;
}

static int check_values(struct args *args, enum exit_code *code, struct err *e)
{
	int r;

	if (args->no_api && !args->config_file)
		return err_set(e, EINVAL, "Argument 'config-file' required, but not found.");
	*code = EXIT_CODE_BAD_CONFIG;
	if (args->level_name && !log_level_parse(args->level_name, &args->level))
		return err_set(e, EINVAL, "level is \"%s\", allowed are off, error, warn, info, debug and trace",
			       args->level_name);
	if (args->module && !log_module_is_valid(args->module))
		return err_set(e, EINVAL, "module is \"%.80s\", allowed are 1 to %d characters", args->module,
			       LOG_MODULE_MAX);
	if (!args->mmds_size_limit)
		args->mmds_size_limit = args->http_api_max_payload_size;
	r = instance_id_check(args->id, e);
	return r < 0 ? err_wrap(e, r, "id") : 0;
}

int args_parse(int argc, char **argv, struct args *args, enum exit_code *code, struct err *e)
{
	struct option long_options[NUM_OPTIONS + 1] = { 0 };
	int id;
	int r;

	*args = (struct args){
		.api_sock = DEFAULT_API_SOCK,
		.id = DEFAULT_ID,
		.level = LOG_LEVEL_INFO,
		.http_api_max_payload_size = DEFAULT_MAX_PAYLOAD,
	};
	*code = EXIT_CODE_BAD_ARGS;
	if (find_help_or_version(argc, argv, args))
		return 0;
	r = check_words(argc, argv, e);
	if (r < 0)
		return r;
	for (int i = 0; i < NUM_OPTIONS; i++)
		long_options[i] = (struct option){ options[i].name, options[i].value ? required_argument : no_argument,
						   NULL, OPT_API_SOCK + i };
	optind = 0; /* glibc: start anew, for tests that parse more than once */
	opterr = 0;
	while ((id = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		r = take_option(args, (enum option_id)id, optarg, e);
		if (r < 0)
			return r;
	}
	return check_values(args, code, e);
}
