/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of mkfilters, which runs at build time. */
#ifndef SANDBOX_MKFILTERS_H
#define SANDBOX_MKFILTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "sandbox/rules.h"

struct listed_filter {
	const char *name;
	enum rule_where where;
	const char *threads; /* which have it, for who reads --print-seccomp-filter */
};

extern const struct listed_filter filters[];

/* The rules of both lists together. */
size_t num_all_rules(void);
const struct rule *rule_at(size_t i);
bool is_in_filter(const struct rule *rule, enum rule_where where);

/* C source with the lists as JSON, in the format of docs/sandbox.md. */
void print_json_source(FILE *out);

#endif
