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

#include "base/cleanup.h"
#include "kvm/vcpu.h"
#include "machine/internal.h"
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

static int load_vcpus(struct machine *m, struct dec *dec, struct err *e)
{
	size_t n = dec_array(dec, "vcpus", CONFIG_MAX_VCPUS);
	int r = dec_error(dec, e);

	if (r < 0)
		return r;
	if (n != m->vm->num_vcpus)
		return err_set(e, EINVAL, "vcpus: has the state of %zu vCPUs, vcpu_count is %u", n, m->vm->num_vcpus);
	for (size_t i = 0; i < n; i++) {
		r = arch_vcpu_load(&m->vm->vcpus[i], dec_item(dec, "vcpus", i), e);
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
	int r = load_vcpus(m, state, e);

	if (r < 0)
		return r;
	r = arch_vm_load(m->vm, dec_map(state, "vm"), clock_realtime, e);
	if (r < 0)
		return err_wrap(e, r, "vm");
	r = load_devices(m, state, e);
	if (r < 0)
		return r;
	dec_end(state);
	return dec_error(state, e);
}

/*
 * Maps the memory and makes it what it was. What changes from here on is in the next diff; v1.0 had no records that one could
 * lie on.
 */
static int load_memory(struct machine *m, const struct snapshot_load_config *load, const struct statefile *file,
		       struct err *e)
{
	struct snapshot_chain chain;
	struct mem_layout layout;
	int r = snapshot_chain_load(file, &chain, e);

	if (r < 0)
		return err_wrap(e, r, "snapshot_path \"%s\"", load->snapshot_path);
	arch_mem_layout(file->mark.mem_size, &layout);
	r = snapshot_map_memory(file, &chain, load->mem_file_path, load->layers, &layout, &m->mem, e);
	if (r < 0)
		return r;
	r = snapshot_put_back(file, &chain, &m->mem, e);
	if (r < 0)
		return err_wrap(e, r, "snapshot_path \"%s\"", load->snapshot_path);
	if (file->version.minor == 0)
		return 0;
	r = mem_mark(&m->mem, e);
	if (!r)
		m->chain = chain;
	return r;
}

/* From a configuration that was read, to a machine that could run. */
static int load_machine(struct machine *m, const struct snapshot_load_config *load, struct statefile *file,
			struct err *e)
{
	int r = load_memory(m, load, file, e);

	if (!r && m->config->machine.huge_pages == HUGE_PAGES_TRANSPARENT)
		r = mem_use_huge_pages(&m->mem, e);
	if (r < 0)
		return r;
	m->boot_timer = dec_bool(file->state, "boot_timer");
	m->pmu = arch_vcpu_state_has_pmu(dec_item(file->state, "vcpus", 0));
	r = arch_board_load(&m->board, file->state, e);
	if (!r)
		r = dec_error(file->state, e);
	if (r < 0)
		return err_wrap(e, r, "snapshot_path \"%s\"", load->snapshot_path);
	r = machine_build(m, e);
	if (r < 0)
		return r;
	r = load_state(m, file->state, load->clock_realtime, e);
	return r < 0 ? err_wrap(e, r, "snapshot_path \"%s\"", load->snapshot_path) : 0;
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

int machine_load(const struct snapshot_load_config *load, struct vm_config *config, const struct mmds_store *metadata,
		 struct loop *loop, struct machine **out, struct err *e)
{
	struct statefile file;
	struct vm_config loaded = { 0 };
	struct machine *m;
	int r = statefile_read(load->snapshot_path, &file, e);

	if (r < 0)
		return r;
	r = load_config(&file, &loaded, e);
	if (r < 0) {
		statefile_fini(&file);
		return err_wrap(e, r, "snapshot_path \"%s\"", load->snapshot_path);
	}
	r = load_override(load, &loaded, e);
	if (r < 0) {
		statefile_fini(&file);
		vm_config_fini(&loaded);
		return r;
	}
	load_choose_memory(load, &loaded.machine);
	vm_config_move_own(&loaded, config);
	m = machine_alloc(&loaded, metadata, loop);
	r = m ? load_machine(m, load, &file, e) : err_errno(e, ENOMEM, "cannot create the machine");
	statefile_fini(&file);
	if (!m || r < 0) {
		machine_free(m);
		vm_config_move_own(config, &loaded);
		vm_config_fini(&loaded);
		return r;
	}
	vm_config_fini(config);
	*config = loaded;
	m->config = config;
	m->leak_pending = true;
	*out = m;
	return 0;
}
