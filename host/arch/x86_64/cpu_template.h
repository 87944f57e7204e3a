/* SPDX-License-Identifier: Apache-2.0 */
/* CPU templates: what a new machine's guest is given of the processor, less or other than KVM gives. */
#ifndef ARCH_X86_64_CPU_TEMPLATE_H
#define ARCH_X86_64_CPU_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/x86_64/cpuid_list.h"
#include "base/err.h"
#include "config/config.h"

/* What becomes of a register of a leaf: (old & ~mask) | value. */
struct cpu_leaf_rule {
	uint32_t function, index;
	enum cpuid_reg reg;
	uint32_t mask, value;
};

struct cpu_msr_rule {
	uint32_t index;
	uint64_t mask, value;
};

/* A static template. */
struct cpu_static_template {
	const char *name, *vendor; /* of 12 characters */
	const char *processors;	   /* that it is for, and their signatures: CPUID 1 EAX, 0 ends */
	uint32_t signatures[4];
	const struct cpu_leaf_rule *leaves;
	size_t num_leaves;
	const struct cpu_msr_rule *msrs;
	size_t num_msrs;
};

/* cpu_static.c. Not for CPU_TEMPLATE_NONE. */
const struct cpu_static_template *cpu_static_template(enum cpu_template which);

/*
 * Changes the list that KVM gives into what the template says. -ENOTSUP with a sentence: a static template on a processor that
 * it is not for, or a bit that is to be 1 in a leaf that there is not. What a machine's place and our limits make of it
 * (cpuid_fix()) comes afterwards: no template gives VMX or SVM.
 */
int cpu_template_apply(const struct vm_config *config, struct kvm_cpuid2 *cpuid, struct err *e) must_check;
/* Is there a template of the user's own, whose features the host is asked for (cpuid_check_template())? */
bool cpu_template_is_custom(const struct vm_config *config);
/* The capabilities of KVM that a custom template needs. */
int cpu_template_check_kvm(int kvm_fd, const struct vm_config *config, struct err *e) must_check;
/* Registers of all vCPUs of a machine that is about to boot, before anything else is set. */
int cpu_template_set_msrs(struct vm *vm, const struct vm_config *config, struct err *e) must_check;

#endif
