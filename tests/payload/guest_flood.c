// SPDX-License-Identifier: Apache-2.0
/* Prints as fast as it can, for ever. */
#include "guest.h"

void guest_main(const uint8_t *zero_page)
{
	static const char line[] = "The quick brown fox jumps over the lazy dog. 0123456789\n";

	(void)zero_page;
	for (;;) {
		guest_print(line);
		guest_outs(PAYLOAD_CONSOLE_PORT, (const uint8_t *)line, sizeof(line) - 1);
	}
}
