/* SPDX-License-Identifier: Apache-2.0 */
/* A file of custom filters, decoded: between custom_json.c, which reads JSON, and custom.c, which compiles it. */
#ifndef SANDBOX_CUSTOM_JSON_H
#define SANDBOX_CUSTOM_JSON_H

#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "config/json_fields.h"
#include "sandbox/sandbox.h"

#define CUSTOM_MAX_RULES 1024 /* a filter */
#define CUSTOM_MAX_ARGS	 6    /* what a system call has */

enum custom_type {
	CUSTOM_DWORD, /* eq and masked_eq look at the lower half alone */
	CUSTOM_QWORD,
};

struct custom_op {
	enum scmp_compare compare;
	uint64_t mask; /* SCMP_CMP_MASKED_EQ */
};

struct custom_arg {
	uint32_t index;
	unsigned int type; /* enum custom_type */
	struct custom_op op;
	uint64_t val;
};

struct custom_rule {
	struct field_array args; /* of struct custom_arg; all must hold */
	int call;		 /* the system call's number */
	uint32_t action;	 /* libseccomp's SCMP_ACT_*; has_action: the filter's filter_action does not count */
	bool has_action;
};

struct custom_filter {
	struct field_array rules; /* of struct custom_rule */
	uint32_t default_action, filter_action;
};

struct custom_filters {
	struct custom_filter filters[SANDBOX_NUM_FILTERS];
};

/* Checks each field by itself. The caller custom_json_free()s *out, which is set by a success only. */
int custom_json_parse(const char *text, size_t len, struct custom_filters **out, struct err *e) must_check;
void custom_json_free(struct custom_filters *filters);

#endif
