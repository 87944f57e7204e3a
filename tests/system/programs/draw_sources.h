/* SPDX-License-Identifier: Apache-2.0 */
/* A program that draws from several sources, as tests/languages/programs/README.md describes it. */
#ifndef DRAW_SOURCES_H
#define DRAW_SOURCES_H

#include <stdint.h>

#define DRAW_LEN 16

struct draw_source {
	const char *name;
	void (*draw)(uint8_t bytes[DRAW_LEN]); /* ends the program if it fails */
};

/* Draws from all of them until the generation counter, argv[1], has changed, and then what it prints. Its exit status. */
int draw_sources(int argc, char **argv, const struct draw_source *sources, unsigned int num);

/* Says what failed, and ends. */
void draw_failed(const char *what) __attribute__((noreturn));

#endif
