// SPDX-License-Identifier: Apache-2.0
/*
 * The recipe of a snapshot, top to bottom. Devices come before KVM's state: a
 * save must not raise an interrupt behind the back of the controllers' state.
 * No guest memory changes here; the leak is only marked (run.c).
 */
#include <stdlib.h>

#include "kvm/vcpu.h"
#include "machine/internal.h"
#include "resource/state.h"
#include "snapshot/pair.h"
#include "state/codec.h"

static int flush_devices(struct machine *m, struct err *e)
{
	int r = 0;

	for (struct device *dev = m->devices; dev && !r; dev = dev->next)
		r = device_flush(dev, e);
	return r;
}

static void save_devices(struct machine *m, struct enc *enc)
{
	enc_map_begin(enc, "devices");
	for (struct device *dev = m->devices; dev; dev = dev->next) {
		if (!dev->ops->save)
			continue;
		enc_map_begin(enc, dev->name);
		device_save(dev, enc);
		enc_map_end(enc);
	}
	enc_map_end(enc);
}

static int save_vcpus(struct machine *m, struct enc *enc, struct err *e)
{
	int r = 0;

	enc_array_begin(enc, "vcpus");
	for (unsigned int i = 0; i < m->vm->num_vcpus && !r; i++) {
		enc_item_begin(enc);
		r = arch_vcpu_save(&m->vm->vcpus[i], enc, e);
		enc_item_end(enc);
	}
	enc_array_end(enc);
	return r;
}

static int save_state(struct machine *m, struct enc *enc, struct err *e)
{
	int r;

	enc_map_begin(enc, "config");
	r = vm_config_save(m->config, enc);
	enc_map_end(enc);
	if (r < 0)
		return err_errno(e, -r, "cannot save the configuration");
	enc_bool(enc, "boot_timer", m->boot_timer);
	arch_board_save(&m->board, enc);
	save_devices(m, enc);
	r = save_vcpus(m, enc, e);
	if (r < 0)
		return r;
	enc_map_begin(enc, "vm");
	r = arch_vm_save(m->vm, enc, e);
	enc_map_end(enc);
	return r;
}

int machine_save(struct machine *m, const struct snapshot_create_config *save, struct err *e)
{
	struct enc *enc;
	int r;

	if (!m->paused)
		return err_set(e, EBUSY, "the machine is running: pause it before a snapshot is created");
	r = flush_devices(m, e);
	if (r < 0)
		return r;
	enc = enc_new();
	if (!enc)
		return err_errno(e, ENOMEM, "cannot save the machine's state");
	/*
	 * Marked before anything is written: if the attempt fails half-way, or its files turn out to be there after an error,
	 * one leak event too many does no harm, one too few would.
	 */
	m->leak_pending = true;
	r = save_state(m, enc, e);
	if (!r)
		r = snapshot_write_pair(save->snapshot_path, save->mem_file_path, enc, &m->mem, e);
	enc_free(enc);
	return r;
}
