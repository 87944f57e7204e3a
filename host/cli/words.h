/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of a command line, by a table of options: names in full only, "--name value" or "--name=value", each once unless
 * it may be repeated. The sentences are those of Firecracker.
 */
#ifndef CLI_WORDS_H
#define CLI_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

struct cli_option {
	const char *name;  /* without the "--" */
	const char *value; /* what --help calls the value, NULL for a switch */
	const char *help;
};

#define CLI_MAX_OPTIONS 64

/* What stands on a line; all of it is borrowed. Words behind "--" are not looked at. */
struct cli_words {
	char **argv;
	int argc;
	const struct cli_option *options;
	int num_options;     /* at most CLI_MAX_OPTIONS */
	uint64_t may_repeat; /* a bit an option */
	int next;	     /* the word that cli_words_next() looks at; 1 at the beginning */
};

/* Every word must be an option of the table in full, or the value of the one before it. */
int cli_words_check(const struct cli_words *words, struct err *e) must_check;

/* The next option of a line that was checked: its index in the table, and its value (NULL for a switch). -1 at the end. */
int cli_words_next(struct cli_words *words, const char **value);

/* Is --help (-h) or --version among the words? They win over every mistake elsewhere on the line. */
void cli_words_find_help(const struct cli_words *words, bool *help, bool *version);

/* A decimal number in [min, max]; name is the option's. */
int cli_number(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *number,
	       struct err *e) must_check;

/* One line an option. */
void cli_print_options(FILE *out, const struct cli_option *options, int num);

#endif
