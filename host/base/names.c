// SPDX-License-Identifier: Apache-2.0
#include "base/names.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void names_add(struct names *names, const char *fmt, ...)
{
	const char *comma = names->len ? ", " : "";
	char name[128];
	size_t len, room = sizeof(names->text) - names->len;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	len = strlen(comma) + strlen(name);
	if (len >= room) {
		names->left_off++;
		return;
	}
	snprintf(names->text + names->len, room, "%s%s", comma, name);
	names->len += len;
}
