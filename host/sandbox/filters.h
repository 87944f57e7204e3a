/* SPDX-License-Identifier: Apache-2.0 */
/* The programs that mkfilters makes of rules.c, at build time. */
#ifndef SANDBOX_FILTERS_H
#define SANDBOX_FILTERS_H

#include <linux/filter.h>

#include "sandbox/sandbox.h"

/*
 * Stands for the process's own id, which nobody knows at build time: sandbox_enter() puts it in. No process has this id, the
 * kernel's limit is 4194304.
 */
#define SANDBOX_OWN_PID 0x7f5a5a5au

#define SANDBOX_MAX_INSNS 1024

/*
 * How libseccomp arranges a program (SCMP_FLTATR_CTL_OPTIMIZE): 2 is a binary search for the call's number. When a filter is
 * installed the kernel runs it for each system call that there is, to know those that it always allows; with a list that
 * is most of what an installation costs.
 */
#define SANDBOX_OPTIMIZE 2

struct sandbox_program {
	const struct sock_filter *insns;
	unsigned short num_insns;
};

extern const struct sandbox_program sandbox_programs[SANDBOX_NUM_FILTERS];

extern const char *const sandbox_names[SANDBOX_NUM_FILTERS];

/* The same lists as JSON (mkjson.c). */
extern const char sandbox_builtin_json[];

/*
 * From now on these programs are in force, not the built-in ones; their instructions are left to this module for good, which
 * puts the own process id in.
 */
void sandbox_use(const struct sock_fprog programs[SANDBOX_NUM_FILTERS]);

/* NULL for a number that libseccomp did not know at build time. Async-signal-safe. */
const char *sandbox_syscall_name(int number);

#endif
