// SPDX-License-Identifier: Apache-2.0
#include "vmm/snapshot_request.h"

#include <string.h>

#include "resource/network.h"

static const char *const snapshot_type_names[] = { "Full", "Diff", NULL };
enum backend_type { BACKEND_FILE, BACKEND_UFFD };
static const char *const backend_type_names[] = { [BACKEND_FILE] = "File", [BACKEND_UFFD] = "Uffd", NULL };
static const char *const working_set_names[] = { "Use", "Record", "Ignore", NULL };
static const char *const load_huge_pages_names[] = { "Snapshot", "None", "Transparent", "2M", NULL };

_Static_assert(sizeof(enum snapshot_type) == sizeof(unsigned int) &&
		       sizeof(enum load_huge_pages) == sizeof(unsigned int) &&
		       sizeof(enum working_set_use) == sizeof(unsigned int),
	       "json_fields.c stores an unsigned int");

static const struct field snapshot_create_fields[] = {
	{ "snapshot_type", FIELD_ENUM, 0, FIELD_AT(snapshot_create_config, type), .names = snapshot_type_names,
	  .help = "What the memory file holds: all, or what has changed since the last snapshot." },
	{ "snapshot_path", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(snapshot_create_config, snapshot_path), FIELD_PATH,
	  .help = "The state file." },
	{ "mem_file_path", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(snapshot_create_config, mem_file_path), FIELD_PATH,
	  .help = "The memory file." },
};
const struct field_table snapshot_create_table = FIELD_TABLE(snapshot_create_config, snapshot_create_fields);

int snapshot_create_check(const void *body, struct err *e)
{
	const struct snapshot_create_config *c = body;

	if (strcmp(c->snapshot_path, c->mem_file_path) != 0)
		return 0;
	return err_set(
		e, EINVAL,
		"fields \"snapshot_path\" and \"mem_file_path\" are both \"%s\": two different files are expected",
		c->snapshot_path);
}

#define WORKING_SET_MAX_MS (60u * 60 * 1000)

/* The memory file may be named in two ways; only one of them is stored in the configuration. */
struct load_request {
	struct snapshot_load_config load;
	bool enable_diff_snapshots;
	bool has_backend;
	unsigned int backend_type;
	bool has_working_set, has_working_set_ms;
	char *backend_path;
};

/* Strings one behind the other, as struct snapshot_load_config has them. */
static int decode_layers(json_t *value, void *at, const char *name, struct err *e)
{
	char **list = at;
	json_t *path;
	size_t i, len = 1;
	char *end;

	if (!json_is_array(value) || json_array_size(value) > LOAD_MAX_LAYERS)
		return json_field_refuse(name, value, "an array of at most 15 paths", e);
	json_array_foreach (value, i, path) {
		size_t n = json_is_string(path) ? json_string_length(path) : 0;

		if (n == 0 || n > CONFIG_PATH_MAX || strlen(json_string_value(path)) != n)
			return json_field_refuse(name, path, "an array of paths of 1 to 4095 bytes", e);
		len += n + 1;
	}
	end = calloc(1, len);
	if (!end)
		return err_set(e, ENOMEM, "out of memory");
	*list = end;
	json_array_foreach (value, i, path)
		end = stpcpy(end, json_string_value(path)) + 1;
	return 0;
}

static const struct field mem_backend_fields[] = {
	{ "backend_path", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(load_request, backend_path), FIELD_PATH,
	  .help = "The memory file; with Uffd the Unix socket of the page-fault handler." },
	{ "backend_type", FIELD_ENUM, FIELD_REQUIRED, FIELD_AT(load_request, backend_type), .names = backend_type_names,
	  .help = "What serves the memory: a file, or a page-fault handler by userfaultfd(2)." },
	{ "layers", FIELD_CUSTOM, FIELD_OWNED, FIELD_AT(load_request, load.layers), .custom = decode_layers,
	  .help = "Ours: the memory files that a diff lies on, bottom first; nothing is copied." },
	{ "working_set", FIELD_ENUM, FIELD_OURS, FIELD_AT(load_request, load.working_set),
	  FIELD_GIVEN(load_request, has_working_set), .names = working_set_names,
	  .help = "Whether the pages that an earlier machine needed are read ahead, or are found out and recorded." },
	{ "working_set_path", FIELD_STRING, FIELD_OURS, FIELD_AT(load_request, load.working_set_path), FIELD_PATH,
	  .help = "The file that has them; absent: backend_path and \".working-set\"." },
	{ "working_set_ms", FIELD_U32, FIELD_OURS, FIELD_AT(load_request, load.working_set_ms),
	  FIELD_GIVEN(load_request, has_working_set_ms), .min = 1, .max = WORKING_SET_MAX_MS,
	  .help = "With Record: for how long; absent: until the machine is paused." },
};
static const struct field_table mem_backend_table = FIELD_SUBTABLE(mem_backend_fields);

static const struct field vsock_override_fields[] = {
	{ "uds_path", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(load_request, load.vsock_uds_path), .min = 1,
	  .max = CONFIG_SOCKET_PATH_MAX, .help = "The socket from now on." },
};
static const struct field_table vsock_override_table = FIELD_SUBTABLE(vsock_override_fields);

static const struct field snapshot_load_fields[] = {
	{ "snapshot_path", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(load_request, load.snapshot_path), FIELD_PATH,
	  .help = "The state file." },
	{ "mem_file_path", FIELD_STRING, FIELD_DEPRECATED, FIELD_AT(load_request, load.mem_file_path), FIELD_PATH,
	  .help = "The memory file; this or mem_backend." },
	{ "mem_backend", FIELD_OBJECT, 0, 0, FIELD_GIVEN(load_request, has_backend), .sub = &mem_backend_table,
	  .help = "Where the memory comes from; this or mem_file_path." },
	{ "track_dirty_pages", FIELD_BOOL, 0, FIELD_AT(load_request, load.track_dirty_pages),
	  .help = "Keep a log of what the guest writes, for Diff snapshots that have no page too many." },
	{ "enable_diff_snapshots", FIELD_BOOL, FIELD_DEPRECATED, FIELD_AT(load_request, enable_diff_snapshots),
	  .help = "As track_dirty_pages." },
	{ "resume_vm", FIELD_BOOL, 0, FIELD_AT(load_request, load.resume_vm), .help = "Resume the machine at once." },
	{ "reseed_timeout_ms", FIELD_U32, FIELD_OURS, FIELD_AT(load_request, load.reseed_timeout_ms), RESEED_TIMEOUT },
	{ "clock_realtime", FIELD_BOOL, 0, FIELD_AT(load_request, load.clock_realtime),
	  .help = "Advance the guest's clocks, kvmclock and TSC, by the host time since the snapshot." },
	{ "network_overrides", FIELD_CUSTOM, 0, FIELD_AT(load_request, load.network_overrides),
	  .sub = &network_override_table, .custom = network_overrides_decode,
	  .help = "Other taps for network interfaces." },
	{ "vsock_override", FIELD_OBJECT, 0, 0, .sub = &vsock_override_table,
	  .help = "Another socket path for the vsock device." },
	{ "huge_pages", FIELD_ENUM, 0, FIELD_AT(load_request, load.huge_pages), .names = load_huge_pages_names,
	  .help = "Pages that the guest's memory is made of; Snapshot: as before." },
};
const struct field_table snapshot_load_table = FIELD_TABLE(load_request, snapshot_load_fields);

int snapshot_load_check(const void *body, struct err *e)
{
	const struct load_request *c = body;

	if (c->has_backend && c->load.mem_file_path)
		return err_set(e, EINVAL,
			       "too many fields: either `mem_backend` or `mem_file_path` exclusively is required");
	if (!c->has_backend && !c->load.mem_file_path)
		return err_set(e, EINVAL, "missing field: either `mem_backend` or `mem_file_path` is required");
	if (c->backend_type == BACKEND_UFFD && c->load.layers)
		return err_set(e, EINVAL,
			       "field \"layers\" of mem_backend is not allowed with Uffd: the handler serves the whole "
			       "memory");
	if (c->backend_type == BACKEND_UFFD && (c->has_working_set || c->load.working_set_path))
		return err_set(e, EINVAL,
			       "field \"%s\" of mem_backend is not allowed with Uffd: which pages are served before "
			       "they are asked for is the handler's business",
			       c->has_working_set ? "working_set" : "working_set_path");
	if (c->has_working_set_ms && c->load.working_set != WORKING_SET_RECORD)
		return err_set(
			e, EINVAL,
			"field \"working_set_ms\" of mem_backend: %u is not allowed with working_set %s: expected "
			"with Record",
			c->load.working_set_ms, working_set_names[c->load.working_set]);
	if (c->load.working_set == WORKING_SET_IGNORE && c->load.working_set_path)
		return err_set(e, EINVAL,
			       "field \"working_set_path\" of mem_backend is not allowed with working_set Ignore: "
			       "expected with Use or Record");
	if (c->load.reseed_timeout_ms && !c->load.resume_vm)
		return err_set(e, EINVAL,
			       "field \"reseed_timeout_ms\": %u is not allowed without resume_vm: expected with the "
			       "PATCH /vm that resumes the machine",
			       c->load.reseed_timeout_ms);
	return 0;
}

struct snapshot_load_config *snapshot_load_request_config(void *body)
{
	struct load_request *c = body;

	if (c->has_backend && c->backend_path)
		c->load.mem_file_path = take_ptr(c->backend_path);
	c->load.is_served = c->has_backend && c->backend_type == BACKEND_UFFD;
	c->load.track_dirty_pages |= c->enable_diff_snapshots;
	return &c->load;
}
