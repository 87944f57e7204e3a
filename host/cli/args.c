// SPDX-License-Identifier: Apache-2.0
/* The monitor's options, and what they are in struct args. */
#include "cli/args.h"

#include <stdint.h>

#include "cli/words.h"
#include "config/config.h"

#define DEFAULT_API_SOCK    "/run/firecracker.socket"
#define DEFAULT_ID	    "anonymous-instance"
#define DEFAULT_MAX_PAYLOAD 51200
#define MAX_MAX_PAYLOAD	    (64u * 1024 * 1024)

enum option_id {
	OPT_API_SOCK,
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
	OPT_PRINT_SECCOMP_FILTER,
	OPT_VERSION,
	OPT_SNAPSHOT_VERSION,
	OPT_DESCRIBE_SNAPSHOT,
	OPT_HELP,
	OPT_END,
};

#define NUM_OPTIONS OPT_END

/* In the order of enum option_id. */
static const struct cli_option options[NUM_OPTIONS] = {
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
	{ "seccomp-filter", "PATH", "JSON file with system call filters to use in place of the built-in ones" },
	{ "print-seccomp-filter", NULL, "print the built-in filters as such a file and exit" },
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
	cli_print_options(out, options, NUM_OPTIONS);
	fputs("\nAn option's value may also follow '='. Requests: see docs/api.md.\n", out);
}

static int parse_number(enum option_id id, const char *text, uint64_t min, uint64_t max, uint64_t *number,
			struct err *e)
{
	return cli_number(options[id].name, text, min, max, number, e);
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
		args->seccomp_filter = value;
		break;
	case OPT_PRINT_SECCOMP_FILTER:
		args->print_seccomp_filter = true;
		break;
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

static int check_values(struct args *args, enum exit_code *code, struct err *e)
{
	int r;

	if (args->no_api && !args->config_file)
		return err_set(e, EINVAL, "Argument 'config-file' required, but not found.");
	if (args->no_seccomp && args->seccomp_filter)
		return err_set(e, EINVAL,
			       "Argument 'no-seccomp' cannot be used together with argument 'seccomp-filter'.");
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
	struct cli_words words = {
		.argv = argv,
		.argc = argc,
		.options = options,
		.num_options = NUM_OPTIONS,
		.next = 1,
	};
	const char *value;
	int id;
	int r;

	*args = (struct args){
		.api_sock = DEFAULT_API_SOCK,
		.id = DEFAULT_ID,
		.level = LOG_LEVEL_INFO,
		.http_api_max_payload_size = DEFAULT_MAX_PAYLOAD,
	};
	*code = EXIT_CODE_BAD_ARGS;
	cli_words_find_help(&words, &args->help, &args->version);
	if (args->help || args->version)
		return 0;
	r = cli_words_check(&words, e);
	if (r < 0)
		return r;
	while ((id = cli_words_next(&words, &value)) >= 0) {
		r = take_option(args, (enum option_id)id, value, e);
		if (r < 0)
			return r;
	}
	return check_values(args, code, e);
}
