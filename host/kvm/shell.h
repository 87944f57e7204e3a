/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual machine of which nothing is decided yet. What takes KVM its time and
 * is the same for all machines can be done before a request comes.
 *
 * Interrupt controllers are not among it: KVM would let the memory that is added
 * after them wait (vm_new()).
 */
#ifndef KVM_SHELL_H
#define KVM_SHELL_H

#include <stddef.h>

#include "base/err.h"

struct vm_arch_ops;

struct vm_shell {
	int kvm_fd;   /* owned */
	int fd;	      /* owned */
	int run_size; /* bytes of a struct kvm_run mapping */
	void *arch;   /* owned; what vm_arch_ops.prepare keeps for the vCPUs, malloc'ed */
};

/*
 * Opens /dev/kvm, checks the API version and needed capabilities, and creates a VM. Errors are one sentence each: no /dev/kvm, no
 * permission on it, a capability that is missing.
 */
int vm_shell_new(const struct vm_arch_ops *arch, struct vm_shell **shell, struct err *e) must_check;
void vm_shell_free(struct vm_shell *shell); /* NULL is fine */

/* For vm_arch_ops.prepare, too: -ENOTSUP and a sentence if this KVM lacks one of the capabilities (KVM_CHECK_EXTENSION). fd: KVM's, or a VM's. */
struct kvm_cap {
	int cap;
	const char *name;
};
int kvm_check_caps(int fd, const struct kvm_cap *caps, size_t num, struct err *e) must_check;

#endif
