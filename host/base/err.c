// SPDX-License-Identifier: Apache-2.0
/*
 * Error texts. A text never overruns its struct: what does not fit is cut and
 * ends in "...". No allocation, hence usable when memory is short; the caller
 * owns the struct, so any thread may build its own.
 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char err_cut[] = "...";

/* Appends at e->text + at. Returns the new length, at most sizeof(e->text) - 1. */
static size_t err_vappend(struct err *e, size_t at, const char *fmt, va_list ap)
{
	size_t room = sizeof(e->text) - at;
	int n = vsnprintf(e->text + at, room, fmt, ap);

	if (n < 0) {
		e->text[at] = '\0';
		return at;
	}
	if ((size_t)n < room)
		return at + (size_t)n;
	memcpy(e->text + sizeof(e->text) - sizeof(err_cut), err_cut, sizeof(err_cut));
	return sizeof(e->text) - 1;
}

static size_t err_append(struct err *e, size_t at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static size_t err_append(struct err *e, size_t at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	at = err_vappend(e, at, fmt, ap);
	va_end(ap);
	return at;
}

/* A forgotten errno must not turn a failure into a success. */
static int err_code(int errnum)
{
	return errnum > 0 ? -errnum : -EIO;
}

int err_set(struct err *e, int errnum, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err_vappend(e, 0, fmt, ap);
	va_end(ap);
	return err_code(errnum);
}

int err_errno(struct err *e, int errnum, const char *fmt, ...)
{
	va_list ap;
	size_t at;

	va_start(ap, fmt);
	at = err_vappend(e, 0, fmt, ap);
	va_end(ap);
	err_append(e, at, ": %s", strerror(-err_code(errnum)));
	return err_code(errnum);
}

int err_wrap(struct err *e, int r, const char *fmt, ...)
{
	struct err inner = *e;
	va_list ap;
	size_t at;

	va_start(ap, fmt);
	at = err_vappend(e, 0, fmt, ap);
	va_end(ap);
	err_append(e, at, ": %s", inner.text);
	return r;
}
