/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a process that broke its list of system calls or hit a fault: a line in the log, the terminal, the metrics. */
#ifndef SANDBOX_CRASH_H
#define SANDBOX_CRASH_H

#include "base/err.h"
#include "base/metrics.h"

/* System calls that were not allowed. */
#define SECCOMP_METRICS(M) M(seccomp, num_faults)
METRICS_DECLARE(seccomp, SECCOMP_METRICS)

/* Exit statuses, as clients of Firecracker know them. */
enum crash_exit {
	CRASH_EXIT_UNEXPECTED = 2,
	CRASH_EXIT_SIGSYS = 148,
	CRASH_EXIT_SIGBUS = 149,
	CRASH_EXIT_SIGSEGV = 150,
	CRASH_EXIT_SIGXFSZ = 151,
	CRASH_EXIT_SIGXCPU = 154,
	CRASH_EXIT_SIGILL = 157,
};

/* Handlers for the process. */
int crash_init(struct err *e) must_check;

/* For each thread: unblocks those signals, and gives the handlers a stack that is there when the thread's own is used up. */
int crash_init_thread(struct err *e) must_check;

/*
 * The end of a process whose loop thread cannot end it: text goes to the log, then it dies of the signal that it was sent, or
 * (number 0) exits with status 1. Any thread but that one.
 */
_Noreturn void crash_leave(const char *text, int number);

#endif
