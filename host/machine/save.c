// SPDX-License-Identifier: Apache-2.0
/*
 * The recipe of a snapshot, top to bottom. Devices come before KVM's state: a
 * save must not raise an interrupt behind the back of the controllers' state.
 * No guest memory changes here; the leak is only marked (run.c).
 *
 * Files are flushed and written beside the loop (beside.h); in between the state
 * is collected on it.
 */
#include <stdlib.h>

#include "kvm/vcpu.h"
#include "machine/internal.h"
#include "resource/state.h"
#include "snapshot/memfile.h"
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
	memfile_save_under(&m->mem, enc);
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

static int write_files(void *arg, struct err *e)
{
	struct machine *m = arg;

	return snapshot_write_pair(m->save->snapshot_path, m->save->mem_file_path, m->save_state, &m->mem, e);
}

static int flush_files(void *arg, struct err *e)
{
	return flush_devices(arg, e);
}

static void save_ends(void *arg, int r, const struct err *e)
{
	struct machine *m = arg;

	enc_free(m->save_state);
	m->save_state = NULL;
	m->save_done(m->save_ctx, r, e);
}

/* On the loop, where nothing else of the machine's runs: its state is of one moment. */
static void save_goes_on(void *arg, int r, const struct err *flush_error)
{
	struct machine *m = arg;
	struct err e = *flush_error;

	if (r < 0) {
		save_ends(m, r, &e);
		return;
	}
	m->save_state = enc_new();
	/*
	 * Marked before anything is written: if the attempt fails half-way, or its files turn out to be there after an error,
	 * one leak event too many does no harm, one too few would.
	 */
	m->leak_pending = true;
	r = m->save_state ? save_state(m, m->save_state, &e) : err_errno(&e, ENOMEM, "cannot save the machine's state");
	if (r < 0)
		save_ends(m, r, &e);
	else
		beside_run(&m->beside, write_files, save_ends, m);
}

void machine_save(struct machine *m, const struct snapshot_create_config *save, machine_done_fn *done, void *arg)
{
	struct err e;
	int r;

	if (!m->paused) {
		r = err_set(&e, EBUSY, "the machine is running: pause it before a snapshot is created");
		done(arg, r, &e);
		return;
	}
	m->save = save;
	m->save_done = done;
	m->save_ctx = arg;
	beside_run(&m->beside, flush_files, save_goes_on, m);
}
