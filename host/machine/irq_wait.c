// SPDX-License-Identifier: Apache-2.0
/*
 * Interrupts whose pin the guest had masked when they should have been raised.
 *
 * A leak event happens at the resume edge, whatever the guest is doing: one that is still booting has no handler yet, and
 * the interrupt controller forgets an edge at a masked pin. KVM tells nobody when a pin is unmasked, so while something waits we look:
 * after 20 ms, then at intervals that double up to a second. So an interrupt is raised at most twice as late as it must be,
 * at most a second late, and a guest that never wants it costs one look a second.
 *
 * Nothing of this is in a snapshot: devices raise again at each resume what their guest has not acknowledged, and a
 * machine that was loaded begins with a leak event.
 *
 * Loop thread; needs no lock: neither an eventfd nor KVM's answer belongs to a device's state.
 */
#include "base/loop.h"
#include "machine/internal.h"

#define IRQ_WAIT_FIRST_NS (20ull * 1000 * 1000)
#define IRQ_WAIT_MAX_NS	  (1000ull * 1000 * 1000)

/* Raises what can be raised; true if something still waits. */
static bool irq_wait_look(struct machine_platform *p)
{
	bool waits = false;

	for (uint32_t gsi = 0; gsi <= ARCH_GSI_LAST; gsi++) {
		if (!p->waiting[gsi])
			continue;
		if (!arch_irq_is_open(p->vm, gsi)) {
			waits = true;
			continue;
		}
		irq_raise(p->waiting[gsi]);
		p->waiting[gsi] = NULL;
	}
	return waits;
}

/* The timer. While the machine is paused no pin is unmasked, and no interrupt may come. */
static void irq_wait_retry(void *ctx, uint32_t events)
{
	struct machine_platform *p = ctx;

	(void)events;
	if (p->machine->paused || irq_wait_look(p)) {
		p->wait_ns = p->wait_ns * 2 < IRQ_WAIT_MAX_NS ? p->wait_ns * 2 : IRQ_WAIT_MAX_NS;
		loop_set_timer(p->wait_timer, p->wait_ns, 0);
	}
}

void machine_irq_raise_when_open(struct platform *platform, const struct irq_line *irq)
{
	struct machine_platform *p = (struct machine_platform *)platform;

	if (arch_irq_is_open(p->vm, irq->gsi)) {
		irq_raise(irq);
		return;
	}
	p->waiting[irq->gsi] = irq;
	p->wait_ns = IRQ_WAIT_FIRST_NS;
	loop_set_timer(p->wait_timer, p->wait_ns, 0);
}

int machine_irq_wait_init(struct machine_platform *p, struct err *e)
{
	p->wait_timer = loop_add_timer(p->platform.loop, irq_wait_retry, p);
	return p->wait_timer ? 0 : err_errno(e, errno, "cannot create a timer for interrupts");
}

void machine_irq_wait_fini(struct machine_platform *p)
{
	loop_remove(p->wait_timer);
	p->wait_timer = NULL;
}
