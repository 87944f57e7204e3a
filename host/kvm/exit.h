/* SPDX-License-Identifier: Apache-2.0 */
/* What a vCPU does when KVM gives a guest exit back; what only one architecture has is that one's (vm_arch_ops.handle_exit). */
#ifndef KVM_EXIT_H
#define KVM_EXIT_H

struct vcpu;

enum exit_verdict {
	EXIT_CONTINUE, /* run on */
	EXIT_RESET,    /* the guest asked for a reset or shut itself down */
	EXIT_FAILED,   /* the guest crashed or KVM cannot go on; the reason is in the log */
	EXIT_UNKNOWN,  /* of vm_arch_ops.handle_exit: this architecture has no such exit */
};

/* Handles what vcpu->run describes. On the vCPU's thread, without any device's lock. */
enum exit_verdict exit_handle(struct vcpu *vcpu);

#endif
