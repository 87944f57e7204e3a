/* SPDX-License-Identifier: Apache-2.0 */
/*
 * THE public interface of the monitor: everything that a client can ask for,
 * as one tagged value. The API and the config file both produce these; vmm.c
 * is the one place that says which is allowed when, and carries it out.
 */
#ifndef VMM_ACTION_H
#define VMM_ACTION_H

#include <jansson.h>

#include "base/err.h"
#include "config/config.h"

enum action_kind {
	ACTION_GET_INSTANCE_INFO,
	ACTION_GET_VERSION,
	ACTION_GET_MACHINE_CONFIG,
	ACTION_GET_VM_CONFIG,
	ACTION_PUT_LOGGER,
	ACTION_PUT_METRICS,
	ACTION_PUT_BOOT_SOURCE,
	ACTION_PUT_MACHINE_CONFIG,
	ACTION_PATCH_MACHINE_CONFIG, /* machine_patch */
	ACTION_PUT_DRIVE,
	ACTION_PATCH_DRIVE,
	ACTION_PUT_ENTROPY,
	ACTION_PUT_SERIAL,
	ACTION_INSTANCE_START,
	ACTION_FLUSH_METRICS,
	ACTION_SEND_CTRL_ALT_DEL,
	ACTION_SIGNAL_ENTROPY_LEAK,
	ACTION_PAUSE,
	ACTION_RESUME,
	ACTION_SNAPSHOT_CREATE,
	ACTION_SNAPSHOT_LOAD,
};

struct action {
	enum action_kind kind;
	union { /* owned by the action */
		struct logger_config logger;
		struct metrics_config metrics;
		struct boot_source_config boot_source;
		struct machine_config machine;
		struct machine_config_patch machine_patch;
		struct drive_config drive;
		struct drive_update drive_update;
		struct entropy_config entropy;
		struct serial_config serial;
		struct snapshot_create_config snapshot_create;
		struct snapshot_load_config snapshot_load;
	};
};

/* The action of this kind that a request body, or a section of a config file, describes. body is NULL for kinds without one. */
int action_from_json(enum action_kind kind, json_t *body, struct action *action, struct err *e) must_check;
void action_fini(struct action *action);

#endif
