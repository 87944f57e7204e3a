// SPDX-License-Identifier: Apache-2.0
/*
 * A custom CPU template, as Firecracker has it: which bits of CPUID and of MSRs
 * the guest is given, whatever the host's processor has. What is said here is
 * only the notation; arch/ applies it when a machine starts. A machine that is
 * loaded has the features of its snapshot.
 */
#include <stdio.h>

#include "arch/arch.h"
#include "config/cpu.h"
#include "resource/resource.h"

#define CPU_MAX_LEAVES 256
#define CPU_MAX_MSRS   256

static const char *const cpu_registers[] = {
	[CPU_EAX] = "eax", [CPU_EBX] = "ebx", [CPU_ECX] = "ecx", [CPU_EDX] = "edx", NULL
};

#define CPU_NUMBER .min = 1, .max = 40
#define CPU_BITMAP .min = 1, .max = 160

static const struct field cpu_register_fields[] = {
	{ "register", FIELD_ENUM, FIELD_REQUIRED, FIELD_AT(cpu_register_config, reg), .names = cpu_registers,
	  .help = "A register of the leaf." },
	{ "bitmap", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(cpu_register_config, bitmap), CPU_BITMAP,
	  .help = "0b and up to 32 digits: 0 and 1 force a bit, x leaves it alone; the last one is bit 0." },
};
static const struct field_table cpu_register_table = FIELD_TABLE(cpu_register_config, cpu_register_fields);

static const struct field cpuid_fields[] = {
	{ "leaf", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(cpuid_config, leaf), CPU_NUMBER, .help = "As \"0x7\"." },
	{ "subleaf", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(cpuid_config, subleaf), CPU_NUMBER, .help = "As \"0x0\"." },
	{ "flags", FIELD_U32, FIELD_REQUIRED, FIELD_AT(cpuid_config, flags), .max = 7,
	  .help = "KVM's flags of the leaf, for completeness: KVM's own are used." },
	{ "modifiers", FIELD_ARRAY, FIELD_REQUIRED, FIELD_AT(cpuid_config, modifiers), .max = 16,
	  .sub = &cpu_register_table, .help = "What becomes of its registers." },
};
static const struct field_table cpuid_table = FIELD_TABLE(cpuid_config, cpuid_fields);

static const struct field msr_fields[] = {
	{ "addr", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(msr_config, addr), CPU_NUMBER, .help = "As \"0x10a\"." },
	{ "bitmap", FIELD_STRING, FIELD_REQUIRED, FIELD_AT(msr_config, bitmap), CPU_BITMAP,
	  .help = "As of CPUID, with up to 64 digits." },
};
static const struct field_table msr_table = FIELD_TABLE(msr_config, msr_fields);

static const struct field cpu_fields[] = {
	{ "kvm_capabilities", FIELD_STRINGS, 0, FIELD_AT(cpu_config, kvm_capabilities), .max = CONFIG_LIST_MAX,
	  .help = "Numbers of capabilities that KVM must have; \"!121\" need not be there." },
	{ "cpuid_modifiers", FIELD_ARRAY, 0, FIELD_AT(cpu_config, cpuid_modifiers), .max = CPU_MAX_LEAVES,
	  .sub = &cpuid_table, .help = "What becomes of CPUID leaves." },
	{ "msr_modifiers", FIELD_ARRAY, 0, FIELD_AT(cpu_config, msr_modifiers), .max = CPU_MAX_MSRS, .sub = &msr_table,
	  .help = "What model-specific registers hold when the guest starts." },
	{ "reg_modifiers", FIELD_LATER, FIELD_MAY_BE_EMPTY | FIELD_NOT_WRITTEN, .help = "Of aarch64." },
	{ "vcpu_features", FIELD_LATER, FIELD_MAY_BE_EMPTY | FIELD_NOT_WRITTEN, .help = "Of aarch64." },
};
static const struct field_table cpu_table = FIELD_TABLE(cpu_config, cpu_fields);

static int cpu_check_leaf(const struct cpuid_config *c, unsigned int i, struct err *e)
{
	const struct cpu_register_config *regs = c->modifiers.items;
	struct cpu_bitmap bitmap;
	uint32_t leaf, subleaf;
	char what[80];
	int r;

	snprintf(what, sizeof(what), "field \"cpuid_modifiers[%u].leaf\":", i);
	r = cpu_number_parse(what, c->leaf, &leaf, e);
	if (r)
		return r;
	snprintf(what, sizeof(what), "field \"cpuid_modifiers[%u].subleaf\":", i);
	r = cpu_number_parse(what, c->subleaf, &subleaf, e);
	for (unsigned int n = 0; n < c->modifiers.num && !r; n++) {
		snprintf(what, sizeof(what), "field \"cpuid_modifiers[%u].modifiers[%u].bitmap\":", i, n);
		r = cpu_bitmap_parse(what, regs[n].bitmap, 32, &bitmap, e);
		if (!r)
			r = arch_check_cpuid_ones(leaf, regs[n].reg, (uint32_t)bitmap.value, e);
		if (r)
			return r;
	}
	return r;
}

static int cpu_check_msr(const struct msr_config *c, unsigned int i, struct err *e)
{
	struct cpu_bitmap bitmap;
	uint32_t addr;
	char what[64];
	int r;

	snprintf(what, sizeof(what), "field \"msr_modifiers[%u].addr\":", i);
	r = cpu_number_parse(what, c->addr, &addr, e);
	if (r)
		return r;
	snprintf(what, sizeof(what), "field \"msr_modifiers[%u].bitmap\":", i);
	return cpu_bitmap_parse(what, c->bitmap, 64, &bitmap, e);
}

static int cpu_check(const void *config, struct err *e)
{
	const struct cpu_config *c = config;
	const struct cpuid_config *leaves = c->cpuid_modifiers.items;
	const struct msr_config *msrs = c->msr_modifiers.items;
	uint32_t number;
	int r = 0;

	for (unsigned int i = 0; i < c->kvm_capabilities.num && !r; i++) {
		const char *text = c->kvm_capabilities.items[i];

		r = cpu_number_parse("field \"kvm_capabilities\":", text + (text[0] == '!'), &number, e);
	}
	for (unsigned int i = 0; i < c->cpuid_modifiers.num && !r; i++)
		r = cpu_check_leaf(&leaves[i], i, e);
	for (unsigned int i = 0; i < c->msr_modifiers.num && !r; i++)
		r = cpu_check_msr(&msrs[i], i, e);
	return r;
}

static void cpu_stored(struct vm_config *all)
{
	all->machine.has_cpu_template = false;
	all->machine.cpu_template = CPU_TEMPLATE_NONE;
}

REQUEST_COUNTERS(cpu_put_counters, "put", "cpu_cfg");

const struct resource cpu_resource = {
	.path = "cpu-config",
	.section = "cpu-config",
	.summary = "A custom CPU template: what the guest sees of the processor",
	.error = "CPU config error",
	.flags = RESOURCE_SAVED | RESOURCE_MAY_BE_PATH,
	.fields = &cpu_table,
	.offset = offsetof(struct vm_config, cpu),
	.present = offsetof(struct vm_config, cpu.present) + 1,
	.check = cpu_check,
	.stored = cpu_stored,
	.put = &cpu_put_counters,
};
