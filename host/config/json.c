// SPDX-License-Identifier: Apache-2.0
/*
 * The tables: which JSON key is which field of which struct. Keys, defaults
 * and required fields are Firecracker's; docs/api.md lists where we differ.
 */
#include "config/json.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "config/json_fields.h"
#include "config/json_tables.h"

#define AT(type, member)    .offset = offsetof(struct type, member)
#define GIVEN(type, member) .given = offsetof(struct type, member) + 1
#define ANY_U64		    .max = INT64_MAX
#define PATH		    .min = 1, .max = CONFIG_PATH_MAX

#define LATER(name, flag) .key = (name), .type = FIELD_LATER, .flags = (flag)

_Static_assert(sizeof(enum huge_pages) == sizeof(unsigned int) && sizeof(enum cache_type) == sizeof(unsigned int) &&
		       sizeof(enum io_engine) == sizeof(unsigned int) &&
		       sizeof(enum snapshot_type) == sizeof(unsigned int),
	       "json_fields.c stores an unsigned int");

static const char *const huge_pages_names[] = { "None", "Transparent", "2M", NULL };
static const char *const cache_type_names[] = { "Unsafe", "Writeback", NULL };
static const char *const io_engine_names[] = { "Sync", "Async", NULL };
static const char *const snapshot_type_names[] = { "Full", "Diff", NULL };
static const char *const backend_type_names[] = { "File", "Uffd", NULL };
static const char *const no_template_names[] = { "None", NULL };
static const char *const same_pages_names[] = { "Snapshot", "None", NULL };

/* A bucket that never limits is no bucket: one form for it, so that what is written can be read again. */
static void token_bucket_finish(void *obj)
{
	struct token_bucket_config *bucket = obj;

	if (!bucket->size || !bucket->refill_time_ms)
		memset(bucket, 0, sizeof(*bucket));
}

static const struct field token_bucket_fields[] = {
	{ "size", FIELD_U64, FIELD_REQUIRED | FIELD_ZERO_NULL, AT(token_bucket_config, size), ANY_U64 },
	{ "one_time_burst", FIELD_U64, FIELD_ZERO_NULL, AT(token_bucket_config, one_time_burst), ANY_U64 },
	{ "refill_time", FIELD_U64, FIELD_REQUIRED | FIELD_ZERO_NULL, AT(token_bucket_config, refill_time_ms),
	  ANY_U64 },
};
static const struct field_table token_bucket_table = {
	.fields = token_bucket_fields,
	.num_fields = ARRAY_SIZE(token_bucket_fields),
	.finish = token_bucket_finish,
};

static const struct field rate_limiter_fields[] = {
	{ "bandwidth", FIELD_OBJECT, FIELD_ZERO_NULL, AT(rate_limiter_config, bandwidth), .sub = &token_bucket_table },
	{ "ops", FIELD_OBJECT, FIELD_ZERO_NULL, AT(rate_limiter_config, ops), .sub = &token_bucket_table },
};
static const struct field_table rate_limiter_table = FIELD_TABLE(rate_limiter_fields);

static const struct field boot_source_fields[] = {
	{ "kernel_image_path", FIELD_STRING, FIELD_REQUIRED, AT(boot_source_config, kernel_image_path), PATH },
	{ "initrd_path", FIELD_STRING, 0, AT(boot_source_config, initrd_path), PATH },
	{ "boot_args", FIELD_STRING, 0, AT(boot_source_config, boot_args), .max = CONFIG_BOOT_ARGS_MAX },
};
const struct field_table boot_source_table = FIELD_TABLE(boot_source_fields);

static const struct field machine_config_fields[] = {
	{ "vcpu_count", FIELD_U32, FIELD_REQUIRED, AT(machine_config, vcpu_count), .min = 1, .max = CONFIG_MAX_VCPUS },
	{ "mem_size_mib", FIELD_U64, FIELD_REQUIRED, AT(machine_config, mem_size_mib), .min = 1,
	  .max = CONFIG_MAX_MEM_MIB },
	{ "smt", FIELD_BOOL, 0, AT(machine_config, smt) },
	{ "track_dirty_pages", FIELD_BOOL, FIELD_ONLY_FALSE, AT(machine_config, track_dirty_pages) },
	{ "huge_pages", FIELD_ENUM, 0, AT(machine_config, huge_pages), .names = huge_pages_names,
	  .later = 1u << HUGE_PAGES_TRANSPARENT | 1u << HUGE_PAGES_2M },
	{ LATER("cpu_template", FIELD_NOT_WRITTEN), .names = no_template_names },
	{ "vm_generation_id", FIELD_BOOL, 0, AT(machine_config, vm_generation_id) },
};
const struct field_table machine_config_table = FIELD_TABLE(machine_config_fields);

static const struct field machine_patch_fields[] = {
	{ "vcpu_count", FIELD_U32, 0, AT(machine_config_patch, values.vcpu_count),
	  GIVEN(machine_config_patch, has_vcpu_count), .min = 1, .max = CONFIG_MAX_VCPUS },
	{ "mem_size_mib", FIELD_U64, 0, AT(machine_config_patch, values.mem_size_mib),
	  GIVEN(machine_config_patch, has_mem_size_mib), .min = 1, .max = CONFIG_MAX_MEM_MIB },
	{ "smt", FIELD_BOOL, 0, AT(machine_config_patch, values.smt), GIVEN(machine_config_patch, has_smt) },
	{ "track_dirty_pages", FIELD_BOOL, FIELD_ONLY_FALSE, AT(machine_config_patch, values.track_dirty_pages),
	  GIVEN(machine_config_patch, has_track_dirty_pages) },
	{ "huge_pages", FIELD_ENUM, 0, AT(machine_config_patch, values.huge_pages),
	  GIVEN(machine_config_patch, has_huge_pages), .names = huge_pages_names,
	  .later = 1u << HUGE_PAGES_TRANSPARENT | 1u << HUGE_PAGES_2M },
	{ LATER("cpu_template", 0), .names = no_template_names },
	{ "vm_generation_id", FIELD_BOOL, 0, AT(machine_config_patch, values.vm_generation_id),
	  GIVEN(machine_config_patch, has_vm_generation_id) },
};
static const struct field_table machine_patch_table = FIELD_TABLE(machine_patch_fields);

static const struct field drive_fields[] = {
	{ "drive_id", FIELD_STRING, FIELD_REQUIRED, AT(drive_config, drive_id), .min = 1, .max = CONFIG_DRIVE_ID_MAX },
	{ "partuuid", FIELD_STRING, 0, AT(drive_config, partuuid), .min = 1, .max = 36 },
	{ "is_root_device", FIELD_BOOL, FIELD_REQUIRED, AT(drive_config, is_root_device) },
	{ "cache_type", FIELD_ENUM, 0, AT(drive_config, cache_type), .names = cache_type_names },
	{ "is_read_only", FIELD_BOOL, 0, AT(drive_config, is_read_only) },
	{ "path_on_host", FIELD_STRING, FIELD_REQUIRED, AT(drive_config, path_on_host), PATH },
	{ "rate_limiter", FIELD_OBJECT, FIELD_ZERO_NULL, AT(drive_config, rate_limiter), .sub = &rate_limiter_table },
	{ "io_engine", FIELD_ENUM, 0, AT(drive_config, io_engine), .names = io_engine_names,
	  .later = 1u << IO_ENGINE_ASYNC },
	{ LATER("socket", 0) },
};
const struct field_table drive_table = FIELD_TABLE(drive_fields);

/* The update's limiter tells which bucket was given, so its fields are those of the update itself. */
static const struct field drive_update_limiter_fields[] = {
	{ "bandwidth", FIELD_OBJECT, 0, AT(drive_update, rate_limiter.bandwidth), GIVEN(drive_update, has_bandwidth),
	  .sub = &token_bucket_table },
	{ "ops", FIELD_OBJECT, 0, AT(drive_update, rate_limiter.ops), GIVEN(drive_update, has_ops),
	  .sub = &token_bucket_table },
};
static const struct field_table drive_update_limiter_table = FIELD_TABLE(drive_update_limiter_fields);

static const struct field drive_update_fields[] = {
	{ "drive_id", FIELD_STRING, FIELD_REQUIRED, AT(drive_update, drive_id), .min = 1, .max = CONFIG_DRIVE_ID_MAX },
	{ "path_on_host", FIELD_STRING, 0, AT(drive_update, path_on_host), PATH },
	{ "rate_limiter", FIELD_OBJECT, 0, 0, .sub = &drive_update_limiter_table },
};
static const struct field_table drive_update_table = FIELD_TABLE(drive_update_fields);

static const struct field entropy_fields[] = {
	{ "rate_limiter", FIELD_OBJECT, FIELD_ZERO_NULL, AT(entropy_config, rate_limiter), .sub = &rate_limiter_table },
	{ "leak_reporting", FIELD_BOOL, 0, AT(entropy_config, leak_reporting) },
};
const struct field_table entropy_table = FIELD_TABLE(entropy_fields);

static const struct field serial_fields[] = {
	{ "serial_out_path", FIELD_STRING, 0, AT(serial_config, serial_out_path), PATH },
	{ "rate_limiter", FIELD_OBJECT, FIELD_ZERO_NULL, AT(serial_config, rate_limiter), .sub = &token_bucket_table },
};
const struct field_table serial_table = FIELD_TABLE(serial_fields);

static int log_level_decode(json_t *value, void *at, const char *name, struct err *e)
{
	const char *text = json_string_value(value);

	if (!text || !log_level_parse(text, at))
		return json_field_refuse(
			name, value, "\"Off\", \"Error\", \"Warn\", \"Warning\", \"Info\", \"Debug\" or \"Trace\"", e);
	return 0;
}

static const struct field logger_fields[] = {
	{ "log_path", FIELD_STRING, 0, AT(logger_config, log_path), PATH },
	{ "level", FIELD_CUSTOM, 0, AT(logger_config, level), GIVEN(logger_config, has_level),
	  .custom = log_level_decode },
	{ "show_level", FIELD_BOOL, 0, AT(logger_config, show_level), GIVEN(logger_config, has_show_level) },
	{ "show_log_origin", FIELD_BOOL, 0, AT(logger_config, show_log_origin),
	  GIVEN(logger_config, has_show_log_origin) },
	{ LATER("module", 0) },
};
static const struct field_table logger_table = FIELD_TABLE(logger_fields);

static int metrics_properties_decode(json_t *value, void *at, const char *name, struct err *e)
{
	char **text = at;
	const char *key;
	json_t *property;

	if (!json_is_object(value))
		return json_field_refuse(name, value, "an object of strings", e);
	json_object_foreach (value, key, property) {
		if (!json_is_string(property))
			return json_field_refuse(name, property, "an object of strings", e);
	}
	*text = json_dumps(value, JSON_COMPACT);
	return *text ? 0 : err_set(e, ENOMEM, "out of memory");
}

static const struct field metrics_fields[] = {
	{ "metrics_path", FIELD_STRING, FIELD_REQUIRED, AT(metrics_config, metrics_path), PATH },
	{ "emit_id", FIELD_BOOL, 0, AT(metrics_config, emit_id) },
	{ "properties", FIELD_CUSTOM, 0, AT(metrics_config, properties_json), .custom = metrics_properties_decode },
};
static const struct field_table metrics_table = FIELD_TABLE(metrics_fields);

static const struct field snapshot_create_fields[] = {
	{ "snapshot_type", FIELD_ENUM, 0, AT(snapshot_create_config, type), .names = snapshot_type_names,
	  .later = 1u << SNAPSHOT_DIFF },
	{ "snapshot_path", FIELD_STRING, FIELD_REQUIRED, AT(snapshot_create_config, snapshot_path), PATH },
	{ "mem_file_path", FIELD_STRING, FIELD_REQUIRED, AT(snapshot_create_config, mem_file_path), PATH },
};
static const struct field_table snapshot_create_table = FIELD_TABLE(snapshot_create_fields);

/* The memory file may be named in two ways; only one of them is stored in the configuration. */
struct load_request {
	struct snapshot_load_config load;
	bool has_backend;
	unsigned int backend_type;
	char *backend_path;
};

static const struct field mem_backend_fields[] = {
	{ "backend_path", FIELD_STRING, FIELD_REQUIRED, AT(load_request, backend_path), PATH },
	{ "backend_type", FIELD_ENUM, FIELD_REQUIRED, AT(load_request, backend_type), .names = backend_type_names,
	  .later = 1u << 1 },
};
static const struct field_table mem_backend_table = FIELD_TABLE(mem_backend_fields);

static const struct field snapshot_load_fields[] = {
	{ "snapshot_path", FIELD_STRING, FIELD_REQUIRED, AT(load_request, load.snapshot_path), PATH },
	{ "mem_file_path", FIELD_STRING, 0, AT(load_request, load.mem_file_path), PATH },
	{ "mem_backend", FIELD_OBJECT, 0, 0, GIVEN(load_request, has_backend), .sub = &mem_backend_table },
	{ "track_dirty_pages", FIELD_BOOL, FIELD_ONLY_FALSE, AT(load_request, load.track_dirty_pages) },
	{ LATER("enable_diff_snapshots", FIELD_MAY_BE_FALSE) },
	{ "resume_vm", FIELD_BOOL, 0, AT(load_request, load.resume_vm) },
	{ "clock_realtime", FIELD_BOOL, 0, AT(load_request, load.clock_realtime) },
	{ LATER("network_overrides", FIELD_MAY_BE_EMPTY) },
	{ LATER("vsock_override", 0) },
	{ LATER("huge_pages", 0), .names = same_pages_names },
};
static const struct field_table snapshot_load_table = FIELD_TABLE(snapshot_load_fields);

int config_json_parse(const char *text, size_t len, json_t **root, struct err *e)
{
	json_error_t error;

	*root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	if (*root)
		return 0;
	return err_set(e, EINVAL, "invalid JSON at line %d, column %d: %s%s", error.line, error.column, error.text,
		       json_error_code(&error) == json_error_numeric_overflow
			       ? " (numbers may be up to 9223372036854775807)"
			       : "");
}

int boot_source_from_json(json_t *obj, struct boot_source_config *c, struct err *e)
{
	int r = json_fields_decode(&boot_source_table, obj, c, e);

	if (!r)
		r = boot_source_config_check(c, e);
	if (r)
		boot_source_config_fini(c);
	else
		c->present = true;
	return r;
}

int machine_config_from_json(json_t *obj, struct machine_config *c, struct err *e)
{
	int r;

	c->vm_generation_id = true;
	r = json_fields_decode(&machine_config_table, obj, c, e);
	return r ? r : machine_config_check(c, e);
}

int machine_config_patch_from_json(json_t *obj, struct machine_config_patch *c, struct err *e)
{
	return json_fields_decode(&machine_patch_table, obj, c, e);
}

int drive_from_json(json_t *obj, struct drive_config *c, struct err *e)
{
	int r = json_fields_decode(&drive_table, obj, c, e);

	if (!r)
		r = drive_config_check(c, e);
	if (r)
		drive_config_fini(c);
	return r;
}

int drive_update_from_json(json_t *obj, struct drive_update *c, struct err *e)
{
	int r = json_fields_decode(&drive_update_table, obj, c, e);

	if (!r)
		r = drive_id_check(c->drive_id, e);
	if (r)
		drive_update_fini(c);
	return r;
}

int entropy_from_json(json_t *obj, struct entropy_config *c, struct err *e)
{
	int r;

	c->leak_reporting = true;
	r = json_fields_decode(&entropy_table, obj, c, e);
	if (!r)
		c->present = true;
	return r;
}

int serial_from_json(json_t *obj, struct serial_config *c, struct err *e)
{
	int r = json_fields_decode(&serial_table, obj, c, e);

	if (r)
		serial_config_fini(c);
	return r;
}

int logger_from_json(json_t *obj, struct logger_config *c, struct err *e)
{
	int r = json_fields_decode(&logger_table, obj, c, e);

	if (r)
		logger_config_fini(c);
	return r;
}

int metrics_from_json(json_t *obj, struct metrics_config *c, struct err *e)
{
	int r = json_fields_decode(&metrics_table, obj, c, e);

	if (r)
		metrics_config_fini(c);
	return r;
}

int snapshot_create_from_json(json_t *obj, struct snapshot_create_config *c, struct err *e)
{
	int r = json_fields_decode(&snapshot_create_table, obj, c, e);

	if (!r && !strcmp(c->snapshot_path, c->mem_file_path))
		r = err_set(e, EINVAL,
			    "fields \"snapshot_path\" and \"mem_file_path\" are both \"%s\": two different files are "
			    "expected",
			    c->snapshot_path);
	if (r)
		snapshot_create_config_fini(c);
	return r;
}

int snapshot_load_from_json(json_t *obj, struct snapshot_load_config *c, struct err *e)
{
	struct load_request request = { 0 };
	int r = json_fields_decode(&snapshot_load_table, obj, &request, e);

	if (!r && request.has_backend && request.load.mem_file_path)
		r = err_set(e, EINVAL,
			    "too many fields: either `mem_backend` or `mem_file_path` exclusively is required");
	else if (!r && !request.has_backend && !request.load.mem_file_path)
		r = err_set(e, EINVAL, "missing field: either `mem_backend` or `mem_file_path` is required");
	if (!r && request.has_backend)
		request.load.mem_file_path = take_ptr(request.backend_path);
	if (!r)
		*c = request.load;
	else
		snapshot_load_config_fini(&request.load);
	free(request.backend_path);
	return r;
}
