/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ARCH_X86_64_IRQCHIP_H
#define ARCH_X86_64_IRQCHIP_H

#include "base/err.h"

struct vm;
struct vm_shell;

/* Can KVM do what these need? */
int irqchip_check(const struct vm_shell *shell, struct err *e) must_check;
/* vm_arch_ops.vm_init: makes interrupt controllers and timer. */
int irqchip_init(struct vm *vm, struct err *e) must_check;

#endif
