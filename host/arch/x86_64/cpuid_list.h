/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of CPUID leaves as KVM has them. */
#ifndef ARCH_X86_64_CPUID_LIST_H
#define ARCH_X86_64_CPUID_LIST_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct vm;

/* More than any KVM gives or takes. */
#define CPUID_MAX_ENTRIES 256u

/* Room for nent entries, all zero; the caller frees it. NULL when out of memory. */
struct kvm_cpuid2 *cpuid_alloc(uint32_t nent);
/* NULL if there is no such leaf. */
const struct kvm_cpuid_entry2 *cpuid_find(const struct kvm_cpuid2 *cpuid, uint32_t function, uint32_t index);
bool cpuid_is_vendor(const struct kvm_cpuid2 *cpuid, const char vendor[12]);
/* What KVM can give on this host; the caller frees *cpuid. */
int cpuid_get_supported(struct vm *vm, struct kvm_cpuid2 **cpuid, struct err *e) must_check;

#endif
