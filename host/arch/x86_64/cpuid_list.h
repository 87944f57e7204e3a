/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of CPUID leaves as KVM has them. */
#ifndef ARCH_X86_64_CPUID_LIST_H
#define ARCH_X86_64_CPUID_LIST_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct vcpu;
struct vm;
struct vm_shell;

/* More than any KVM gives or takes. */
#define CPUID_MAX_ENTRIES 256u

/* A list with room for all that KVM may give or take. */
union cpuid_list {
	struct kvm_cpuid2 cpuid;
	uint8_t room[sizeof(struct kvm_cpuid2) + CPUID_MAX_ENTRIES * sizeof(struct kvm_cpuid_entry2)];
};

/* NULL if there is no such leaf. */
const struct kvm_cpuid_entry2 *cpuid_find(const struct kvm_cpuid2 *cpuid, uint32_t function, uint32_t index);
bool cpuid_is_vendor(const struct kvm_cpuid2 *cpuid, const char vendor[12]);
/* Reads what KVM can give on this host, which takes long enough to do it only once: into shell->arch. */
int cpuid_read_supported(struct vm_shell *shell, struct err *e) must_check;
const struct kvm_cpuid2 *cpuid_get_supported(const struct vm *vm);
/* A register of a leaf; 0 if there is no such leaf. */
enum cpuid_reg { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX };
uint32_t cpuid_reg(const struct kvm_cpuid2 *cpuid, uint32_t function, uint32_t index, enum cpuid_reg reg);

/* A vCPU's place in the machine. */
struct cpuid_place {
	uint32_t index; /* its APIC id */
	uint32_t num_vcpus;
	bool smt; /* two threads a core; num_vcpus is 1 or even */
	bool tsc_deadline;
};

/*
 * Turns what KVM supports into what a guest sees; the list has room for CPUID_MAX_ENTRIES. -E2BIG if they do not suffice.
 */
int cpuid_fix(struct kvm_cpuid2 *cpuid, const struct cpuid_place *place) must_check;
/* Gives a new vCPU its features, and its place in its machine. */
int cpuid_apply(struct vcpu *vcpu, struct err *e) must_check;

/*
 * May a guest that was given these features run on this host? supported is what KVM gives, offered what a new guest would
 * see of it. The error names the features that are missing. Nested virtualisation is refused whatever the host has.
 */
int cpuid_check(const struct kvm_cpuid2 *guest, const struct kvm_cpuid2 *supported, const struct kvm_cpuid2 *offered,
		struct err *e) must_check;
/* The same for a new guest that a CPU template has given features. */
int cpuid_check_template(const struct kvm_cpuid2 *guest, const struct kvm_cpuid2 *supported,
			 const struct kvm_cpuid2 *offered, struct err *e) must_check;
/* The same for a vCPU that was given its features and is to be loaded with guest. */
int cpuid_check_loaded(const struct vcpu *vcpu, const struct kvm_cpuid2 *guest, struct err *e) must_check;

#endif
