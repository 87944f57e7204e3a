// SPDX-License-Identifier: Apache-2.0
/*
 * Draws by the C library of the Debian that it runs in, which may do so without
 * entering the kernel: getrandom() and arc4random_buf().
 *
 * Usage: draw-libc COUNTER
 */
#include <stdlib.h>
#include <sys/random.h>

#include "draw_sources.h"

static void by_getrandom(uint8_t bytes[DRAW_LEN])
{
	if (getrandom(bytes, DRAW_LEN, 0) != DRAW_LEN)
		draw_failed("getrandom()");
}

static void by_arc4random(uint8_t bytes[DRAW_LEN])
{
	arc4random_buf(bytes, DRAW_LEN);
}

int main(int argc, char **argv)
{
	static const struct draw_source sources[] = { { "getrandom", by_getrandom }, { "arc4random", by_arc4random } };

	return draw_sources(argc, argv, sources, sizeof(sources) / sizeof(sources[0]));
}
