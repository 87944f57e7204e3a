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
#include "machine/pager.h"
#include "mem/track.h"
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
	snapshot_chain_save(&m->save_chain, &m->mem, enc);
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
	const struct snapshot_order order = {
		.state_path = m->save->snapshot_path,
		.mem_path = m->save->mem_file_path,
		.mem = &m->mem,
		.below = &m->save_chain,
		.changed = m->save_changed,
	};

	return snapshot_write_pair(&order, m->save_state, &m->save_chain, e);
}

/* The loop reads the pages in whose place there will be records: a handler may still have them. */
static int prepare_records(struct machine *m, struct err *e)
{
	static const uint8_t unknown[SNAPSHOT_ID_LEN];
	struct snapshot_chain below = { .num = 0 }, above;
	int r;

	if (!m->pager)
		return 0;
	if (m->save->type == SNAPSHOT_DIFF)
		below = m->chain;
	snapshot_chain_push(&below, unknown, &above);
	r = snapshot_chain_prepare(&above, &m->mem);
	return r < 0 ? pager_explain(m->pager, r, e) : 0;
}

static int flush_files(void *arg, struct err *e)
{
	int r = flush_devices(arg, e);

	return r < 0 ? r : prepare_records(arg, e);
}

void machine_forget_save(struct machine *m)
{
	enc_free(m->save_state);
	m->save_state = NULL;
	for (unsigned int i = 0; i < MEM_MAX_REGIONS; i++) {
		free(m->save_changed[i]);
		m->save_changed[i] = NULL;
	}
}

static void save_ends(void *arg, int r, const struct err *e)
{
	struct machine *m = arg;

	machine_forget_save(m);
	m->save_done(m->save_ctx, r, e);
}

/* The next diff lies on this snapshot. If KVM's log cannot be begun anew, it will be no diff: it has everything. */
static void save_is_written(void *arg, int r, const struct err *e)
{
	struct machine *m = arg;
	struct err why;

	if (r == 0 && mem_mark(&m->mem, &why) == 0)
		m->chain = m->save_chain;
	else if (r == 0)
		m->chain.num = 0;
	save_ends(m, r, e);
}

/* A diff lies on the last snapshot, or on the one that the machine came from; where there is none it is a full one. */
static int save_choose_pages(struct machine *m, struct err *e)
{
	int r = mem_prepare_mark(&m->mem, e);

	m->save_chain = (struct snapshot_chain){ .num = 0 };
	if (r < 0 || m->save->type != SNAPSHOT_DIFF || m->chain.num == 0)
		return r;
	for (unsigned int i = 0; i < m->mem.num_regions && r == 0; i++) {
		m->save_changed[i] = calloc(mem_bitmap_len(&m->mem.regions[i]), sizeof(uint64_t));
		r = m->save_changed[i] ? mem_changed_since_mark(&m->mem, i, m->save_changed[i], e)
				       : err_errno(e, ENOMEM, "cannot tell which pages have changed");
	}
	m->save_chain = m->chain;
	return r;
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
	r = m->save_state ? save_choose_pages(m, &e) : err_errno(&e, ENOMEM, "cannot save the machine's state");
	if (!r)
		r = save_state(m, m->save_state, &e);
	if (r < 0)
		save_ends(m, r, &e);
	else
		beside_run(&m->beside, write_files, save_is_written, m);
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
