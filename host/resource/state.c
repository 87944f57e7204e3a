// SPDX-License-Identifier: Apache-2.0
/*
 * Between the map of a state file and the values that the resources
 * describe: their tables say which keys there are and of which type, so that one
 * place judges a configuration, wherever it comes from.
 */
#include "resource/state.h"

#include <string.h>

#include "base/cleanup.h"
#include "config/json_fields.h"
#include "resource/resource.h"
#include "resource/vm_config.h"
#include "state/codec.h"

static void fields_save(const struct field_table *table, json_t *obj, struct enc *enc);

/* Arrays of a state file are of maps. */
static void strings_save(const char *key, json_t *array, struct enc *enc)
{
	json_t *item;
	size_t i;

	enc_array_begin(enc, key);
	json_array_foreach (array, i, item) {
		enc_item_begin(enc);
		enc_str(enc, "value", json_string_value(item));
		enc_item_end(enc);
	}
	enc_array_end(enc);
}

static void array_save(const struct field *f, json_t *array, struct enc *enc)
{
	json_t *item;
	size_t i;

	enc_array_begin(enc, f->key);
	json_array_foreach (array, i, item) {
		enc_item_begin(enc);
		fields_save(f->sub, item, enc);
		enc_item_end(enc);
	}
	enc_array_end(enc);
}

static void fields_save(const struct field_table *table, json_t *obj, struct enc *enc)
{
	for (size_t i = 0; i < table->num_fields; i++) {
		const struct field *f = &table->fields[i];
		json_t *value = json_object_get(obj, f->key);

		if (json_is_string(value)) {
			enc_str(enc, f->key, json_string_value(value));
		} else if (json_is_boolean(value)) {
			enc_bool(enc, f->key, json_is_true(value));
		} else if (json_is_integer(value)) {
			enc_u64(enc, f->key, (uint64_t)json_integer_value(value));
		} else if (f->type == FIELD_ARRAY) {
			array_save(f, value, enc);
		} else if (json_is_array(value)) {
			strings_save(f->key, value, enc);
		} else if (json_is_object(value)) {
			enc_map_begin(enc, f->key);
			fields_save(f->sub, value, enc);
			enc_map_end(enc);
		}
	}
}

/* Fills the open map with the struct at in. */
static int section_save(const struct field_table *table, const void *in, struct enc *enc)
{
	json_t *obj = json_fields_encode(table, in);

	if (!obj)
		return -ENOMEM;
	fields_save(table, obj, enc);
	json_decref(obj);
	return 0;
}

static int list_save(const struct resource *r, const struct vm_config *config, struct enc *enc)
{
	int err = 0;

	enc_array_begin(enc, r->section);
	for (unsigned int i = 0; i < resource_num(r, config) && !err; i++) {
		enc_item_begin(enc);
		err = section_save(r->fields, resource_at(r, config, i), enc);
		enc_item_end(enc);
	}
	enc_array_end(enc);
	return err;
}

static int resource_save(const struct resource *r, const struct vm_config *config, struct enc *enc)
{
	int err;

	if (resource_is_list(r))
		return list_save(r, config, enc);
	if (!resource_num(r, config))
		return 0;
	enc_map_begin(enc, r->section);
	err = section_save(r->fields, resource_at(r, config, 0), enc);
	enc_map_end(enc);
	return err;
}

int vm_config_save(const struct vm_config *config, struct enc *enc)
{
	int err = 0;

	for (size_t i = 0; resources[i] && !err; i++)
		if (resources[i]->flags & RESOURCE_SAVED)
			err = resource_save(resources[i], config, enc);
	return err;
}

static json_t *fields_load(const struct field_table *table, struct dec *dec);

static json_t *strings_load(const struct field *f, struct dec *dec)
{
	json_t *array = json_array();
	size_t n = dec_array(dec, f->key, (size_t)f->max);

	for (size_t i = 0; array && i < n; i++) {
		struct dec *item = dec_item(dec, f->key, i);
		const char *text = dec_str(item, "value", CONFIG_PATH_MAX);

		dec_end(item);
		if (json_array_append_new(array, text ? json_string(text) : json_null())) {
			json_decref(array);
			array = NULL;
		}
	}
	return array;
}

static json_t *array_load(const struct field *f, struct dec *dec)
{
	json_t *array = json_array();
	size_t n = dec_array(dec, f->key, (size_t)f->max);

	for (size_t i = 0; array && i < n; i++) {
		if (json_array_append_new(array, fields_load(f->sub, dec_item(dec, f->key, i)))) {
			json_decref(array);
			array = NULL;
		}
	}
	return array;
}

static json_t *field_load(const struct field *f, struct dec *dec)
{
	const char *text;

	switch (f->type) {
	case FIELD_STRING:
	case FIELD_ENUM:
		text = dec_str(dec, f->key, CONFIG_PATH_MAX);
		return text ? json_string(text) : json_null();
	case FIELD_BOOL:
		return json_boolean(dec_bool(dec, f->key));
	case FIELD_U32:
	case FIELD_U64:
		return json_integer((json_int_t)dec_u64(dec, f->key, 0, INT64_MAX));
	case FIELD_STRINGS:
		return strings_load(f, dec);
	case FIELD_ARRAY:
		return array_load(f, dec);
	case FIELD_OBJECT:
		return fields_load(f->sub, dec_map(dec, f->key));
	case FIELD_CUSTOM:
	case FIELD_LATER:
		break;
	}
	return json_null();
}

/* What is not there is no member of the object; what the table does not have is an error of dec's. NULL: out of memory. */
static json_t *fields_load(const struct field_table *table, struct dec *dec)
{
	json_t *obj = json_object();

	for (size_t i = 0; obj && i < table->num_fields; i++) {
		const struct field *f = &table->fields[i];

		if (f->type == FIELD_LATER || f->type == FIELD_CUSTOM || !dec_has(dec, f->key))
			continue;
		if (json_object_set_new(obj, f->key, field_load(f, dec))) {
			json_decref(obj);
			return NULL;
		}
	}
	dec_end(dec);
	return obj;
}

/* One instance, from its own map: judged as if it came from the API. */
static int instance_load(const struct resource *r, struct dec *dec, struct vm_config *config, struct err *e)
{
	json_t *obj = fields_load(r->fields, dec);
	void *data;
	int err = dec_error(dec, e);

	if (!err && !obj)
		err = err_set(e, ENOMEM, "out of memory");
	if (!err) {
		err = resource_parse(r, obj, &data, e);
		if (!err) {
			err = resource_put(r, config, data, e);
			json_fields_free(r->fields, data);
		}
		if (err)
			err_wrap(e, err, "config.%s", r->section);
	}
	json_decref(obj);
	return err;
}

static int list_load(const struct resource *r, struct dec *dec, struct vm_config *config, struct err *e)
{
	size_t n = dec_array(dec, r->section, r->max);
	int err = dec_error(dec, e);

	for (size_t i = 0; i < n && !err; i++)
		err = instance_load(r, dec_item(dec, r->section, i), config, e);
	return err;
}

static int resource_load(const struct resource *r, struct dec *dec, struct vm_config *config, struct err *e)
{
	/* A file from before there was this resource has none of it; a device's state that is there all the same is refused. */
	if ((r->present || resource_is_list(r)) && !dec_has(dec, r->section))
		return 0;
	if (resource_is_list(r))
		return list_load(r, dec, config, e);
	return instance_load(r, dec_map(dec, r->section), config, e);
}

int vm_config_load(struct dec *dec, struct vm_config *config, struct err *e)
{
	struct vm_config loaded;
	int err = 0;

	vm_config_init(&loaded);
	for (size_t i = 0; resources[i] && !err; i++)
		if (resources[i]->flags & RESOURCE_SAVED)
			err = resource_load(resources[i], dec, &loaded, e);
	if (!err) {
		dec_end(dec);
		err = dec_error(dec, e);
	}
	if (err)
		vm_config_fini(&loaded);
	else
		*config = loaded;
	return err;
}
