// SPDX-License-Identifier: Apache-2.0
/* The well-formed byte sequences of RFC 3629, section 4, as a table: no overlong forms, no surrogates. */
#include "base/utf8.h"

#include <stdint.h>

#include "base/cleanup.h"

static const struct utf8_form {
	uint8_t first_min, first_max;
	uint8_t second_min, second_max;
	uint8_t len;
} utf8_forms[] = {
	{ 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
	{ 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
	{ 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
};

static const struct utf8_form *utf8_find_form(uint8_t first)
{
	for (size_t i = 0; i < ARRAY_SIZE(utf8_forms); i++) {
		if (first >= utf8_forms[i].first_min && first <= utf8_forms[i].first_max)
			return &utf8_forms[i];
	}
	return NULL;
}

size_t utf8_char_len(const void *text, size_t len)
{
	const uint8_t *s = text;
	const struct utf8_form *form;

	if (len == 0)
		return 0;
	if (s[0] < 0x80)
		return 1;
	form = utf8_find_form(s[0]);
	if (!form || len < form->len || s[1] < form->second_min || s[1] > form->second_max)
		return 0;
	for (size_t i = 2; i < form->len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	return form->len;
}

bool utf8_is_text(const void *text, size_t len)
{
	const uint8_t *s = text;

	while (len > 0) {
		size_t n = *s ? utf8_char_len(s, len) : 0;

		if (n == 0)
			return false;
		s += n;
		len -= n;
	}
	return true;
}
