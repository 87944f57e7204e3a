/* SPDX-License-Identifier: Apache-2.0 */
/* The command line, as Firecracker's; "--name=value" works as well as "--name value". */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/log.h"

/* Exit statuses that clients know; the others are the shell's own. */
enum exit_code {
	EXIT_CODE_OK = 0,
	EXIT_CODE_GENERIC = 1,
	EXIT_CODE_SIGHUP = 156,
	EXIT_CODE_BAD_CONFIG = 152,
	EXIT_CODE_BAD_ARGS = 153,
};

/* Strings are borrowed from argv; NULL means that the option was not given. */
struct args {
	const char *api_sock;
	const char *config_file;
	const char *id;
	const char *log_path;
	const char *level_name;
	const char *module;
	const char *metrics_path;
	const char *metadata;
	const char *describe_snapshot;
	const char *seccomp_filter;
	uint64_t start_time_us;	     /* CLOCK_MONOTONIC, when somebody asked for the process */
	uint64_t start_time_cpu_us;  /* CLOCK_PROCESS_CPUTIME_ID, when it became this program; 0: from its beginning */
	uint64_t parent_cpu_time_us; /* what the process that made this one had used until then */
	uint64_t http_api_max_payload_size;
	uint64_t mmds_size_limit; /* bytes */
	enum log_level level;
	bool no_api;
	bool show_level;
	bool show_log_origin;
	bool boot_timer;
	bool has_start_time;
	bool enable_pci;
	bool no_seccomp;
	bool print_seccomp_filter;
	bool version;
	bool snapshot_version;
	bool help;
};

/*
 * Fills *args, defaults included. --help, --version win over everything else, also over mistakes. On error the text is
 * one sentence and *code what the process should exit with.
 */
int args_parse(int argc, char **argv, struct args *args, enum exit_code *code, struct err *e) must_check;

void args_print_help(FILE *out);

/* Says in the log which options have no effect. */
void args_note_idle(const struct args *args);

#endif
