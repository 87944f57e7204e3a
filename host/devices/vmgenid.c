// SPDX-License-Identifier: Apache-2.0
/*
 * VM Generation ID (Microsoft, "Virtual Machine Generation ID", 2012): for
 * guests without the leak queues, and beside them. The identifier changes while
 * every vCPU is stopped, so a guest that looks sees it at once; one that waits
 * for the interrupt reseeds some time after its first instructions. A guest that has no handler yet gets the interrupt as
 * soon as it has one.
 *
 * The bytes live in guest memory and are saved with it: there is no other state.
 */
#include "devices/devices.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/rand.h"

METRICS_DEFINE(vmgenid, VMGENID_METRICS, false)

#define VMGENID_LEN 16

struct vmgenid {
	struct device dev;
	struct platform *p;    /* borrowed */
	struct guest_mem *mem; /* borrowed */
	gpa_t gpa;
	struct irq_line irq;
};

static int vmgenid_renew(struct vmgenid *v, struct err *e)
{
	uint8_t id[VMGENID_LEN];
	int r = rand_bytes(id, sizeof(id));

	if (r < 0)
		return err_errno(e, -r, "cannot get random bytes for the VM Generation ID");
	if (!mem_write(v->mem, v->gpa, id, sizeof(id)))
		return err_set(e, EFAULT, "the VM Generation ID at 0x%llx lies outside guest memory",
			       (unsigned long long)v->gpa);
	return 0;
}

static int vmgenid_leak(struct device *dev, struct err *e)
{
	struct vmgenid *v = container_of(dev, struct vmgenid, dev);
	int r = vmgenid_renew(v, e);

	if (r < 0)
		return r;
	metric_inc(vmgenid, update_count);
	v->p->ops->irq_raise_when_open(v->p, &v->irq);
	return 0;
}

static void vmgenid_free(struct device *dev)
{
	struct vmgenid *v = container_of(dev, struct vmgenid, dev);

	if (v->irq.fd >= 0)
		close(v->irq.fd);
	device_fini(&v->dev);
	free(v);
}

static const struct device_ops vmgenid_ops = {
	.leak = vmgenid_leak,
	.free = vmgenid_free,
};

int vmgenid_new(gpa_t gpa, uint32_t gsi, struct platform *p, struct device **dev, struct err *e)
{
	struct vmgenid *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return err_errno(e, ENOMEM, "VM Generation ID");
	*v = (struct vmgenid){
		.p = p,
		.mem = p->mem,
		.gpa = gpa,
		.irq.fd = -1,
	};
	device_init(&v->dev, &vmgenid_ops, "vmgenid");
	r = p->ops->irq_new(p, gsi, &v->irq, e);
	if (!r)
		r = vmgenid_renew(v, e);
	if (r < 0) {
		vmgenid_free(&v->dev);
		return r;
	}
	*dev = &v->dev;
	return 0;
}
