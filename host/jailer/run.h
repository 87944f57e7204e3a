/* SPDX-License-Identifier: Apache-2.0 */
/* From the jailer's process to the monitor's, when everything around it is done. */
#ifndef JAILER_RUN_H
#define JAILER_RUN_H

#include <stdint.h>

#include "base/err.h"
#include "jailer/options.h"

/*
 * Becomes the monitor, /name: in a session of its own and a PID namespace of its own if the options say so, with the options'
 * user and group, without capabilities unless that is root, without environment. Writes /name.pid. start_us: CLOCK_MONOTONIC
 * when the jailer began; null_fd: /dev/null. Does not return where it succeeds: a process that is left behind ends, with
 * status 0 when the monitor runs, else with 1 and the sentence on standard error.
 */
int run_monitor(const struct jailer_options *options, const char *name, uint64_t start_us, int null_fd,
		struct err *e) must_check;

#endif
