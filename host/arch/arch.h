/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every architecture provides. Code outside arch/ calls these and uses
 * the constants of layout.h; it has no #ifdef of an architecture but the one
 * below.
 */
#ifndef ARCH_ARCH_H
#define ARCH_ARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
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

/* Where the firmware tables say a device is. */
struct arch_virtio_slot {
	gpa_t base;
	uint32_t gsi;
};

struct arch_boot_config {
	const char *kernel_path;
	const char *initrd_path; /* NULL: none */
	const char *cmdline;	 /* complete but for what the architecture adds: nothing on x86_64 */
	unsigned int num_virtio;
	struct arch_virtio_slot virtio[ARCH_MAX_VIRTIO];
	uint32_t vmgenid_gsi; /* 0: there is no VM Generation ID; else its 16 bytes are at ARCH_VMGENID_GPA */
};

/* Loads kernel and initrd, writes firmware tables into guest memory and sets the vCPUs' registers for the kernel's entry. */
int arch_boot(struct vm *vm, const struct arch_boot_config *config, struct err *e) must_check;

/*
 * State that is KVM's own. Save runs with all vCPUs paused and every device quiet. Load runs on a new VM; the order is:
 * arch_vcpu_load() for all vCPUs, then arch_vm_load(), then the devices (an interrupt that a device raises earlier would
 * be overwritten by the controllers' state).
 */
int arch_vcpu_save(struct vcpu *vcpu, struct enc *enc, struct err *e) must_check;
int arch_vcpu_load(struct vcpu *vcpu, struct dec *dec, struct err *e) must_check;
/* Was a saved vCPU given performance counters? New ones are not; those of v1.0 could be. dec is the vCPU's map; errors go there. */
bool arch_vcpu_state_has_pmu(struct dec *dec);
int arch_vm_save(struct vm *vm, struct enc *enc, struct err *e) must_check;
/* clock_realtime: let the guest's clock advance by the host time since the save, if the snapshot has it (else an error). */
int arch_vm_load(struct vm *vm, struct dec *dec, bool clock_realtime, struct err *e) must_check;

#endif
