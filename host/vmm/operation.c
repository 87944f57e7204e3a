// SPDX-License-Identifier: Apache-2.0
/* The table of operations: each row says when it is allowed, what its body is and which function carries it out. */
#include "vmm/operation.h"

#include <stddef.h>

#include "base/metrics.h"
#include "resource/vm_config.h"
#include "vmm/snapshot_request.h"
#include "vmm/vmm.h"

static int reply_with(json_t *value, json_t **reply, struct err *e)
{
	*reply = value;
	return value ? 0 : err_set(e, ENOMEM, "out of memory");
}

struct instance_info {
	const char *id;
	unsigned int state;
	const char *vmm_version;
	const char *app_name;
	const char *implementation;
};

static const char *const vmm_state_names[] = {
	[VMM_NOT_STARTED] = "Not started",
	[VMM_RUNNING] = "Running",
	[VMM_PAUSED] = "Paused",
	NULL,
};

static const struct field instance_info_fields[] = {
	{ "id", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(instance_info, id), .min = 1, .max = CONFIG_ID_MAX,
	  .help = "The instance, as the command line says (--id)." },
	{ "state", FIELD_ENUM, FIELD_REQUIRED, FIELD_AT(instance_info, state), .names = vmm_state_names,
	  .help = "The state of the machine." },
	{ "vmm_version", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(instance_info, vmm_version), .max = CONFIG_ID_MAX,
	  .help = "The release of Firecracker whose API this is." },
	{ "app_name", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(instance_info, app_name), .max = CONFIG_ID_MAX,
	  .help = "The program whose API this is." },
	{ "implementation", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(instance_info, implementation), .max = CONFIG_ID_MAX,
	  .help = "The program that answers, and its version. Ours." },
};
static const struct field_table instance_info_table = FIELD_TABLE(instance_info, instance_info_fields);

static int get_instance_info(struct vmm *vmm, void *body, json_t **reply, struct err *e)
{
	const struct instance_info info = {
		.id = vmm->instance_id,
		.state = vmm_state(vmm),
		.vmm_version = VMM_API_VERSION,
		.app_name = "Firecracker",
		.implementation = "snapsafe-vmm " SNAPSAFE_VERSION,
	};

	(void)body;
	return reply_with(json_fields_encode(&instance_info_table, &info), reply, e);
}

struct api_version {
	const char *firecracker_version;
};

static const struct field api_version_fields[] = {
	{ "firecracker_version", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(api_version, firecracker_version),
	  .max = CONFIG_ID_MAX, .help = "The release of Firecracker whose API this is." },
};
static const struct field_table api_version_table = FIELD_TABLE(api_version, api_version_fields);

static int get_version(struct vmm *vmm, void *body, json_t **reply, struct err *e)
{
	static const struct api_version version = { VMM_API_VERSION };

	(void)vmm;
	(void)body;
	return reply_with(json_fields_encode(&api_version_table, &version), reply, e);
}

static int get_vm_config(struct vmm *vmm, void *body, json_t **reply, struct err *e)
{
	(void)body;
	return reply_with(vm_config_to_json(&vmm->config), reply, e);
}

static int instance_start(struct vmm *vmm, void *body, json_t **reply, struct err *e)
{
	(void)body;
	(void)reply;
	return vmm_start(vmm, e);
}

static int flush_metrics(struct vmm *vmm, void *body, json_t **reply, struct err *e)
{
	(void)vmm;
	(void)body;
	(void)reply;
	return metrics_flush(e);
}

static int send_ctrl_alt_del(struct vmm *vmm, void *body, json_t **reply, struct err *e)
{
	(void)body;
	(void)reply;
	return machine_send_ctrl_alt_del(vmm->machine, e);
}

static int signal_entropy_leak(struct vmm *vmm, void *body, json_t **reply, struct err *e)
{
	(void)body;
	(void)reply;
	return vmm_signal_leak(vmm, e);
}

/* PATCH /vm. As with struct choice, the choice stands first. */
struct state_request {
	unsigned int value;
	uint32_t reseed_timeout_ms; /* 0: not given */
};

static int pause_vm(struct vmm *vmm, void *body, json_t **reply, struct err *e)
{
	(void)body;
	(void)reply;
	return vmm_pause(vmm, e);
}

static int resume_vm(struct vmm *vmm, void *body, json_t **reply, struct err *e)
{
	const struct state_request *request = body;

	(void)reply;
	return vmm_resume(vmm, request->reseed_timeout_ms, e);
}

static int create_snapshot(struct vmm *vmm, void *body, json_t **reply, struct err *e)
{
	(void)reply;
	return vmm_save(vmm, body, e);
}

static int load_snapshot(struct vmm *vmm, void *body, json_t **reply, struct err *e)
{
	(void)reply;
	return vmm_load(vmm, snapshot_load_request_config(body), e);
}

static int get_metadata(struct vmm *vmm, void *body, json_t **reply, struct err *e)
{
	(void)body;
	return reply_with(mmds_store_get(&vmm->metadata), reply, e);
}

static int put_metadata(struct vmm *vmm, void *body, json_t **reply, struct err *e)
{
	(void)reply;
	return mmds_store_put(&vmm->metadata, body, e);
}

static int patch_metadata(struct vmm *vmm, void *body, json_t **reply, struct err *e)
{
	(void)reply;
	return mmds_store_patch(&vmm->metadata, body, e);
}

static const char *const action_names[] = { "InstanceStart", "FlushMetrics", "SendCtrlAltDel", "SignalEntropyLeak",
					    NULL };
static const struct operation action_choices[] = {
	{ .allowed = VMM_BEFORE_START, .error = "Start microvm error", .run = instance_start },
	{ .allowed = VMM_AFTER_START, .error = "Metrics error", .run = flush_metrics },
	{ .allowed = VMM_AFTER_START, .error = "Internal VMM error", .run = send_ctrl_alt_del },
	{ .allowed = VMM_AFTER_START, .error = "Internal VMM error", .run = signal_entropy_leak },
};
const struct operation *const operation_instance_start = &action_choices[0];

/* Firecracker measures twice, since a request goes from one of its threads to another; here both are the same. */
#define LATENCY(name) .time = { &latencies_us_metrics.name, &latencies_us_metrics.vmm_##name }

static const char *const state_names[] = { "Paused", "Resumed", NULL };
static const struct operation state_choices[] = {
	{ .allowed = VMM_AFTER_START,
	  .error = "Internal VMM error",
	  .timed = "pause vm",
	  LATENCY(pause_vm),
	  .run = pause_vm },
	{ .allowed = VMM_AFTER_START,
	  .error = "Internal VMM error",
	  .timed = "resume vm",
	  LATENCY(resume_vm),
	  .run = resume_vm },
};

static const struct operation *const state_resumed = &state_choices[1];

/* By enum snapshot_type, the first of struct snapshot_create_config. */
#define CREATE_SNAPSHOT(kind)                                                                                        \
	{                                                                                                            \
		.allowed = VMM_WHILE_PAUSED, .error = "Create snapshot error", .timed = "create " #kind " snapshot", \
		LATENCY(kind##_create_snapshot), .run = create_snapshot                                              \
	}
static const struct operation create_choices[] = {
	[SNAPSHOT_FULL] = CREATE_SNAPSHOT(full),
	[SNAPSHOT_DIFF] = CREATE_SNAPSHOT(diff),
};
_Static_assert(offsetof(struct snapshot_create_config, type) == 0, "operation_chosen() reads it as a struct choice");

struct choice {
	unsigned int value;
};

static const struct field action_fields[] = {
	{ "action_type", FIELD_ENUM, FIELD_REQUIRED, FIELD_AT(choice, value), .names = action_names,
	  .help = "What to do. SignalEntropyLeak is ours." },
};
static const struct field_table action_table = FIELD_TABLE(choice, action_fields);

static const struct field state_fields[] = {
	{ "state", FIELD_ENUM, FIELD_REQUIRED, FIELD_AT(state_request, value), .names = state_names,
	  .help = "The state to bring the machine into." },
	{ "reseed_timeout_ms", FIELD_U32, FIELD_OURS, FIELD_AT(state_request, reseed_timeout_ms), RESEED_TIMEOUT },
};
static const struct field_table state_table = FIELD_TABLE(state_request, state_fields);

static int state_check(const void *body, struct err *e)
{
	const struct state_request *request = body;

	if (!request->reseed_timeout_ms || &state_choices[request->value] == state_resumed)
		return 0;
	return err_set(e, EINVAL, "field \"reseed_timeout_ms\": %u is not allowed with state %s: expected with Resumed",
		       request->reseed_timeout_ms, state_names[request->value]);
}

const struct operation *operation_chosen(const struct operation *op, const void *body)
{
	return op->choices ? &op->choices[((const struct choice *)body)->value] : op;
}

REQUEST_COUNTER(instance_info_counters, "get", "instance_info");
REQUEST_COUNTER(version_counters, "get", "vmm_version");
REQUEST_COUNTERS(action_counters, "put", "actions");
REQUEST_COUNTER(mmds_get_counters, "get", "mmds");
REQUEST_COUNTERS(mmds_patch_counters, "patch", "mmds");

const struct operation operations[] = {
	{ .method = "GET",
	  .path = "",
	  .summary = "Who answers, and the state of the machine",
	  .allowed = VMM_ANY_TIME,
	  .reply = &instance_info_table,
	  .run = get_instance_info,
	  .counters = &instance_info_counters },
	{ .method = "GET",
	  .path = "version",
	  .summary = "The version of the API",
	  .allowed = VMM_ANY_TIME,
	  .reply = &api_version_table,
	  .run = get_version,
	  .counters = &version_counters },
	{ .method = "GET",
	  .path = "vm/config",
	  .summary = "The whole configuration, as a config file",
	  .allowed = VMM_ANY_TIME,
	  .run = get_vm_config },
	{ .method = "PUT",
	  .path = "actions",
	  .summary = "Does something once",
	  .allowed = VMM_ANY_TIME,
	  .fields = &action_table,
	  .choices = action_choices,
	  .counters = &action_counters },
	{ .method = "PATCH",
	  .path = "vm",
	  .summary = "Pauses or resumes the machine",
	  .allowed = VMM_AFTER_START,
	  .fields = &state_table,
	  .check = state_check,
	  .choices = state_choices },
	{ .method = "PUT",
	  .path = "snapshot/create",
	  .summary = "Writes a snapshot of the paused machine",
	  .allowed = VMM_WHILE_PAUSED,
	  .fields = &snapshot_create_table,
	  .check = snapshot_create_check,
	  .choices = create_choices },
	{ .method = "PUT",
	  .path = "snapshot/load",
	  .summary = "Restores a machine from a snapshot",
	  .allowed = VMM_BEFORE_START,
	  .error = "Load snapshot error",
	  .timed = "load snapshot",
	  LATENCY(load_snapshot),
	  .fields = &snapshot_load_table,
	  .check = snapshot_load_check,
	  .run = load_snapshot },
	{ .method = "GET",
	  .path = "mmds",
	  .summary = "The metadata",
	  .allowed = VMM_ANY_TIME,
	  .raw = true,
	  .run = get_metadata,
	  .counters = &mmds_get_counters },
	{ .method = "PUT",
	  .path = "mmds",
	  .summary = "Metadata for the guest, instead of what was there",
	  .allowed = VMM_ANY_TIME,
	  .raw = true,
	  .run = put_metadata,
	  .counted_as = &mmds_resource },
	{ .method = "PATCH",
	  .path = "mmds",
	  .summary = "Changes the metadata, by a merge patch (RFC 7396)",
	  .allowed = VMM_ANY_TIME,
	  .raw = true,
	  .run = patch_metadata,
	  .counters = &mmds_patch_counters },
	{ 0 },
};
