/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A KVM virtual machine: memory slots, interrupt and doorbell eventfds, and
 * its vCPUs as one group that runs or is stopped. kvm/ and arch/ are the only
 * places with KVM ioctls; kvm/ knows no architecture but as a table of functions. Loop thread, except where said.
 */
#ifndef KVM_VM_H
#define KVM_VM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "bus/bus.h"
#include "kvm/exit.h"
#include "mem/mem.h"

struct vcpu;
struct vm_config;
struct vm_shell;

/* Why the guest stopped for good; told once, on the vCPU's thread. */
enum vm_exit {
	VM_EXIT_RESET, /* a request of the guest: it wants to reboot or is off */
	VM_EXIT_ERROR, /* the guest crashed (triple fault) or KVM could not go on; the log has the reason */
};

struct vm;

/* What an architecture adds (arch_vm_ops of arch/arch.h). All of it is there. */
struct vm_arch_ops {
	/* After KVM_CREATE_VM: what KVM must be able to do, and what it says of itself, which goes to shell->arch. */
	int (*prepare)(struct vm_shell *shell, struct err *e);
	/* Then, when there is memory, before vCPUs: interrupt controllers and timers in the kernel. */
	int (*vm_init)(struct vm *vm, struct err *e);
	/* After KVM_CREATE_VCPU: processor features and topology for vcpu->index of its machine. */
	int (*vcpu_init)(struct vcpu *vcpu, struct err *e);
	/* A guest exit that not every architecture has. On the vCPU's thread. */
	enum exit_verdict (*handle_exit)(struct vcpu *vcpu);
	/* The vCPU has left the guest and is about to wait. On the vCPU's thread. */
	void (*paused)(struct vcpu *vcpu);
};

/* What is fixed at creation. */
struct vm_setup {
	const struct vm_arch_ops *arch;
	unsigned int num_vcpus;
	bool smt; /* two threads a core */
	bool pmu; /* performance counters, for a guest of an old snapshot that was given them */
	const struct vm_config
		*config; /* of a machine that boots, for arch; NULL: it is loaded, and has what its snapshot says */
	bool log_dirty_pages;	/* the memory gets a log of what the guest writes (mem_set_guest_log()) */
	struct vm_shell *shell; /* becomes the machine, or is freed; NULL: one is made */
};

struct vm {
	int kvm_fd;   /* owned */
	int fd;	      /* owned */
	int run_size; /* bytes of a struct kvm_run mapping */
	const struct vm_arch_ops *arch_ops;
	struct bus *bus;       /* borrowed */
	struct guest_mem *mem; /* borrowed */
	unsigned int num_vcpus;
	bool smt;
	bool has_pmu;			/* asked for; or there because this KVM cannot take it away */
	struct vcpu *vcpus;		/* owned array */
	const struct vm_config *config; /* borrowed while vm_new() runs, as struct vm_setup's */
	void (*on_exit)(void *ctx, enum vm_exit why);
	void *on_exit_ctx;
	void *arch;	       /* owned; struct vm_shell's */
	atomic_flag exit_told; /* on_exit was called */
};

/*
 * Makes of setup's shell (or of a new one, with its errors: kvm/shell.h) a VM with interrupt controllers, memory slots and setup's vCPUs with
 * their threads, parked. No registers are set: arch_boot() or arch_vcpu_load() does that.
 */
int vm_new(const struct vm_setup *setup, struct bus *bus, struct guest_mem *mem,
	   void (*on_exit)(void *ctx, enum vm_exit why), void *on_exit_ctx, struct vm **vm, struct err *e) must_check;
/* Stops and joins the vCPU threads, which vm_pause() has said can be done; NULL is fine. */
void vm_free(struct vm *vm);

/* All vCPUs run guest code from here on. Idempotent. */
void vm_run(struct vm *vm);
/*
 * Returns when no vCPU is in the guest and none will be until vm_run(); an MMIO or port access that was under way is
 * complete (KVM finishes it only at the next KVM_RUN: each vCPU re-enters with immediate_exit set), so that the
 * registers are those after the instruction. Idempotent. Must be called without any device's lock.
 *
 * -ETIMEDOUT with a sentence when a vCPU does not stop within timeout_ns, because a disk or a server that its thread waits for
 * does not answer. What holds then is unknown: vm_run() takes the wish back, but vm_free() might never return.
 */
int vm_pause(struct vm *vm, uint64_t timeout_ns, struct err *e) must_check;

/* For vCPU threads: tells the owner why the guest stopped; only the first call does. */
void vm_report_exit(struct vm *vm, enum vm_exit why);

/* fd (an eventfd) raises gsi. */
int vm_irqfd(struct vm *vm, uint32_t gsi, int fd, struct err *e) must_check;
/* A 32-bit guest write of value to addr makes fd readable. add false takes it away. */
int vm_ioeventfd(struct vm *vm, gpa_t addr, uint32_t value, int fd, bool add, struct err *e) must_check;

#endif
