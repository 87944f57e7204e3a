/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine: owns memory, KVM, bus and devices, and the recipes that join
 * them: boot, pause, resume, save, load. A struct machine exists only while
 * there is a guest; before that there is just a configuration.
 *
 * Saving marks a leak pending, loading always has one pending; resume carries
 * it out once, before any vCPU runs (docs/leak-protocol.md).
 *
 * Loop thread only. Every function that can fail leaves the machine as it was.
 */
#ifndef MACHINE_MACHINE_H
#define MACHINE_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "config/config.h"

struct machine;
struct mmds_store;
struct resource;
struct resource_patch;
struct resource_query;
struct vm_shell;

/* How long the last of each took. */
#define LATENCIES_US_METRICS(M)                   \
	M(latencies_us, full_create_snapshot)     \
	M(latencies_us, diff_create_snapshot)     \
	M(latencies_us, load_snapshot)            \
	M(latencies_us, pause_vm)                 \
	M(latencies_us, resume_vm)                \
	M(latencies_us, vmm_full_create_snapshot) \
	M(latencies_us, vmm_diff_create_snapshot) \
	M(latencies_us, vmm_load_snapshot)        \
	M(latencies_us, vmm_pause_vm)             \
	M(latencies_us, vmm_resume_vm)            \
	M(latencies_us, leak_event)               \
	M(latencies_us, reseed) /* from the resume until the guest said that it had reseeded, for whoever waited */
METRICS_DECLARE(latencies_us, LATENCIES_US_METRICS)

/* Of what is done beside the loop. On the loop. */
typedef void machine_done_fn(void *arg, int r, const struct err *e);

/* The sections of the machine and of every device that there can be. */
void machine_add_metrics(void);

/*
 * What a machine will need of KVM, be it booted or loaded, before one is asked for: *shell, which the next machine takes, and
 * leaves NULL. Where there is none machines make it themselves, and have its errors.
 */
int machine_prepare(struct vm_shell **shell, struct err *e) must_check;
void machine_forget_prepared(struct vm_shell *shell); /* NULL is fine */

/*
 * Builds the machine that config describes, loads the kernel and lets it run. config is borrowed for the machine's life
 * (it is what a snapshot stores), so is metadata, which the guest may read. When the guest ends by itself, loop_stop(loop, 0), or 1 after a crash or an error, is called.
 */
int machine_boot(const struct vm_config *config, bool boot_timer, const struct mmds_store *metadata,
		 struct vm_shell **shell, struct loop *loop, struct machine **out, struct err *e) must_check;

/* Does boot_args, with what a machine of this configuration adds, fit into the kernel's command line? */
int machine_check_boot_args(const struct vm_config *config, struct err *e) must_check;

/* What machine_load() returns if that cannot be done at once: nothing was done, machine_load_served() is to be called. */
#define MACHINE_LOAD_IS_SERVED 1

/*
 * Restores a machine, paused. *config (initialised, without a machine's devices) is filled from the snapshot, but for what is
 * the process's (resource/vm_config.h), which stays; on error all of it is left as it was.
 */
int machine_load(const struct snapshot_load_config *load, struct vm_config *config, const struct mmds_store *metadata,
		 struct vm_shell **shell, struct loop *loop, struct machine **out, struct err *e) must_check;

/*
 * The same where a page-fault handler has the memory, or we copy it from its files page by page (huge_pages 2M), which may
 * take its time: calls done(arg) on the loop, perhaps before this returns. *out is the machine that is being made, or NULL:
 * there machine_stop() is all that may be called before done. Load is borrowed until then. If done gets an error, a machine at
 * *out is to be freed, and *config is as it was after that.
 */
void machine_load_served(const struct snapshot_load_config *load, struct vm_config *config,
			 const struct mmds_store *metadata, struct vm_shell **shell, struct loop *loop,
			 struct machine **out, machine_done_fn *done, void *arg);

/*
 * Stops the vCPUs for good. -ETIMEDOUT with a sentence if one does not come within half a second: the machine cannot be freed
 * then, as that vCPU may use it at any time; the process has to end with it. NULL is fine.
 */
int machine_stop(struct machine *m, struct err *e) must_check;
/* The machine has not run, or was stopped. NULL is fine; restores the terminal. */
void machine_free(struct machine *m);

bool machine_is_paused(const struct machine *m);
int machine_pause(struct machine *m, struct err *e) must_check;
/* The same beside the loop, where a page-fault handler has memory: calls done(arg) there. The machine runs. */
void machine_pause_beside(struct machine *m, machine_done_fn *done, void *arg);
/* If it fails the machine stays paused. */
int machine_resume(struct machine *m, struct err *e) must_check;

/* Has a page-fault handler, or a thread of ours in its place, pages of this machine? machine_prepare_resume() comes first then. */
bool machine_memory_is_served(const struct machine *m);
/* Has what a resume will touch, beside the loop, and calls done(arg). An error is the handler's, which has not served it. */
void machine_prepare_resume(struct machine *m, machine_done_fn *done, void *arg);

/* Can it be waited for? -ENODEV, -EOPNOTSUPP with a sentence if the guest will never say that it has reseeded. Before the resume. */
int machine_check_reseed(const struct machine *m, struct err *e) must_check;

/*
 * Beside the loop, for what waits for files: calls work(arg) on a thread of the machine's, and then done(arg) with what it
 * returned on the loop. Until then nothing else may be begun here, and the machine not be resumed.
 */
void machine_beside(struct machine *m, int (*work)(void *arg, struct err *e), machine_done_fn *done, void *arg);

/*
 * After the resume: calls done(arg) on the loop once the guest says that it has reseeded after the last leak event, perhaps before
 * this returns. If it has not in timeout_ms the machine is paused again, and that is -ETIMEDOUT. Nothing else may be under way.
 */
void machine_await_reseed(struct machine *m, uint32_t timeout_ms, machine_done_fn *done, void *arg);

/* Writes a snapshot beside the loop; save is borrowed until done is called. The machine must be paused, else -EBUSY. */
void machine_save(struct machine *m, const struct snapshot_create_config *save, machine_done_fn *done, void *arg);

/* Runs a leak event now, for a leak that the monitor cannot see; a running machine is stopped for it and runs on. On a paused one the leak is marked pending. */
int machine_signal_leak(struct machine *m, struct err *e) must_check;
int machine_send_ctrl_alt_del(struct machine *m, struct err *e) must_check;
/* Changes the device of an instance of a resource, as patch (the struct of how->fields) says. Waits for files. */
int machine_update(struct machine *m, const struct resource *resource, const struct resource_patch *how,
		   const void *instance, const void *patch, struct err *e) must_check;
/* Asks the device of an instance of a resource; answer is a zeroed struct of query->reply. */
int machine_query(struct machine *m, const struct resource *resource, const struct resource_query *query,
		  const void *instance, void *answer, struct err *e) must_check;

#endif
