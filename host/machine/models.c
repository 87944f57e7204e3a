// SPDX-License-Identifier: Apache-2.0
/*
 * The devices of a machine, in boot order: which is the order of their
 * addresses, of their state in a snapshot and of leak events. What every
 * machine has is here, the others come from the resources that are configured.
 */
#include "devices/devices.h"
#include "machine/internal.h"
#include "resource/resource.h"

static void machine_append(struct machine *m, struct device *dev)
{
	struct device **end = &m->devices;

	while (*end)
		end = &(*end)->next;
	*end = dev;
}

static void guest_reset(void *ctx)
{
	struct machine *m = ctx;

	loop_stop(m->loop, 0);
}

static int add_i8042(struct machine *m, struct err *e)
{
	int r = i8042_new(ARCH_I8042_PORT, ARCH_I8042_GSI, &m->platform.platform, guest_reset, m, &m->i8042, e);

	if (!r)
		machine_append(m, m->i8042);
	return r;
}

static int add_boot_timer(struct machine *m, struct err *e)
{
	struct device *dev;
	int r;

	if (!m->boot_timer)
		return 0;
	r = boot_timer_new(ARCH_BOOT_TIMER_BASE, &m->platform.platform, &dev, e);
	if (!r)
		machine_append(m, dev);
	return r;
}

static int add_resource(struct machine *m, const struct resource *resource, struct err *e)
{
	for (unsigned int i = 0; resource->create && i < resource_num(resource, m->config); i++) {
		const void *instance = resource_at(resource, m->config, i);
		char name[DEVICE_NAME_SIZE];
		struct device *dev;
		int r;

		resource_device_name(resource, instance, name);
		r = resource->create(instance, name, &m->platform.platform, &dev, e);
		if (r < 0)
			return r;
		machine_append(m, dev);
	}
	return 0;
}

static int add_resources(struct machine *m, struct err *e)
{
	int r = 0;

	for (size_t i = 0; resources[i] && r == 0; i++)
		r = add_resource(m, resources[i], e);
	return r;
}

/* Last: its event comes after the leak queues'. */
static int add_vmgenid(struct machine *m, struct err *e)
{
	struct device *dev;
	int r;

	if (!m->config->machine.vm_generation_id)
		return 0;
	r = vmgenid_new(ARCH_VMGENID_GPA, &m->platform.platform, &dev, &m->slots.vmgenid_gsi, e);
	if (!r)
		machine_append(m, dev);
	return r;
}

static int (*const models[])(struct machine *m, struct err *e) = {
	add_i8042,
	add_boot_timer,
	add_resources,
	add_vmgenid,
};

int machine_assemble(struct machine *m, struct err *e)
{
	for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
		int r = models[i](m, e);

		if (r < 0)
			return r;
	}
	return 0;
}

void machine_list_devices(struct machine *m)
{
	m->slots.num_virtio = 0;
	for (const struct device *dev = m->devices; dev; dev = dev->next) {
		if (dev->virtio_base)
			m->slots.virtio[m->slots.num_virtio++] =
				(struct arch_virtio_slot){ .base = dev->virtio_base, .gsi = dev->virtio_gsi };
	}
}
