// SPDX-License-Identifier: Apache-2.0
/*
 * The recipe of a restore, top to bottom. The files are hostile: the
 * configuration in them passes the same checks as one from the API, devices are
 * assembled from it as for a boot, and then each part reads its own state.
 *
 * KVM's state comes before the devices': an interrupt that a device raises
 * would be overwritten by the interrupt controllers' state. The leak is pending
 * from the start and runs at the first resume (run.c).
 */
#include <stdlib.h>
#include <string.h>

#include "base/libc.h"
#include "kvm/vcpu.h"
#include "machine/internal.h"
#include "machine/load.h"
#include "machine/working_set.h"
#include "mem/track.h"
#include "resource/network.h"
#include "resource/state.h"
#include "resource/vm_config.h"
#include "snapshot/chain.h"
#include "snapshot/layers.h"
#include "snapshot/statefile.h"
#include "state/codec.h"

/* Up to v1.0 the configuration was text. */
static int load_config_text(struct statefile *file, struct vm_config *config, struct err *e)
{
	const char *text = dec_str(file->state, "config", STATEFILE_MAX_SIZE);
	int r = dec_error(file->state, e);

	if (r < 0)
		return r;
	if (!text)
		return err_set(e, EINVAL, "config: is null, an object is needed");
	r = vm_config_from_text(text, strlen(text), config, e);
	return r < 0 ? err_wrap(e, r, "config") : 0;
}

static int load_config(struct statefile *file, struct vm_config *config, struct err *e)
{
	int r = file->version.minor == 0 ? load_config_text(file, config, e)
					 : vm_config_load(dec_map(file->state, "config"), config, e);

	if (r < 0)
		return r;
	if (config->machine.mem_size_mib << 20 != file->mark.mem_size) {
		r = err_set(e, EINVAL, "config: mem_size_mib is %llu, but the header says %llu bytes of memory",
			    (unsigned long long)config->machine.mem_size_mib, (unsigned long long)file->mark.mem_size);
		vm_config_fini(config);
	}
	return r;
}

static int load_vcpus(struct machine *m, struct dec *dec, const struct arch_clock *clock, struct err *e)
{
	size_t n = dec_array(dec, "vcpus", CONFIG_MAX_VCPUS);
	int r = dec_error(dec, e);

	if (r < 0)
		return r;
	if (n != m->vm->num_vcpus)
		return err_set(e, EINVAL, "vcpus: has the state of %zu vCPUs, vcpu_count is %u", n, m->vm->num_vcpus);
	for (size_t i = 0; i < n; i++) {
		r = arch_vcpu_load(&m->vm->vcpus[i], dec_item(dec, "vcpus", i), clock, e);
		if (r < 0)
			return err_wrap(e, r, "vcpus[%zu]", i);
	}
	return 0;
}

static int load_devices(struct machine *m, struct dec *dec, struct err *e)
{
	struct dec *devices = dec_map(dec, "devices");

	for (struct device *dev = m->devices; dev; dev = dev->next) {
		struct dec *own;

		if (!dev->ops->load) {
			device_load(dev, NULL); /* it has no state, and stands where the others do */
			continue;
		}
		own = dec_map(devices, dev->name);
		device_load(dev, own);
		dec_end(own);
	}
	dec_end(devices);
	return dec_error(dec, e);
}

static int load_state(struct machine *m, struct dec *state, bool clock_realtime, struct err *e)
{
	struct dec *vm = dec_map(state, "vm");
	struct arch_clock clock;
	int r = arch_clock_load(m->vm, vm, clock_realtime, &clock, e);

	if (r < 0)
		return err_wrap(e, r, "vm");
	r = load_vcpus(m, state, &clock, e);
	if (r < 0)
		return r;
	r = arch_vm_load(m->vm, vm, e);
	if (r < 0)
		return err_wrap(e, r, "vm");
	r = load_devices(m, state, e);
	if (r < 0)
		return r;
	dec_end(state);
	return dec_error(state, e);
}

/* What changes from here on is in the next diff; v1.0 had no records that one could lie on. */
static int load_mark(struct machine_load *l, struct err *e)
{
	int r = l->file.version.minor == 0 ? 0 : mem_mark(&l->m->mem, e);

	if (r == 0 && l->file.version.minor > 0)
		l->m->chain = l->chain;
	return r;
}

int machine_load_map(struct machine_load *l, const struct mem_layout *layout, struct err *e)
{
	struct machine *m = l->m;
	int r = snapshot_map_memory(&l->file, &l->chain, l->how->mem_file_path, l->how->layers, layout, &m->mem, e);

	return r < 0 ? r : working_set_new(l->how, &l->file.mark, &m->mem, m->loop, &m->working_set, e);
}

/* Maps the memory and makes it what it was. */
static int load_memory(struct machine_load *l, struct err *e)
{
	struct mem_layout layout;
	int r;

	arch_mem_layout(l->file.mark.mem_size, &layout);
	r = machine_load_map(l, &layout, e);
	if (r < 0)
		return r;
	r = snapshot_put_back(&l->file, &l->chain, &l->m->mem, e);
	return r < 0 ? err_wrap(e, r, LOAD_STATE_FILE, l->how->snapshot_path) : 0;
}

/* From memory that is there, to a machine that could run. */
static int load_machine(struct machine_load *l, struct err *e)
{
	struct machine *m = l->m;
	int r = load_mark(l, e);

	if (!r && m->config->machine.huge_pages == HUGE_PAGES_TRANSPARENT)
		r = mem_use_huge_pages(&m->mem, e);
	if (!r)
		r = machine_build(m, false, e);
	if (r < 0)
		return r;
	r = load_state(m, l->file.state, l->how->clock_realtime, e);
	return r < 0 ? err_wrap(e, r, LOAD_STATE_FILE, l->how->snapshot_path) : 0;
}

/* The host's ends of devices, where the request names others. */
static int load_override(const struct snapshot_load_config *load, struct vm_config *config, struct err *e)
{
	int r = network_override(config, &load->network_overrides, e);

	if (r < 0 || !load->vsock_uds_path)
		return r;
	if (!config->vsock.present)
		return err_set(e, EINVAL, "vsock_override: the snapshot's machine has no vsock device");
	return config_replace_string(&config->vsock.uds_path, load->vsock_uds_path, e);
}

/* What the request decides, not the snapshot. */
static void load_choose_memory(const struct snapshot_load_config *load, struct machine_config *config)
{
	static const enum huge_pages pages[] = {
		[LOAD_HUGE_PAGES_NONE] = HUGE_PAGES_NONE,
		[LOAD_HUGE_PAGES_TRANSPARENT] = HUGE_PAGES_TRANSPARENT,
		[LOAD_HUGE_PAGES_2M] = HUGE_PAGES_2M,
	};

	config->track_dirty_pages = load->track_dirty_pages;
	if (load->huge_pages != LOAD_HUGE_PAGES_SNAPSHOT)
		config->huge_pages = pages[load->huge_pages];
}

static int load_read(struct machine_load *l, struct err *e)
{
	int r = load_config(&l->file, &l->config, e);

	return r < 0 ? err_wrap(e, r, LOAD_STATE_FILE, l->how->snapshot_path) : 0;
}

/* What the machine is made of, but for its memory. */
static int load_describe(struct machine_load *l, struct err *e)
{
	struct machine *m = l->m;
	struct dec *state = l->file.state;
	int r = snapshot_chain_load(&l->file, &l->chain, e);

	if (r == 0) {
		m->boot_timer = dec_bool(state, "boot_timer");
		m->pmu = arch_vcpu_state_has_pmu(dec_item(state, "vcpus", 0));
		r = arch_board_load(&m->board, state, e);
	}
	if (r == 0)
		r = dec_error(state, e);
	return r < 0 ? err_wrap(e, r, LOAD_STATE_FILE, l->how->snapshot_path) : 0;
}

int machine_load_begin(struct machine_load *l, const struct mmds_store *metadata, struct vm_shell **shell,
		       struct loop *loop, struct err *e)
{
	int r = statefile_read(l->how->snapshot_path, &l->file, e);

	if (r < 0)
		return r;
	l->is_read = true;
	r = load_read(l, e);
	if (r < 0)
		return r;
	l->has_config = true;
	r = load_override(l->how, &l->config, e);
	if (r < 0)
		return r;
	load_choose_memory(l->how, &l->config.machine);
	l->m = machine_alloc(&l->config, metadata, shell, loop);
	return l->m ? load_describe(l, e) : err_errno(e, ENOMEM, "cannot create the machine");
}

int machine_load_end(struct machine_load *l, struct err *e)
{
	int r;

	/* What is the process's, and not the snapshot's, the machine has as well. */
	vm_config_move_own(&l->config, l->target);
	l->has_own = true;
	r = load_machine(l, e);
	if (r < 0)
		return r;
	vm_config_fini(l->target);
	*l->target = l->config;
	l->has_config = false;
	l->m->config = l->target;
	l->m->leak_pending = true;
	return 0;
}

void machine_load_fini(struct machine_load *l)
{
	if (l->is_read)
		statefile_fini(&l->file);
	if (l->has_config && l->has_own)
		vm_config_move_own(l->target, &l->config);
	if (l->has_config)
		vm_config_fini(&l->config);
	libc_trim_heap();
}

int machine_load(const struct snapshot_load_config *load, struct vm_config *config, const struct mmds_store *metadata,
		 struct vm_shell **shell, struct loop *loop, struct machine **out, struct err *e)
{
	struct machine_load l = { .how = load, .target = config };
	int r = machine_load_begin(&l, metadata, shell, loop, e);

	if (r == 0 && l.config.machine.huge_pages == HUGE_PAGES_2M)
		r = MACHINE_LOAD_IS_SERVED;
	if (r == 0)
		r = load_memory(&l, e);
	if (r == 0)
		r = machine_load_end(&l, e);
	if (r == 0 && load->working_set == WORKING_SET_USE)
		working_set_begin(l.m->working_set);
	if (r == 0)
		*out = l.m;
	else
		machine_free(l.m);
	machine_load_fini(&l);
	return r;
}
