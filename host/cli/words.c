// SPDX-License-Identifier: Apache-2.0
/*
 * Not getopt_long(3): it would accept unambiguous abbreviations and a value that looks like an option; Firecracker does
 * neither.
 */
#include "cli/words.h"

#include <inttypes.h>
#include <string.h>

static int find_option(const struct cli_words *words, const char *word)
{
	size_t len = strcspn(word, "=");

	if (strncmp(word, "--", 2) != 0)
		return -1;
	for (int i = 0; i < words->num_options; i++) {
		const char *name = words->options[i].name;

		if (strlen(name) == len - 2 && memcmp(name, word + 2, len - 2) == 0)
			return i;
	}
	return -1;
}

static bool is_end(const struct cli_words *words, int i)
{
	return i >= words->argc || strcmp(words->argv[i], "--") == 0;
}

int cli_words_check(const struct cli_words *words, struct err *e)
{
	uint64_t seen = 0;

	for (int i = 1; !is_end(words, i); i++) {
		const char *word = words->argv[i];
		bool has_value = strchr(word, '=') != NULL;
		int found = find_option(words, word);
		const struct cli_option *option = &words->options[found < 0 ? 0 : found];

		if (found < 0)
			return err_set(e, EINVAL,
				       "Found argument '%s' which wasn't expected, or isn't valid in this context.",
				       word);
		if (seen & ~words->may_repeat & (1ull << found))
			return err_set(e, EINVAL, "The argument '%s' was provided more than once.", option->name);
		seen |= 1ull << found;
		if (!option->value && has_value)
			return err_set(e, EINVAL, "The argument '%s' takes no value.", option->name);
		if (!option->value || has_value)
			continue;
		if (i + 1 == words->argc || strncmp(words->argv[i + 1], "--", 2) == 0)
			return err_set(e, EINVAL, "The argument '%s' requires a value, but none was supplied.",
				       option->name);
		i++;
	}
	return 0;
}

int cli_words_next(struct cli_words *words, const char **value)
{
	const char *equals;
	int found;

	if (is_end(words, words->next))
		return -1;
	found = find_option(words, words->argv[words->next]);
	equals = strchr(words->argv[words->next++], '=');
	*value = NULL;
	if (found >= 0 && words->options[found].value)
		*value = equals ? equals + 1 : words->argv[words->next++];
	return found;
}

void cli_words_find_help(const struct cli_words *words, bool *help, bool *version)
{
	for (int i = 1; !is_end(words, i); i++) {
		*help |= strcmp(words->argv[i], "--help") == 0 || strcmp(words->argv[i], "-h") == 0;
		*version |= strcmp(words->argv[i], "--version") == 0;
	}
}

int cli_number(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *number, struct err *e)
{
	char *end;
	uintmax_t value;

	errno = 0;
	value = strtoumax(text, &end, 10);
	/* strtoumax(3) takes blanks and signs, too. */
	if (errno || *end || text[0] < '0' || text[0] > '9' || value < min || value > max)
		return err_set(e, EINVAL, "The argument '%s' is '%s', allowed are %llu to %llu.", name, text,
			       (unsigned long long)min, (unsigned long long)max);
	*number = value;
	return 0;
}

void cli_print_options(FILE *out, const struct cli_option *options, int num)
{
	for (int i = 0; i < num; i++) {
		char left[64];

		snprintf(left, sizeof(left), "--%s%s%s", options[i].name, options[i].value ? " " : "",
			 options[i].value ? options[i].value : "");
		fprintf(out, "  %-36s %s\n", left, options[i].help);
	}
}
