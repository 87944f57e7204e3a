// SPDX-License-Identifier: Apache-2.0
/*
 * The table of everything that the API answers, Firecracker's endpoints that
 * we do not have yet included: these are refused by name, so that a client
 * learns more than "no such path".
 */
#include "api/routes.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/metrics.h"
#include "config/json.h"
#include "config/json_fields.h"

typedef int route_parse_fn(enum action_kind kind, const char *id, json_t *body, struct action *action, struct err *e);

struct route {
	const char *method;
	const char *path;      /* "{id}" at the end stands for an id */
	const char *later;     /* NULL, or why this is refused: Firecracker has it and we do not yet */
	route_parse_fn *parse; /* NULL: action_from_json() */
	enum action_kind kind;
	_Atomic uint64_t *count; /* metrics, or NULL */
	_Atomic uint64_t *fails;
};

/* For a body whose one field names an action. */
static int route_parse_choice(const char *key, const char *const *names, json_t *body, unsigned int *value,
			      struct err *e)
{
	const struct field field = { .key = key, .type = FIELD_ENUM, .flags = FIELD_REQUIRED, .names = names };
	const struct field_table table = { .fields = &field, .num_fields = 1 };

	return json_fields_decode(&table, body, value, e);
}

static int route_parse_action(enum action_kind kind, const char *id, json_t *body, struct action *action, struct err *e)
{
	static const char *const names[] = { "InstanceStart", "FlushMetrics", "SendCtrlAltDel", "SignalEntropyLeak",
					     NULL };
	static const enum action_kind kinds[] = { ACTION_INSTANCE_START, ACTION_FLUSH_METRICS, ACTION_SEND_CTRL_ALT_DEL,
						  ACTION_SIGNAL_ENTROPY_LEAK };
	unsigned int choice;
	int r = route_parse_choice("action_type", names, body, &choice, e);

	(void)kind;
	(void)id;
	return r ? r : action_from_json(kinds[choice], NULL, action, e);
}

static int route_parse_vm_state(enum action_kind kind, const char *id, json_t *body, struct action *action,
				struct err *e)
{
	static const char *const names[] = { "Paused", "Resumed", NULL };
	static const enum action_kind kinds[] = { ACTION_PAUSE, ACTION_RESUME };
	unsigned int choice;
	int r = route_parse_choice("state", names, body, &choice, e);

	(void)kind;
	(void)id;
	return r ? r : action_from_json(kinds[choice], NULL, action, e);
}

static int route_parse_drive(enum action_kind kind, const char *id, json_t *body, struct action *action, struct err *e)
{
	const char *body_id;
	int r = drive_id_check(id, e);

	if (!r)
		r = action_from_json(kind, body, action, e);
	if (r)
		return r;
	body_id = kind == ACTION_PUT_DRIVE ? action->drive.drive_id : action->drive_update.drive_id;
	if (strcmp(id, body_id) != 0) {
		r = err_set(e, EINVAL, "The id from the path [%s] does not match the id from the body [%s]!", id,
			    body_id);
		action_fini(action);
	}
	return r;
}

#define COUNT(metric) .count = &metrics.metric##_count, .fails = &metrics.metric##_fails

static const struct route routes[] = {
	{ "GET", "", .kind = ACTION_GET_INSTANCE_INFO, .count = &metrics.get_api_requests_instance_info_count },
	{ "GET", "version", .kind = ACTION_GET_VERSION, .count = &metrics.get_api_requests_vmm_version_count },
	{ "GET", "machine-config", .kind = ACTION_GET_MACHINE_CONFIG,
	  .count = &metrics.get_api_requests_machine_cfg_count },
	{ "GET", "vm/config", .kind = ACTION_GET_VM_CONFIG },
	{ "PUT", "actions", .parse = route_parse_action, COUNT(put_api_requests_actions) },
	{ "PUT", "boot-source", .kind = ACTION_PUT_BOOT_SOURCE, COUNT(put_api_requests_boot_source) },
	{ "PUT", "machine-config", .kind = ACTION_PUT_MACHINE_CONFIG, COUNT(put_api_requests_machine_cfg) },
	{ "PATCH", "machine-config", .kind = ACTION_PATCH_MACHINE_CONFIG, COUNT(patch_api_requests_machine_cfg) },
	{ "PUT", "drives/{id}", .parse = route_parse_drive, .kind = ACTION_PUT_DRIVE, COUNT(put_api_requests_drive) },
	{ "PATCH", "drives/{id}", .parse = route_parse_drive, .kind = ACTION_PATCH_DRIVE,
	  COUNT(patch_api_requests_drive) },
	{ "PUT", "entropy", .kind = ACTION_PUT_ENTROPY },
	{ "PUT", "serial", .kind = ACTION_PUT_SERIAL, COUNT(put_api_requests_serial) },
	{ "PUT", "logger", .kind = ACTION_PUT_LOGGER, COUNT(put_api_requests_logger) },
	{ "PUT", "metrics", .kind = ACTION_PUT_METRICS, COUNT(put_api_requests_metrics) },
	{ "PATCH", "vm", .parse = route_parse_vm_state },
	{ "PUT", "snapshot/create", .kind = ACTION_SNAPSHOT_CREATE },
	{ "PUT", "snapshot/load", .kind = ACTION_SNAPSHOT_LOAD },
	{ "DELETE", "drives/{id}", .later = "drives cannot be unplugged" },
	{ "PUT", "cpu-config", .later = "there are no CPU templates" },
	{ "PUT", "network-interfaces/{id}", .later = "there is no network device" },
	{ "PATCH", "network-interfaces/{id}", .later = "there is no network device" },
	{ "DELETE", "network-interfaces/{id}", .later = "there is no network device" },
	{ "PUT", "vsock", .later = "there is no vsock device" },
	{ "GET", "balloon", .later = "there is no balloon device" },
	{ "PUT", "balloon", .later = "there is no balloon device" },
	{ "PATCH", "balloon", .later = "there is no balloon device" },
	{ "GET", "balloon/statistics", .later = "there is no balloon device" },
	{ "PATCH", "balloon/statistics", .later = "there is no balloon device" },
	{ "GET", "balloon/hinting/status", .later = "there is no balloon device" },
	{ "PATCH", "balloon/hinting/start", .later = "there is no balloon device" },
	{ "PATCH", "balloon/hinting/stop", .later = "there is no balloon device" },
	{ "GET", "mmds", .later = "there is no metadata service" },
	{ "PUT", "mmds", .later = "there is no metadata service" },
	{ "PATCH", "mmds", .later = "there is no metadata service" },
	{ "PUT", "mmds/config", .later = "there is no metadata service" },
	{ "PUT", "pmem/{id}", .later = "there is no pmem device" },
	{ "PATCH", "pmem/{id}", .later = "there is no pmem device" },
	{ "DELETE", "pmem/{id}", .later = "there is no pmem device" },
	{ "GET", "hotplug/memory", .later = "memory cannot be plugged" },
	{ "PUT", "hotplug/memory", .later = "memory cannot be plugged" },
	{ "PATCH", "hotplug/memory", .later = "memory cannot be plugged" },
};

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

/* Does path fit the route's? *id is then the part that "{id}" stands for. A missing last part is an empty id. */
static bool route_matches_path(const struct route *route, const char *path, const char **id)
{
	const char *wild = strchr(route->path, '{');
	size_t len = wild ? (size_t)(wild - route->path) : 0;

	*id = "";
	if (!wild)
		return !strcmp(route->path, path);
	if (!strncmp(path, route->path, len)) {
		*id = path + len;
		return !strchr(*id, '/');
	}
	return !strncmp(path, route->path, len - 1) && !path[len - 1];
}

static const struct route *route_find(const char *method, const char *path, const char **id)
{
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		if (!strcmp(routes[i].method, method) && route_matches_path(&routes[i], path, id))
			return &routes[i];
	}
	return NULL;
}

static int route_refuse(const char *method, const char *path, struct err *e)
{
	char allowed[64] = "";
	const char *id;
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_SIZE(routes) && len < sizeof(allowed); i++) {
		if (route_matches_path(&routes[i], path, &id))
			len += (size_t)snprintf(allowed + len, sizeof(allowed) - len, "%s%s", len ? ", " : "",
						routes[i].method);
	}
	if (!len)
		return err_set(e, EINVAL, "Invalid request method and/or path: %.16s %.200s.", method, path);
	return err_set(e, EINVAL, "Invalid request method and/or path: %.16s %.200s. Allowed for this path: %s.",
		       method, path, allowed);
}

static int route_parse(const struct route *route, const char *id, const char *body, size_t len, struct action *action,
		       struct err *e)
{
	json_t *root = NULL;
	int r;

	if (!strcmp(route->method, "GET"))
		return len ? err_set(e, EINVAL, "GET request cannot have a body.")
			   : action_from_json(route->kind, NULL, action, e);
	if (!len)
		return err_set(e, EINVAL, "Empty %s request.", route->method);
	r = config_json_parse(body, len, &root, e);
	if (r)
		return r;
	r = route->parse ? route->parse(route->kind, id, root, action, e)
			 : action_from_json(route->kind, root, action, e);
	json_decref(root);
	return r;
}

static void route_count(_Atomic uint64_t *counter)
{
	if (counter)
		atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

int api_route_request(struct vmm *vmm, const char *method, const char *target, const char *body, size_t len,
		      json_t **reply, struct err *e)
{
	const char *id, *path = route_path(target);
	const struct route *route = route_find(method, path, &id);
	struct action action;
	int r;

	*reply = NULL;
	if (!route)
		return route_refuse(method, path, e);
	if (route->later)
		return err_set(e, EOPNOTSUPP, "%s /%.200s is not supported yet: %s.", method, path, route->later);
	route_count(route->count);
	r = route_parse(route, id, body, len, &action, e);
	if (!r) {
		r = vmm_do(vmm, &action, reply, e);
		action_fini(&action);
	}
	if (r)
		route_count(route->fails);
	return r;
}
