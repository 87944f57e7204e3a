/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random bytes straight from the host kernel. Nothing is buffered here: the
 * monitor may itself be a process in a machine that gets cloned, and a buffer
 * in its memory would be cloned with it.
 */
#ifndef BASE_RAND_H
#define BASE_RAND_H

#include <stddef.h>

#include "base/err.h"

/* Fills buf by getrandom(2), also when buf is guest memory. 0, or -errno (-EFAULT: buf is not mapped any more). */
int rand_bytes(void *buf, size_t len) must_check;

#endif
