/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ARCH_X86_64_IRQCHIP_H
#define ARCH_X86_64_IRQCHIP_H

#include "base/err.h"

struct vm;

/* vm_arch_ops.vm_init: checks what KVM can, makes interrupt controllers and timer, and says what CPUID may offer. */
int irqchip_init(struct vm *vm, struct err *e) must_check;

#endif
