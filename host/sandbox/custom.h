/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filters of an operator's (--seccomp-filter) in place of the built-in ones: the JSON of Firecracker's seccompiler, with our
 * filters for its thread categories. docs/sandbox.md has the format, and what each filter must allow.
 */
#ifndef SANDBOX_CUSTOM_H
#define SANDBOX_CUSTOM_H

#include <stddef.h>

#include "sandbox/filters.h"

/*
 * Reads the file, a regular one, and makes sandbox_enter() use its filters. Once, before any other thread exists and before
 * the first sandbox_enter(). Errors name file, field, value and what is allowed.
 */
int sandbox_custom_load(const char *path, struct err *e) must_check;

/*
 * One program for each filter, as the text says, with SANDBOX_OWN_PID still in it. The caller frees each filter; on error
 * programs is not touched. Needs no right to install filters.
 */
int sandbox_custom_compile(const char *text, size_t len, struct sock_fprog programs[SANDBOX_NUM_FILTERS],
			   struct err *e) must_check;

#endif
