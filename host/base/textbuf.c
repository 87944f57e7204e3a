// SPDX-License-Identifier: Apache-2.0
/* No locale, no allocation, no lock, no static data: these may run in a signal handler. */
#include "base/textbuf.h"

#include <string.h>

#define U64_DIGITS 20

void textbuf_put(struct textbuf *b, const char *data, size_t len)
{
	size_t room = b->size - b->len;

	if (len > room)
		len = room;
	memcpy(b->text + b->len, data, len);
	b->len += len;
}

void textbuf_str(struct textbuf *b, const char *str)
{
	textbuf_put(b, str, strlen(str));
}

void textbuf_u64(struct textbuf *b, uint64_t value, unsigned int min_digits)
{
	char digits[U64_DIGITS];
	unsigned int n = 0;

	while (n < U64_DIGITS && (value > 0 || n < min_digits || n == 0)) {
		digits[U64_DIGITS - ++n] = (char)('0' + value % 10);
		value /= 10;
	}
	textbuf_put(b, digits + U64_DIGITS - n, n);
}
