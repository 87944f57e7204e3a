// SPDX-License-Identifier: Apache-2.0
/* Lists of processor features: from KVM, to a vCPU, and looking things up in them. */
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/x86_64/cpu_template.h"
#include "arch/x86_64/cpuid_list.h"
#include "kvm/ioctl.h"
#include "kvm/shell.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"

const struct kvm_cpuid_entry2 *cpuid_find(const struct kvm_cpuid2 *cpuid, uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function == function && cpuid->entries[i].index == index)
			return &cpuid->entries[i];
	}
	return NULL;
}

uint32_t cpuid_reg(const struct kvm_cpuid2 *cpuid, uint32_t function, uint32_t index, enum cpuid_reg reg)
{
	const struct kvm_cpuid_entry2 *entry = cpuid_find(cpuid, function, index);
	uint32_t regs[4] = { 0 };

	if (entry) {
		regs[CPUID_EAX] = entry->eax;
		regs[CPUID_EBX] = entry->ebx;
		regs[CPUID_ECX] = entry->ecx;
		regs[CPUID_EDX] = entry->edx;
	}
	return regs[reg];
}

bool cpuid_is_vendor(const struct kvm_cpuid2 *cpuid, const char vendor[12])
{
	const struct kvm_cpuid_entry2 *leaf0 = cpuid_find(cpuid, 0, 0);
	uint32_t words[3];

	if (!leaf0)
		return false;
	words[0] = leaf0->ebx;
	words[1] = leaf0->edx;
	words[2] = leaf0->ecx;
	return memcmp(words, vendor, sizeof(words)) == 0;
}

int cpuid_read_supported(struct vm_shell *shell, struct err *e)
{
	union cpuid_list *list = calloc(1, sizeof(*list));
	int r;

	shell->arch = list;
	if (!list)
		return err_errno(e, ENOMEM, "cannot read the processor features");
	list->cpuid.nent = CPUID_MAX_ENTRIES;
	r = kvm_ioctl(shell->kvm_fd, KVM_GET_SUPPORTED_CPUID, list);
	return r < 0 ? err_errno(e, -r, "KVM does not give the processor features") : 0;
}

const struct kvm_cpuid2 *cpuid_get_supported(const struct vm *vm)
{
	const union cpuid_list *list = vm->arch;

	return &list->cpuid;
}

/* What a template promises, and what the same vCPU has without it: asked of the vCPU, see cpuid_check_loaded(). */
static int cpuid_check_promise(const struct vcpu *vcpu, const struct kvm_cpuid2 *promised,
			       const struct cpuid_place *place, struct err *e)
{
	union cpuid_list offered = *(const union cpuid_list *)vcpu->vm->arch;
	int r = cpuid_fix(&offered.cpuid, place);

	if (r == 0)
		r = kvm_ioctl(vcpu->fd, KVM_SET_CPUID2, &offered);
	offered.cpuid.nent = CPUID_MAX_ENTRIES;
	if (r == 0)
		r = kvm_ioctl(vcpu->fd, KVM_GET_CPUID2, &offered);
	if (r < 0)
		return err_errno(e, -r, "KVM refuses the processor features of vCPU %u", vcpu->index);
	return cpuid_check_template(promised, cpuid_get_supported(vcpu->vm), &offered.cpuid, e);
}

int cpuid_apply(struct vcpu *vcpu, struct err *e)
{
	union cpuid_list list = *(const union cpuid_list *)vcpu->vm->arch;
	const struct cpuid_place place = {
		.index = vcpu->index,
		.num_vcpus = vcpu->vm->num_vcpus,
		.smt = vcpu->vm->smt,
		.tsc_deadline = kvm_ioctl_n(vcpu->vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0,
	};
	int r = cpu_template_apply(vcpu->vm->config, &list.cpuid, e);

	if (r < 0)
		return r;
	r = cpuid_fix(&list.cpuid, &place);
	if (r == 0 && cpu_template_is_custom(vcpu->vm->config)) {
		r = cpuid_check_promise(vcpu, &list.cpuid, &place, e);
		if (r < 0)
			return r;
	}
	if (r == 0)
		r = kvm_ioctl(vcpu->fd, KVM_SET_CPUID2, &list);
	return r < 0 ? err_errno(e, -r, "KVM refuses the processor features of vCPU %u", vcpu->index) : 0;
}

/* What a new guest would see is asked of the vCPU, which was made for one: there are KVMs that give more than they say. */
int cpuid_check_loaded(const struct vcpu *vcpu, const struct kvm_cpuid2 *guest, struct err *e)
{
	union cpuid_list offered = { .cpuid.nent = CPUID_MAX_ENTRIES };
	int r = kvm_ioctl(vcpu->fd, KVM_GET_CPUID2, &offered);

	if (r < 0)
		return err_errno(e, -r, "KVM does not give the processor features of vCPU %u", vcpu->index);
	return cpuid_check(guest, cpuid_get_supported(vcpu->vm), &offered.cpuid, e);
}
