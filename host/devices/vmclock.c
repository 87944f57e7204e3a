// SPDX-License-Identifier: Apache-2.0
/*
 * VMClock (ACPI AMZNC10C): a page that says whether the machine was interrupted. Linux 7.0 and later shows it to programs as
 * /dev/vmclock0, to be mapped and polled. As the leak queues' counter it has changed before the guest's next instruction
 * after a leak event, in the original as in its clones; unlike those it brings no entropy, and clones of one
 * snapshot read the same number.
 *
 * The page could tell the time, too, by the TSC. It does not: what is known here of a host's clock is what it says now, not how
 * its rate and error go on, and a guest would believe it. Status unknown, no counter, as Firecracker has it.
 *
 * All that changes is how many events there were: it is the state, and the guest, which could write to the page, changes
 * nothing of it.
 */
#include "devices/devices.h"

#include <endian.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "state/codec.h"
#include "state/table.h"
#include "vmclock_page.h"

METRICS_DEFINE(vmclock, VMCLOCK_METRICS, false)

struct vmclock {
	struct device dev;
	struct platform *p;    /* borrowed */
	struct guest_mem *mem; /* borrowed */
	gpa_t gpa;
	struct irq_line irq;
	uint64_t generation; /* leak events so far */
};

static bool vmclock_write_seq(struct vmclock *v, uint64_t seq)
{
	uint32_t value = htole32((uint32_t)seq);

	return mem_write(v->mem, v->gpa + offsetof(struct vmclock_page, seq_count), &value, sizeof(value));
}

/* No vCPU runs, but one may have been stopped in the middle of reading: it must see that seq_count is another one. */
static int vmclock_write(struct vmclock *v, struct err *e)
{
	const struct vmclock_page page = {
		.magic = htole32(VMCLOCK_MAGIC),
		.size = htole32(VMCLOCK_PAGE_SIZE),
		.version = htole16(VMCLOCK_VERSION),
		.counter_id = VMCLOCK_COUNTER_INVALID,
		.seq_count = htole32((uint32_t)(2 * v->generation - 1)),
		.disruption_marker = htole64(v->generation),
		.flags = htole64(VMCLOCK_FLAG_VM_GEN_COUNTER_PRESENT | VMCLOCK_FLAG_NOTIFICATION_PRESENT),
		.clock_status = VMCLOCK_STATUS_UNKNOWN,
		.vm_generation_counter = htole64(v->generation),
	};
	bool written = vmclock_write_seq(v, 2 * v->generation - 1);

	atomic_thread_fence(memory_order_release);
	written = written && mem_write(v->mem, v->gpa, &page, sizeof(page));
	atomic_thread_fence(memory_order_release);
	if (written && vmclock_write_seq(v, 2 * v->generation))
		return 0;
	return err_set(e, EFAULT, "the VMClock page at 0x%llx lies outside guest memory", (unsigned long long)v->gpa);
}

static int vmclock_leak(struct device *dev, struct err *e)
{
	struct vmclock *v = container_of(dev, struct vmclock, dev);
	int r;

	v->generation++;
	r = vmclock_write(v, e);
	if (r < 0)
		return r;
	metric_inc(vmclock, update_count);
	v->p->ops->irq_raise_when_open(v->p, &v->irq);
	return 0;
}

static const struct state_field vmclock_fields[] = {
	STATE_UINT_FIELD(struct vmclock, generation, 0, UINT64_MAX),
};
static const struct state_table vmclock_table = STATE_TABLE(vmclock_fields);

static void vmclock_save(struct device *dev, struct enc *enc)
{
	state_save(&vmclock_table, container_of(dev, struct vmclock, dev), enc);
}

/* The constructor has written a new machine's page over the one in the memory file. */
static void vmclock_load(struct device *dev, struct dec *dec)
{
	struct vmclock *v = container_of(dev, struct vmclock, dev);
	struct err e;

	state_load(&vmclock_table, v, dec);
	if (vmclock_write(v, &e) < 0)
		dec_fail(dec, "%s", e.text);
}

static void vmclock_free(struct device *dev)
{
	struct vmclock *v = container_of(dev, struct vmclock, dev);

	cleanup_close(&v->irq.fd);
	device_fini(&v->dev);
	free(v);
}

static const struct device_ops vmclock_ops = {
	.save = vmclock_save,
	.load = vmclock_load,
	.leak = vmclock_leak,
	.free = vmclock_free,
};

int vmclock_new(gpa_t gpa, uint32_t gsi, struct platform *p, struct device **dev, struct err *e)
{
	struct vmclock *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return err_errno(e, ENOMEM, "VMClock");
	*v = (struct vmclock){
		.p = p,
		.mem = p->mem,
		.gpa = gpa,
		.irq.fd = -1,
	};
	device_init(&v->dev, &vmclock_ops, "vmclock");
	r = p->ops->irq_new(p, gsi, &v->irq, e);
	if (!r)
		r = vmclock_write(v, e);
	if (r < 0) {
		vmclock_free(&v->dev);
		return r;
	}
	*dev = &v->dev;
	return 0;
}
