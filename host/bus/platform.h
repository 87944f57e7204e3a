/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a device gets from the machine that it is plugged into. Devices never
 * see KVM: an interrupt is an irq_line, a doorbell is an eventfd, an address
 * is the board's. Tests pass a platform of their own.
 */
#ifndef BUS_PLATFORM_H
#define BUS_PLATFORM_H

#include "base/err.h"
#include "base/loop.h"
#include "base/thread.h"
#include "bus/bus.h"
#include "bus/irq.h"
#include "mem/mem.h"

struct mmds;
struct platform;

struct platform_ops {
	/* Connects a new eventfd (irq->fd, the device's from then on) to gsi. */
	int (*irq_new)(struct platform *p, uint32_t gsi, struct irq_line *irq, struct err *e);
	/*
	 * irq_raise(), but at a pin that the guest has masked not before it unmasks it (a masked pin forgets an edge): for
	 * what happens while no vCPU runs. irq must stay where it is. Loop thread.
	 */
	void (*irq_raise_when_open)(struct platform *p, const struct irq_line *irq);
	/* The guest says that it has handled a leak (device.h: leak_progress). Any thread. */
	void (*leak_handled)(struct platform *p);
	/* Where the virtio device of this name is: a 4 KiB MMIO window and a GSI, which others may share. */
	int (*virtio_place)(struct platform *p, const char *name, gpa_t *base, uint32_t *gsi, struct err *e);
	/* A 32-bit guest write of value to addr makes fd readable instead of reaching the bus. fd stays the device's. */
	int (*doorbell)(struct platform *p, gpa_t addr, uint32_t value, int fd, struct err *e);
	void (*doorbell_remove)(struct platform *p, gpa_t addr, uint32_t value, int fd);
	/*
	 * A thread of the device's own, for system calls that wait (files) or that receive. It gets no signals, and may do what
	 * the filter "io" allows, or "sockets" (sandbox/rules.c). The device ends and joins it.
	 */
	int (*thread)(struct platform *p, const char *name, bool sockets, void *(*fn)(void *arg), void *arg,
		      struct thread *thread, struct err *e);
};

struct platform {
	const struct platform_ops *ops;
	struct loop *loop;
	struct bus *bus;
	struct guest_mem *mem;
	struct mmds *mmds; /* borrowed; the metadata service, for network interfaces; NULL: there is none */
	bool one_loop;	   /* for tests that must do the same each time: no device has a thread of its own */
};

#endif
