// SPDX-License-Identifier: Apache-2.0
#include "fake_machine.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resource/resource.h"
#include "resource/vm_config.h"

METRICS_DEFINE(latencies_us, LATENCIES_US_METRICS, true)

struct machine {
	bool paused;
	const struct vm_config *config;
};

struct fake_machine fake;

void fake_machine_reset(void)
{
	assert(!fake.alive);
	memset(&fake, 0, sizeof(fake));
}

static int fake_call(const char *name, struct err *e)
{
	strncat(fake.calls, name, sizeof(fake.calls) - strlen(fake.calls) - 1);
	strncat(fake.calls, " ", sizeof(fake.calls) - strlen(fake.calls) - 1);
	if (fake.fail && !strcmp(fake.fail, name))
		return err_set(e, EIO, "the fake fails");
	return 0;
}

static struct machine *fake_new(const struct vm_config *config, bool paused)
{
	struct machine *m = calloc(1, sizeof(*m));

	assert(m);
	m->config = config;
	m->paused = paused;
	fake.alive++;
	return m;
}

int machine_check_boot_args(const struct vm_config *config, struct err *e)
{
	(void)config;
	return fake.fail && !strcmp(fake.fail, "boot_args") ? err_set(e, EINVAL, "boot_args: too many") : 0;
}

int machine_prepare(struct vm_shell **shell, struct err *e)
{
	int r = fake_call("prepare_kvm", e);

	if (!r)
		*shell = (struct vm_shell *)&fake;
	return r;
}

void machine_forget_prepared(struct vm_shell *shell)
{
	assert(!shell || shell == (struct vm_shell *)&fake);
}

int machine_boot(const struct vm_config *config, bool boot_timer, const struct mmds_store *metadata,
		 struct vm_shell **shell, struct loop *loop, struct machine **m, struct err *e)
{
	int r = fake_call("boot", e);

	(void)boot_timer;
	(void)metadata;
	(void)loop;
	*shell = NULL;
	if (!r)
		*m = fake_new(config, false);
	return r;
}

int machine_load(const struct snapshot_load_config *load, struct vm_config *config, const struct mmds_store *metadata,
		 struct vm_shell **shell, struct loop *loop, struct machine **m, struct err *e)
{
	static const char standard[] = "{\"machine-config\":{\"vcpu_count\":2,\"mem_size_mib\":256},"
				       "\"boot-source\":{\"kernel_image_path\":\"/from/the/snapshot\"}}";
	const char *text = fake.on_load ? fake.on_load : standard;
	struct vm_config loaded;
	int r = fake_call("load", e);

	*shell = NULL;
	(void)metadata;
	(void)loop;
	snprintf(fake.path, sizeof(fake.path), "%s", load->snapshot_path);
	snprintf(fake.serial, sizeof(fake.serial), "%s",
		 config->serial.serial_out_path ? config->serial.serial_out_path : "");
	if (!r)
		r = vm_config_from_text(text, strlen(text), &loaded, e);
	if (r)
		return r;
	vm_config_move_own(&loaded, config);
	vm_config_fini(config);
	*config = loaded;
	*m = fake_new(config, true);
	return 0;
}

int machine_stop(struct machine *m, struct err *e)
{
	return m ? fake_call("stop", e) : 0;
}

void machine_free(struct machine *m)
{
	if (!m)
		return;
	(void)fake_call("free", NULL);
	fake.alive--;
	free(m);
}

bool machine_is_paused(const struct machine *m)
{
	return m->paused;
}

int machine_pause(struct machine *m, struct err *e)
{
	int r = fake_call("pause", e);

	if (!r)
		m->paused = true;
	return r;
}

/* At once, or when the test says so. */
static void fake_done(machine_done_fn *done, void *arg, int r, const struct err *e)
{
	if (!fake.is_slow) {
		done(arg, r, e);
		return;
	}
	fake.done = done;
	fake.done_arg = arg;
	fake.done_r = r;
	fake.done_error = *e;
}

bool machine_memory_is_served(const struct machine *m)
{
	(void)m;
	return fake.is_served;
}

void machine_load_served(const struct snapshot_load_config *load, struct vm_config *config,
			 const struct mmds_store *metadata, struct vm_shell **shell, struct loop *loop,
			 struct machine **out, machine_done_fn *done, void *arg)
{
	struct err e = { "" };

	assert(load->is_served);
	*out = NULL;
	fake_done(done, arg, machine_load(load, config, metadata, shell, loop, out, &e), &e);
}

void machine_prepare_resume(struct machine *m, machine_done_fn *done, void *arg)
{
	struct err e = { "" };

	(void)m;
	fake_done(done, arg, fake_call("prepare", &e), &e);
}

void machine_pause_beside(struct machine *m, machine_done_fn *done, void *arg)
{
	struct err e = { "" };

	fake_done(done, arg, machine_pause(m, &e), &e);
}

int machine_resume(struct machine *m, struct err *e)
{
	int r = fake_call("resume", e);

	if (!r)
		m->paused = false;
	return r;
}

void fake_machine_finish(void)
{
	machine_done_fn *done = fake.done;

	fake.done = NULL;
	done(fake.done_arg, fake.done_r, &fake.done_error);
}

void machine_save(struct machine *m, const struct snapshot_create_config *save, machine_done_fn *done, void *arg)
{
	struct err e = { "" };
	int r;

	(void)m;
	snprintf(fake.path, sizeof(fake.path), "%s", save->snapshot_path);
	r = fake_call("save", &e);
	fake_done(done, arg, r, &e);
}

void machine_beside(struct machine *m, int (*work)(void *arg, struct err *e), machine_done_fn *done, void *arg)
{
	struct err e = { "" };
	int r = work(arg, &e);

	(void)m;
	fake_done(done, arg, r, &e);
}

int machine_check_reseed(const struct machine *m, struct err *e)
{
	(void)m;
	return fake.progress.driver == LEAK_DRIVER_SILENT ? err_set(e, EOPNOTSUPP, "it never says so") : 0;
}

void machine_await_reseed(struct machine *m, uint32_t timeout_ms, machine_done_fn *done, void *arg)
{
	struct err e;
	int r = fake_call("reseed", &e);

	fake.reseed_timeout_ms = timeout_ms;
	m->paused = r < 0;
	fake_done(done, arg, r, &e);
}

int machine_signal_leak(struct machine *m, struct err *e)
{
	(void)m;
	return fake_call("leak", e);
}

int machine_send_ctrl_alt_del(struct machine *m, struct err *e)
{
	(void)m;
	return fake_call("ctrl_alt_del", e);
}

int machine_update(struct machine *m, const struct resource *resource, const struct resource_patch *how,
		   const void *instance, const void *patch, struct err *e)
{
	const struct drive_update *update = patch;

	(void)m;
	(void)how;
	(void)instance;
	if (resource == &drive_resource)
		snprintf(fake.path, sizeof(fake.path), "%s", update->path_on_host ? update->path_on_host : "");
	return fake_call("update", e);
}

int machine_query(struct machine *m, const struct resource *resource, const struct resource_query *query,
		  const void *instance, void *answer, struct err *e)
{
	(void)m;
	(void)query;
	(void)instance;
	if (resource == &entropy_resource)
		*(struct leak_progress *)answer = fake.progress;
	return fake_call("query", e);
}
