/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The controller: the configuration before there is a machine, the machine
 * afterwards.
 */
#ifndef VMM_VMM_H
#define VMM_VMM_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/api_version.h"
#include "base/err.h"
#include "base/loop.h"
#include "config/config.h"
#include "machine/machine.h"
#include "mmds/store.h"
#include "vmm/action.h"

/* Bytes of metadata, if nobody says how many. */
#define VMM_DEFAULT_METADATA 51200

/* A program in C does not panic; what ends it is in the section signals. */
#define VMM_METRICS(M) M(vmm, panic_count)
METRICS_DECLARE(vmm, VMM_METRICS)

struct vmm {
	struct loop *loop;	 /* borrowed */
	const char *instance_id; /* borrowed */
	bool boot_timer;
	struct vm_config config;
	struct mmds_store metadata; /* the process's: no snapshot has it; main.c sets its limit */
	bool boot_specific;	    /* a resource of a machine to boot was configured: a load is refused from then on */
	struct vm_shell *shell;	    /* owned; for the machine to come. NULL: it makes one itself */
	struct machine *machine;    /* owned; NULL before start or load */

	/* What is under way beside the loop, or waits for the guest. */
	bool busy;
	struct action pending; /* owned until vmm_result() or the next one */
	uint64_t begun_ns;
	/* A PATCH of a device: what, the configuration that follows it, and the body; borrowed. */
	const struct resource *patched;
	const struct resource_patch *how;
	void *instance, *patch;
	/* A load or a resume of a machine whose memory a page-fault handler has. */
	const struct snapshot_load_config *load; /* borrowed; NULL: it is no load */
	struct machine *loading;		 /* owned; not yet the machine */
	uint32_t reseed_timeout_ms;
	int result;
	struct err error;
	void (*on_idle)(void *ctx);
	void *on_idle_ctx;
};

/* The sections of requests, of the machine and of its devices. Before metrics_open(). */
void vmm_add_metrics(void);

/* What vmm_do() returns for an action that waits, for files or for the guest: it goes on beside the loop. */
#define VMM_LATER 1

void vmm_init(struct vmm *vmm, struct loop *loop, const char *instance_id, bool boot_timer);
/* Stops the machine, if there is one; as machine_stop(): after an error vmm_fini() must not be called. */
int vmm_stop(struct vmm *vmm, struct err *e) must_check;
void vmm_fini(struct vmm *vmm);
enum vmm_state vmm_state(const struct vmm *vmm);

/*
 * Nobody has asked for anything for a while: what takes KVM its time, and any machine needs, is done now. Where that fails the
 * machine's own request says why.
 */
void vmm_prepare(struct vmm *vmm);

/* fn(ctx) is called when what was under way beside the loop is done. */
void vmm_set_on_idle(struct vmm *vmm, void (*fn)(void *ctx), void *ctx);
/* While something is under way, all that may change anything has to wait; what only looks (GET) has not. */
bool vmm_must_wait(const struct vmm *vmm, const struct endpoint *ep);
/* Of the action for which vmm_do() returned VMM_LATER, after on_idle: as vmm_do(). */
int vmm_result(struct vmm *vmm, json_t **reply, struct err *e) must_check;

/*
 * Carries out action (and takes what it needs out of it; the caller still calls action_fini()). Success: 0, and *reply is a new
 * reference for a GET and NULL otherwise. VMM_LATER: action is empty, vmm_result() has the rest. Failure: -errno and a sentence; the configuration and the machine are as before.
 */
int vmm_do(struct vmm *vmm, struct action *action, json_t **reply, struct err *e) must_check;

/* For operation.c: writes a snapshot; VMM_LATER, or as vmm_do(). */
int vmm_save(struct vmm *vmm, const struct snapshot_create_config *save, struct err *e) must_check;
/* For operation.c: stops the machine, if it runs; VMM_LATER, or as vmm_do(). */
int vmm_pause(struct vmm *vmm, struct err *e) must_check;
/* For operation.c: lets the machine run; with a timeout the action succeeds once the guest has reseeded. VMM_LATER, or as vmm_do(). */
int vmm_resume(struct vmm *vmm, uint32_t reseed_timeout_ms, struct err *e) must_check;
/* For operation.c: a leak that the monitor cannot see has happened. VMM_LATER, or as vmm_do(). */
int vmm_signal_leak(struct vmm *vmm, struct err *e) must_check;
/* For operation.c: the machine that is configured, or that of a snapshot. On error everything is as before. */
int vmm_start(struct vmm *vmm, struct err *e) must_check;
int vmm_load(struct vmm *vmm, const struct snapshot_load_config *load, struct err *e) must_check;

/* Applies a config file (a list of the same actions, in a fixed order) and starts the machine. */
int vmm_run_config_file(struct vmm *vmm, const char *path, struct err *e) must_check;

#endif
