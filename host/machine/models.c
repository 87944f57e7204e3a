// SPDX-License-Identifier: Apache-2.0
/*
 * The devices of a machine, in boot order: the board's (arch/), and among them
 * those of the resources that are configured.
 */
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

static int add_device(struct machine *m, const struct arch_board_device *row, struct err *e)
{
	struct device *dev = NULL;
	int r;

	if (!row->create)
		return add_resources(m, e);
	r = row->create(&m->board, &dev, e);
	if (!r && dev)
		machine_append(m, dev);
	return r;
}

int machine_assemble(struct machine *m, struct err *e)
{
	int r = 0;

	/* A key of its own for its tokens, before anything of it can run: what a clone remembers of them is worth nothing. */
	if (m->config->mmds.present)
		r = mmds_new(&m->config->mmds, m->metadata, m->loop, &m->mmds, e);
	m->platform.platform.mmds = m->mmds;
	m->board.platform = &m->platform.platform;
	m->board.config = m->config;
	m->board.boot_timer = m->boot_timer;
	m->board.on_reset = guest_reset;
	m->board.ctx = m;
	for (size_t i = 0; i < arch_num_board_devices && !r; i++)
		r = add_device(m, &arch_board_devices[i], e);
	return r ? r : arch_board_check_taken(&m->board, e);
}
