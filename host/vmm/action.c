// SPDX-License-Identifier: Apache-2.0
/* The life of an action: made from JSON, owned by whoever made it, freed with what nobody took out of it. */
#include "vmm/action.h"

#include <string.h>

/* The instance that the path names must be the body's. */
static int action_check_id(const struct endpoint *ep, const char *id, const void *body, struct err *e)
{
	const char *own = *(char *const *)((const char *)body + ep->id_offset);
	int r = resource_id_check(id, e);

	if (!r && strcmp(id, own) != 0)
		r = err_set(e, EINVAL, "The id from the path [%s] does not match the id from the body [%s]!", id, own);
	return r;
}

static int action_check(const struct endpoint *ep, const char *id, void *body, struct err *e)
{
	int r = ep->check ? ep->check(body, e) : 0;

	if (!r && ep->has_id && id)
		r = action_check_id(ep, id, body, e);
	return r;
}

/* A PATCH that names nothing but the instance, and a change to nothing, is a mistake of its sender. */
static bool action_changes_nothing(const struct endpoint *ep, json_t *body)
{
	const struct field_table *table = ep->fields;

	for (size_t i = 0; i < table->num_fields; i++) {
		const struct field *f = &table->fields[i];
		json_t *value = json_object_get(body, f->key);
		bool is_id = ep->has_id && f->type == FIELD_STRING && f->offset == ep->id_offset;

		if (value && !json_is_null(value) && !is_id)
			return false;
	}
	return true;
}

int action_from_json(const struct endpoint *endpoint, const char *id, json_t *body, struct action *action,
		     struct err *e)
{
	void *decoded = NULL;
	int r;

	/* Before the body: it may well have the same mistake, and the path stands first. */
	if (endpoint->has_id && id) {
		r = resource_id_check(id, e);
		if (r)
			return r;
	}
	if (endpoint->fields) {
		r = json_fields_new(endpoint->fields, body, &decoded, e);
		if (!r)
			r = action_check(endpoint, id, decoded, e);
		if (!r && endpoint->kind == ENDPOINT_PATCH && !endpoint->may_be_empty &&
		    action_changes_nothing(endpoint, body))
			r = err_set(e, EINVAL, "Empty PATCH request.");
		if (r) {
			json_fields_free(endpoint->fields, decoded);
			return r;
		}
	}
	*action = (struct action){
		.endpoint = *endpoint,
		.body = endpoint->raw ? json_incref(body) : decoded,
		.deprecated = endpoint->fields ? json_fields_deprecated(endpoint->fields, body) : NULL,
	};
	return 0;
}

void action_fini(struct action *action)
{
	if (action->endpoint.raw)
		json_decref(action->body);
	else if (action->endpoint.fields)
		json_fields_free(action->endpoint.fields, action->body);
	memset(action, 0, sizeof(*action));
}
