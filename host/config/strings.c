// SPDX-License-Identifier: Apache-2.0
#include "config/config.h"

#include <stdlib.h>
#include <string.h>

int config_replace_string(char **at, const char *value, struct err *e)
{
	char *copy = strdup(value);

	if (!copy)
		return err_errno(e, ENOMEM, "\"%s\"", value);
	free(*at);
	*at = copy;
	return 0;
}
