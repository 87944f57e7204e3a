/* SPDX-License-Identifier: Apache-2.0 */
/* Model-specific registers of a vCPU: setting them, and the ones that a snapshot has. */
#ifndef ARCH_X86_64_MSR_H
#define ARCH_X86_64_MSR_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct vcpu;

#define MSR_TSC		 0x10u
#define MSR_TSC_DEADLINE 0x6e0u

/* kvmclock: the numbers that guests use, and those of before 2010. Bit 0 of a SYSTEM_TIME: it is in use. */
#define MSR_KVM_SYSTEM_TIME	0x12u
#define MSR_KVM_WALL_CLOCK_NEW	0x4b564d00u
#define MSR_KVM_SYSTEM_TIME_NEW 0x4b564d01u

/* A snapshot has at most this many. */
#define MSR_MAX_SAVED 1024u

/* Reads entry->index. -ENXIO if KVM does not have it. */
int msr_get_one(struct vcpu *vcpu, struct kvm_msr_entry *entry) must_check;
/* Sets n registers in the given order; the error names the register that KVM refuses. */
int msr_set(struct vcpu *vcpu, const struct kvm_msr_entry *entries, size_t n, struct err *e) must_check;

struct msr_set {
	size_t n;
	struct kvm_msr_entry entries[MSR_MAX_SAVED];
};

/* The first one of that index; NULL. */
struct kvm_msr_entry *msr_find(struct msr_set *set, uint32_t index);

/* Registers that KVM has, but does not list in all versions. */
struct msr_range {
	uint32_t first, last;
};
extern const struct msr_range msr_unlisted[];
extern const size_t msr_num_unlisted;

/*
 * Is this register part of the state of a guest that was given these features? has_pmu: KVM gives it the counters that no
 * feature bit stands for.
 */
bool msr_is_state(const struct kvm_cpuid2 *cpuid, bool has_pmu, uint32_t index);

/* Reads all that a snapshot needs, TSC_DEADLINE last. */
int msr_get_all(struct vcpu *vcpu, const struct kvm_cpuid2 *cpuid, struct msr_set *set, struct err *e) must_check;
/*
 * To be called before a vCPU's TSC is set to that of the set.
 *
 * KVM takes a TSC that differs by less than a second from what the machine would have by now for an attempt to keep
 * processors in step, and ignores it: wanted between the processors, but before Linux 6.7 it also compares with the
 * machine's creation, and the clock of a guest that had just started would go back. A value from far away, first, and
 * for one processor only, makes KVM forget the creation.
 */
int msr_forget_creation_tsc(struct vcpu *vcpu, struct msr_set *set, struct err *e) must_check;
/*
 * Sets registers from a snapshot, of a guest with these features. One that is no state of such a guest is refused; or left
 * out if the snapshot is old (v1.0 knew no features).
 */
int msr_set_all(struct vcpu *vcpu, const struct kvm_cpuid2 *cpuid, bool old, struct msr_set *set,
		struct err *e) must_check;

#endif
