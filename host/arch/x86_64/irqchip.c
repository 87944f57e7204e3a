// SPDX-License-Identifier: Apache-2.0
/* Interrupt controllers and timer, all in the kernel; the pages that KVM needs for itself lie in the MMIO gap. */
#include "arch/x86_64/irqchip.h"

#include <linux/kvm.h>

#include "arch/arch.h"
#include "arch/x86_64/irq_routing.h"
#include "base/cleanup.h"
#include "kvm/ioctl.h"
#include "kvm/shell.h"
#include "kvm/vm.h"

/* One page below the three for the TSS. */
#define IRQCHIP_IDENTITY_MAP_BASE (ARCH_TSS_BASE - 0x1000)

static const struct kvm_cap irqchip_needed_caps[] = {
	{ KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING" },
	{ KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR" },
	{ KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR" },
	{ KVM_CAP_PIT2, "KVM_CAP_PIT2" },
	{ KVM_CAP_PIT_STATE2, "KVM_CAP_PIT_STATE2" },
	{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
	{ KVM_CAP_ADJUST_CLOCK, "KVM_CAP_ADJUST_CLOCK" },
	{ KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS" },
	{ KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS" },
	{ KVM_CAP_XSAVE, "KVM_CAP_XSAVE" },
	{ KVM_CAP_GET_TSC_KHZ, "KVM_CAP_GET_TSC_KHZ" },
};

/*
 * Performance counters are no part of a machine that moves. CPUID does not offer them, but AMD's oldest ones have no bit
 * there: KVM takes them away, from Linux 5.18 on. Before any vCPU.
 */
static int vm_take_pmu_away(struct vm *vm, struct err *e)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_PMU_CAPABILITY, .args = { KVM_PMU_CAP_DISABLE } };
	int can = kvm_ioctl_n(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_PMU_CAPABILITY), r;

	if (vm->has_pmu)
		return 0;
	vm->has_pmu = true;
	if (can <= 0 || !(can & KVM_PMU_CAP_DISABLE))
		return 0;
	r = kvm_ioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	if (r < 0)
		return err_errno(e, -r, "KVM does not take the performance counters away");
	vm->has_pmu = false;
	return 0;
}

int irqchip_check(const struct vm_shell *shell, struct err *e)
{
	return kvm_check_caps(shell->fd, irqchip_needed_caps, ARRAY_SIZE(irqchip_needed_caps), e);
}

int irqchip_init(struct vm *vm, struct err *e)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	uint64_t identity_map = IRQCHIP_IDENTITY_MAP_BASE;
	int r = vm_take_pmu_away(vm, e);

	if (r < 0)
		return r;
	r = kvm_ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
	if (r < 0)
		return err_errno(e, -r, "KVM refuses the identity map page");
	r = kvm_ioctl_n(vm->fd, KVM_SET_TSS_ADDR, ARCH_TSS_BASE);
	if (r < 0)
		return err_errno(e, -r, "KVM refuses the TSS pages");
	r = kvm_ioctl_n(vm->fd, KVM_CREATE_IRQCHIP, 0);
	if (r < 0)
		return err_errno(e, -r, "KVM cannot create the interrupt controllers");
	r = irq_init(vm, e);
	if (r < 0)
		return r;
	r = kvm_ioctl(vm->fd, KVM_CREATE_PIT2, &pit);
	if (r < 0)
		return err_errno(e, -r, "KVM cannot create the timer");
	return 0;
}
