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
#include "base/log.h"
#include "base/names.h"
#include "resource/resource.h"
#include "vmm/operation.h"
#include "vmm/vmm.h"

#define CONFIG_FILE_MAX (1024 * 1024) /* bytes; a file with all drives and the longest paths has a tenth of it */

/* The actions of a file; owns them. */
struct action_list {
	size_t num;
	struct action *actions; /* owned */
};

static int action_list_add(struct action_list *list, const struct endpoint *ep, json_t *body, struct err *e)
{
	struct action *grown = reallocarray(list->actions, list->num + 1, sizeof(*grown));
	int r;

	if (!grown)
		return err_set(e, ENOMEM, "out of memory");
	list->actions = grown;
	r = action_from_json(ep, NULL, body, &list->actions[list->num], e);
	if (!r)
		list->num++;
	return r;
}

static void action_list_fini(struct action_list *list)
{
	while (list->num)
		action_fini(&list->actions[--list->num]);
	free(list->actions);
}

static int section_add_list(struct action_list *list, const struct resource *r, json_t *value, struct err *e)
{
	struct endpoint ep;
	json_t *item;
	size_t i;

	if (!json_is_array(value))
		return err_set(e, EINVAL, "section \"%s\": expected an array", r->section);
	if (json_array_size(value) > r->max)
		return err_set(e, EINVAL, "section \"%s\": %zu entries are too many: at most %u are allowed",
			       r->section, json_array_size(value), r->max);
	endpoint_of_put(r, &ep);
	json_array_foreach (value, i, item) {
		int err = action_list_add(list, &ep, item, e);

		if (err)
			return err_wrap(e, err, "section \"%s\", entry %zu", r->section, i);
	}
	return 0;
}

/* The section is in a file of its own. */
static int section_add_file(struct action_list *list, const struct endpoint *ep, const char *path, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	json_t *value;
	size_t len;
	int r = file_read("file", path, CONFIG_FILE_MAX, &text, &len, e);

	if (r)
		return r;
	r = config_json_parse(text, len, &value, e);
	if (!r) {
		r = action_list_add(list, ep, value, e);
		json_decref(value);
	}
	return r ? err_wrap(e, r, "\"%s\"", path) : 0;
}

/* null: as if the section was not there. */
static int section_add(struct action_list *list, const struct resource *r, json_t *value, struct err *e)
{
	bool required = r->flags & RESOURCE_REQUIRED;
	struct endpoint ep;
	int err;

	if (!value)
		return required ? err_set(e, EINVAL, "missing section \"%s\"", r->section) : 0;
	if (resource_is_list(r))
		return section_add_list(list, r, value, e);
	if (json_is_null(value) && !required)
		return 0;
	endpoint_of_put(r, &ep);
	if (r->flags & RESOURCE_MAY_BE_PATH && json_is_string(value))
		err = section_add_file(list, &ep, json_string_value(value), e);
	else
		err = action_list_add(list, &ep, value, e);
	return err ? err_wrap(e, err, "section \"%s\"", r->section) : 0;
}

static int section_check_later(const struct resource_later *later, json_t *value, struct err *e)
{
	bool empty = later->is_list && json_is_array(value) && !json_array_size(value);

	if (!value || json_is_null(value) || empty)
		return 0;
	return err_set(e, EINVAL, "section \"%s\" is not supported yet: allowed is %s", later->section,
		       later->is_list ? "null or []" : "null");
}

static bool section_is_known(const char *key)
{
	for (size_t i = 0; resources[i]; i++) {
		if (!strcmp(resources[i]->section, key))
			return true;
	}
	for (const struct resource_later *later = resources_later; later->why; later++) {
		if (later->section && !strcmp(later->section, key))
			return true;
	}
	return false;
}

static int section_refuse(const char *key, struct err *e)
{
	struct names allowed = { .len = 0 };

	for (size_t i = 0; resources[i]; i++)
		names_add(&allowed, "%s", resources[i]->section);
	return err_set(e, EINVAL, "unknown section \"%.64s\": allowed are %s", key, allowed.text);
}

static int sections_check_keys(json_t *root, struct err *e)
{
	const char *key;
	json_t *value;

	if (!json_is_object(root))
		return err_set(e, EINVAL, "expected a JSON object of sections");
	json_object_foreach (root, key, value) {
		if (!section_is_known(key))
			return section_refuse(key, e);
	}
	return 0;
}

static int sections_to_actions(json_t *root, struct action_list *list, struct err *e)
{
	struct endpoint start = { .kind = ENDPOINT_OPERATION, .operation = operation_instance_start };
	int r = sections_check_keys(root, e);

	for (const struct resource_later *later = resources_later; !r && later->why; later++) {
		if (later->section)
			r = section_check_later(later, json_object_get(root, later->section), e);
	}
	for (size_t i = 0; !r && resources[i]; i++)
		r = section_add(list, resources[i], json_object_get(root, resources[i]->section), e);
	return r ? r : action_list_add(list, &start, NULL, e);
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
	if (!r)
		log_info("Successfully started microvm that was configured from one single json");
	return r ? err_wrap(e, r, "config file \"%s\"", path) : 0;
}
