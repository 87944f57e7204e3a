/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this directory share: the machine's parts and the order in which they are joined. */
#ifndef MACHINE_INTERNAL_H
#define MACHINE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "arch/arch.h"
#include "bus/bus.h"
#include "bus/platform.h"
#include "config/config.h"
#include "kvm/vm.h"
#include "machine/beside.h"
#include "machine/machine.h"
#include "machine/reseed.h"
#include "mem/mem.h"
#include "mmds/mmds.h"
#include "snapshot/chain.h"
#include "virtio/mmio.h"

struct load_served;
struct pager;
struct working_set;

struct machine_platform {
	struct platform platform; /* what devices see; must come first */
	struct vm *vm;		  /* borrowed */
	struct machine *machine;  /* borrowed; the one that this is part of */
	const struct irq_line *waiting
		[ARCH_GSI_LAST +
		 1]; /* irq_wait.c: raised when the guest unmasks their pins; of those that share one, either will do; borrowed */
	struct loop_source *wait_timer;
	uint64_t wait_ns; /* until the next look */
};

struct machine {
	const struct vm_config *config;	   /* borrowed */
	const struct mmds_store *metadata; /* borrowed */
	struct loop *loop;		   /* borrowed */
	struct vm_shell **shell;	   /* borrowed; what machine_prepare() made, and machine_build() takes */
	bool boot_timer;
	bool pmu; /* the guest was given performance counters by an old snapshot */
	struct guest_mem mem;
	struct bus bus;
	struct vm *vm;
	struct machine_platform platform;
	struct mmds *mmds;	 /* owned; NULL: not configured */
	struct device *devices;	 /* owned list, in boot order */
	struct arch_board board; /* where they are */
	bool paused;
	struct beside beside;
	struct reseed_wait reseed;
	const struct snapshot_create_config *save; /* borrowed; the snapshot that is being written */
	struct enc *save_state;			   /* owned; its state file */
	uint64_t *save_changed[MEM_MAX_REGIONS];   /* owned; of a diff: its pages */
	struct snapshot_chain save_chain;	   /* what it lies on; then what it is */
	struct snapshot_chain chain; /* the snapshots that memory was, at the mark of mem/track.h; none: no mark */
	machine_done_fn *save_done;
	void *save_ctx;
	struct pager *pager;		 /* owned; NULL: no page-fault handler */
	struct working_set *working_set; /* owned; NULL: none is read or recorded */
	struct load_served *load;	 /* owned; it is under way, beside the loop */
	machine_done_fn *prepare_done;
	void *prepare_ctx;
	bool leak_pending; /* memory may have been copied since the guest ran last */
};

/* platform.c; fini before the devices are freed. */
int machine_platform_init(struct machine_platform *p, struct machine *m, struct err *e) must_check;
void machine_platform_fini(struct machine_platform *p);

/* irq_wait.c: platform_ops.irq_raise_when_open, and what platform.c needs for it. */
void machine_irq_raise_when_open(struct platform *platform, const struct irq_line *irq);
int machine_irq_wait_init(struct machine_platform *p, struct err *e) must_check;
void machine_irq_wait_fini(struct machine_platform *p);

/* models.c: creates every device that the configuration asks for, in boot order; the same for boot and load. */
int machine_assemble(struct machine *m, struct err *e) must_check;
/* save.c: frees what was collected for a snapshot. */
void machine_forget_save(struct machine *m);
/* load_served.c: NULL is fine; after the machine was freed. */
void machine_forget_load(struct load_served *s);
/* machine.c: memory is there; makes bus, VM and devices. boots: the processors are as the configuration says, not as a snapshot. */
int machine_build(struct machine *m, bool boots, struct err *e) must_check;
struct machine *machine_alloc(const struct vm_config *config, const struct mmds_store *metadata,
			      struct vm_shell **shell, struct loop *loop);

#endif
