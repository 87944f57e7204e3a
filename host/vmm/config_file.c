// SPDX-License-Identifier: Apache-2.0
/*
 * A config file is a list of actions: each section holds the body of one API
 * request, in a fixed order that does not depend on the order in the file. The
 * last action starts the machine. All keys are looked at before the first
 * action is carried out, so that a typo changes nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fdio.h"
#include "config/json.h"
#include "vmm/vmm.h"

#define CONFIG_FILE_MAX (1024 * 1024) /* bytes; a file with all drives and the longest paths has a tenth of it */

enum section_kind {
	SECTION_OBJECT,	      /* one action; null: as if it was not there */
	SECTION_DRIVES,	      /* an array, an action each */
	SECTION_LATER_OBJECT, /* Firecracker has it and we do not yet: only null */
	SECTION_LATER_ARRAY,  /* the same: only null or [] */
};

struct section {
	const char *key;
	enum section_kind kind;
	bool required;
	enum action_kind action;
};

/* In the order in which they are carried out. */
static const struct section sections[] = {
	{ "logger", SECTION_OBJECT, false, ACTION_PUT_LOGGER },
	{ "metrics", SECTION_OBJECT, false, ACTION_PUT_METRICS },
	{ "machine-config", SECTION_OBJECT, false, ACTION_PUT_MACHINE_CONFIG },
	{ "cpu-config", SECTION_LATER_OBJECT, false, 0 },
	{ "boot-source", SECTION_OBJECT, true, ACTION_PUT_BOOT_SOURCE },
	{ "drives", SECTION_DRIVES, false, ACTION_PUT_DRIVE },
	{ "network-interfaces", SECTION_LATER_ARRAY, false, 0 },
	{ "vsock", SECTION_LATER_OBJECT, false, 0 },
	{ "balloon", SECTION_LATER_OBJECT, false, 0 },
	{ "mmds-config", SECTION_LATER_OBJECT, false, 0 },
	{ "entropy", SECTION_OBJECT, false, ACTION_PUT_ENTROPY },
	{ "pmem", SECTION_LATER_ARRAY, false, 0 },
	{ "memory-hotplug", SECTION_LATER_OBJECT, false, 0 },
	{ "serial", SECTION_OBJECT, false, ACTION_PUT_SERIAL },
};

/* The actions of a file; owns them. */
struct action_list {
	size_t num;
	struct action actions[ARRAY_SIZE(sections) + CONFIG_MAX_DRIVES + 1];
};

static int action_list_add(struct action_list *list, enum action_kind kind, json_t *body, struct err *e)
{
	int r = action_from_json(kind, body, &list->actions[list->num], e);

	if (!r)
		list->num++;
	return r;
}

static void action_list_fini(struct action_list *list)
{
	while (list->num)
		action_fini(&list->actions[--list->num]);
}

static int section_refuse(const char *key, const char *allowed, struct err *e)
{
	return err_set(e, EINVAL, "section \"%s\" is not supported yet: allowed is %s", key, allowed);
}

static int section_add_drives(struct action_list *list, json_t *drives, struct err *e)
{
	json_t *drive;
	size_t i;

	if (!json_is_array(drives))
		return err_set(e, EINVAL, "section \"drives\": expected an array of drives");
	if (json_array_size(drives) > CONFIG_MAX_DRIVES)
		return err_set(e, EINVAL, "section \"drives\": %zu drives are too many: at most %d are allowed",
			       json_array_size(drives), CONFIG_MAX_DRIVES);
	json_array_foreach (drives, i, drive) {
		int r = action_list_add(list, ACTION_PUT_DRIVE, drive, e);

		if (r)
			return err_wrap(e, r, "section \"drives\", entry %zu", i);
	}
	return 0;
}

static int section_add(const struct section *section, json_t *value, struct action_list *list, struct err *e)
{
	int r;

	if (!value && section->required)
		return err_set(e, EINVAL, "missing section \"%s\"", section->key);
	if (!value)
		return 0;
	switch (section->kind) {
	case SECTION_OBJECT:
		if (json_is_null(value) && !section->required)
			return 0;
		r = action_list_add(list, section->action, value, e);
		return r ? err_wrap(e, r, "section \"%s\"", section->key) : 0;
	case SECTION_DRIVES:
		return section_add_drives(list, value, e);
	case SECTION_LATER_OBJECT:
		return json_is_null(value) ? 0 : section_refuse(section->key, "null", e);
	case SECTION_LATER_ARRAY:
		if (json_is_null(value) || (json_is_array(value) && !json_array_size(value)))
			return 0;
		return section_refuse(section->key, "null or []", e);
	}
	return err_set(e, EINVAL, "section \"%s\" has no kind", section->key);
}

static int sections_check_keys(json_t *root, struct err *e)
{
	char allowed[512] = "";
	const char *key;
	json_t *value;
	size_t len = 0;

	if (!json_is_object(root))
		return err_set(e, EINVAL, "expected a JSON object of sections");
	for (size_t i = 0; i < ARRAY_SIZE(sections) && len < sizeof(allowed); i++)
		len += (size_t)snprintf(allowed + len, sizeof(allowed) - len, "%s%s", i ? ", " : "", sections[i].key);
	json_object_foreach (root, key, value) {
		size_t i = 0;

		while (i < ARRAY_SIZE(sections) && strcmp(sections[i].key, key) != 0)
			i++;
		if (i == ARRAY_SIZE(sections))
			return err_set(e, EINVAL, "unknown section \"%.64s\": allowed are %s", key, allowed);
	}
	return 0;
}

static int sections_to_actions(json_t *root, struct action_list *list, struct err *e)
{
	int r = sections_check_keys(root, e);

	for (size_t i = 0; !r && i < ARRAY_SIZE(sections); i++)
		r = section_add(&sections[i], json_object_get(root, sections[i].key), list, e);
	if (!r)
		r = action_list_add(list, ACTION_INSTANCE_START, NULL, e);
	return r;
}

int vmm_run_config_file(struct vmm *vmm, const char *path, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	struct action_list list = { 0 };
	json_t *root, *reply;
	size_t len;
	int r;

	r = file_read("config file", path, CONFIG_FILE_MAX, &text, &len, e);
	if (r)
		return r;
	r = config_json_parse(text, len, &root, e);
	if (!r) {
		r = sections_to_actions(root, &list, e);
		json_decref(root);
	}
	for (size_t i = 0; !r && i < list.num; i++)
		r = vmm_do(vmm, &list.actions[i], &reply, e);
	action_list_fini(&list);
	return r ? err_wrap(e, r, "config file \"%s\"", path) : 0;
}
