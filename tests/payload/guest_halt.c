// SPDX-License-Identifier: Apache-2.0
/* Halts with interrupts off, for ever. */
#include "guest.h"

void guest_main(const uint8_t *zero_page)
{
	(void)zero_page;
	guest_print("halt\n");
}
