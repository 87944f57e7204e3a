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
/* Reads what KVM can give on this host, which takes long enough to do it only once: into vm->arch. */
int cpuid_read_supported(struct vm *vm, struct err *e) must_check;
const struct kvm_cpuid2 *cpuid_get_supported(const struct vm *vm);
/* Gives a new vCPU its features, and its place among num_vcpus. */
int cpuid_apply(struct vcpu *vcpu, unsigned int num_vcpus, struct err *e) must_check;

#endif
