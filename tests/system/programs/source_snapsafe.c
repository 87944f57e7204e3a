// SPDX-License-Identifier: Apache-2.0
#include "source.h"

#include "snapsafe.h"

int source_init(void)
{
	return 0;
}

int source_draw(void *buf, size_t len)
{
	return snapsafe_random(NULL, buf, len) ? -1 : 0;
}
