/* SPDX-License-Identifier: Apache-2.0 */
/* What a user says of the processors that the guest sees. */
#ifndef CONFIG_CPU_CONFIG_H
#define CONFIG_CPU_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "config/lists.h"

/* Static CPU templates of Firecracker; what they are for is in arch/x86_64/cpu_static.c. */
enum cpu_template {
	CPU_TEMPLATE_NONE,
	CPU_TEMPLATE_C3,
	CPU_TEMPLATE_T2,
	CPU_TEMPLATE_T2S,
	CPU_TEMPLATE_T2CL,
	CPU_TEMPLATE_T2A
};

/* A custom CPU template. Numbers and bitmaps are text, as config/cpu.h has it. */
enum cpu_register { CPU_EAX, CPU_EBX, CPU_ECX, CPU_EDX };

struct cpu_register_config {
	enum cpu_register reg;
	char *bitmap;
};

struct cpuid_config {
	char *leaf;
	char *subleaf;
	uint32_t flags;		      /* KVM's are used */
	struct field_array modifiers; /* of struct cpu_register_config */
};

struct msr_config {
	char *addr;
	char *bitmap;
};

struct cpu_config {
	bool present;
	struct string_list kvm_capabilities; /* "121": must be there; "!121": need not */
	struct field_array cpuid_modifiers;  /* of struct cpuid_config */
	struct field_array msr_modifiers;    /* of struct msr_config */
};

#endif
