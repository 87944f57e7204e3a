/* SPDX-License-Identifier: Apache-2.0 */
/* Whether this process may have a userfaultfd; what needs one is skipped otherwise. */
#ifndef USERFAULT_PERMITTED_H
#define USERFAULT_PERMITTED_H

#include <stdbool.h>
#include <unistd.h>

#include "mem/userfault.h"

static inline bool userfault_is_permitted(void)
{
	struct err e;
	int fd, r = userfault_open(&fd, &e);

	if (r == 0)
		close(fd);
	return r == 0;
}

#endif
