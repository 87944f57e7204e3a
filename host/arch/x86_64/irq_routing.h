/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupt routing and the 8259's first state; arch_irq_is_open() is in arch.h. Errors are one sentence each. */
#ifndef ARCH_X86_64_IRQ_ROUTING_H
#define ARCH_X86_64_IRQ_ROUTING_H

#include <linux/kvm.h>

#include "base/err.h"

struct vm;

/* After KVM_CREATE_IRQCHIP: the 8259 masked, the routing that a boot begins with. */
int irq_init(struct vm *vm, struct err *e) must_check;
/* Masks an 8259 that its guest has never programmed, and forgets what it was asked for; leaves any other chip as it is. */
void irq_quiet_pic(struct kvm_irqchip *chip);
/* After the controllers' state was loaded: the routing that belongs to it. */
int irq_route_as_loaded(struct vm *vm, struct err *e) must_check;

#endif
