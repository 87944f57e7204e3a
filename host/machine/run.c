// SPDX-License-Identifier: Apache-2.0
/*
 * Pause, resume, and the leak event between them.
 *
 * Theory of operation. Whatever copies a machine's memory happens while it is
 * paused, and only marks a leak as pending. The event itself runs here, at the
 * resume edge: after the copy, before any vCPU executes an instruction. So
 * every machine that runs again, be it the original or one of many clones, has
 * had one event with random bytes of its own, and no memory file ever holds the
 * outcome of an event that its guest has not seen.
 */
#include "base/clock.h"
#include "base/log.h"
#include "machine/internal.h"
#include "machine/working_set.h"
#include "sandbox/sandbox.h"

/* How long the requests in flight of all devices together may take; the API waits meanwhile. */
#define MACHINE_DRAIN_MS 5000u

/* Memory that comes from a slow disk may take its time; the API answers nobody else meanwhile. */
#define MACHINE_PAUSE_NS (5ull * 1000 * 1000 * 1000)

static int machine_run_leak_event(struct machine *m, struct err *e)
{
	uint64_t start_ns = clock_now_ns();
	int r = 0;

	for (struct device *dev = m->devices; dev && !r; dev = dev->next)
		r = device_leak(dev, e);
	if (r < 0)
		return err_wrap(e, r, "the machine stays paused: an entropy leak could not be reported to the guest");
	m->leak_pending = false;
	metric_set(latencies_us, leak_event, (clock_now_ns() - start_ns) / 1000);
	return 0;
}

int machine_resume(struct machine *m, struct err *e)
{
	int r = 0;

	if (!m->paused)
		return 0;
	if (m->leak_pending)
		r = machine_run_leak_event(m, e);
	/* Nothing is left to build. Before the first instruction of a guest, the loop thread gives up what that took. */
	if (!r)
		r = sandbox_enter(SANDBOX_LOOP, e);
	for (struct device *dev = m->devices; dev && !r; dev = dev->next)
		device_resume(dev);
	if (r < 0)
		return r;
	m->paused = false;
	working_set_begin(m->working_set);
	vm_run(m->vm);
	return 0;
}

/* What devices have begun ends: a snapshot holds nothing that is half done. */
static int machine_drain(struct machine *m, struct err *e)
{
	uint64_t end_ns = clock_now_ns() + MACHINE_DRAIN_MS * 1000000ull;
	int r = 0;

	for (struct device *dev = m->devices; dev && !r; dev = dev->next) {
		uint64_t now_ns = clock_now_ns();

		r = device_drain(dev, now_ns < end_ns ? (unsigned int)((end_ns - now_ns) / 1000000) : 0, e);
	}
	return r < 0 ? err_wrap(e, r, "the machine runs on: it cannot be paused") : 0;
}

static int pause_vcpus(void *arg, struct err *e)
{
	return vm_pause(((struct machine *)arg)->vm, MACHINE_PAUSE_NS, e);
}

static int pause_drain(void *arg, struct err *e)
{
	return machine_drain(arg, e);
}

static void pause_devices(struct machine *m)
{
	for (struct device *dev = m->devices; dev; dev = dev->next)
		device_pause(dev);
}

/* Everything is paused, or (r) goes on. Returns r. */
static int pause_ends(struct machine *m, bool devices, int r)
{
	for (struct device *dev = m->devices; dev && devices && r < 0; dev = dev->next)
		device_resume(dev);
	if (r < 0)
		vm_run(m->vm); /* those that have stopped go on */
	else
		m->paused = true;
	return r;
}

static int pause_all(struct machine *m, struct err *e)
{
	int r;

	if (m->paused)
		return 0;
	r = pause_vcpus(m, e);
	if (r < 0)
		return pause_ends(m, false, r);
	pause_devices(m);
	return pause_ends(m, true, pause_drain(m, e));
}

int machine_pause(struct machine *m, struct err *e)
{
	int r = pause_all(m, e);

	if (r == 0)
		working_set_stop(m->working_set);
	return r;
}

static void pause_is_drained(void *arg, int r, const struct err *e)
{
	struct machine *m = arg;

	r = pause_ends(m, true, r);
	m->prepare_done(m->prepare_ctx, r, e);
}

static void pause_goes_on(void *arg, int r, const struct err *e)
{
	struct machine *m = arg;

	if (r < 0) {
		r = pause_ends(m, false, r);
		m->prepare_done(m->prepare_ctx, r, e);
		return;
	}
	pause_devices(m);
	beside_run(&m->beside, pause_drain, pause_is_drained, m);
}

/* What is waited for may wait for pages, and that long the loop must not. */
void machine_pause_beside(struct machine *m, machine_done_fn *done, void *arg)
{
	m->prepare_done = done;
	m->prepare_ctx = arg;
	beside_run(&m->beside, pause_vcpus, pause_goes_on, m);
}

int machine_signal_leak(struct machine *m, struct err *e)
{
	bool was_paused = m->paused;
	int r = pause_all(m, e);

	if (r < 0)
		return r;
	m->leak_pending = true;
	return was_paused ? 0 : machine_resume(m, e);
}
