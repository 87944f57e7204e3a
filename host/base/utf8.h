/* SPDX-License-Identifier: Apache-2.0 */
/* Is it text? For what comes from clients and files and is shown to people. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* The length in bytes of the character at text, of which len bytes may be read; 0 if it is not UTF-8 (RFC 3629, section 4). */
size_t utf8_char_len(const void *text, size_t len);

/* True if all of it is UTF-8 and no byte is NUL. */
bool utf8_is_text(const void *text, size_t len);

#endif
