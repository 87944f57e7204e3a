// SPDX-License-Identifier: Apache-2.0
/*
 * A whole configuration. The answer to GET /vm/config can be given back as a
 * config file; the text in a snapshot of v1.0 has the same sections, less what
 * belongs to the process.
 */
#include "resource/vm_config.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/json_text.h"
#include "resource/resource.h"

void vm_config_init(struct vm_config *config)
{
	memset(config, 0, sizeof(*config));
	for (size_t i = 0; resources[i]; i++) {
		const struct resource *r = resources[i];

		/* A list starts empty. */
		if (!r->apply && !resource_is_list(r) && r->fields->defaults)
			memcpy(resource_slot(r, config, 0), r->fields->defaults, r->fields->size);
	}
}

void vm_config_fini(struct vm_config *config)
{
	for (size_t i = 0; resources[i]; i++)
		for (unsigned int n = resource_num(resources[i], config); n-- > 0;)
			json_fields_fini(resources[i]->fields, resource_slot(resources[i], config, n));
	memset(config, 0, sizeof(*config));
}

void vm_config_move_own(struct vm_config *to, struct vm_config *from)
{
	for (size_t i = 0; resources[i]; i++) {
		const struct resource *r = resources[i];

		if (r->apply || r->flags & RESOURCE_SAVED)
			continue;
		json_fields_fini(r->fields, resource_slot(r, to, 0));
		memcpy(resource_slot(r, to, 0), resource_slot(r, from, 0), r->fields->size);
		memset(resource_slot(r, from, 0), 0, r->fields->size);
	}
}

void vm_config_reset(struct vm_config *config)
{
	struct vm_config fresh;

	vm_config_init(&fresh);
	vm_config_move_own(&fresh, config);
	vm_config_fini(config);
	*config = fresh;
}

static json_t *resource_list_to_json(const struct resource *r, const struct vm_config *config)
{
	json_t *list = json_array();

	for (unsigned int i = 0; list && i < resource_num(r, config); i++) {
		if (json_array_append_new(list, json_fields_encode(r->fields, resource_at(r, config, i)))) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

static json_t *resource_to_json(const struct resource *r, const struct vm_config *config)
{
	if (resource_is_list(r))
		return resource_list_to_json(r, config);
	return resource_num(r, config) ? json_fields_encode(r->fields, resource_at(r, config, 0)) : json_null();
}

/* Takes over obj, which may be NULL; so may value. */
static json_t *section_set(json_t *obj, const char *key, json_t *value)
{
	/* Fails for a NULL obj or value, too, and drops the value then. */
	if (json_object_set_new(obj, key, value) == 0)
		return obj;
	json_decref(obj);
	return NULL;
}

json_t *vm_config_to_json(const struct vm_config *config)
{
	json_t *obj = json_object();

	/* What is the process's (logger, metrics) is null, as in Firecracker's answer; serial is not in it. */
	for (size_t i = 0; resources[i]; i++) {
		const struct resource *r = resources[i];

		if (r->apply || r->flags & RESOURCE_SAVED)
			obj = section_set(obj, r->section, resource_to_json(r, config));
	}
	/* The sections that we do not have are there for clients that expect the keys. */
	for (const struct resource_later *later = resources_later; later->why; later++) {
		if (later->section)
			obj = section_set(obj, later->section, later->is_list ? json_array() : json_null());
	}
	return obj;
}

static int instance_from_json(const struct resource *r, json_t *value, struct vm_config *config, struct err *e)
{
	void *data;
	int err = resource_parse(r, value, &data, e);

	if (err)
		return err;
	err = resource_put(r, config, data, e);
	json_fields_free(r->fields, data);
	return err;
}

static int list_from_json(const struct resource *r, json_t *list, struct vm_config *config, struct err *e)
{
	json_t *item;
	size_t i;
	int err = 0;

	if (!json_is_array(list))
		return json_field_refuse(r->section, list, "an array", e);
	json_array_foreach (list, i, item) {
		err = instance_from_json(r, item, config, e);
		if (err)
			return err_wrap(e, err, "%s[%zu]", r->section, i);
	}
	return err;
}

static int section_from_json(const char *key, json_t *value, struct vm_config *config, struct err *e)
{
	for (size_t i = 0; resources[i]; i++) {
		const struct resource *r = resources[i];

		if (!(r->flags & RESOURCE_SAVED) || strcmp(r->section, key) != 0)
			continue;
		if (resource_is_list(r))
			return list_from_json(r, value, config, e);
		return r->present && json_is_null(value) ? 0 : instance_from_json(r, value, config, e);
	}
	return err_set(e, EINVAL, "unknown section");
}

static int vm_config_from_json(json_t *root, struct vm_config *config, struct err *e)
{
	const char *key;
	json_t *value;

	if (!json_is_object(root))
		return err_set(e, EINVAL, "expected a JSON object");
	for (size_t i = 0; resources[i]; i++) {
		const struct resource *r = resources[i];

		if (r->flags & RESOURCE_SAVED && !r->present && !resource_is_list(r) &&
		    !json_object_get(root, r->section))
			return err_set(e, EINVAL, "missing section \"%s\"", r->section);
	}
	/* The monitors that wrote this text accepted smt with any number of vCPUs and did nothing about it. */
	json_object_del(json_object_get(root, "machine-config"), "smt");
	json_object_foreach (root, key, value) {
		int err = section_from_json(key, value, config, e);

		if (err)
			return err_wrap(e, err, "%.40s", key);
	}
	return 0;
}

int vm_config_from_text(const char *text, size_t len, struct vm_config *config, struct err *e)
{
	struct vm_config loaded;
	json_t *root;
	int r = config_json_parse(text, len, &root, e);

	if (r)
		return r;
	vm_config_init(&loaded);
	r = vm_config_from_json(root, &loaded, e);
	json_decref(root);
	if (r)
		vm_config_fini(&loaded);
	else
		*config = loaded;
	return r;
}
