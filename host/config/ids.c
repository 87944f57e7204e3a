// SPDX-License-Identifier: Apache-2.0
/* Names that a client chooses. They reach file names, logs and device names: letters, digits and one more character. */
#include "config/config.h"

#include <stdbool.h>
#include <string.h>

static bool id_is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

int resource_id_check(const char *id, struct err *e)
{
	size_t len = strlen(id);

	if (!len)
		return err_set(e, EINVAL, "The ID cannot be empty.");
	if (len > CONFIG_RESOURCE_ID_MAX)
		return err_set(e, EINVAL, "The ID has %zu characters: at most %d are allowed.", len,
			       CONFIG_RESOURCE_ID_MAX);
	for (const char *p = id; *p; p++) {
		if (!id_is_alnum(*p) && *p != '_')
			return err_set(e, EINVAL,
				       "API Resource IDs can only contain alphanumeric characters and underscores: "
				       "\"%s\" is not allowed.",
				       id);
	}
	return 0;
}

int instance_id_check(const char *id, struct err *e)
{
	size_t len = strlen(id);

	if (len < 1 || len > CONFIG_ID_MAX)
		return err_set(e, EINVAL, "instance id \"%.80s\" has %zu characters: allowed are 1 to %d", id, len,
			       CONFIG_ID_MAX);
	for (const char *p = id; *p; p++) {
		if (!id_is_alnum(*p) && *p != '-')
			return err_set(e, EINVAL,
				       "instance id \"%s\" is not allowed: expected letters, digits and '-' only", id);
	}
	return 0;
}
