// SPDX-License-Identifier: Apache-2.0
/*
 * Applying CPU templates. Firecracker's order: what KVM supports, then the
 * template, then what the machine's place makes of it. Its rules, too, but for
 * three: a leaf that this KVM does not have is no error if it is to be zeros (a
 * template for several hosts names the leaves of all), KVM's flags of a leaf
 * stay, and what the host cannot do is refused instead of promised.
 */
#include "arch/x86_64/cpu_template.h"

#include <linux/kvm.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/x86_64/msr.h"
#include "base/cleanup.h"
#include "config/cpu.h"
#include "kvm/ioctl.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"

_Static_assert((int)CPU_EAX == (int)CPUID_EAX && (int)CPU_EDX == (int)CPUID_EDX, "one order of registers");

int arch_check_cpuid_ones(uint32_t leaf, enum cpu_register reg, uint32_t ones, struct err *e)
{
	const char *feature = NULL;

	if (leaf == 0x1 && reg == CPU_ECX && ones & 1u << 5)
		feature = "vmx";
	else if (leaf == 0x80000001 && reg == CPU_ECX && ones & 1u << 2)
		feature = "svm";
	return feature ? err_set(e, EINVAL, "a CPU template cannot give %s: nested guests are not supported", feature)
		       : 0;
}

bool cpu_template_is_custom(const struct vm_config *config)
{
	return config && config->cpu.present;
}

static int cpu_apply_rule(const struct cpu_leaf_rule *rule, struct kvm_cpuid2 *cpuid, struct err *e)
{
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];
		uint32_t *regs[] = { &entry->eax, &entry->ebx, &entry->ecx, &entry->edx };

		if (entry->function != rule->function || entry->index != rule->index)
			continue;
		*regs[rule->reg] = (*regs[rule->reg] & ~rule->mask) | rule->value;
		return 0;
	}
	if (!rule->value)
		return 0;
	return err_set(e, ENOTSUP, "the CPU template changes CPUID 0x%x.%u, which KVM of this host does not have",
		       rule->function, rule->index);
}

static int cpu_apply_static(const struct cpu_static_template *t, struct kvm_cpuid2 *cpuid, struct err *e)
{
	uint32_t signature = cpuid_reg(cpuid, 0x1, 0, CPUID_EAX) & 0x0fff3fff;
	bool fits = false;
	int r = 0;

	if (!cpuid_is_vendor(cpuid, t->vendor))
		return err_set(e, ENOTSUP,
			       "CPU vendor mismatched between actual CPU and CPU template. %s is for processors of %s",
			       t->name, t->vendor);
	for (size_t i = 0; i < ARRAY_SIZE(t->signatures) && t->signatures[i]; i++)
		fits |= t->signatures[i] == signature;
	if (!fits)
		return err_set(
			e, ENOTSUP,
			"The current CPU model is not permitted to apply the CPU template. %s is for %s; this one's "
			"signature is 0x%x",
			t->name, t->processors, signature);
	for (size_t i = 0; i < t->num_leaves && !r; i++)
		r = cpu_apply_rule(&t->leaves[i], cpuid, e);
	return r;
}

/* The notation was checked when the template came (resource/cpu.c). */
static int cpu_apply_leaf(const struct cpuid_config *c, struct kvm_cpuid2 *cpuid, struct err *e)
{
	const struct cpu_register_config *regs = c->modifiers.items;
	struct cpu_leaf_rule rule;
	struct cpu_bitmap bitmap;
	int r = cpu_number_parse("leaf", c->leaf, &rule.function, e);

	if (!r)
		r = cpu_number_parse("subleaf", c->subleaf, &rule.index, e);
	for (unsigned int i = 0; i < c->modifiers.num && !r; i++) {
		r = cpu_bitmap_parse("bitmap", regs[i].bitmap, 32, &bitmap, e);
		if (r)
			return r;
		rule.reg = (enum cpuid_reg)regs[i].reg;
		rule.mask = (uint32_t)bitmap.mask;
		rule.value = (uint32_t)bitmap.value;
		r = cpu_apply_rule(&rule, cpuid, e);
	}
	return r;
}

int cpu_template_apply(const struct vm_config *config, struct kvm_cpuid2 *cpuid, struct err *e)
{
	const struct cpuid_config *leaves;
	int r = 0;

	if (!config)
		return 0;
	if (config->machine.cpu_template != CPU_TEMPLATE_NONE)
		return cpu_apply_static(cpu_static_template(config->machine.cpu_template), cpuid, e);
	leaves = config->cpu.cpuid_modifiers.items;
	for (unsigned int i = 0; i < config->cpu.cpuid_modifiers.num && !r; i++)
		r = cpu_apply_leaf(&leaves[i], cpuid, e);
	return r;
}

int cpu_template_check_kvm(int kvm_fd, const struct vm_config *config, struct err *e)
{
	const struct string_list *list = &config->cpu.kvm_capabilities;
	uint32_t number;
	int r = 0;

	for (unsigned int i = 0; i < list->num && !r; i++) {
		if (list->items[i][0] == '!')
			continue;
		r = cpu_number_parse("capability", list->items[i], &number, e);
		if (!r && kvm_ioctl_n(kvm_fd, KVM_CHECK_EXTENSION, number) <= 0)
			r = err_set(e, ENOTSUP, "KVM of this host lacks capability %u, which the CPU template needs",
				    number);
	}
	return r;
}

static int cpu_set_msr(struct vcpu *vcpu, const struct kvm_cpuid2 *cpuid, const struct cpu_msr_rule *rule,
		       struct err *e)
{
	struct kvm_msr_entry entry = { .index = rule->index };
	int r;

	if (!msr_is_state(cpuid, vcpu->vm->has_pmu, rule->index))
		return err_set(
			e, ENOTSUP,
			"the CPU template changes MSR 0x%x, which is no part of this guest's state: a snapshot would "
			"not have it",
			rule->index);
	r = msr_get_one(vcpu, &entry);
	if (r)
		return err_errno(e, -r, "the CPU template changes MSR 0x%x, which KVM of this host does not have",
				 rule->index);
	entry.data = (entry.data & ~rule->mask) | rule->value;
	return msr_set(vcpu, &entry, 1, e);
}

static int cpu_set_custom_msrs(struct vcpu *vcpu, const struct kvm_cpuid2 *cpuid, const struct field_array *list,
			       struct err *e)
{
	const struct msr_config *msrs = list->items;
	struct cpu_msr_rule rule;
	struct cpu_bitmap bitmap;
	int r = 0;

	for (unsigned int i = 0; i < list->num && !r; i++) {
		r = cpu_number_parse("addr", msrs[i].addr, &rule.index, e);
		if (!r)
			r = cpu_bitmap_parse("bitmap", msrs[i].bitmap, 64, &bitmap, e);
		if (r)
			return r;
		rule.mask = bitmap.mask;
		rule.value = bitmap.value;
		r = cpu_set_msr(vcpu, cpuid, &rule, e);
	}
	return r;
}

static int cpu_set_msrs(struct vcpu *vcpu, const struct vm_config *config, struct err *e)
{
	union cpuid_list given = { .cpuid.nent = CPUID_MAX_ENTRIES };
	const struct cpu_static_template *t;
	int r = kvm_ioctl(vcpu->fd, KVM_GET_CPUID2, &given);

	if (r < 0)
		return err_errno(e, -r, "KVM does not give the processor features of vCPU %u", vcpu->index);
	if (config->machine.cpu_template == CPU_TEMPLATE_NONE)
		return cpu_set_custom_msrs(vcpu, &given.cpuid, &config->cpu.msr_modifiers, e);
	t = cpu_static_template(config->machine.cpu_template);
	for (size_t i = 0; i < t->num_msrs && !r; i++)
		r = cpu_set_msr(vcpu, &given.cpuid, &t->msrs[i], e);
	return r;
}

int cpu_template_set_msrs(struct vm *vm, const struct vm_config *config, struct err *e)
{
	int r = 0;

	if (config->machine.cpu_template == CPU_TEMPLATE_NONE && !config->cpu.msr_modifiers.num)
		return 0;
	for (unsigned int i = 0; i < vm->num_vcpus && !r; i++)
		r = cpu_set_msrs(&vm->vcpus[i], config, e);
	return r;
}
