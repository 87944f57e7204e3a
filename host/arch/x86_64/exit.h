/* SPDX-License-Identifier: Apache-2.0 */
/* What a vCPU of this architecture does when it leaves the guest. */
#ifndef ARCH_X86_64_EXIT_H
#define ARCH_X86_64_EXIT_H

#include "kvm/exit.h"

struct vcpu;

/* vm_arch_ops.handle_exit: ports, and the triple fault. */
enum exit_verdict exit_handle_x86(struct vcpu *vcpu);
/*
 * vm_arch_ops.paused: tells the guest's kvmclock, if it uses one, that the host stopped it: its watchdogs will see no
 * lockup. KVM has the call since Linux 3.5, which is older than all that we need.
 */
void exit_tell_kvmclock(struct vcpu *vcpu);

#endif
