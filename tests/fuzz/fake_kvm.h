/* SPDX-License-Identifier: Apache-2.0 */
/* A KVM that takes everything and gives zeros: the linker puts it in the place of ioctl(2). */
#ifndef TESTS_FUZZ_FAKE_KVM_H
#define TESTS_FUZZ_FAKE_KVM_H

#include "kvm/vcpu.h"
#include "kvm/vm.h"

struct fake_kvm {
	struct vm vm;
	struct vcpu vcpus[2];
};

void fake_kvm_init(struct fake_kvm *kvm);
void fake_kvm_fini(struct fake_kvm *kvm);

#endif
