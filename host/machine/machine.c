// SPDX-License-Identifier: Apache-2.0
/* Building and taking down a machine. The order of construction is the order of this file; machine_free() is its reverse. */
#include "machine/machine.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "kvm/shell.h"
#include "machine/internal.h"
#include "machine/pager.h"
#include "machine/working_set.h"
#include "resource/resource.h"
#include "state/codec.h"

#define MACHINE_STOP_NS (500ull * 1000 * 1000)

/* On a vCPU thread. A guest that resets or switches itself off is a normal end. */
static void machine_on_exit(void *ctx, enum vm_exit why)
{
	struct machine *m = ctx;

	loop_stop(m->loop, why == VM_EXIT_ERROR ? 1 : 0);
}

struct machine *machine_alloc(const struct vm_config *config, const struct mmds_store *metadata,
			      struct vm_shell **shell, struct loop *loop)
{
	struct machine *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->config = config;
	m->metadata = metadata;
	m->shell = shell;
	m->loop = loop;
	m->paused = true;
	m->mem.backing_fd = -1;
	m->beside.done_fd = -1;
	m->reseed.said_fd = -1;
	bus_init(&m->bus);
	return m;
}

int machine_build(struct machine *m, bool boots, struct err *e)
{
	const struct vm_setup setup = {
		.arch = &arch_vm_ops,
		.num_vcpus = m->config->machine.vcpu_count,
		.smt = m->config->machine.smt,
		.pmu = m->pmu,
		.config = boots ? m->config : NULL,
		.log_dirty_pages = m->config->machine.track_dirty_pages,
		.shell = take_ptr(*m->shell),
	};
	int r = vm_new(&setup, &m->bus, &m->mem, machine_on_exit, m, &m->vm, e);

	if (r < 0)
		return r;
	r = m->beside.has_thread ? 0 : beside_init(&m->beside, m->loop, e);
	if (!r)
		r = reseed_init(m, m->loop, e);
	if (!r)
		r = machine_platform_init(&m->platform, m, e);
	return r < 0 ? r : machine_assemble(m, e);
}

int machine_check_boot_args(const struct vm_config *config, struct err *e)
{
	return arch_check_boot_args(config, resource_num_virtio(config), e);
}

int machine_prepare(struct vm_shell **shell, struct err *e)
{
	return vm_shell_new(&arch_vm_ops, shell, e);
}

void machine_forget_prepared(struct vm_shell *shell)
{
	vm_shell_free(shell);
}

int machine_boot(const struct vm_config *config, bool boot_timer, const struct mmds_store *metadata,
		 struct vm_shell **shell, struct loop *loop, struct machine **out, struct err *e)
{
	struct machine *m = machine_alloc(config, metadata, shell, loop);
	struct mem_layout layout;
	int r;

	if (!m)
		return err_errno(e, ENOMEM, "cannot create the machine");
	m->boot_timer = boot_timer;
	arch_mem_layout(config->machine.mem_size_mib << 20, &layout);
	layout.huge = config->machine.huge_pages == HUGE_PAGES_2M;
	r = mem_init_anonymous(&m->mem, &layout, e);
	if (!r && config->machine.huge_pages == HUGE_PAGES_TRANSPARENT)
		r = mem_use_huge_pages(&m->mem, e);
	if (!r)
		r = machine_build(m, true, e);
	if (!r)
		r = arch_boot(m->vm, m->config, &m->board, e);
	if (!r)
		r = machine_resume(m, e);
	if (r < 0) {
		machine_free(m);
		return r;
	}
	*out = m;
	return 0;
}

int machine_stop(struct machine *m, struct err *e)
{
	if (m && m->pager)
		pager_give_up(m->pager);
	if (m)
		working_set_end(m->working_set);
	if (m && !beside_fini(&m->beside))
		return err_set(e, ETIMEDOUT, "a file system does not answer, or a snapshot is being written");
	return m && m->vm ? vm_pause(m->vm, MACHINE_STOP_NS, e) : 0;
}

void machine_beside(struct machine *m, int (*work)(void *arg, struct err *e), machine_done_fn *done, void *arg)
{
	beside_run(&m->beside, work, done, arg);
}

void machine_free(struct machine *m)
{
	if (!m)
		return;
	(void)!beside_fini(&m->beside); /* it has nothing to do: a machine that was stopped, or never ran */
	machine_forget_save(m);
	reseed_fini(m);
	machine_platform_fini(&m->platform);
	/* Devices take their doorbells away from KVM, so they go first; no vCPU runs any more. */
	while (m->devices) {
		struct device *dev = m->devices;

		m->devices = dev->next;
		dev->ops->free(dev);
	}
	mmds_free(m->mmds);
	vm_free(m->vm);
	if (!working_set_free(m->working_set))
		return; /* a disk does not answer: what its thread uses stays until the process ends */
	pager_stop(m->pager);
	mem_fini(&m->mem);
	pager_free(m->pager);
	machine_forget_load(m->load);
	free(m);
}

bool machine_is_paused(const struct machine *m)
{
	return m->paused;
}

int machine_send_ctrl_alt_del(struct machine *m, struct err *e)
{
	return arch_board_ctrl_alt_del(&m->board, e);
}

/* NULL, and a sentence, if the machine has no such device. */
static struct device *machine_find(struct machine *m, const struct resource *resource, const void *instance,
				   struct err *e)
{
	char name[DEVICE_NAME_SIZE];
	struct device *dev = m->devices;

	resource_device_name(resource, instance, name);
	while (dev && strcmp(dev->name, name) != 0)
		dev = dev->next;
	if (!dev)
		(void)err_set(e, ENOENT, "\"%s\" is not a device of this machine", name);
	return dev;
}

int machine_update(struct machine *m, const struct resource *resource, const struct resource_patch *how,
		   const void *instance, const void *patch, struct err *e)
{
	struct device *dev = machine_find(m, resource, instance, e);

	return dev ? how->update(dev, patch, e) : -ENOENT;
}

int machine_query(struct machine *m, const struct resource *resource, const struct resource_query *query,
		  const void *instance, void *answer, struct err *e)
{
	struct device *dev = machine_find(m, resource, instance, e);

	return dev ? query->ask(dev, answer, e) : -ENOENT;
}
