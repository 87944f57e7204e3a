/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes one call into the C library or the kernel fail: the n-th that the code under test makes on this thread. The
 * program is linked with --wrap for each of the functions, so that only calls from host/ are counted; jansson allocates
 * through the same functions, but for its parser. That, libmicrohttpd and libcbor fail as a whole.
 */
#ifndef TESTS_FAILING_CALLS_H
#define TESTS_FAILING_CALLS_H

#include <stdbool.h>

/* From here on the n-th call (from 1) of this thread fails. */
void failing_calls_arm(unsigned int n);
/* No call fails any more. True if one did. */
bool failing_calls_disarm(void);

/* What failed: "malloc", "ioctl(0xae01)". */
const char *failing_calls_name(void);

/* May it fail without harm? Each such call has its reason in failing_calls.c. more: others, with a blank behind each, or NULL. */
bool failing_calls_is_optional(const char *more);

/* Bytes that the code under test has mapped and not unmapped. */
long failing_calls_mapped(void);

/* Makes jansson use the functions that can fail. */
void failing_calls_init(void);

#endif
