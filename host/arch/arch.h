/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every architecture provides. Code outside arch/ calls these and uses
 * the constants of layout.h; it has no #ifdef of an architecture but the one
 * below.
 */
#ifndef ARCH_ARCH_H
#define ARCH_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/metrics.h"
#include "bus/device.h"
#include "bus/platform.h"
#include "config/config.h"
#include "mem/mem.h"

#if defined(__x86_64__)
#include "arch/x86_64/layout.h"
#else
#error "no architecture code for this target yet: see host/arch/"
#endif

struct dec;
struct enc;
struct vcpu;
struct vm;
struct vm_arch_ops;

/* Splits size bytes of RAM into regions around the MMIO gap. */
void arch_mem_layout(uint64_t size, struct mem_layout *layout);

/* What a VM of this architecture has (kvm/vm.h), for vm_new(). */
extern const struct vm_arch_ops arch_vm_ops;
/*
 * Could the guest take interrupt gsi now: has it unmasked the pin? What is raised at a masked pin is lost, edges are not
 * kept. True if KVM does not tell. The answer stays right only while no vCPU runs.
 */
bool arch_irq_is_open(struct vm *vm, uint32_t gsi);

/* Where one device is: for firmware tables, and in a snapshot. */
struct arch_place {
	char device[DEVICE_NAME_SIZE];
	gpa_t base; /* its window, or what it has in guest memory */
	uint32_t gsi;
	bool taken; /* by its device; else it is only said in a snapshot */
};

#define ARCH_MAX_PLACES (ARCH_MAX_VIRTIO + 2)

/* The machine's board (board.c): zeroed at first, then what stands first below is set. */
struct arch_board {
	struct platform *platform;	/* borrowed */
	const struct vm_config *config; /* borrowed */
	bool boot_timer;
	void (*on_reset)(void *ctx); /* the guest asks for a reset; on a vCPU's thread */
	void *ctx;

	struct device *keyboard; /* borrowed; what types Ctrl-Alt-Del */
	bool is_saved;		 /* each device has the place that the snapshot says */
	bool is_v1_0;		 /* places are given as v1.0 gave them, whose snapshots do not say */
	unsigned int num_places;
	struct arch_place places[ARCH_MAX_PLACES]; /* in the order of their devices */
};

/* A device that belongs to the board. */
struct arch_board_device {
	/* *dev stays as it is if this machine has none. NULL: here is the place of the devices that are configured. */
	int (*create)(struct arch_board *b, struct device **dev, struct err *e);
	struct metrics_section *metrics; /* NULL: it counts nothing */
};

/* In boot order: of addresses of a new machine, and of leak events. */
extern const struct arch_board_device arch_board_devices[];
extern const size_t arch_num_board_devices;

/* Where a virtio device is, by its name: as the snapshot says, or the next free place. *out is the board's. */
int arch_board_place_virtio(struct arch_board *b, const char *device, const struct arch_place **out,
			    struct err *e) must_check;
/* So many places of a new machine, for devices without a name. */
int arch_board_new_places(struct arch_board *b, unsigned int num_virtio, struct err *e) must_check;
unsigned int arch_board_num_virtio(const struct arch_board *b);
bool arch_place_is_virtio(const struct arch_place *place);

/* Places to and from the top-level map of a snapshot; load before there is a device, the check when all are there. */
void arch_board_save(const struct arch_board *b, struct enc *enc);
int arch_board_load(struct arch_board *b, struct dec *dec, struct err *e) must_check;
int arch_board_check_taken(const struct arch_board *b, struct err *e) must_check;

/* -EBUSY if the guest has not read what was typed before. */
int arch_board_ctrl_alt_del(struct arch_board *b, struct err *e) must_check;

/* Does boot_args, with what a machine with so many virtio devices adds, fit into the kernel's command line? */
int arch_check_boot_args(const struct vm_config *config, unsigned int num_virtio, struct err *e) must_check;

/* May a CPU template force these bits of a register of a CPUID leaf to 1? No to nested virtualisation: -EINVAL with a sentence. */
int arch_check_cpuid_ones(uint32_t leaf, enum cpu_register reg, uint32_t ones, struct err *e) must_check;

/*
 * Loads kernel and initrd, writes command line and firmware tables into guest memory and sets the vCPUs' registers for the
 * kernel's entry. All devices have their places.
 */
int arch_boot(struct vm *vm, const struct vm_config *config, const struct arch_board *board, struct err *e) must_check;

/*
 * State that is KVM's own. Save runs with all vCPUs paused and every device quiet. Load runs on a new VM; the order is:
 * arch_clock_load(), by which the vCPUs' clocks go, arch_vcpu_load() for all vCPUs, then arch_vm_load(), then the devices (an
 * interrupt that a device raises earlier would be overwritten by the controllers' state).
 */
/* What a loaded machine's clocks do: at the moment at_ns (clock_now_ns()) they were moved on by moved_ns, and run since. */
struct arch_clock {
	uint64_t moved_ns; /* 0: they go on as if no time had passed since the save */
	uint64_t at_ns;
};
int arch_vcpu_save(struct vcpu *vcpu, struct enc *enc, struct err *e) must_check;
int arch_vcpu_load(struct vcpu *vcpu, struct dec *dec, const struct arch_clock *clock, struct err *e) must_check;
/* Was a saved vCPU given performance counters? New ones are not; those of v1.0 could be. dec is the vCPU's map; errors go there. */
bool arch_vcpu_state_has_pmu(struct dec *dec);
/*
 * Has the pages of memory that a handler has (mem_prepare()), as far as the loop touches them: those that KVM looks at when it is
 * given the state of a vCPU, and those of the board's devices.
 */
int arch_vcpu_prepare(struct dec *dec, const struct guest_mem *mem) must_check;
int arch_prepare_own(const struct guest_mem *mem) must_check;
int arch_vm_save(struct vm *vm, struct enc *enc, struct err *e) must_check;
/*
 * Both read the map of arch_vm_save(). clock_realtime: let the guest's clocks advance by the host time since the save, if the
 * snapshot has it (else an error).
 */
int arch_clock_load(struct vm *vm, struct dec *dec, bool clock_realtime, struct arch_clock *clock,
		    struct err *e) must_check;
int arch_vm_load(struct vm *vm, struct dec *dec, struct err *e) must_check;

#endif
