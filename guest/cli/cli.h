/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `snapsafe` tool: what its commands share.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "snapsafe.h"

/* For scripts; snapsafe(1) has them. */
enum exit_code {
	EXIT_OK = 0,
	EXIT_NOT_SAFE = 1, /* a counter that does not protect, a test that failed, a clock that is not right */
	EXIT_USAGE = 2,
	EXIT_NO_COUNTER = 3,
	EXIT_NO_SOURCE = 3, /* of time */
	EXIT_TIMEOUT = 4,
	EXIT_NOT_EXECUTABLE = 126, /* as shells do */
	EXIT_NOT_FOUND = 127,
};

struct cli {
	struct snapsafe *handle; /* owned; NULL: the default one */
	bool json;
	bool once;
	bool back;	    /* the clock may be set back */
	bool check;	    /* the clock is not set */
	const char *source; /* of time; NULL: the host's, if there is one */
	int64_t count;	    /* changes to report; -1: no end */
	int64_t timeout_ms; /* -1: none */
	char **command;	    /* of run-on-change, NULL-terminated */
};

extern volatile sig_atomic_t cli_stopped; /* SIGINT or SIGTERM came */

/* False after saying why there is no counter. */
bool cli_have_counter(const struct cli *cli, struct snapsafe_info *info);

/* 32 digits and a NUL; false if there is no identity. */
bool cli_identity_hex(const struct cli *cli, char hex[2 * SNAPSAFE_IDENTITY_LEN + 1]);

/* Waits for another generation until timeout or stop: as snapsafe_wait(), and -EINTR only if stopped. */
int cli_wait(const struct cli *cli, uint64_t *generation, int64_t deadline_ms);
int64_t cli_now_ms(void);

/* Says what went wrong on standard error, after the program's name. */
__attribute__((format(printf, 1, 2))) void cli_complain(const char *format, ...);

int cli_status(const struct cli *cli);
int cli_id(const struct cli *cli);
int cli_watch(const struct cli *cli);
int cli_run_on_change(const struct cli *cli);
int cli_selftest(const struct cli *cli);
int cli_clock(const struct cli *cli);

#endif /* CLI_CLI_H */
