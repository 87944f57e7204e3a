// SPDX-License-Identifier: Apache-2.0
/*
 * The platform that devices are plugged into, on top of KVM. The board says
 * where they are.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/thread.h"
#include "machine/internal.h"
#include "sandbox/sandbox.h"
#include "virtio/mmio.h"

_Static_assert(ARCH_VIRTIO_MMIO_WINDOW == VIRTIO_MMIO_WINDOW, "the board has windows for the transport");

#define PLATFORM_STACK_SIZE (256u * 1024)

struct platform_thread {
	char name[16];
	enum sandbox_filter filter;
	void *(*fn)(void *arg);
	void *arg;
	struct loop *loop; /* borrowed */
};

static int platform_irq_new(struct platform *platform, uint32_t gsi, struct irq_line *irq, struct err *e)
{
	struct machine_platform *p = (struct machine_platform *)platform;
	_cleanup_close_ int fd = -1;
	int r;

	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return err_errno(e, errno, "cannot create an eventfd for interrupt %u", gsi);
	r = vm_irqfd(p->vm, gsi, fd, e);
	if (r < 0)
		return r;
	irq->fd = take_fd(&fd);
	irq->gsi = gsi;
	return 0;
}

static void platform_leak_handled(struct platform *platform)
{
	reseed_tell(&((struct machine_platform *)platform)->machine->reseed);
}

static int platform_virtio_place(struct platform *platform, const char *name, gpa_t *base, uint32_t *gsi, struct err *e)
{
	struct machine_platform *p = (struct machine_platform *)platform;
	const struct arch_place *place = NULL;
	int r = arch_board_place_virtio(&p->machine->board, name, &place, e);

	if (r < 0)
		return r;
	*base = place->base;
	*gsi = place->gsi;
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

static void *platform_thread_run(void *arg)
{
	struct platform_thread own = *(struct platform_thread *)arg;
	struct err e;

	free(arg);
	thread_set_name(own.name);
	if (sandbox_enter(own.filter, &e)) {
		log_error("%s: %s", own.name, e.text);
		loop_stop(own.loop, 1);
		return NULL;
	}
	return own.fn(own.arg);
}

static int platform_thread(struct platform *p, const char *name, bool sockets, void *(*fn)(void *arg), void *arg,
			   struct thread *thread, struct err *e)
{
	struct platform_thread *own = calloc(1, sizeof(*own));
	const char *id = strchr(name, '.'); /* a thread's name has room for 15 bytes: without "drive." */
	int r;

	if (!own)
		return err_errno(e, ENOMEM, "cannot start the thread of device %s", name);
	*own = (struct platform_thread){
		.filter = sockets ? SANDBOX_SOCKETS : SANDBOX_IO,
		.fn = fn,
		.arg = arg,
		.loop = p->loop,
	};
	snprintf(own->name, sizeof(own->name), sockets ? "fc_%s" : "fc_io %s", id ? id + 1 : name);
	r = thread_start(thread, PLATFORM_STACK_SIZE, platform_thread_run, own);
	if (r) {
		free(own);
		return err_errno(e, -r, "cannot start the thread of device %s", name);
	}
	return 0;
}

static const struct platform_ops machine_platform_ops = {
	.irq_new = platform_irq_new,
	.irq_raise_when_open = machine_irq_raise_when_open,
	.leak_handled = platform_leak_handled,
	.virtio_place = platform_virtio_place,
	.doorbell = platform_doorbell,
	.doorbell_remove = platform_doorbell_remove,
	.thread = platform_thread,
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
	};
	return machine_irq_wait_init(p, e);
}

void machine_platform_fini(struct machine_platform *p)
{
	machine_irq_wait_fini(p);
}
