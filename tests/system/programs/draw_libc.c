// SPDX-License-Identifier: Apache-2.0
/*
 * Draws by the C library of the Debian that it runs in, which may do so without
 * entering the kernel: getrandom() and arc4random_buf().
 *
 * Usage: draw-libc COUNTER
 *
 * One of the programs that tests/languages/programs/README.md describes.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "counter.h"

#define WARM  20
#define DRAWS 32
#define LEN   16

struct draw {
	uint8_t getrandom[LEN];
	uint8_t arc4random[LEN];
};

static void die(const char *what)
{
	fprintf(stderr, "draw-libc: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static void draw(struct draw *d)
{
	if (getrandom(d->getrandom, LEN, 0) != LEN)
		die("getrandom()");
	arc4random_buf(d->arc4random, LEN);
}

int main(int argc, char **argv)
{
	static struct draw draws[DRAWS];
	const volatile uint64_t *counter;
	uint64_t before;

	if (argc != 2) {
		fputs("Usage: draw-libc COUNTER\n", stderr);
		return 2;
	}
	counter = counter_map(argv[1]);
	if (!counter)
		die(argv[1]);
	before = *counter;
	memset(draws, 1, sizeof(draws)); /* the pages are there before it matters */
	for (int i = 0; i < WARM; i++)
		draw(&draws[0]);
	puts("READY");
	fflush(stdout);
	while (*counter == before)
		draw(&draws[0]);
	for (int i = 0; i < DRAWS; i++)
		draw(&draws[i]);
	for (int i = 0; i < DRAWS; i++) {
		print_bytes("value getrandom", draws[i].getrandom, LEN);
		print_bytes("value arc4random", draws[i].arc4random, LEN);
	}
	puts("DONE");
	return EXIT_SUCCESS;
}
