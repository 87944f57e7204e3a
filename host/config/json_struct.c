// SPDX-License-Identifier: Apache-2.0
/* The life of a struct that a table of fields describes. */
#include <stdlib.h>
#include <string.h>

#include "config/json_internal.h"

void string_list_fini(struct string_list *list)
{
	while (list->num)
		free(list->items[--list->num]);
}

int json_fields_new(const struct field_table *table, json_t *obj, void **out, struct err *e)
{
	void *new = calloc(1, table->size);
	int r;

	if (!new)
		return err_set(e, ENOMEM, "out of memory");
	if (table->defaults)
		memcpy(new, table->defaults, table->size);
	r = json_fields_decode(table, obj, new, e);
	if (r)
		json_fields_free(table, new);
	else
		*out = new;
	return r;
}

static void json_fields_drop(const struct field_table *table, char *obj)
{
	for (size_t i = 0; i < table->num_fields; i++) {
		const struct field *f = &table->fields[i];

		if (f->type == FIELD_STRING || f->flags & FIELD_OWNED)
			free(*(char **)(obj + f->offset));
		else if (f->type == FIELD_STRINGS)
			string_list_fini((struct string_list *)(obj + f->offset));
		else if (f->type == FIELD_ARRAY)
			json_array_fini(f, (struct field_array *)(obj + f->offset));
		else if (f->type == FIELD_OBJECT)
			json_fields_drop(f->sub, obj + f->offset);
	}
}

void json_fields_fini(const struct field_table *table, void *obj)
{
	json_fields_drop(table, obj);
	memset(obj, 0, table->size);
}

void json_fields_free(const struct field_table *table, void *obj)
{
	if (obj)
		json_fields_drop(table, obj);
	free(obj);
}
