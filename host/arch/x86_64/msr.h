/* SPDX-License-Identifier: Apache-2.0 */
/* Model-specific registers of a vCPU: setting them, and the ones that a snapshot has. */
#ifndef ARCH_X86_64_MSR_H
#define ARCH_X86_64_MSR_H

#include <linux/kvm.h>
#include <stddef.h>

#include "base/err.h"

struct vcpu;

#define MSR_TSC		 0x10u
#define MSR_TSC_DEADLINE 0x6e0u

/* A snapshot has at most this many. */
#define MSR_MAX_SAVED 1024u

/* Sets n registers in the given order; the error names the register that KVM refuses. */
int msr_set(struct vcpu *vcpu, const struct kvm_msr_entry *entries, size_t n, struct err *e) must_check;

struct msr_set {
	size_t n;
	struct kvm_msr_entry entries[MSR_MAX_SAVED];
};

/* Reads all that a snapshot needs, TSC_DEADLINE last. */
int msr_get_all(struct vcpu *vcpu, struct msr_set *set, struct err *e) must_check;
/* Sets registers from a snapshot; refuses those that a snapshot does not have. */
int msr_set_all(struct vcpu *vcpu, struct msr_set *set, struct err *e) must_check;

#endif
