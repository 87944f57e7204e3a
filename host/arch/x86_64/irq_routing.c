// SPDX-License-Identifier: Apache-2.0
/*
 * Which controller takes which interrupt, and which pins the guest has opened.
 *
 * KVM's own routing takes GSI 0 to 15 to the two 8259 and to the IOAPIC alike, and its 8259 come up with every pin open and
 * vector base 0. A kernel that never looks at them (Linux, with hardware-reduced ACPI) dies of the first edge that comes
 * before it has set its local APIC up: the processor takes interrupt 7 for exception 7. So
 *
 *   - the 8259 start with every pin masked, as firmware leaves them: who wants them programs them;
 *   - what firmware tables describe (virtio, VM Generation ID) goes to the IOAPIC only. Timer, keyboard controller and
 *     serial port, which a kernel may expect at an 8259 without having read a table, go to both.
 *
 * A snapshot that says that its guest has programmed the 8259 (Linux without ACPI does, and uses them if it was told to
 * leave the IOAPIC alone) has all ISA interrupts there, as version 1.0 had: the guest's masks say what it wants of them.
 * The routing is derived from that state; KVM does not save it.
 */
#include "arch/x86_64/irq_routing.h"

#include <stdlib.h>

#include "arch/arch.h"
#include "base/cleanup.h"
#include "kvm/ioctl.h"
#include "kvm/vm.h"

#define IRQ_PIC_PINS 8u
#define IRQ_ISA_GSIS (2 * IRQ_PIC_PINS)
#define IRQ_CASCADE  2u
#define IRQ_TIMER    0u

#define IRQ_PIC_LEGACY (1u << IRQ_TIMER | 1u << ARCH_I8042_GSI | 1u << ARCH_SERIAL_GSI)
#define IRQ_PIC_ALL    ((1u << IRQ_ISA_GSIS) - 1 - (1u << IRQ_CASCADE))

static struct kvm_irq_routing_entry irq_route(uint32_t gsi, uint32_t chip, uint32_t pin)
{
	return (struct kvm_irq_routing_entry){ .gsi = gsi,
					       .type = KVM_IRQ_ROUTING_IRQCHIP,
					       .u.irqchip = { .irqchip = chip, .pin = pin } };
}

/* Every GSI to the IOAPIC; those in to_pic to the 8259, too. */
static int irq_set_routing(struct vm *vm, uint32_t to_pic, struct err *e)
{
	const size_t max = KVM_IOAPIC_NUM_PINS + IRQ_ISA_GSIS;
	_cleanup_free_ struct kvm_irq_routing *routing =
		calloc(1, sizeof(*routing) + max * sizeof(routing->entries[0]));
	int r;

	if (!routing)
		return err_errno(e, ENOMEM, "cannot route interrupts");
	for (uint32_t gsi = 0; gsi < KVM_IOAPIC_NUM_PINS; gsi++) {
		uint32_t pic = gsi < IRQ_PIC_PINS ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;

		routing->entries[routing->nr++] = irq_route(gsi, KVM_IRQCHIP_IOAPIC, gsi);
		if (to_pic >> gsi & 1)
			routing->entries[routing->nr++] = irq_route(gsi, pic, gsi % IRQ_PIC_PINS);
	}
	r = kvm_ioctl(vm->fd, KVM_SET_GSI_ROUTING, routing);
	return r < 0 ? err_errno(e, -r, "KVM refuses the routing of interrupts") : 0;
}

/* No vector lies below 32 but exceptions': a base of 0 is what nobody has written. */
static bool irq_pic_is_programmed(const struct kvm_irqchip *chip)
{
	return chip->chip.pic.irq_base != 0;
}

void irq_quiet_pic(struct kvm_irqchip *chip)
{
	if (chip->chip_id == KVM_IRQCHIP_IOAPIC || irq_pic_is_programmed(chip))
		return;
	chip->chip.pic.irr = 0;
	chip->chip.pic.last_irr = 0;
	chip->chip.pic.imr = UINT8_MAX;
}

int irq_init(struct vm *vm, struct err *e)
{
	static const uint32_t pics[] = { KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE };

	for (size_t i = 0; i < ARRAY_SIZE(pics); i++) {
		struct kvm_irqchip chip = { .chip_id = pics[i] };
		int r = kvm_ioctl(vm->fd, KVM_GET_IRQCHIP, &chip);

		if (r == 0) {
			irq_quiet_pic(&chip);
			r = kvm_ioctl(vm->fd, KVM_SET_IRQCHIP, &chip);
		}
		if (r < 0)
			return err_errno(e, -r, "KVM does not let the 8259 interrupt controllers be masked");
	}
	return irq_set_routing(vm, IRQ_PIC_LEGACY, e);
}

int irq_route_as_loaded(struct vm *vm, struct err *e)
{
	struct kvm_irqchip master = { .chip_id = KVM_IRQCHIP_PIC_MASTER };
	int r = kvm_ioctl(vm->fd, KVM_GET_IRQCHIP, &master);

	if (r < 0)
		return err_errno(e, -r, "KVM does not give the state \"pic_master\"");
	if (!irq_pic_is_programmed(&master))
		return 0; /* as irq_init() routed them; KVM takes up to 2 ms for each change */
	return irq_set_routing(vm, IRQ_PIC_ALL, e);
}

static bool irq_pic_pin_is_open(struct vm *vm, uint32_t gsi)
{
	struct kvm_irqchip chip = { .chip_id = gsi < IRQ_PIC_PINS ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE };

	return gsi < IRQ_ISA_GSIS && kvm_ioctl(vm->fd, KVM_GET_IRQCHIP, &chip) == 0 && irq_pic_is_programmed(&chip) &&
	       !(chip.chip.pic.imr >> gsi % IRQ_PIC_PINS & 1);
}

bool arch_irq_is_open(struct vm *vm, uint32_t gsi)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };

	if (gsi >= KVM_IOAPIC_NUM_PINS || kvm_ioctl(vm->fd, KVM_GET_IRQCHIP, &chip) < 0)
		return true;
	return !chip.chip.ioapic.redirtbl[gsi].fields.mask || irq_pic_pin_is_open(vm, gsi);
}
