// SPDX-License-Identifier: Apache-2.0
/*
 * The controller. action_rules[] says for each action in which state it is
 * allowed and how its errors begin; vmm_carry_out() is one line an action. An
 * action that fails leaves configuration and machine as they were.
 */
#include "vmm/vmm.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "config/json.h"
#include "vmm/configure.h"

/* The release of Firecracker whose API this is; clients compare it as a semantic version. */
#define VMM_API_VERSION "1.17.0"

#define BEFORE_START (1u << VMM_NOT_STARTED)
#define PAUSED	     (1u << VMM_PAUSED)
#define AFTER_START  (1u << VMM_RUNNING | PAUSED)
#define ANY_TIME     (BEFORE_START | AFTER_START)

struct action_rule {
	unsigned int allowed;	/* states, as bits */
	bool boot_specific;	/* its success excludes a later load of a snapshot */
	const char *error;	/* NULL, or what stands before the text of an error */
	const char *timed;	/* NULL, or its name in the log line that tells how long it took */
	_Atomic uint64_t *time; /* the metric for that, µs */
};

static const struct action_rule action_rules[] = {
	[ACTION_GET_INSTANCE_INFO] = { .allowed = ANY_TIME },
	[ACTION_GET_VERSION] = { .allowed = ANY_TIME },
	[ACTION_GET_MACHINE_CONFIG] = { .allowed = ANY_TIME },
	[ACTION_GET_VM_CONFIG] = { .allowed = ANY_TIME },
	[ACTION_PUT_LOGGER] = { .allowed = BEFORE_START, .error = "Logger error" },
	[ACTION_PUT_METRICS] = { .allowed = BEFORE_START, .error = "Metrics error" },
	[ACTION_PUT_BOOT_SOURCE] = { .allowed = BEFORE_START, .boot_specific = true, .error = "Boot source error" },
	[ACTION_PUT_MACHINE_CONFIG] = { .allowed = BEFORE_START,
					.boot_specific = true,
					.error = "Machine config error" },
	[ACTION_PATCH_MACHINE_CONFIG] = { .allowed = BEFORE_START,
					  .boot_specific = true,
					  .error = "Machine config error" },
	[ACTION_PUT_DRIVE] = { .allowed = BEFORE_START, .boot_specific = true, .error = "Drive config error" },
	[ACTION_PATCH_DRIVE] = { .allowed = AFTER_START, .error = "Unable to patch the block device" },
	[ACTION_PUT_ENTROPY] = { .allowed = BEFORE_START, .boot_specific = true, .error = "Entropy config error" },
	[ACTION_PUT_SERIAL] = { .allowed = BEFORE_START, .error = "Serial config error" },
	[ACTION_INSTANCE_START] = { .allowed = BEFORE_START, .error = "Start microvm error" },
	[ACTION_FLUSH_METRICS] = { .allowed = AFTER_START, .error = "Metrics error" },
	[ACTION_SEND_CTRL_ALT_DEL] = { .allowed = AFTER_START, .error = "Internal VMM error" },
	[ACTION_SIGNAL_ENTROPY_LEAK] = { .allowed = AFTER_START, .error = "Internal VMM error" },
	[ACTION_PAUSE] = { .allowed = AFTER_START,
			   .error = "Internal VMM error",
			   .timed = "pause vm",
			   .time = &metrics.latencies_us_pause_vm },
	[ACTION_RESUME] = { .allowed = AFTER_START,
			    .error = "Internal VMM error",
			    .timed = "resume vm",
			    .time = &metrics.latencies_us_resume_vm },
	[ACTION_SNAPSHOT_CREATE] = { .allowed = PAUSED,
				     .error = "Create snapshot error",
				     .timed = "create full snapshot",
				     .time = &metrics.latencies_us_full_create_snapshot },
	[ACTION_SNAPSHOT_LOAD] = { .allowed = BEFORE_START,
				   .error = "Load snapshot error",
				   .timed = "load snapshot",
				   .time = &metrics.latencies_us_load_snapshot },
};

void vmm_init(struct vmm *vmm, struct loop *loop, const char *instance_id, bool boot_timer)
{
	memset(vmm, 0, sizeof(*vmm));
	vmm->loop = loop;
	vmm->instance_id = instance_id;
	vmm->boot_timer = boot_timer;
	vm_config_init(&vmm->config);
}

void vmm_fini(struct vmm *vmm)
{
	machine_free(vmm->machine);
	vmm->machine = NULL;
	vm_config_fini(&vmm->config);
}

enum vmm_state vmm_state(const struct vmm *vmm)
{
	if (!vmm->machine)
		return VMM_NOT_STARTED;
	return machine_is_paused(vmm->machine) ? VMM_PAUSED : VMM_RUNNING;
}

static const char *vmm_state_name(enum vmm_state state)
{
	switch (state) {
	case VMM_NOT_STARTED:
		return "Not started";
	case VMM_RUNNING:
		return "Running";
	case VMM_PAUSED:
		return "Paused";
	}
	return "";
}

static int vmm_check_state(const struct action_rule *rule, enum vmm_state state, struct err *e)
{
	if (rule->allowed & 1u << state)
		return 0;
	if (state == VMM_NOT_STARTED)
		return err_set(e, EINVAL, "The requested operation is not supported before starting the microVM.");
	if (rule->allowed == BEFORE_START)
		return err_set(e, EINVAL, "The requested operation is not supported after starting the microVM.");
	return err_set(e, EBUSY, "%s: the microVM is running; pause it first", rule->error);
}

static int vmm_reply(json_t *value, json_t **reply, struct err *e)
{
	*reply = value;
	return value ? 0 : err_set(e, ENOMEM, "out of memory");
}

static json_t *vmm_instance_info(const struct vmm *vmm)
{
	return json_pack("{ss ss ss ss}", "id", vmm->instance_id, "state", vmm_state_name(vmm_state(vmm)),
			 "vmm_version", SNAPSAFE_VERSION, "app_name", "snapsafe-vmm");
}

static int vmm_start(struct vmm *vmm, struct err *e)
{
	if (!vmm->config.boot_source.present)
		return err_set(e, EINVAL, "Cannot start microvm without kernel configuration.");
	return machine_boot(&vmm->config, vmm->boot_timer, vmm->loop, &vmm->machine, e);
}

static int vmm_pause(struct vmm *vmm, struct err *e)
{
	return machine_is_paused(vmm->machine) ? 0 : machine_pause(vmm->machine, e);
}

static int vmm_resume(struct vmm *vmm, struct err *e)
{
	return machine_is_paused(vmm->machine) ? machine_resume(vmm->machine, e) : 0;
}

/* The machine borrows &vmm->config, so it is filled in place; what was there is kept aside until nothing can fail. */
static int vmm_load(struct vmm *vmm, const struct snapshot_load_config *load, struct err *e)
{
	struct vm_config before = vmm->config;
	int r;

	if (vmm->boot_specific)
		return err_set(e, EINVAL,
			       "Loading a microVM snapshot not allowed after configuring boot-specific resources.");
	vm_config_init(&vmm->config);
	vmm->config.serial.rate_limiter = before.serial.rate_limiter;
	if (before.serial.serial_out_path) {
		vmm->config.serial.serial_out_path = strdup(before.serial.serial_out_path);
		if (!vmm->config.serial.serial_out_path) {
			vmm->config = before;
			return err_set(e, ENOMEM, "out of memory");
		}
	}
	r = machine_load(load, &vmm->config, vmm->loop, &vmm->machine, e);
	if (!r && load->resume_vm) {
		r = machine_resume(vmm->machine, e);
		if (r)
			err_wrap(e, r, "the microVM was restored but cannot be resumed");
	}
	if (!r) {
		vm_config_fini(&before);
		return 0;
	}
	machine_free(vmm->machine);
	vmm->machine = NULL;
	vm_config_fini(&vmm->config);
	vmm->config = before;
	return r;
}

static struct drive_config *vmm_find_drive(struct vmm *vmm, const char *id)
{
	for (unsigned int i = 0; i < vmm->config.num_drives; i++) {
		if (!strcmp(vmm->config.drives[i].drive_id, id))
			return &vmm->config.drives[i];
	}
	return NULL;
}

/* The configuration follows the machine: it is what GET /vm/config shows and what a snapshot stores. */
static int vmm_patch_drive(struct vmm *vmm, struct drive_update *update, struct err *e)
{
	struct drive_config *drive = vmm_find_drive(vmm, update->drive_id);
	int r;

	if (!drive)
		return err_set(e, ENOENT, "drive \"%s\" does not exist", update->drive_id);
	r = machine_update_drive(vmm->machine, update, e);
	if (r)
		return r;
	if (update->path_on_host) {
		free(drive->path_on_host);
		drive->path_on_host = take_ptr(update->path_on_host);
	}
	if (update->has_bandwidth)
		drive->rate_limiter.bandwidth = update->rate_limiter.bandwidth;
	if (update->has_ops)
		drive->rate_limiter.ops = update->rate_limiter.ops;
	return 0;
}

static int vmm_carry_out(struct vmm *vmm, struct action *action, json_t **reply, struct err *e)
{
	switch (action->kind) {
	case ACTION_GET_INSTANCE_INFO:
		return vmm_reply(vmm_instance_info(vmm), reply, e);
	case ACTION_GET_VERSION:
		return vmm_reply(json_pack("{ss}", "firecracker_version", VMM_API_VERSION), reply, e);
	case ACTION_GET_MACHINE_CONFIG:
		return vmm_reply(machine_config_to_json(&vmm->config.machine), reply, e);
	case ACTION_GET_VM_CONFIG:
		return vmm_reply(vm_config_to_json(&vmm->config), reply, e);
	case ACTION_PUT_LOGGER:
		return vmm_put_logger(&action->logger, e);
	case ACTION_PUT_METRICS:
		return vmm_put_metrics(vmm, &action->metrics, e);
	case ACTION_PUT_BOOT_SOURCE:
		return vmm_put_boot_source(vmm, &action->boot_source, e);
	case ACTION_PUT_MACHINE_CONFIG:
		return vmm_put_machine_config(vmm, &action->machine, e);
	case ACTION_PATCH_MACHINE_CONFIG:
		return vmm_patch_machine_config(vmm, &action->machine_patch, e);
	case ACTION_PUT_DRIVE:
		return vmm_put_drive(vmm, &action->drive, e);
	case ACTION_PATCH_DRIVE:
		return vmm_patch_drive(vmm, &action->drive_update, e);
	case ACTION_PUT_ENTROPY:
		vmm->config.entropy = action->entropy;
		return 0;
	case ACTION_PUT_SERIAL:
		vmm_put_serial(vmm, &action->serial);
		return 0;
	case ACTION_INSTANCE_START:
		return vmm_start(vmm, e);
	case ACTION_FLUSH_METRICS:
		return metrics_flush(e);
	case ACTION_SEND_CTRL_ALT_DEL:
		return machine_send_ctrl_alt_del(vmm->machine, e);
	case ACTION_SIGNAL_ENTROPY_LEAK:
		return machine_signal_leak(vmm->machine, e);
	case ACTION_PAUSE:
		return vmm_pause(vmm, e);
	case ACTION_RESUME:
		return vmm_resume(vmm, e);
	case ACTION_SNAPSHOT_CREATE:
		return machine_save(vmm->machine, &action->snapshot_create, e);
	case ACTION_SNAPSHOT_LOAD:
		return vmm_load(vmm, &action->snapshot_load, e);
	}
	return err_set(e, EINVAL, "action %d is not known", (int)action->kind);
}

int vmm_do(struct vmm *vmm, struct action *action, json_t **reply, struct err *e)
{
	const struct action_rule *rule = &action_rules[action->kind];
	uint64_t start_ns = clock_now_ns(), us;
	int r;

	*reply = NULL;
	r = vmm_check_state(rule, vmm_state(vmm), e);
	if (r)
		return r;
	r = vmm_carry_out(vmm, action, reply, e);
	if (r)
		return rule->error ? err_wrap(e, r, "%s", rule->error) : r;
	if (rule->boot_specific)
		vmm->boot_specific = true;
	if (rule->timed) {
		us = (clock_now_ns() - start_ns) / 1000;
		atomic_store_explicit(rule->time, us, memory_order_relaxed);
		log_info("'%s' API request took %llu us.", rule->timed, (unsigned long long)us);
	}
	return 0;
}
