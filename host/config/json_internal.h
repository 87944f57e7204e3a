/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of the decoder and encoder of json_fields.h. */
#ifndef CONFIG_JSON_INTERNAL_H
#define CONFIG_JSON_INTERNAL_H

#include "config/config.h"
#include "config/json_fields.h"

#define FIELD_NAME_MAX 160

/* How deep tables may nest bounds the recursion by our own tables, not by the input. prefix: what stands before a field's name. */
int json_fields_decode_at(const struct field_table *table, json_t *obj, void *out, const char *prefix,
			  struct err *e) must_check;
/* Says what a field of this type may be. Returns -EINVAL. */
int json_field_refuse_value(const struct field *f, const char *name, json_t *value, struct err *e);

/* FIELD_ARRAY. What was there before goes. */
int json_decode_array(const struct field *f, const char *name, json_t *value, struct field_array *array,
		      struct err *e) must_check;
json_t *json_encode_array(const struct field *f, const struct field_array *array);
void json_array_fini(const struct field *f, struct field_array *array);

#endif
