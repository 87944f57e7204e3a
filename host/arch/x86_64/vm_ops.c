// SPDX-License-Identifier: Apache-2.0
/* What kvm/ needs of this architecture; and what a vCPU needs before its first state, for a boot or from a snapshot. */
#include <linux/kvm.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/x86_64/cpu_template.h"
#include "arch/x86_64/cpuid_list.h"
#include "arch/x86_64/exit.h"
#include "arch/x86_64/irqchip.h"
#include "base/log.h"
#include "kvm/ioctl.h"
#include "kvm/shell.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"

/*
 * A vCPU's TSC should run as the host's. KVM creates it with the frequency that it found when it was initialised; if Linux
 * has measured again since (it refines its measurement in the first seconds after boot) and the processor cannot scale, KVM
 * is left with a factor of zero: to it, the guest's TSC stands still, and timers come late by all the time that it has run.
 * 0 stands for the frequency of now.
 */
static void vcpu_follow_host_tsc(struct vcpu *vcpu)
{
	int r = kvm_ioctl_n(vcpu->fd, KVM_SET_TSC_KHZ, 0);

	if (r < 0) /* a host whose TSC frequency nobody knows */
		log_warn("vCPU %u: KVM_SET_TSC_KHZ: %s", vcpu->index, strerror(-r));
}

static int vcpu_init_x86(struct vcpu *vcpu, struct err *e)
{
	vcpu_follow_host_tsc(vcpu);
	return cpuid_apply(vcpu, e);
}

static int shell_prepare_x86(struct vm_shell *shell, struct err *e)
{
	int r = irqchip_check(shell, e);

	return r < 0 ? r : cpuid_read_supported(shell, e);
}

static int vm_init_x86(struct vm *vm, struct err *e)
{
	int r = vm->config ? cpu_template_check_kvm(vm->kvm_fd, vm->config, e) : 0;

	return r < 0 ? r : irqchip_init(vm, e);
}

const struct vm_arch_ops arch_vm_ops = {
	.prepare = shell_prepare_x86,
	.vm_init = vm_init_x86,
	.vcpu_init = vcpu_init_x86,
	.handle_exit = exit_handle_x86,
	.paused = exit_tell_kvmclock,
};
