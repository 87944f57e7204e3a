// SPDX-License-Identifier: Apache-2.0
/* Pause, leak and resume of a machine (docs/leak-protocol.md, rule 7): how often, and in which order. */
#include "machine/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "sandbox/sandbox.h"

static char calls[256];
static int leak_error;
static bool stuck; /* a vCPU does not come */

/* These take the places of kvm/ and sandbox/. */
void vm_run(struct vm *vm)
{
	(void)vm;
	strcat(calls, "run ");
}

int vm_pause(struct vm *vm, uint64_t timeout_ns, struct err *e)
{
	(void)vm;
	(void)timeout_ns;
	strcat(calls, "stop ");
	return stuck ? err_set(e, ETIMEDOUT, "vCPU 0 does not stop") : 0;
}

int sandbox_enter(enum sandbox_filter filter, struct err *e)
{
	(void)filter;
	(void)e;
	return 0;
}

static int dev_leak(struct device *dev, struct err *e)
{
	strcat(calls, dev->name);
	strcat(calls, ":leak ");
	return leak_error ? err_set(e, -leak_error, "no random bytes") : 0;
}

static void dev_resume(struct device *dev)
{
	strcat(calls, dev->name);
	strcat(calls, ":resume ");
}

static void dev_pause(struct device *dev)
{
	strcat(calls, dev->name);
	strcat(calls, ":pause ");
}

static const struct device_ops ops = { .leak = dev_leak, .resume = dev_resume, .pause = dev_pause };
static const struct device_ops quiet_ops = { 0 };

static struct device second = { .ops = &ops, .name = "b" };
static struct device silent = { .ops = &quiet_ops, .name = "x", .next = &second };
static struct device first = { .ops = &ops, .name = "a", .next = &silent };
static struct machine m;

static int setup(void **state)
{
	(void)state;
	memset(&m, 0, sizeof(m));
	bus_init(&m.bus);
	m.devices = &first;
	for (struct device *dev = m.devices; dev; dev = dev->next)
		dev->state = DEVICE_CREATED;
	m.paused = true;
	leak_error = 0;
	calls[0] = '\0';
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return 0;
}

static void assert_calls(const char *expected)
{
	assert_string_equal(calls, expected);
	calls[0] = '\0';
}

static void pending_leak_comes_before_devices_and_processors_run(void **state)
{
	struct err e;

	(void)state;
	m.leak_pending = true;
	assert_int_equal(machine_resume(&m, &e), 0);
	assert_calls("a:leak b:leak a:resume b:resume run ");
	assert_int_equal(machine_resume(&m, &e), 0);
	assert_calls(""); /* it runs already */
}

static void machine_without_a_leak_just_runs_on(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(machine_resume(&m, &e), 0);
	assert_calls("a:resume b:resume run ");
	assert_int_equal(machine_pause(&m, &e), 0);
	assert_calls("stop a:pause b:pause ");
	assert_int_equal(machine_pause(&m, &e), 0);
	assert_calls("");
	assert_int_equal(machine_resume(&m, &e), 0);
	assert_calls("a:resume b:resume run ");
}

static void many_leaks_in_one_pause_are_one_event(void **state)
{
	struct err e;

	(void)state;
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(machine_signal_leak(&m, &e), 0);
	assert_calls("");
	assert_int_equal(machine_resume(&m, &e), 0);
	assert_calls("a:leak b:leak a:resume b:resume run ");
	assert_int_equal(machine_pause(&m, &e), 0);
	assert_int_equal(machine_resume(&m, &e), 0);
	assert_calls("stop a:pause b:pause a:resume b:resume run ");
}

static void signalled_leak_stops_a_running_machine_for_its_event(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(machine_resume(&m, &e), 0);
	assert_calls("a:resume b:resume run ");
	assert_int_equal(machine_signal_leak(&m, &e), 0);
	assert_calls("stop a:pause b:pause a:leak b:leak a:resume b:resume run ");
	assert_false(m.paused);
}

static void event_that_fails_keeps_the_machine_paused_and_the_leak_pending(void **state)
{
	struct err e;

	(void)state;
	m.leak_pending = true;
	leak_error = -EIO;
	assert_int_equal(machine_resume(&m, &e), -EIO);
	assert_calls("a:leak ");
	assert_true(m.paused);
	assert_non_null(strstr(e.text, "the machine stays paused"));
	leak_error = 0;
	assert_int_equal(machine_resume(&m, &e), 0);
	assert_calls("a:leak b:leak a:resume b:resume run ");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(pending_leak_comes_before_devices_and_processors_run),
		T(machine_without_a_leak_just_runs_on),
		T(many_leaks_in_one_pause_are_one_event),
		T(signalled_leak_stops_a_running_machine_for_its_event),
		T(event_that_fails_keeps_the_machine_paused_and_the_leak_pending),
	};

	return cmocka_run_group_tests_name("run", tests, NULL, NULL);
}
