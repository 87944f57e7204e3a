// SPDX-License-Identifier: Apache-2.0
/*
 * The controller: whether the state allows an action, and carrying it out. An
 * action that fails leaves configuration and machine as they were.
 */
#include "vmm/vmm.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "resource/vm_config.h"
#include "vmm/operation.h"

void vmm_init(struct vmm *vmm, struct loop *loop, const char *instance_id, bool boot_timer)
{
	memset(vmm, 0, sizeof(*vmm));
	vmm->loop = loop;
	vmm->instance_id = instance_id;
	vmm->boot_timer = boot_timer;
	vm_config_init(&vmm->config);
	mmds_store_init(&vmm->metadata, VMM_DEFAULT_METADATA);
}

int vmm_stop(struct vmm *vmm, struct err *e)
{
	return machine_stop(vmm->loading ? vmm->loading : vmm->machine, e);
}

void vmm_fini(struct vmm *vmm)
{
	machine_free(vmm->loading);
	machine_free(vmm->machine);
	machine_forget_prepared(vmm->shell);
	vmm->loading = vmm->machine = NULL;
	vmm->shell = NULL;
	action_fini(&vmm->pending);
	vm_config_fini(&vmm->config);
	mmds_store_fini(&vmm->metadata);
}

void vmm_prepare(struct vmm *vmm)
{
	struct err e;

	if (vmm->machine || vmm->loading || vmm->shell)
		return;
	if (machine_prepare(&vmm->shell, &e))
		log_debug("Nothing can be prepared for a machine: %s", e.text);
}

enum vmm_state vmm_state(const struct vmm *vmm)
{
	if (!vmm->machine)
		return VMM_NOT_STARTED;
	return machine_is_paused(vmm->machine) ? VMM_PAUSED : VMM_RUNNING;
}

static int vmm_check_state(unsigned int allowed, const char *error, enum vmm_state state, struct err *e)
{
	if (allowed & 1u << state)
		return 0;
	if (state == VMM_NOT_STARTED)
		return err_set(e, EINVAL, "The requested operation is not supported before starting the microVM.");
	if (allowed == VMM_BEFORE_START)
		return err_set(e, EINVAL, "The requested operation is not supported after starting the microVM.");
	return err_set(e, EBUSY, "%s: the microVM is running; pause it first", error);
}

int vmm_start(struct vmm *vmm, struct err *e)
{
	int r;

	if (!vmm->config.boot_source.present)
		return err_set(e, EINVAL, "Cannot start microvm without kernel configuration.");
	r = machine_boot(&vmm->config, vmm->boot_timer, &vmm->metadata, &vmm->shell, vmm->loop, &vmm->machine, e);
	if (!r)
		log_info("Successfully started microvm.");
	return r;
}

/* machine_done_fn; ctx is the vmm. It may come before vmm_do() has returned: then there is nobody to tell. */
static void vmm_on_done(void *ctx, int r, const struct err *e)
{
	struct vmm *vmm = ctx;

	vmm->busy = false;
	vmm->result = r;
	if (r)
		vmm->error = *e;
	if (vmm->on_idle && vmm->pending.endpoint.method)
		vmm->on_idle(vmm->on_idle_ctx);
}

static void vmm_begin(struct vmm *vmm)
{
	action_fini(&vmm->pending); /* of a client that is gone */
	vmm->busy = true;
}

static int vmm_begun(struct vmm *vmm, struct err *e)
{
	if (vmm->busy)
		return VMM_LATER;
	if (vmm->result)
		*e = vmm->error;
	return vmm->result;
}

int vmm_pause(struct vmm *vmm, struct err *e)
{
	if (machine_is_paused(vmm->machine))
		return 0;
	if (!machine_memory_is_served(vmm->machine))
		return machine_pause(vmm->machine, e);
	vmm_begin(vmm);
	machine_pause_beside(vmm->machine, vmm_on_done, vmm);
	return vmm_begun(vmm, e);
}

/* A machine that was restored, but cannot be resumed. Returns r. */
static int vmm_forget(struct vmm *vmm, int r, struct err *e)
{
	machine_free(vmm->machine);
	vmm->machine = NULL;
	vm_config_reset(&vmm->config);
	return err_wrap(e, r, "the microVM was restored but cannot be resumed");
}

/* machine_done_fn; what the resume will touch is there. */
static void vmm_on_prepared(void *ctx, int r, const struct err *why)
{
	struct vmm *vmm = ctx;
	struct err e = *why;

	if (!r)
		r = machine_resume(vmm->machine, &e);
	if (r && vmm->load)
		r = vmm_forget(vmm, r, &e);
	if (r || !vmm->reseed_timeout_ms)
		vmm_on_done(vmm, r, &e);
	else
		machine_await_reseed(vmm->machine, vmm->reseed_timeout_ms, vmm_on_done, vmm);
}

int vmm_resume(struct vmm *vmm, uint32_t reseed_timeout_ms, struct err *e)
{
	int r = reseed_timeout_ms ? machine_check_reseed(vmm->machine, e) : 0;

	if (!r && machine_is_paused(vmm->machine) && machine_memory_is_served(vmm->machine)) {
		vmm_begin(vmm);
		vmm->load = NULL;
		vmm->reseed_timeout_ms = reseed_timeout_ms;
		machine_prepare_resume(vmm->machine, vmm_on_prepared, vmm);
		return vmm_begun(vmm, e);
	}
	if (!r && machine_is_paused(vmm->machine))
		r = machine_resume(vmm->machine, e);
	if (r || !reseed_timeout_ms)
		return r;
	vmm_begin(vmm);
	machine_await_reseed(vmm->machine, reseed_timeout_ms, vmm_on_done, vmm);
	return vmm_begun(vmm, e);
}

/* machine_done_fn; the vCPUs and devices of a machine that ran stand still. */
static void vmm_on_leak_paused(void *ctx, int r, const struct err *why)
{
	struct vmm *vmm = ctx;
	struct err e = *why;

	if (!r)
		r = machine_signal_leak(vmm->machine, &e);
	if (r)
		vmm_on_done(vmm, r, &e);
	else
		machine_prepare_resume(vmm->machine, vmm_on_prepared, vmm);
}

int vmm_signal_leak(struct vmm *vmm, struct err *e)
{
	if (machine_is_paused(vmm->machine) || !machine_memory_is_served(vmm->machine))
		return machine_signal_leak(vmm->machine, e);
	vmm_begin(vmm);
	vmm->load = NULL;
	vmm->reseed_timeout_ms = 0;
	machine_pause_beside(vmm->machine, vmm_on_leak_paused, vmm);
	return vmm_begun(vmm, e);
}

/* machine_done_fn; the machine is there, or it has to go. */
static void vmm_on_loaded(void *ctx, int r, const struct err *why)
{
	struct vmm *vmm = ctx;
	struct machine *m = take_ptr(vmm->loading);
	struct err e = *why;

	if (r) {
		machine_free(m);
		vmm_on_done(vmm, r, &e);
		return;
	}
	vmm->machine = m;
	if (!vmm->load->resume_vm) {
		vmm_on_done(vmm, 0, &e);
		return;
	}
	vmm->reseed_timeout_ms = vmm->load->reseed_timeout_ms;
	r = vmm->reseed_timeout_ms ? machine_check_reseed(m, &e) : 0;
	if (r)
		vmm_on_prepared(vmm, r, &e);
	else
		machine_prepare_resume(m, vmm_on_prepared, vmm);
}

static int vmm_load_served(struct vmm *vmm, const struct snapshot_load_config *load, struct err *e)
{
	vmm_begin(vmm);
	vmm->load = load;
	machine_load_served(load, &vmm->config, &vmm->metadata, &vmm->shell, vmm->loop, &vmm->loading, vmm_on_loaded,
			    vmm);
	return vmm_begun(vmm, e);
}

int vmm_load(struct vmm *vmm, const struct snapshot_load_config *load, struct err *e)
{
	int r;

	if (vmm->boot_specific)
		return err_set(e, EINVAL,
			       "Loading a microVM snapshot not allowed after configuring boot-specific resources.");
	if (load->is_served)
		return vmm_load_served(vmm, load, e);
	r = machine_load(load, &vmm->config, &vmm->metadata, &vmm->shell, vmm->loop, &vmm->machine, e);
	if (r == MACHINE_LOAD_IS_SERVED)
		return vmm_load_served(vmm, load, e);
	if (r || !load->resume_vm)
		return r;
	r = vmm_resume(vmm, load->reseed_timeout_ms, e);
	return r >= 0 ? r : vmm_forget(vmm, r, e);
}

static int vmm_refuse_absent(const struct resource *r, const char *id, struct err *e)
{
	if (id) /* "drive." is what stands before the id in a device's name */
		return err_set(e, ENOENT, "%.*s \"%s\" does not exist", (int)strcspn(r->device, "."), r->device, id);
	return err_set(e, ENOENT, "\"%s\" is not configured", r->section);
}

static int vmm_get(struct vmm *vmm, const struct resource *r, json_t **reply, struct err *e)
{
	const void *instance = resource_find(r, &vmm->config, NULL);

	if (!instance)
		return vmm_refuse_absent(r, NULL, e);
	*reply = json_fields_encode(r->fields, instance);
	return *reply ? 0 : err_set(e, ENOMEM, "out of memory");
}

static int vmm_query(struct vmm *vmm, const struct resource *r, const struct resource_query *query, json_t **reply,
		     struct err *e)
{
	const void *instance = resource_find(r, &vmm->config, NULL);
	_cleanup_free_ void *answer = calloc(1, query->reply->size);
	int err;

	if (!instance)
		return vmm_refuse_absent(r, NULL, e);
	if (!answer)
		return err_set(e, ENOMEM, "out of memory");
	err = machine_query(vmm->machine, r, query, instance, answer, e);
	if (err)
		return err;
	*reply = json_fields_encode(query->reply, answer);
	return *reply ? 0 : err_set(e, ENOMEM, "out of memory");
}

/*
 * The machine puts words of its own onto the kernel's command line, for devices that can be added until the start and
 * not be taken away. What is too long already is refused here, the rest at the start.
 */
static int vmm_check_boot_args(const struct vmm *vmm, const struct boot_source_config *c, struct err *e)
{
	struct vm_config config = vmm->config;

	config.boot_source = *c;
	return machine_check_boot_args(&config, e);
}

static int vmm_put(struct vmm *vmm, const struct resource *r, void *body, struct err *e)
{
	int err = r == &boot_source_resource ? vmm_check_boot_args(vmm, body, e) : 0;

	if (!err && r->examine)
		err = r->examine(body, e);
	if (!err)
		err = r->apply ? r->apply(body, vmm->instance_id, e) : resource_put(r, &vmm->config, body, e);
	if (!err && r->flags & RESOURCE_BOOT)
		vmm->boot_specific = true;
	return err;
}

/* Before the start: a copy is changed, and judged as a whole. What can be patched then has no strings. */
static int vmm_patch_config(struct vmm *vmm, const struct resource *r, const struct resource_patch *patch, void *body,
			    struct err *e)
{
	void *instance = resource_find(r, &vmm->config, NULL);
	_cleanup_free_ void *merged = malloc(r->fields->size);
	int err;

	if (!merged)
		return err_set(e, ENOMEM, "out of memory");
	memcpy(merged, instance, r->fields->size);
	patch->merge(merged, body);
	err = r->check ? r->check(merged, e) : 0;
	if (!err && r->admit)
		err = r->admit(&vmm->config, merged, e);
	if (err)
		return err;
	memcpy(instance, merged, r->fields->size);
	if (r->stored)
		r->stored(&vmm->config);
	if (r->flags & RESOURCE_BOOT)
		vmm->boot_specific = true;
	return 0;
}

void vmm_set_on_idle(struct vmm *vmm, void (*fn)(void *ctx), void *ctx)
{
	vmm->on_idle = fn;
	vmm->on_idle_ctx = ctx;
}

bool vmm_must_wait(const struct vmm *vmm, const struct endpoint *ep)
{
	return vmm->busy && strcmp(ep->method, "GET") != 0;
}

static void vmm_count_time(const struct operation *op, uint64_t start_ns)
{
	uint64_t us = (clock_now_ns() - start_ns) / 1000;

	for (size_t i = 0; i < ARRAY_SIZE(op->time); i++)
		atomic_store_explicit(op->time[i], us, memory_order_relaxed);
	log_info("'%s' API request took %llu us.", op->timed, (unsigned long long)us);
}

int vmm_save(struct vmm *vmm, const struct snapshot_create_config *save, struct err *e)
{
	vmm_begin(vmm);
	machine_save(vmm->machine, save, vmm_on_done, vmm);
	return vmm_begun(vmm, e);
}

/* Beside the loop. */
static int vmm_update_device(void *ctx, struct err *e)
{
	struct vmm *vmm = ctx;

	return machine_update(vmm->machine, vmm->patched, vmm->how, vmm->instance, vmm->patch, e);
}

/* The configuration follows the machine: it is what GET /vm/config shows and what a snapshot stores. */
static void vmm_on_updated(void *ctx, int r, const struct err *e)
{
	struct vmm *vmm = ctx;

	if (!r && vmm->how->merge)
		vmm->how->merge(vmm->instance, vmm->patch);
	vmm_on_done(vmm, r, e);
}

static int vmm_patch_device(struct vmm *vmm, const struct resource *r, const struct resource_patch *patch, void *body,
			    struct err *e)
{
	const char *id = resource_is_list(r) ? *(char **)((char *)body + patch->id) : NULL;
	void *instance = resource_find(r, &vmm->config, id);

	if (!instance)
		return vmm_refuse_absent(r, id, e);
	vmm_begin(vmm);
	vmm->patched = r;
	vmm->how = patch;
	vmm->instance = instance;
	vmm->patch = body;
	machine_beside(vmm->machine, vmm_update_device, vmm_on_updated, vmm);
	return vmm_begun(vmm, e);
}

static int vmm_operate(struct vmm *vmm, const struct operation *op, void *body, json_t **reply, struct err *e)
{
	uint64_t start_ns = clock_now_ns();
	int r = op->run(vmm, body, reply, e);

	if (r == VMM_LATER)
		vmm->begun_ns = start_ns;
	else if (!r && op->timed)
		vmm_count_time(op, start_ns);
	return r;
}

static int vmm_carry_out(struct vmm *vmm, const struct endpoint *ep, void *body, json_t **reply, struct err *e)
{
	switch (ep->kind) {
	case ENDPOINT_GET:
		return vmm_get(vmm, ep->resource, reply, e);
	case ENDPOINT_PUT:
		return vmm_put(vmm, ep->resource, body, e);
	case ENDPOINT_PATCH:
		return ep->patch->running ? vmm_patch_device(vmm, ep->resource, ep->patch, body, e)
					  : vmm_patch_config(vmm, ep->resource, ep->patch, body, e);
	case ENDPOINT_QUERY:
		return vmm_query(vmm, ep->resource, ep->query, reply, e);
	case ENDPOINT_OPERATION:
		return vmm_operate(vmm, ep->operation, body, reply, e);
	case ENDPOINT_LATER:
		break;
	}
	return err_set(e, EOPNOTSUPP, "%s /%s is not supported yet: %s.", ep->method, ep->path, ep->why);
}

int vmm_do(struct vmm *vmm, struct action *action, json_t **reply, struct err *e)
{
	struct endpoint *ep = &action->endpoint;
	json_t *answer = NULL;
	int r;

	if (ep->kind == ENDPOINT_OPERATION) {
		ep->operation = operation_chosen(ep->operation, action->body);
		ep->allowed = ep->operation->allowed;
		ep->error = ep->operation->error;
	}
	r = vmm_check_state(ep->allowed, ep->error, vmm_state(vmm), e);
	if (r)
		return r;
	r = vmm_carry_out(vmm, ep, action->body, &answer, e);
	if (r == VMM_LATER) {
		vmm->pending = *action;
		memset(action, 0, sizeof(*action));
		return r;
	}
	if (r)
		return ep->error ? err_wrap(e, r, "%s", ep->error) : r;
	*reply = answer;
	return 0;
}

int vmm_result(struct vmm *vmm, json_t **reply, struct err *e)
{
	const struct endpoint *ep = &vmm->pending.endpoint;
	int r = vmm->result;

	if (!r && ep->operation && ep->operation->timed)
		vmm_count_time(ep->operation, vmm->begun_ns);
	if (r) {
		*e = vmm->error;
		if (ep->error)
			r = err_wrap(e, r, "%s", ep->error);
	}
	if (!r)
		*reply = NULL;
	action_fini(&vmm->pending);
	return r;
}
