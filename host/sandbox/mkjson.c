// SPDX-License-Identifier: Apache-2.0
/*
 * The lists of rules as the JSON that --seccomp-filter takes, one rule a line,
 * as a string in C: --print-seccomp-filter prints it. Runs at build time.
 */
#include <stdint.h>
#include <string.h>

#include "sandbox/filters.h"
#include "sandbox/mkfilters.h"

/* A line of the string; each quotation mark and backslash of JSON's is C's once more. */
static void put(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', out);
		fputc(*text, out);
	}
}

static void put_string(FILE *out, const char *text)
{
	put(out, "\"");
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			put(out, "\\");
		put(out, (char[]){ *text, '\0' });
	}
	put(out, "\"");
}

static void put_number(FILE *out, const char *key, uint64_t number)
{
	put(out, key);
	fprintf(out, "%ju", (uintmax_t)number);
}

/* "IS(1, KVM_RUN)" is "KVM_RUN", "MASKED(1, BITS, VALUE)" is "BITS, VALUE". */
static void put_condition_comment(FILE *out, const char *condition, const struct scmp_arg_cmp *arg)
{
	const char *values = strchr(condition, ',') + 2;
	char text[256];

	if (arg->datum_b == SANDBOX_OWN_PID)
		snprintf(text, sizeof(text), "stands for the process's own id");
	else
		snprintf(text, sizeof(text), "%s%.*s", strncmp(condition, "LACKS", 5) ? "" : "without ",
			 (int)strlen(values) - 1, values);
	put(out, ", \"comment\": ");
	put_string(out, text);
}

static void put_condition(FILE *out, const struct scmp_arg_cmp *arg, const char *condition)
{
	put_number(out, "{\"index\": ", arg->arg);
	put(out, ", \"type\": \"dword\", \"op\": ");
	if (arg->datum_a == UINT32_MAX)
		put(out, "\"eq\"");
	else
		put_number(out, "{\"masked_eq\": ", arg->datum_a);
	put(out, arg->datum_a == UINT32_MAX ? "" : "}");
	put_number(out, ", \"val\": ", arg->datum_b);
	put_condition_comment(out, condition, arg);
	put(out, "}");
}

static void put_rule(FILE *out, const struct rule *rule)
{
	put(out, "      {\"syscall\": ");
	put_string(out, rule->name);
	if (rule->error) {
		put_number(out, ", \"action\": {\"errno\": ", (uint64_t)rule->error);
		put(out, "}");
	}
	for (unsigned int a = 0; a < rule->num_args; a++) {
		put(out, a ? ", " : ", \"args\": [");
		put_condition(out, &rule->args[a], rule->conditions[a]);
	}
	put(out, rule->num_args ? "]" : "");
	if (rule->why) {
		put(out, ", \"comment\": ");
		put_string(out, rule->why);
	}
	put(out, "}");
}

/* Of rules that say the same, for other threads and other reasons, a filter shows one. */
static bool is_repeated(size_t i, enum rule_where where)
{
	const struct rule *rule = rule_at(i);

	for (size_t j = 0; j < i; j++) {
		const struct rule *other = rule_at(j);

		if (is_in_filter(other, where) && other->call == rule->call && other->error == rule->error &&
		    other->num_args == rule->num_args &&
		    !memcmp(other->args, rule->args, rule->num_args * sizeof(*rule->args)))
			return true;
	}
	return false;
}

static void put_filter(FILE *out, const struct listed_filter *filter)
{
	bool is_first = true;

	fputs("\t\"", out);
	put(out, "  ");
	put_string(out, filter->name);
	put(out, ": {\"comment\": ");
	put_string(out, filter->threads);
	put(out, ",");
	fputs("\\n\"\n\t\"", out);
	put(out, "    \"default_action\": \"trap\", \"filter_action\": \"allow\", \"filter\": [");
	for (size_t i = 0; i < num_all_rules(); i++) {
		if (!is_in_filter(rule_at(i), filter->where) || is_repeated(i, filter->where))
			continue;
		fputs(is_first ? "\\n\"\n\t\"" : ",\\n\"\n\t\"", out);
		put_rule(out, rule_at(i));
		is_first = false;
	}
	fputs("\\n\"\n\t\"", out);
	put(out, "    ]}");
}

void print_json_source(FILE *out)
{
	fputs("/* Made by mkfilters from the lists of rules. */\n#include \"sandbox/filters.h\"\n\n"
	      "const char sandbox_builtin_json[] =\n\t\"{\\n\"\n",
	      out);
	for (unsigned int f = 0; f < SANDBOX_NUM_FILTERS; f++) {
		put_filter(out, &filters[f]);
		fputs(f + 1 < SANDBOX_NUM_FILTERS ? ",\\n\"\n" : "\\n\"\n", out);
	}
	fputs("\t\"}\\n\";\n", out);
}
