// SPDX-License-Identifier: Apache-2.0
/* Instances of a resource in a configuration: found, parsed, stored, by nothing but its description. */
#include "resource/resource.h"

#include <stdio.h>
#include <string.h>

#define RESOURCE_ROW_(name) &name##_resource,

const struct resource *const resources[] = { RESOURCES(RESOURCE_ROW_) NULL };

unsigned int resource_num(const struct resource *r, const struct vm_config *config)
{
	const char *at = (const char *)config;

	if (r->apply)
		return 0;
	if (resource_is_list(r))
		return *(const unsigned int *)(at + r->count - 1);
	return !r->present || *(const bool *)(at + r->present - 1);
}

unsigned int resource_num_virtio(const struct vm_config *config)
{
	unsigned int num = 0;

	for (size_t i = 0; resources[i]; i++) {
		if (resources[i]->flags & RESOURCE_VIRTIO)
			num += resource_num(resources[i], config);
	}
	return num;
}

const void *resource_at(const struct resource *r, const struct vm_config *config, unsigned int i)
{
	return (const char *)config + r->offset + i * r->fields->size;
}

void *resource_slot(const struct resource *r, struct vm_config *config, unsigned int i)
{
	return (char *)config + r->offset + i * r->fields->size;
}

static unsigned int *resource_count(const struct resource *r, struct vm_config *config)
{
	return (unsigned int *)((char *)config + r->count - 1);
}

static const char *resource_list_id(const struct resource *r, const void *instance)
{
	return *(char *const *)((const char *)instance + r->id);
}

const char *resource_id(const struct resource *r, const void *instance)
{
	return resource_is_list(r) ? resource_list_id(r, instance) : NULL;
}

void *resource_find(const struct resource *r, struct vm_config *config, const char *id)
{
	for (unsigned int i = 0; i < resource_num(r, config); i++) {
		void *instance = resource_slot(r, config, i);

		if (!resource_is_list(r) || !strcmp(resource_list_id(r, instance), id))
			return instance;
	}
	return NULL;
}

void resource_device_name(const struct resource *r, const void *instance, char name[DEVICE_NAME_SIZE])
{
	const char *id = resource_id(r, instance);

	snprintf(name, DEVICE_NAME_SIZE, "%s%.*s", r->device, CONFIG_RESOURCE_ID_MAX, id ? id : "");
}

int resource_parse(const struct resource *r, json_t *obj, void **out, struct err *e)
{
	void *data;
	int err = json_fields_new(r->fields, obj, &data, e);

	if (err)
		return err;
	if (r->check)
		err = r->check(data, e);
	if (err)
		json_fields_free(r->fields, data);
	else
		*out = data;
	return err;
}

static void resource_remove(const struct resource *r, struct vm_config *config, unsigned int at)
{
	unsigned int *count = resource_count(r, config);
	char *slot = resource_slot(r, config, at);

	json_fields_fini(r->fields, slot);
	--*count;
	memmove(slot, slot + r->fields->size, (*count - at) * r->fields->size);
}

/* Moves *data into slot at, after making room there. */
static void resource_insert(const struct resource *r, struct vm_config *config, unsigned int at, void *data)
{
	unsigned int *count = resource_count(r, config);
	char *slot = resource_slot(r, config, at);

	memmove(slot + r->fields->size, slot, (*count - at) * r->fields->size);
	memcpy(slot, data, r->fields->size);
	++*count;
}

static int resource_put_instance(const struct resource *r, struct vm_config *config, void *data, struct err *e)
{
	unsigned int at = 0, num = resource_num(r, config);

	while (at < num && strcmp(resource_list_id(r, resource_at(r, config, at)), resource_list_id(r, data)) != 0)
		at++;
	if (at == r->max)
		return err_set(e, EINVAL, "\"%s\" is one too many in %s: at most %u are allowed",
			       resource_list_id(r, data), r->section, r->max);
	if (at < num)
		resource_remove(r, config, at);
	resource_insert(r, config, r->goes_first && r->goes_first(data) ? 0 : at, data);
	return 0;
}

int resource_put(const struct resource *r, struct vm_config *config, void *data, struct err *e)
{
	int err = r->admit ? r->admit(config, data, e) : 0;

	if (!err && resource_is_list(r))
		err = resource_put_instance(r, config, data, e);
	if (err)
		return err;
	if (!resource_is_list(r)) {
		json_fields_fini(r->fields, resource_slot(r, config, 0));
		memcpy(resource_slot(r, config, 0), data, r->fields->size);
	}
	memset(data, 0, r->fields->size);
	if (r->present)
		*(bool *)((char *)config + r->present - 1) = true;
	if (r->stored)
		r->stored(config);
	return 0;
}
