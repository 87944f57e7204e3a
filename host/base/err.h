/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An error that a person will read: one sentence, built where the reason is
 * known and prefixed with context on its way up. Control paths return -errno
 * and fill a struct err; data paths (queues, devices) return -errno only.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <errno.h>

#define must_check __attribute__((warn_unused_result))

struct err {
	char text[1024]; /* NUL-terminated; a longer text is cut with "..." */
};

/* Sets the text and returns -errnum (errnum > 0), so that "return err_set(...)" works. */
int err_set(struct err *e, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As err_set, and appends ": " and what errno number errnum means ("No such file or directory"). */
int err_errno(struct err *e, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "<context>: " before the text that is there; returns r unchanged. */
int err_wrap(struct err *e, int r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
