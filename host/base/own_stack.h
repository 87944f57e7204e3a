/* SPDX-License-Identifier: Apache-2.0 */
/* Work on a stack whose size is ours, whatever the limit of the process (ulimit -s) says. */
#ifndef BASE_OWN_STACK_H
#define BASE_OWN_STACK_H

#include <stddef.h>

#include "base/err.h"

/*
 * Calls fn(ctx) on a stack of size bytes (a multiple of the page size) with an inaccessible page below, and returns when fn
 * does. Only pages that are touched cost memory. fn must return. -errno if there is no memory.
 */
int own_stack_run(size_t size, void (*fn)(void *ctx), void *ctx, struct err *e) must_check;

#endif
