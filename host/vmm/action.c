// SPDX-License-Identifier: Apache-2.0
/* The life of an action: made from JSON, owned by whoever made it, freed with what nobody took out of it. */
#include "vmm/action.h"

#include <string.h>

#include "config/json.h"

int action_from_json(enum action_kind kind, json_t *body, struct action *action, struct err *e)
{
	memset(action, 0, sizeof(*action));
	action->kind = kind;
	switch (kind) {
	case ACTION_GET_INSTANCE_INFO:
	case ACTION_GET_VERSION:
	case ACTION_GET_MACHINE_CONFIG:
	case ACTION_GET_VM_CONFIG:
	case ACTION_INSTANCE_START:
	case ACTION_FLUSH_METRICS:
	case ACTION_SEND_CTRL_ALT_DEL:
	case ACTION_SIGNAL_ENTROPY_LEAK:
	case ACTION_PAUSE:
	case ACTION_RESUME:
		return 0; /* the kind says it all */
	case ACTION_PUT_LOGGER:
		return logger_from_json(body, &action->logger, e);
	case ACTION_PUT_METRICS:
		return metrics_from_json(body, &action->metrics, e);
	case ACTION_PUT_BOOT_SOURCE:
		return boot_source_from_json(body, &action->boot_source, e);
	case ACTION_PUT_MACHINE_CONFIG:
		return machine_config_from_json(body, &action->machine, e);
	case ACTION_PATCH_MACHINE_CONFIG:
		return machine_config_patch_from_json(body, &action->machine_patch, e);
	case ACTION_PUT_DRIVE:
		return drive_from_json(body, &action->drive, e);
	case ACTION_PATCH_DRIVE:
		return drive_update_from_json(body, &action->drive_update, e);
	case ACTION_PUT_ENTROPY:
		return entropy_from_json(body, &action->entropy, e);
	case ACTION_PUT_SERIAL:
		return serial_from_json(body, &action->serial, e);
	case ACTION_SNAPSHOT_CREATE:
		return snapshot_create_from_json(body, &action->snapshot_create, e);
	case ACTION_SNAPSHOT_LOAD:
		return snapshot_load_from_json(body, &action->snapshot_load, e);
	}
	return err_set(e, EINVAL, "action %d is not known", (int)kind);
}

void action_fini(struct action *action)
{
	switch (action->kind) {
	case ACTION_GET_INSTANCE_INFO:
	case ACTION_GET_VERSION:
	case ACTION_GET_MACHINE_CONFIG:
	case ACTION_GET_VM_CONFIG:
	case ACTION_PUT_MACHINE_CONFIG:
	case ACTION_PATCH_MACHINE_CONFIG:
	case ACTION_PUT_ENTROPY:
	case ACTION_INSTANCE_START:
	case ACTION_FLUSH_METRICS:
	case ACTION_SEND_CTRL_ALT_DEL:
	case ACTION_SIGNAL_ENTROPY_LEAK:
	case ACTION_PAUSE:
	case ACTION_RESUME:
		break; /* owns nothing */
	case ACTION_PUT_LOGGER:
		logger_config_fini(&action->logger);
		break;
	case ACTION_PUT_METRICS:
		metrics_config_fini(&action->metrics);
		break;
	case ACTION_PUT_BOOT_SOURCE:
		boot_source_config_fini(&action->boot_source);
		break;
	case ACTION_PUT_DRIVE:
		drive_config_fini(&action->drive);
		break;
	case ACTION_PATCH_DRIVE:
		drive_update_fini(&action->drive_update);
		break;
	case ACTION_PUT_SERIAL:
		serial_config_fini(&action->serial);
		break;
	case ACTION_SNAPSHOT_CREATE:
		snapshot_create_config_fini(&action->snapshot_create);
		break;
	case ACTION_SNAPSHOT_LOAD:
		snapshot_load_config_fini(&action->snapshot_load);
		break;
	}
	memset(action, 0, sizeof(*action));
}
