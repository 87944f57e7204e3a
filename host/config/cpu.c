// SPDX-License-Identifier: Apache-2.0
#include "config/cpu.h"

#include <stdlib.h>
#include <string.h>

static bool cpu_has_only(const char *digits, const char *allowed)
{
	return *digits && !digits[strspn(digits, allowed)];
}

int cpu_number_parse(const char *what, const char *text, uint32_t *number, struct err *e)
{
	const char *digits = text;
	unsigned long long value;
	int base = 10;

	if (!strncmp(text, "0x", 2) || !strncmp(text, "0b", 2)) {
		base = text[1] == 'x' ? 16 : 2;
		digits += 2;
	}
	if (!cpu_has_only(digits, base == 16  ? "0123456789abcdefABCDEF"
				  : base == 2 ? "01"
					      : "0123456789") ||
	    strlen(digits) > 40)
		return err_set(e, EINVAL,
			       "%s \"%.40s\" is not allowed: expected a number as \"0x1f\", \"0b101\" or \"31\"", what,
			       text);
	value = strtoull(digits, NULL, base); /* the largest one if it does not fit */
	if (value > UINT32_MAX)
		return err_set(e, EINVAL, "%s \"%.48s\" is not allowed: it has more than 32 bits", what, text);
	*number = (uint32_t)value;
	return 0;
}

int cpu_bitmap_parse(const char *what, const char *text, unsigned int width, struct cpu_bitmap *bitmap, struct err *e)
{
	struct cpu_bitmap parsed = { 0 };
	unsigned int digits = 0;

	for (const char *p = text + (!strncmp(text, "0b", 2) ? 2 : 0); *p; p++) {
		if (*p == '_')
			continue;
		if (!strchr("01x", *p))
			return err_set(
				e, EINVAL,
				"%s \"%.80s\" is not allowed: expected \"0b\" and the digits 0, 1 and x (left alone)",
				what, text);
		if (digits++ == width)
			return err_set(e, EINVAL, "%s \"%.80s\" is not allowed: it has more than %u digits", what, text,
				       width);
		parsed.mask = parsed.mask << 1 | (*p != 'x');
		parsed.value = parsed.value << 1 | (*p == '1');
	}
	if (!digits)
		return err_set(e, EINVAL, "%s \"%.80s\" is not allowed: it has no digits", what, text);
	*bitmap = parsed;
	return 0;
}
