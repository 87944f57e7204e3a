// SPDX-License-Identifier: Apache-2.0
/*
 * The JSON of a custom filter as tables of fields. What is allowed is what
 * Firecracker's seccompiler takes, and the key "action" of a rule; what it
 * passes over in silence (unknown keys, calls of other architectures) is refused.
 */
#include "sandbox/custom_json.h"

#include <stdlib.h>
#include <string.h>

#include "base/names.h"
#include "sandbox/filters.h"

#define MAX_ERROR    4095 /* the kernel's MAX_ERRNO: it cuts what is above */
#define MAX_TRACE    0xffff
#define NAME_MAX_LEN 64

/* An object with this one key, and a number: {"errno": 1}. */
static bool is_number_of(json_t *value, const char *key, json_int_t max, uint64_t *number)
{
	json_t *item = json_object_size(value) == 1 ? json_object_get(value, key) : NULL;

	if (!json_is_integer(item) || json_integer_value(item) < 0 || json_integer_value(item) > max)
		return false;
	*number = (uint64_t)json_integer_value(item);
	return true;
}

static int take_action(json_t *value, void *at, const char *name, struct err *e)
{
	static const struct {
		const char *name;
		uint32_t action;
	} actions[] = {
		{ "allow", SCMP_ACT_ALLOW },
		{ "log", SCMP_ACT_LOG },
		{ "trap", SCMP_ACT_TRAP },
		{ "kill_thread", SCMP_ACT_KILL_THREAD },
		{ "kill_process", SCMP_ACT_KILL_PROCESS },
	};
	const char *text = json_string_value(value);
	uint32_t *action = at;
	uint64_t number;

	for (size_t i = 0; text && i < ARRAY_SIZE(actions); i++) {
		if (!strcmp(text, actions[i].name)) {
			*action = actions[i].action;
			return 0;
		}
	}
	if (is_number_of(value, "errno", MAX_ERROR, &number))
		*action = SCMP_ACT_ERRNO(number);
	else if (is_number_of(value, "trace", MAX_TRACE, &number))
		*action = SCMP_ACT_TRACE(number);
	else
		return json_field_refuse(name, value,
					 "\"allow\", \"log\", \"trap\", \"kill_thread\", \"kill_process\", "
					 "{\"errno\": 0 to 4095} or {\"trace\": 0 to 65535}",
					 e);
	return 0;
}

static int take_op(json_t *value, void *at, const char *name, struct err *e)
{
	static const struct {
		const char *name;
		enum scmp_compare compare;
	} ops[] = {
		{ "eq", SCMP_CMP_EQ }, { "ne", SCMP_CMP_NE }, { "lt", SCMP_CMP_LT },
		{ "le", SCMP_CMP_LE }, { "gt", SCMP_CMP_GT }, { "ge", SCMP_CMP_GE },
	};
	const char *text = json_string_value(value);
	struct custom_op *op = at;

	for (size_t i = 0; text && i < ARRAY_SIZE(ops); i++) {
		if (!strcmp(text, ops[i].name)) {
			op->compare = ops[i].compare;
			return 0;
		}
	}
	if (!is_number_of(value, "masked_eq", INT64_MAX, &op->mask) || !op->mask)
		return json_field_refuse(
			name, value,
			"\"eq\", \"ne\", \"lt\", \"le\", \"gt\", \"ge\" or {\"masked_eq\": MASK}, a mask "
			"from 1 to 9223372036854775807",
			e);
	op->compare = SCMP_CMP_MASKED_EQ;
	return 0;
}

/* Negative numbers are libseccomp's, of calls that other architectures have. */
static int take_call(json_t *value, void *at, const char *name, struct err *e)
{
	const char *text = json_string_value(value);
	int number = text && strlen(text) < NAME_MAX_LEN ? seccomp_syscall_resolve_name(text) : __NR_SCMP_ERROR;

	if (number < 0)
		return json_field_refuse(name, value, "the name of a system call of this architecture", e);
	*(int *)at = number;
	return 0;
}

static int take_comment(json_t *value, void *at, const char *name, struct err *e)
{
	(void)at;
	return json_is_string(value) ? 0 : json_field_refuse(name, value, "a string", e);
}

static const char *const types[] = { [CUSTOM_DWORD] = "dword", [CUSTOM_QWORD] = "qword", NULL };

#define COMMENT                                                                \
	{                                                                      \
		.key = "comment", .type = FIELD_CUSTOM, .custom = take_comment \
	}

static const struct field arg_fields[] = {
	{ .key = "index",
	  .type = FIELD_U32,
	  .flags = FIELD_REQUIRED,
	  FIELD_AT(custom_arg, index),
	  .max = CUSTOM_MAX_ARGS - 1 },
	{ .key = "type", .type = FIELD_ENUM, .flags = FIELD_REQUIRED, FIELD_AT(custom_arg, type), .names = types },
	{ .key = "op", .type = FIELD_CUSTOM, .flags = FIELD_REQUIRED, FIELD_AT(custom_arg, op), .custom = take_op },
	{ .key = "val", .type = FIELD_U64, .flags = FIELD_REQUIRED, FIELD_AT(custom_arg, val), FIELD_ANY_U64 },
	COMMENT,
};
static const struct field_table arg_table = FIELD_TABLE(custom_arg, arg_fields);

static const struct field rule_fields[] = {
	{ .key = "syscall",
	  .type = FIELD_CUSTOM,
	  .flags = FIELD_REQUIRED,
	  FIELD_AT(custom_rule, call),
	  .custom = take_call },
	{ .key = "args", .type = FIELD_ARRAY, FIELD_AT(custom_rule, args), .max = CUSTOM_MAX_ARGS, .sub = &arg_table },
	{ .key = "action",
	  .type = FIELD_CUSTOM,
	  FIELD_AT(custom_rule, action),
	  FIELD_GIVEN(custom_rule, has_action),
	  .custom = take_action },
	COMMENT,
};
static const struct field_table rule_table = FIELD_TABLE(custom_rule, rule_fields);

static const struct field filter_fields[] = {
	{ .key = "default_action",
	  .type = FIELD_CUSTOM,
	  .flags = FIELD_REQUIRED,
	  FIELD_AT(custom_filter, default_action),
	  .custom = take_action },
	{ .key = "filter_action",
	  .type = FIELD_CUSTOM,
	  .flags = FIELD_REQUIRED,
	  FIELD_AT(custom_filter, filter_action),
	  .custom = take_action },
	{ .key = "filter",
	  .type = FIELD_ARRAY,
	  .flags = FIELD_REQUIRED,
	  FIELD_AT(custom_filter, rules),
	  .max = CUSTOM_MAX_RULES,
	  .sub = &rule_table },
	COMMENT,
};
static const struct field_table filter_table = FIELD_TABLE(custom_filter, filter_fields);

#define FILTER_FIELD(id, name)                             \
	{ .key = (name),                                   \
	  .type = FIELD_OBJECT,                            \
	  .flags = FIELD_REQUIRED,                         \
	  FIELD_AT(custom_filters, filters[SANDBOX_##id]), \
	  .sub = &filter_table },

static const struct field file_fields[] = { SANDBOX_FILTERS(FILTER_FIELD) };
static const struct field_table file_table = FIELD_TABLE(custom_filters, file_fields);

/* Firecracker's own lists are of what other threads do. */
static int refuse_firecrackers(json_t *root, struct err *e)
{
	struct names ours = { 0 };

	if (!json_object_get(root, "vmm") && !json_object_get(root, "api"))
		return 0;
	for (unsigned int i = 0; i < SANDBOX_NUM_FILTERS; i++)
		names_add(&ours, "%s", sandbox_names[i]);
	return err_set(e, EINVAL,
		       "the thread categories are Firecracker's, \"vmm\", \"api\" and \"vcpu\", allowed are all of %s; "
		       "--print-seccomp-filter prints filters to begin with",
		       ours.text);
}

int custom_json_parse(const char *text, size_t len, struct custom_filters **out, struct err *e)
{
	void *filters;
	json_t *root;
	int r = config_json_parse(text, len, &root, e);

	if (r < 0)
		return r;
	r = refuse_firecrackers(root, e);
	if (!r)
		r = json_fields_new(&file_table, root, &filters, e);
	json_decref(root);
	if (!r)
		*out = filters;
	return r;
}

void custom_json_free(struct custom_filters *filters)
{
	json_fields_free(&file_table, filters);
}
