// SPDX-License-Identifier: Apache-2.0
/* From method and path to an endpoint; from a body to an action. */
#include "api/routes.h"

#include <stdio.h>
#include <string.h>

#include "api/server.h"
#include "base/log.h"
#include "base/names.h"
#include "config/json_fields.h"

METRICS_DEFINE(deprecated_api, DEPRECATED_API_METRICS, false)

/* "/vm" of "http://localhost/vm" and of "/vm", without the slash. */
static const char *route_path(const char *target)
{
	if (!strncmp(target, "http://", 7)) {
		target = strchr(target + 7, '/');
		if (!target)
			return "";
	}
	return target[0] == '/' ? target + 1 : target;
}

bool api_route_is_secret(const char *method, const char *target)
{
	struct endpoint ep;
	const char *id;

	return endpoint_find(method, route_path(target), &ep, &id) && ep.raw;
}

static int route_refuse(const char *method, const char *path, struct err *e)
{
	struct endpoint ep;
	struct names allowed = { .len = 0 };
	const char *id;

	for (unsigned int i = 0; endpoint_at(i, &ep); i++) {
		if (endpoint_matches_path(&ep, path, &id))
			names_add(&allowed, "%s", ep.method);
	}
	if (!allowed.len)
		return err_set(e, EINVAL, "Invalid request method and/or path: %.16s %.200s.", method, path);
	return err_set(e, EINVAL, "Invalid request method and/or path: %.16s %.200s. Allowed for this path: %s.",
		       method, path, allowed.text);
}

static int route_parse(const struct endpoint *ep, const char *id, const char *body, size_t len, struct action *action,
		       struct err *e)
{
	json_t *root = NULL;
	int r;

	if (!strcmp(ep->method, "GET"))
		return len ? err_set(e, EINVAL, "GET request cannot have a body.")
			   : action_from_json(ep, NULL, NULL, action, e);
	if (len)
		r = config_json_parse(body, len, &root, e);
	else if (ep->may_be_empty)
		r = (root = json_object()) ? 0 : err_set(e, ENOMEM, "out of memory");
	else
		r = err_set(e, EINVAL, "Empty %s request.", ep->method);
	if (r)
		return r;
	r = action_from_json(ep, id, root, action, e);
	json_decref(root);
	return r;
}

static void route_count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static int route_refuse_later(const struct endpoint *ep, const char *path, struct err *e)
{
	if (ep->counters) {
		route_count(&ep->counters->count);
		route_count(&ep->counters->fails);
	}
	return err_set(e, EOPNOTSUPP, "%s /%.200s is not supported yet: %s.", ep->method, path, ep->why);
}

static bool route_note_deprecated(const char *method, const char *path, const struct action *action)
{
	if (!action->deprecated)
		return false;
	metric_inc(deprecated_api, deprecated_http_api_calls);
	log_warn("%s /%s: \"%s\" is deprecated.", method, path, action->deprecated);
	return true;
}

int api_route_request(struct vmm *vmm, const char *method, const char *target, const char *body, size_t len,
		      json_t **reply, bool *deprecated, struct err *e)
{
	const char *id, *path = route_path(target);
	struct endpoint ep;
	struct action action = { .body = NULL };
	int r;

	*deprecated = false;
	if (!endpoint_find(method, path, &ep, &id))
		return route_refuse(method, path, e);
	if (ep.kind == ENDPOINT_LATER)
		return route_refuse_later(&ep, path, e);
	if (vmm_must_wait(vmm, &ep))
		return API_WAIT;
	if (ep.counters)
		route_count(&ep.counters->count);
	r = route_parse(&ep, id, body, len, &action, e);
	if (!r) {
		*deprecated = route_note_deprecated(method, path, &action);
		r = vmm_do(vmm, &action, reply, e);
		action_fini(&action);
	}
	if (r == VMM_LATER)
		return API_LATER;
	if (r && ep.counters)
		route_count(&ep.counters->fails);
	return r;
}

int api_route_result(struct vmm *vmm, json_t **reply, struct err *e)
{
	struct request_counters *counters = vmm->pending.endpoint.counters;
	int r = vmm_result(vmm, reply, e);

	if (r && counters)
		route_count(&counters->fails);
	return r;
}
