// SPDX-License-Identifier: Apache-2.0
#include "vmm/endpoint.h"

#include <string.h>

#include "vmm/operation.h"

static const char get[] = "GET", put[] = "PUT", patch[] = "PATCH";

static void endpoint_of_get(const struct resource *r, struct endpoint *ep)
{
	*ep = (struct endpoint){
		.kind = ENDPOINT_GET,
		.method = get,
		.path = r->path,
		.allowed = VMM_ANY_TIME,
		.error = r->error,
		.summary = r->summary,
		.reply = r->fields,
		.resource = r,
		.counters = r->get,
	};
}

void endpoint_of_put(const struct resource *r, struct endpoint *ep)
{
	*ep = (struct endpoint){
		.kind = ENDPOINT_PUT,
		.method = put,
		.path = r->path,
		.allowed = VMM_BEFORE_START,
		.error = r->error,
		.summary = r->summary,
		.fields = r->fields,
		.check = r->check,
		.has_id = resource_is_list(r),
		.id_offset = r->id,
		.resource = r,
		.counters = r->put,
	};
}

static void endpoint_of_patch(const struct resource *r, const struct resource_patch *p, struct endpoint *ep)
{
	*ep = (struct endpoint){
		.kind = ENDPOINT_PATCH,
		.method = patch,
		.path = p->path ? p->path : r->path,
		.allowed = p->running ? VMM_AFTER_START : VMM_BEFORE_START,
		.error = p->error ? p->error : r->error,
		.summary = p->summary ? p->summary : r->summary,
		.fields = p->fields,
		.may_be_empty = p->may_be_empty,
		.check = p->check,
		.has_id = resource_is_list(r),
		.id_offset = p->id,
		.resource = r,
		.patch = p,
		.counters = p->counters,
	};
}

static void endpoint_of_query(const struct resource *r, const struct resource_query *query, struct endpoint *ep)
{
	*ep = (struct endpoint){
		.kind = ENDPOINT_QUERY,
		.method = get,
		.path = query->path,
		.allowed = VMM_AFTER_START,
		.error = query->error,
		.summary = query->summary,
		.reply = query->reply,
		.resource = r,
		.query = query,
	};
}

static void endpoint_of_operation(const struct operation *op, struct endpoint *ep)
{
	*ep = (struct endpoint){
		.kind = ENDPOINT_OPERATION,
		.method = op->method,
		.path = op->path,
		.allowed = op->allowed,
		.error = op->error,
		.summary = op->summary,
		.fields = op->fields,
		.raw = op->raw,
		.check = op->check,
		.reply = op->reply,
		.operation = op,
		.counters = op->counted_as ? op->counted_as->put : op->counters,
	};
}

/* Splits "PUT pmem/{id}". */
static void endpoint_of_later(const struct resource_later *later, const char *what, struct endpoint *ep)
{
	static const char *const methods[] = { "GET ", "PUT ", "PATCH ", "DELETE " };
	static const char *const names[] = { get, put, patch, "DELETE" };
	struct request_counters *const counters[] = { later->get, later->put, later->patch, NULL };

	*ep = (struct endpoint){ .kind = ENDPOINT_LATER, .why = later->why };
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		if (!strncmp(what, methods[i], strlen(methods[i]))) {
			ep->method = names[i];
			ep->counters = counters[i];
			ep->path = what + strlen(methods[i]);
		}
	}
}

/* One of those that a resource has; counts i down past them. */
static bool endpoint_at_resource(const struct resource *r, unsigned int *i, struct endpoint *ep)
{
	if (r->flags & RESOURCE_READABLE && (*i)-- == 0) {
		endpoint_of_get(r, ep);
		return true;
	}
	if ((*i)-- == 0) {
		endpoint_of_put(r, ep);
		return true;
	}
	for (const struct resource_patch *p = r->patch; p; p = p->next) {
		if ((*i)-- == 0) {
			endpoint_of_patch(r, p, ep);
			return true;
		}
	}
	for (const struct resource_query *query = r->queries; query && query->path; query++) {
		if ((*i)-- == 0) {
			endpoint_of_query(r, query, ep);
			return true;
		}
	}
	return false;
}

bool endpoint_at(unsigned int i, struct endpoint *ep)
{
	for (const struct operation *op = operations; op->path; op++) {
		if (i-- == 0) {
			endpoint_of_operation(op, ep);
			return true;
		}
	}
	for (size_t n = 0; resources[n]; n++) {
		if (endpoint_at_resource(resources[n], &i, ep))
			return true;
	}
	for (const struct resource_later *later = resources_later; later->why; later++) {
		for (size_t n = 0; later->endpoints[n]; n++) {
			if (i-- == 0) {
				endpoint_of_later(later, later->endpoints[n], ep);
				return true;
			}
		}
	}
	return false;
}

bool endpoint_matches_path(const struct endpoint *ep, const char *path, const char **id)
{
	const char *wild = strchr(ep->path, '{');
	size_t len = wild ? (size_t)(wild - ep->path) : 0;

	*id = "";
	if (!wild)
		return !strcmp(ep->path, path);
	if (!strncmp(path, ep->path, len)) {
		*id = path + len;
		return !strchr(*id, '/');
	}
	return !strncmp(path, ep->path, len - 1) && !path[len - 1];
}

bool endpoint_find(const char *method, const char *path, struct endpoint *ep, const char **id)
{
	for (unsigned int i = 0; endpoint_at(i, ep); i++) {
		if (!strcmp(ep->method, method) && endpoint_matches_path(ep, path, id))
			return true;
	}
	return false;
}
