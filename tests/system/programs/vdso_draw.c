// SPDX-License-Identifier: Apache-2.0
/*
 * Draws 16 bytes at a time by getrandom() of the vDSO and by getrandom(2), in
 * turns, from the moment on when the machine's generation counter changes.
 *
 * Usage: vdso_draw [COUNTER]
 *
 * First it draws once and says on standard output who has made the bytes of the
 * vDSO: "by vdso", or "by kernel". That is all without COUNTER, the counter's
 * file. With it, it waits for the change, and prints "vdso HEX" and "syscall HEX"
 * for each draw, and "done".
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "counter.h"
#include "vdso.h"

#define DRAWS 64
#define LEN   16

struct draw {
	uint8_t vdso[LEN];
	uint8_t syscall[LEN];
};

static void die(const char *what)
{
	printf("vdso_draw: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static void draw(struct vdso_getrandom *v, struct draw *d)
{
	if (vdso_getrandom(v, d->vdso, LEN, 0) != LEN)
		die("the vDSO gives less than was asked for");
	if (getrandom(d->syscall, LEN, 0) != LEN)
		die("getrandom(2)");
}

int main(int argc, char **argv)
{
	static struct draw draws[DRAWS];
	struct vdso_getrandom *v = vdso_getrandom_new();
	const volatile uint64_t *counter;
	uint64_t before;

	if (!v)
		die("no getrandom() in the vDSO");
	memset(draws, 1, sizeof(draws)); /* the pages are there before it matters */
	draw(v, &draws[0]);
	printf("by %s\n", vdso_getrandom_has_key(v) ? "vdso" : "kernel");
	if (argc < 2)
		return EXIT_SUCCESS;
	counter = counter_map(argv[1]);
	if (!counter)
		die(argv[1]);
	before = *counter;
	puts("ready");
	fflush(stdout);
	while (*counter == before)
		;
	for (int i = 0; i < DRAWS; i++)
		draw(v, &draws[i]);
	for (int i = 0; i < DRAWS; i++) {
		print_bytes("vdso", draws[i].vdso, LEN);
		print_bytes("syscall", draws[i].syscall, LEN);
	}
	puts("done");
	return EXIT_SUCCESS;
}
