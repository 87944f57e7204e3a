// SPDX-License-Identifier: Apache-2.0
/* Arrays of structs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/json_internal.h"

static void *array_at(const struct field *f, const struct field_array *array, unsigned int i)
{
	return (char *)array->items + i * f->sub->size;
}

void json_array_fini(const struct field *f, struct field_array *array)
{
	for (unsigned int i = 0; i < array->num; i++)
		json_fields_fini(f->sub, array_at(f, array, i));
	free(array->items);
	*array = (struct field_array){ .num = 0 };
}

int json_decode_array(const struct field *f, const char *name, json_t *value, struct field_array *array, struct err *e)
{
	char item_name[FIELD_NAME_MAX];
	json_t *item;
	size_t i;
	int r;

	if (!json_is_array(value) || json_array_size(value) < f->min || json_array_size(value) > f->max)
		return json_field_refuse_value(f, name, value, e);
	json_array_fini(f, array);
	if (!json_array_size(value))
		return 0;
	array->items = calloc(json_array_size(value), f->sub->size);
	if (!array->items)
		return err_set(e, ENOMEM, "out of memory");
	json_array_foreach (value, i, item) {
		snprintf(item_name, sizeof(item_name), "%.120s[%u]", name, (unsigned int)i);
		if (!json_is_object(item))
			return json_field_refuse(item_name, item, "an object", e);
		array->num++; /* what it owns after an error goes with the rest */
		r = json_fields_decode_at(f->sub, item, array_at(f, array, (unsigned int)i), item_name, e);
		if (r)
			return r;
	}
	return 0;
}

json_t *json_encode_array(const struct field *f, const struct field_array *array)
{
	json_t *list = json_array();

	for (unsigned int i = 0; list && i < array->num; i++) {
		if (json_array_append_new(list, json_fields_encode(f->sub, array_at(f, array, i)))) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}
