/* SPDX-License-Identifier: Apache-2.0 */
/* An edge-triggered interrupt: an eventfd that KVM turns into the interrupt (KVM_IRQFD). Devices know nothing of interrupt controllers. */
#ifndef BUS_IRQ_H
#define BUS_IRQ_H

#include <stdint.h>
#include <sys/eventfd.h>

struct irq_line {
	int fd;	      /* eventfd, owned by the device that has the line */
	uint32_t gsi; /* global system interrupt, for ACPI tables and snapshots */
};

static inline void irq_raise(const struct irq_line *irq)
{
	(void)eventfd_write(irq->fd, 1);
}

#endif
