/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text built piece by piece in a buffer of fixed size. Async-signal-safe, unlike snprintf(3): for lines that may have to
 * be written while the process is about to die.
 */
#ifndef BASE_TEXTBUF_H
#define BASE_TEXTBUF_H

#include <stddef.h>
#include <stdint.h>

struct textbuf {
	char *text; /* borrowed; not terminated unless the user puts a NUL */
	size_t size;
	size_t len; /* never above size; what does not fit is cut off */
};

void textbuf_put(struct textbuf *b, const char *data, size_t len);
void textbuf_str(struct textbuf *b, const char *str);
/* Decimal, filled up with zeros to at least min_digits (20 at most). */
void textbuf_u64(struct textbuf *b, uint64_t value, unsigned int min_digits);

#endif
