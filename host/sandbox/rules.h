/* SPDX-License-Identifier: Apache-2.0 */
/* The list of allowed system calls, as data: at build time mkfilters makes the filters of it. */
#ifndef SANDBOX_RULES_H
#define SANDBOX_RULES_H

#include <stddef.h>
#include <seccomp.h>

#define RULE_MAX_ARGS 3

/* Filters that have a rule. SANDBOX_SETUP has every one: other threads inherit it, and the loop thread keeps it. */
enum rule_where {
	RULE_SETUP = 0,
	RULE_LOOP = 1 << 0,
	RULE_VCPU = 1 << 1,
	RULE_IO = 1 << 2,
	RULE_STREAM = 1 << 3,
	RULE_SOCKETS = 1 << 4, /* besides what RULE_IO has */
	RULE_AHEAD = 1 << 5,
	RULE_ALL = RULE_LOOP | RULE_VCPU | RULE_IO | RULE_STREAM | RULE_AHEAD,
};

struct rule {
	enum rule_where where;
	int error; /* 0: allowed; else the call fails with it */
	const char *name;
	int call;
	unsigned int num_args; /* conditions, all of which must hold */
	struct scmp_arg_cmp args[RULE_MAX_ARGS];
	const char *why; /* NULL: tests/system/test_sandbox.py sees it used in each filter that has it */
	const char *conditions[RULE_MAX_ARGS]; /* args as the list has them: "IS(1, KVM_RUN)" */
};

extern const struct rule rules[];
extern const size_t num_rules;

/* arch/<architecture>/rules.c */
extern const struct rule arch_rules[];
extern const size_t num_arch_rules;

#endif
