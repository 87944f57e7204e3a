// SPDX-License-Identifier: Apache-2.0
/*
 * The decoder and encoder for tables of fields. Input is hostile: a value is
 * shown in an error only after it was cut to a length that leaves room for the
 * rest of the sentence, and as ASCII, so that the cut cannot split a character.
 */
#include "config/json_fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json_text.h"
#include "base/names.h"
#include "config/config.h"
#include "config/json_internal.h"

#define SHOWN_MAX 80

static void json_text_cut(char *buf, size_t size, const char *text)
{
	if (strlen(text) < size)
		snprintf(buf, size, "%s", text);
	else
		snprintf(buf, size, "%.*s...", (int)size - 4, text);
}

static void json_value_show(json_t *value, char *buf, size_t size)
{
	_cleanup_free_ char *text = NULL;

	if (json_is_object(value)) {
		json_text_cut(buf, size, "an object");
	} else if (json_is_array(value)) {
		snprintf(buf, size, "an array of %zu", json_array_size(value));
	} else {
		text = json_to_text(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
		json_text_cut(buf, size, text ? text : "a value");
	}
}

static void json_key_show(const char *key, char *buf, size_t size)
{
	_cleanup_free_ char *text = NULL;
	json_t *value = json_string(key);

	text = value ? json_to_text(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII) : NULL;
	json_text_cut(buf, size, text ? text : "a key");
	json_decref(value);
}

int json_field_refuse(const char *name, json_t *value, const char *expected, struct err *e)
{
	char shown[SHOWN_MAX];

	json_value_show(value, shown, sizeof(shown));
	return err_set(e, EINVAL, "field \"%s\": %s is not allowed: expected %s", name, shown, expected);
}

static int json_field_refuse_later(const struct field *f, const char *name, json_t *value, struct err *e)
{
	struct names allowed = { .len = 0 };
	char shown[SHOWN_MAX];

	if (!(f->flags & FIELD_REQUIRED))
		names_add(&allowed, "null");
	if (f->flags & FIELD_MAY_BE_EMPTY)
		names_add(&allowed, "[]");
	for (size_t i = 0; f->names && f->names[i]; i++)
		names_add(&allowed, "\"%s\"", f->names[i]);
	json_value_show(value, shown, sizeof(shown));
	return err_set(e, EINVAL, "field \"%s\": %s is not supported yet: allowed %s %s", name, shown,
		       strchr(allowed.text, ',') ? "are" : "is", allowed.text);
}

/* The names of an enum, as "\"A\", \"B\" or \"C\"". */
static void json_enum_list(const struct field *f, char *buf, size_t size)
{
	size_t len = 0, left = 0;

	while (f->names[left])
		left++;
	buf[0] = '\0';
	for (size_t i = 0; f->names[i] && len < size; i++) {
		left--;
		len += (size_t)snprintf(buf + len, size - len, "\"%s\"%s", f->names[i],
					left > 1    ? ", "
					: left == 1 ? " or "
						    : "");
	}
}

int json_field_refuse_value(const struct field *f, const char *name, json_t *value, struct err *e)
{
	char expected[256];

	switch (f->type) {
	case FIELD_STRING:
		snprintf(expected, sizeof(expected), "a string of %llu to %llu bytes", (unsigned long long)f->min,
			 (unsigned long long)f->max);
		break;
	case FIELD_BOOL:
		snprintf(expected, sizeof(expected), "true or false");
		break;
	case FIELD_U32:
	case FIELD_U64:
		snprintf(expected, sizeof(expected), "an integer from %llu to %llu", (unsigned long long)f->min,
			 (unsigned long long)f->max);
		break;
	case FIELD_ENUM:
		json_enum_list(f, expected, sizeof(expected));
		break;
	case FIELD_STRINGS:
		snprintf(expected, sizeof(expected), "an array of %llu to %llu strings", (unsigned long long)f->min,
			 (unsigned long long)f->max);
		break;
	case FIELD_ARRAY:
		snprintf(expected, sizeof(expected), "an array of %llu to %llu objects", (unsigned long long)f->min,
			 (unsigned long long)f->max);
		break;
	case FIELD_OBJECT:
	case FIELD_CUSTOM:
	case FIELD_LATER:
		snprintf(expected, sizeof(expected), "an object");
		break;
	}
	return json_field_refuse(name, value, expected, e);
}

static int json_decode_string(const struct field *f, const char *name, json_t *value, char **at, struct err *e)
{
	if (!json_is_string(value) || json_string_length(value) < f->min || json_string_length(value) > f->max)
		return json_field_refuse_value(f, name, value, e);
	free(*at);
	*at = strdup(json_string_value(value)); /* NUL inside a string was refused by the parser */
	return *at ? 0 : err_set(e, ENOMEM, "out of memory");
}

static int json_decode_integer(const struct field *f, const char *name, json_t *value, void *at, struct err *e)
{
	json_int_t n = json_integer_value(value);

	if (!json_is_integer(value) || n < 0 || (uint64_t)n < f->min || (uint64_t)n > f->max)
		return json_field_refuse_value(f, name, value, e);
	if (f->type == FIELD_U32)
		*(uint32_t *)at = (uint32_t)n;
	else
		*(uint64_t *)at = (uint64_t)n;
	return 0;
}

static int json_decode_enum(const struct field *f, const char *name, json_t *value, unsigned int *at, struct err *e)
{
	const char *text = json_string_value(value);

	for (unsigned int i = 0; text && f->names[i]; i++) {
		if (strcmp(text, f->names[i]) != 0)
			continue;
		*at = i;
		return 0;
	}
	return json_field_refuse_value(f, name, value, e);
}

static int json_decode_bool(const struct field *f, const char *name, json_t *value, bool *at, struct err *e)
{
	if (!json_is_boolean(value))
		return json_field_refuse_value(f, name, value, e);
	*at = json_is_true(value);
	return 0;
}

static int json_decode_strings(const struct field *f, const char *name, json_t *value, struct string_list *at,
			       struct err *e)
{
	json_t *item;
	size_t i;

	if (!json_is_array(value) || json_array_size(value) < f->min || json_array_size(value) > f->max)
		return json_field_refuse_value(f, name, value, e);
	string_list_fini(at);
	json_array_foreach (value, i, item) {
		if (!json_is_string(item) || !json_string_length(item) || json_string_length(item) > CONFIG_PATH_MAX)
			return json_field_refuse(name, item, "strings in it", e);
		at->items[i] = strdup(json_string_value(item));
		if (!at->items[i])
			return err_set(e, ENOMEM, "out of memory");
		at->num++;
	}
	return 0;
}

static int json_decode_later(const struct field *f, const char *name, json_t *value, struct err *e)
{
	const char *text = json_string_value(value);

	if (f->flags & FIELD_MAY_BE_EMPTY && json_is_array(value) && !json_array_size(value))
		return 0;
	for (size_t i = 0; text && f->names && f->names[i]; i++) {
		if (!strcmp(text, f->names[i]))
			return 0;
	}
	return json_field_refuse_later(f, name, value, e);
}

static int json_field_decode(const struct field *f, const char *name, json_t *value, char *out, struct err *e)
{
	void *at = out + f->offset;

	switch (f->type) {
	case FIELD_STRING:
		return json_decode_string(f, name, value, at, e);
	case FIELD_BOOL:
		return json_decode_bool(f, name, value, at, e);
	case FIELD_U32:
	case FIELD_U64:
		return json_decode_integer(f, name, value, at, e);
	case FIELD_ENUM:
		return json_decode_enum(f, name, value, at, e);
	case FIELD_STRINGS:
		return json_decode_strings(f, name, value, at, e);
	case FIELD_OBJECT:
		if (!json_is_object(value))
			return json_field_refuse_value(f, name, value, e);
		return json_fields_decode_at(f->sub, value, at, name, e);
	case FIELD_ARRAY:
		return json_decode_array(f, name, value, at, e);
	case FIELD_CUSTOM:
		return f->custom(value, at, name, e);
	case FIELD_LATER:
		return json_decode_later(f, name, value, e);
	}
	return err_set(e, EINVAL, "field \"%s\" has no type", name);
}

static int json_refuse_unknown(const struct field_table *table, const char *prefix, const char *key, struct err *e)
{
	struct names allowed = { .len = 0 };
	char shown[SHOWN_MAX];

	for (size_t i = 0; i < table->num_fields; i++)
		names_add(&allowed, "%s", table->fields[i].key);
	json_key_show(key, shown, sizeof(shown));
	if (!table->num_fields)
		return err_set(e, EINVAL, "unknown field %s: no field is allowed here", shown);
	if (prefix[0])
		return err_set(e, EINVAL, "unknown field %s in \"%s\": allowed are %s", shown, prefix, allowed.text);
	return err_set(e, EINVAL, "unknown field %s: allowed are %s", shown, allowed.text);
}

static const struct field *json_field_find(const struct field_table *table, const char *key)
{
	for (size_t i = 0; i < table->num_fields; i++) {
		if (!strcmp(table->fields[i].key, key))
			return &table->fields[i];
	}
	return NULL;
}

static void json_field_name(char *buf, size_t size, const char *prefix, const char *key)
{
	snprintf(buf, size, "%s%s%s", prefix, prefix[0] ? "." : "", key);
}

int json_fields_decode_at(const struct field_table *table, json_t *obj, void *out, const char *prefix, struct err *e)
{
	char name[FIELD_NAME_MAX];
	const char *key;
	json_t *value;
	int r;

	json_object_foreach (obj, key, value) {
		if (!json_field_find(table, key))
			return json_refuse_unknown(table, prefix, key, e);
	}
	for (size_t i = 0; i < table->num_fields; i++) {
		const struct field *f = &table->fields[i];

		value = json_object_get(obj, f->key);
		if (!value || (json_is_null(value) && !(f->flags & FIELD_REQUIRED)))
			continue;
		json_field_name(name, sizeof(name), prefix, f->key);
		r = json_field_decode(f, name, value, out, e);
		if (r)
			return r;
		if (f->given)
			*((bool *)out + f->given - 1) = true;
	}
	for (size_t i = 0; i < table->num_fields; i++) {
		const struct field *f = &table->fields[i];

		json_field_name(name, sizeof(name), prefix, f->key);
		if (f->flags & FIELD_REQUIRED && !json_object_get(obj, f->key))
			return err_set(e, EINVAL, "missing field \"%s\"", name);
	}
	if (table->finish)
		table->finish(out);
	return 0;
}

int config_json_parse(const char *text, size_t len, json_t **root, struct err *e)
{
	json_error_t error;
	json_t *parsed = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);

	if (parsed) {
		*root = parsed;
		return 0;
	}
	return err_set(e, EINVAL, "invalid JSON at line %d, column %d: %s%s", error.line, error.column, error.text,
		       json_error_code(&error) == json_error_numeric_overflow
			       ? " (numbers may be up to 9223372036854775807)"
			       : "");
}

int json_fields_decode(const struct field_table *table, json_t *obj, void *out, struct err *e)
{
	char shown[SHOWN_MAX];

	if (!json_is_object(obj)) {
		json_value_show(obj, shown, sizeof(shown));
		return err_set(e, EINVAL, "%s is not allowed here: expected a JSON object", shown);
	}
	return json_fields_decode_at(table, obj, out, "", e);
}

/* The name of an enum's value, if that is old. */
static const char *json_field_old_value(const struct field_table *table, const struct field *f, json_t *value)
{
	const char *given = json_string_value(value);

	for (unsigned int i = 0; f->old && f->names[i]; i++) {
		bool is_default =
			i == (table->defaults ? *(const unsigned int *)((const char *)table->defaults + f->offset) : 0);

		if (f->old >> i & 1 && (given ? !strcmp(given, f->names[i]) : is_default))
			return f->names[i];
	}
	return NULL;
}

const char *json_fields_deprecated(const struct field_table *table, json_t *obj)
{
	for (size_t i = 0; i < table->num_fields; i++) {
		const struct field *f = &table->fields[i];
		json_t *value = f->flags & FIELD_DEPRECATED ? json_object_get(obj, f->key) : NULL;

		if (value && !json_is_null(value))
			return f->key;
		if (f->old && json_field_old_value(table, f, json_object_get(obj, f->key)))
			return json_field_old_value(table, f, json_object_get(obj, f->key));
	}
	return NULL;
}

static bool json_is_all_null(json_t *obj)
{
	const char *key;
	json_t *value;

	json_object_foreach (obj, key, value) {
		if (!json_is_null(value))
			return false;
	}
	return true;
}

static json_t *json_encode_object(const struct field *f, const void *at)
{
	json_t *obj = json_fields_encode(f->sub, at);

	if (!obj || !(f->flags & FIELD_ZERO_NULL) || !json_is_all_null(obj))
		return obj;
	json_decref(obj);
	return json_null();
}

static json_t *json_encode_strings(const struct string_list *list)
{
	json_t *array = json_array();

	for (unsigned int i = 0; array && i < list->num; i++) {
		if (json_array_append_new(array, json_string(list->items[i]))) {
			json_decref(array);
			array = NULL;
		}
	}
	return array;
}

static json_t *json_encode_integer(const struct field *f, uint64_t n)
{
	return !n && f->flags & FIELD_ZERO_NULL ? json_null() : json_integer((json_int_t)n);
}

static bool json_field_is_given(const struct field *f, const char *in)
{
	return !f->given || *(const bool *)(in + f->given - 1);
}

static json_t *json_field_encode(const struct field *f, const char *in)
{
	const void *at = in + f->offset;
	const char *text;

	if (!json_field_is_given(f, in))
		return json_null();
	switch (f->type) {
	case FIELD_STRING:
		text = *(const char *const *)at;
		return text ? json_string(text) : json_null();
	case FIELD_BOOL:
		return json_boolean(*(const bool *)at);
	case FIELD_U32:
		return json_encode_integer(f, *(const uint32_t *)at);
	case FIELD_U64:
		return json_encode_integer(f, *(const uint64_t *)at);
	case FIELD_ENUM:
		return json_string(f->names[*(const unsigned int *)at]);
	case FIELD_STRINGS:
		return json_encode_strings(at);
	case FIELD_OBJECT:
		return json_encode_object(f, at);
	case FIELD_ARRAY:
		return json_encode_array(f, at);
	case FIELD_CUSTOM:
	case FIELD_LATER:
		break;
	}
	return json_null();
}

static bool json_field_is_left_out(const struct field_table *table, const struct field *f, const char *in)
{
	const char *defaults = table->defaults;

	if (f->flags & FIELD_IF_GIVEN)
		return !json_field_is_given(f, in);
	if (!(f->flags & FIELD_OURS) || f->type != FIELD_BOOL)
		return f->flags & FIELD_NOT_WRITTEN;
	return *(const bool *)(in + f->offset) == (defaults && *(const bool *)(defaults + f->offset));
}

json_t *json_fields_encode(const struct field_table *table, const void *in)
{
	json_t *obj = json_object();

	for (size_t i = 0; obj && i < table->num_fields; i++) {
		const struct field *f = &table->fields[i];

		if (json_field_is_left_out(table, f, in))
			continue;
		if (json_object_set_new(obj, f->key, json_field_encode(f, in))) { /* also for a NULL value */
			json_decref(obj);
			obj = NULL;
		}
	}
	return obj;
}
