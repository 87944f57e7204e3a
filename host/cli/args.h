/* SPDX-License-Identifier: Apache-2.0 */
/* The command line, as Firecracker's; "--name=value" works as well as "--name value". */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
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
	bool no_api;
	const char *id;
	const char *log_path;
	const char *level_name;
	enum log_level level;
	bool show_level;
	bool show_log_origin;
	const char *metrics_path;
	bool boot_timer;
	size_t http_api_max_payload_size;
	bool no_seccomp;
	bool version;
	bool snapshot_version;
	const char *describe_snapshot;
	bool help;
};

/*
 * Fills *args, defaults included. --help, --version win over everything else, also over mistakes. On error the text is
 * one sentence and *code what the process should exit with.
 */
int args_parse(int argc, char **argv, struct args *args, enum exit_code *code, struct err *e) must_check;

void args_print_help(FILE *out);

#endif
