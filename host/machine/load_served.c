// SPDX-License-Identifier: Apache-2.0
/*
 * A restore whose memory a page-fault handler has, or huge memory of a file,
 * for which we are that handler. What building the machine
 * will touch is had first, beside the loop, so that the loop does not wait for
 * it; then the loop goes on as for memory of a file. Before a resume it is the
 * same with what the leak event touches.
 */
#include <stdlib.h>

#include "base/cleanup.h"
#include "machine/load.h"
#include "machine/pager.h"
#include "mem/pages.h"
#include "resource/vm_config.h"
#include "snapshot/layers.h"

/* Under way; the machine has it. */
struct load_served {
	struct machine_load load;
	struct mem_layout layout;
	machine_done_fn *done;
	void *arg;
};

static int served_prepare_vcpus(struct load_served *s)
{
	struct dec *state = s->load.file.state;
	size_t n = dec_array(state, "vcpus", CONFIG_MAX_VCPUS);
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = arch_vcpu_prepare(dec_item(state, "vcpus", i), &s->load.m->mem);
	return r;
}

static int served_prepare(struct load_served *s)
{
	const struct guest_mem *mem = &s->load.m->mem;
	int r = snapshot_chain_prepare(&s->load.chain, mem);

	if (r == 0)
		r = served_prepare_vcpus(s);
	return r < 0 ? r : arch_prepare_own(mem);
}

/* Beside the loop. */
static int served_work(void *arg, struct err *e)
{
	struct load_served *s = arg;
	struct machine *m = s->load.m;
	int r = served_prepare(s);

	if (r < 0)
		return pager_explain(m->pager, r, e);
	if (s->load.how->is_served) /* files were looked at when they were opened */
		r = snapshot_check_served(&s->load.file, &s->load.chain, &m->mem, e);
	if (r < 0)
		return err_wrap(e, r, "mem_backend: the page-fault handler at \"%s\"", s->load.how->mem_file_path);
	r = snapshot_put_back(&s->load.file, &s->load.chain, &m->mem, e);
	return r < 0 ? err_wrap(e, r, LOAD_STATE_FILE, s->load.how->snapshot_path) : 0;
}

void machine_forget_load(struct load_served *s)
{
	if (s)
		machine_load_fini(&s->load);
	free(s);
}

/* On the loop. The machine is the caller's. */
static void served_end(void *arg, int r, const struct err *why)
{
	struct load_served *s = arg;
	struct machine *m = s->load.m;
	machine_done_fn *done = s->done;
	void *ctx = s->arg;
	struct err e = *why;

	if (r == 0)
		r = machine_load_end(&s->load, &e);
	if (r == 0)
		r = pager_start(m->pager, &e);
	if (r == 0)
		machine_forget_load(take_ptr(m->load));
	done(ctx, r, &e);
}

/* Beside the loop. */
static int served_open_files(void *arg, struct err *e)
{
	struct load_served *s = arg;

	return machine_load_map(&s->load, &s->layout, e);
}

/* On the loop. */
static void served_have_files(void *arg, int r, const struct err *why)
{
	struct load_served *s = arg;
	struct machine *m = s->load.m;
	struct err e = *why;

	if (r == 0)
		r = pager_serve_files(m->pager, &m->mem, &e);
	if (r < 0)
		served_end(s, r, &e);
	else
		beside_run(&m->beside, served_work, served_end, s);
}

static int served_begin(struct load_served *s, const struct mmds_store *metadata, struct vm_shell **shell,
			struct loop *loop, struct err *e)
{
	const char *path = s->load.how->mem_file_path;
	struct machine *m;
	int r = machine_load_begin(&s->load, metadata, shell, loop, e);

	m = s->load.m;
	if (r < 0)
		return r;
	arch_mem_layout(s->load.file.mark.mem_size, &s->layout);
	s->layout.huge = s->load.config.machine.huge_pages == HUGE_PAGES_2M;
	if (!s->load.how->is_served)
		r = pager_new_own(path, loop, &m->pager, e);
	else
		r = pager_new(path, loop, &m->pager, e);
	if (r == 0 && s->load.how->is_served)
		r = pager_map(m->pager, &s->layout, &m->mem, e);
	if (r == 0 && s->load.config.machine.huge_pages == HUGE_PAGES_TRANSPARENT)
		r = mem_use_huge_pages(&m->mem, e);
	return r < 0 ? r : beside_init(&m->beside, loop, e);
}

void machine_load_served(const struct snapshot_load_config *load, struct vm_config *config,
			 const struct mmds_store *metadata, struct vm_shell **shell, struct loop *loop,
			 struct machine **out, machine_done_fn *done, void *arg)
{
	struct load_served *s = calloc(1, sizeof(*s));
	struct machine *m;
	struct err e;
	int r;

	*out = NULL;
	if (!s) {
		r = err_errno(&e, ENOMEM, "cannot create the machine");
		done(arg, r, &e);
		return;
	}
	*s = (struct load_served){ .load = { .how = load, .target = config }, .done = done, .arg = arg };
	r = served_begin(s, metadata, shell, loop, &e);
	m = s->load.m;
	if (r < 0) {
		machine_free(m);
		machine_forget_load(s);
		done(arg, r, &e);
		return;
	}
	m->load = s;
	*out = m;
	if (load->is_served)
		beside_run(&m->beside, served_work, served_end, s);
	else
		beside_run(&m->beside, served_open_files, served_have_files, s);
}

bool machine_memory_is_served(const struct machine *m)
{
	return m->pager != NULL;
}

static int served_prepare_resume(void *arg, struct err *e)
{
	struct machine *m = arg;
	int r = arch_prepare_own(&m->mem);

	for (struct device *dev = m->devices; dev && r == 0; dev = dev->next)
		r = dev->ops->prepare ? dev->ops->prepare(dev) : 0;
	return r < 0 ? pager_explain(m->pager, r, e) : 0;
}

static void served_is_prepared(void *arg, int r, const struct err *e)
{
	struct machine *m = arg;

	m->prepare_done(m->prepare_ctx, r, e);
}

void machine_prepare_resume(struct machine *m, machine_done_fn *done, void *arg)
{
	m->prepare_done = done;
	m->prepare_ctx = arg;
	beside_run(&m->beside, served_prepare_resume, served_is_prepared, m);
}
