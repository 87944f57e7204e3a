// SPDX-License-Identifier: Apache-2.0
/*
 * A whole machine's configuration as JSON: for GET /vm/config, whose answer
 * can be given back as a config file, and as text inside a state file.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "config/json.h"
#include "config/json_tables.h"

/*
 * What is ours alone (here vm_generation_id, in entropy leak_reporting) is shown only where it says something, so that the
 * answer is one that Firecracker could give.
 */
json_t *machine_config_to_json(const struct machine_config *c)
{
	json_t *obj = json_fields_encode(&machine_config_table, c);

	if (obj && c->vm_generation_id)
		json_object_del(obj, "vm_generation_id");
	return obj;
}

static json_t *drives_to_json(const struct vm_config *config)
{
	json_t *list = json_array();

	for (unsigned int i = 0; list && i < config->num_drives; i++) {
		if (json_array_append_new(list, json_fields_encode(&drive_table, &config->drives[i]))) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

static json_t *entropy_to_json(const struct entropy_config *c)
{
	json_t *obj;

	if (!c->present)
		return json_null();
	obj = json_fields_encode(&entropy_table, c);
	if (obj && c->leak_reporting)
		json_object_del(obj, "leak_reporting");
	return obj;
}

static json_t *boot_source_to_json(const struct boot_source_config *c)
{
	return c->present ? json_fields_encode(&boot_source_table, c) : json_null();
}

json_t *vm_config_to_json(const struct vm_config *config)
{
	/* The sections that we do not have are there for clients that expect the keys. */
	return json_pack("{so so so so so so so so so so so so so}", "balloon", json_null(), "drives",
			 drives_to_json(config), "boot-source", boot_source_to_json(&config->boot_source), "cpu-config",
			 json_null(), "logger", json_null(), "machine-config", machine_config_to_json(&config->machine),
			 "metrics", json_null(), "mmds-config", json_null(), "network-interfaces", json_array(),
			 "vsock", json_null(), "entropy", entropy_to_json(&config->entropy), "pmem", json_array(),
			 "memory-hotplug", json_null());
}

char *vm_config_to_text(const struct vm_config *config)
{
	json_t *obj = json_pack("{so so so so}", "boot-source", boot_source_to_json(&config->boot_source),
				"machine-config", machine_config_to_json(&config->machine), "drives",
				drives_to_json(config), "entropy", entropy_to_json(&config->entropy));
	char *text = obj ? json_dumps(obj, JSON_COMPACT) : NULL;

	json_decref(obj);
	return text;
}

static int drives_from_json(json_t *list, struct vm_config *config, struct err *e)
{
	struct drive_config drive = { 0 };
	json_t *item;
	size_t i;
	int r = 0;

	if (!json_is_array(list))
		return json_field_refuse("drives", list, "an array of drives", e);
	json_array_foreach (list, i, item) {
		r = drive_from_json(item, &drive, e);
		if (!r)
			r = vm_config_put_drive(config, &drive, e);
		drive_config_fini(&drive); /* what was put is no longer here */
		if (r)
			return err_wrap(e, r, "drives[%zu]", i);
	}
	return r;
}

static int vm_section_from_json(const char *key, json_t *value, struct vm_config *config, struct err *e)
{
	if (!strcmp(key, "machine-config"))
		return machine_config_from_json(value, &config->machine, e);
	if (!strcmp(key, "drives"))
		return drives_from_json(value, config, e);
	if (!strcmp(key, "boot-source"))
		return json_is_null(value) ? 0 : boot_source_from_json(value, &config->boot_source, e);
	if (!strcmp(key, "entropy"))
		return json_is_null(value) ? 0 : entropy_from_json(value, &config->entropy, e);
	return err_set(e, EINVAL, "unknown section");
}

static int vm_config_from_json(json_t *root, struct vm_config *config, struct err *e)
{
	const char *key;
	json_t *value;
	int r;

	if (!json_is_object(root))
		return err_set(e, EINVAL, "expected a JSON object");
	if (!json_object_get(root, "machine-config"))
		return err_set(e, EINVAL, "missing section \"machine-config\"");
	json_object_foreach (root, key, value) {
		r = vm_section_from_json(key, value, config, e);
		if (r)
			return err_wrap(e, r, "%.40s", key);
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
	if (r) {
		vm_config_fini(&loaded);
		return r;
	}
	*config = loaded;
	return 0;
}
