/* SPDX-License-Identifier: Apache-2.0 */
/* What a sentence lists: "a, b, c". Names are whole or not there. */
#ifndef BASE_NAMES_H
#define BASE_NAMES_H

#include <stddef.h>

struct names {
	char text[384];	       /* terminated */
	size_t len;	       /* bytes before the NUL */
	unsigned int left_off; /* names that did not fit */
};

/* Adds a name, made as by printf(3), behind those that are there. */
void names_add(struct names *names, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
