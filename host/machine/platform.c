// SPDX-License-Identifier: Apache-2.0
/*
 * The platform that devices are plugged into, on top of KVM. Windows and GSIs
 * are handed out in the order in which devices are created: the same
 * configuration gives the same addresses, which a restored guest relies on.
 */
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "machine/internal.h"
#include "virtio/mmio.h"

static int platform_irq_new(struct platform *platform, uint32_t gsi, struct irq_line *irq, struct err *e)
{
	struct machine_platform *p = (struct machine_platform *)platform;
	_cleanup_close_ int fd = -1;
	int r;

	if (!gsi && p->next_gsi > ARCH_GSI_LAST)
		return err_set(e, ENOSPC, "too many devices: interrupts %u to %u are all taken", ARCH_GSI_FIRST,
			       ARCH_GSI_LAST);
	if (!gsi)
		gsi = p->next_gsi;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return err_errno(e, errno, "cannot create an eventfd for interrupt %u", gsi);
	r = vm_irqfd(p->vm, gsi, fd, e);
	if (r < 0)
		return r;
	if (gsi == p->next_gsi)
		p->next_gsi++;
	irq->fd = take_fd(&fd);
	irq->gsi = gsi;
	return 0;
}

static int platform_mmio_window(struct platform *platform, gpa_t *base, struct err *e)
{
	struct machine_platform *p = (struct machine_platform *)platform;

	(void)e; /* GSIs run out long before windows do */
	*base = p->next_window;
	p->next_window += VIRTIO_MMIO_WINDOW;
	return 0;
}

static int platform_doorbell(struct platform *platform, gpa_t addr, uint32_t value, int fd, struct err *e)
{
	return vm_ioeventfd(((struct machine_platform *)platform)->vm, addr, value, fd, true, e);
}

static void platform_doorbell_remove(struct platform *platform, gpa_t addr, uint32_t value, int fd)
{
	struct err ignored;

	(void)!vm_ioeventfd(((struct machine_platform *)platform)->vm, addr, value, fd, false, &ignored);
}

static const struct platform_ops machine_platform_ops = {
	.irq_new = platform_irq_new,
	.irq_raise_when_open = machine_irq_raise_when_open,
	.mmio_window = platform_mmio_window,
	.doorbell = platform_doorbell,
	.doorbell_remove = platform_doorbell_remove,
};

int machine_platform_init(struct machine_platform *p, struct machine *m, struct err *e)
{
	*p = (struct machine_platform){
		.platform = {
			.ops = &machine_platform_ops,
			.loop = m->loop,
			.bus = &m->bus,
			.mem = &m->mem,
		},
		.vm = m->vm,
		.machine = m,
		.next_gsi = machine_virtio_slot(0).gsi,
		.next_window = machine_virtio_slot(0).base,
	};
	return machine_irq_wait_init(p, e);
}

void machine_platform_fini(struct machine_platform *p)
{
	machine_irq_wait_fini(p);
}
