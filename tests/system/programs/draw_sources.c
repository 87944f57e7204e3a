// SPDX-License-Identifier: Apache-2.0
#include "draw_sources.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "counter.h"

#define WARM	    20
#define DRAWS	    32
#define MAX_SOURCES 4

void draw_failed(const char *what)
{
	fprintf(stderr, "%s: %s failed\n", program_invocation_short_name, what);
	exit(EXIT_FAILURE);
}

static void draw(uint8_t (*bytes)[DRAW_LEN], const struct draw_source *sources, unsigned int num)
{
	for (unsigned int i = 0; i < num; i++)
		sources[i].draw(bytes[i]);
}

int draw_sources(int argc, char **argv, const struct draw_source *sources, unsigned int num)
{
	static uint8_t draws[DRAWS][MAX_SOURCES][DRAW_LEN];
	const volatile uint64_t *counter;
	uint64_t before;
	char prefix[64];

	if (argc != 2 || num > MAX_SOURCES) {
		fprintf(stderr, "Usage: %s COUNTER\n", program_invocation_short_name);
		return 2;
	}
	counter = counter_map(argv[1]);
	if (!counter)
		draw_failed(argv[1]);
	before = *counter;
	memset(draws, 1, sizeof(draws)); /* the pages are there before it matters */
	for (int i = 0; i < WARM; i++)
		draw(draws[0], sources, num);
	puts("READY");
	fflush(stdout);
	while (*counter == before)
		draw(draws[0], sources, num);
	for (int i = 0; i < DRAWS; i++)
		draw(draws[i], sources, num);
	for (int i = 0; i < DRAWS; i++) {
		for (unsigned int s = 0; s < num; s++) {
			snprintf(prefix, sizeof(prefix), "value %s", sources[s].name);
			print_bytes(prefix, draws[i][s], DRAW_LEN);
		}
	}
	puts("DONE");
	return EXIT_SUCCESS;
}
