// SPDX-License-Identifier: Apache-2.0
/* The controller over a fake machine: what is allowed when, and what a refusal leaves behind. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/metrics.h"
#include "fake_machine.h"
#include "resource/vm_config.h"
#include "tmpdir.h"
#include "vmm/vmm.h"

static struct vmm vmm;
static struct err e;
static struct tmpdir dir;

static void make_file(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static int make_directory(void **state)
{
	(void)state;
	assert_int_equal(tmpdir_make(&dir), 0);
	assert_int_equal(chdir(dir.path), 0);
	make_file("kernel", "k");
	make_file("initrd", "i");
	make_file("disk", "d");
	make_file("disk2", "d");
	assert_int_equal(mkdir("sub", 0700), 0);
	assert_int_equal(mkfifo("fifo", 0600), 0);
	log_set_level(LOG_LEVEL_OFF);
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	tmpdir_remove(&dir);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	fake_machine_reset();
	vmm_init(&vmm, NULL, "test-instance", false);
	memset(&e, 0, sizeof(e));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vmm_fini(&vmm);
	assert_int_equal(fake.alive, 0);
	return 0;
}

/* "PUT drives/{id}", and text, which is JSON with ' for "; the reply to a GET, as text, ends up in *out. */
static int run(const char *endpoint, const char *text, char **out)
{
	_cleanup_free_ char *json = strdup(text), *method = strndup(endpoint, strcspn(endpoint, " "));
	json_t *body = NULL, *reply = NULL;
	struct action action;
	struct endpoint ep;
	const char *id;
	int r;

	for (char *p = json; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	assert_int_equal(config_json_parse(json, strlen(json), &body, &e), 0);
	assert_true(endpoint_find(method, endpoint + strlen(method) + 1, &ep, &id));
	r = action_from_json(&ep, NULL, body, &action, &e);
	json_decref(body);
	if (r)
		return r;
	r = vmm_do(&vmm, &action, &reply, &e);
	action_fini(&action);
	if (out)
		*out = reply ? json_dumps(reply, JSON_COMPACT) : NULL;
	json_decref(reply);
	return r;
}

static int act(const char *endpoint, const char *text)
{
	return run(endpoint, text, NULL);
}

static char *config_text(void)
{
	json_t *obj = vm_config_to_json(&vmm.config);
	char *text = json_dumps(obj, JSON_COMPACT);

	json_decref(obj);
	return text;
}

static void assert_error(const char *part)
{
	if (!strstr(e.text, part))
		fail_msg("expected \"%s\" in: %s", part, e.text);
}

static void boot_args_that_do_not_fit_are_refused_when_they_are_put(void **state)
{
	(void)state;
	assert_int_equal(act("PUT boot-source", "{'kernel_image_path':'kernel'}"), 0);
	fake.fail = "boot_args";
	assert_int_equal(act("PUT boot-source", "{'kernel_image_path':'kernel','boot_args':'a'}"), -EINVAL);
	assert_error("Boot source error: boot_args: too many");
	assert_null(vmm.config.boot_source.boot_args);
}

static void start(void)
{
	assert_int_equal(act("PUT boot-source", "{'kernel_image_path':'kernel'}"), 0);
	assert_int_equal(act("PUT drives/{id}", "{'drive_id':'rootfs','path_on_host':'disk','is_root_device':true}"),
			 0);
	assert_int_equal(act("PUT actions", "{'action_type':'InstanceStart'}"), 0);
	assert_int_equal(vmm_state(&vmm), VMM_RUNNING);
}

static const struct {
	const char *endpoint;
	const char *body;
	bool before, running, paused; /* allowed? */
} phases[] = {
	{ "GET ", "{}", true, true, true },
	{ "GET version", "{}", true, true, true },
	{ "GET machine-config", "{}", true, true, true },
	{ "GET vm/config", "{}", true, true, true },
	{ "PUT logger", "{'level':'Off'}", true, false, false },
	{ "PUT boot-source", "{'kernel_image_path':'kernel','initrd_path':'initrd'}", true, false, false },
	{ "PUT machine-config", "{'vcpu_count':1,'mem_size_mib':128}", true, false, false },
	{ "PATCH machine-config", "{'vcpu_count':1}", true, false, false },
	{ "PUT drives/{id}", "{'drive_id':'rootfs','path_on_host':'disk','is_root_device':true}", true, false, false },
	{ "PUT entropy", "{}", true, false, false },
	{ "PUT serial", "{}", true, false, false },
	{ "PATCH drives/{id}", "{'drive_id':'rootfs','path_on_host':'disk'}", false, true, true },
	{ "PUT actions", "{'action_type':'FlushMetrics'}", false, true, true },
	{ "PUT actions", "{'action_type':'SendCtrlAltDel'}", false, true, true },
	{ "PUT actions", "{'action_type':'SignalEntropyLeak'}", false, true, true },
	{ "PUT snapshot/create", "{'snapshot_path':'s','mem_file_path':'m'}", false, false, true },
	{ "PUT snapshot/load", "{'snapshot_path':'s','mem_file_path':'m'}", true, false, false },
	{ "PUT metrics", "{'metrics_path':'metrics'}", true, false, false },
	{ "PATCH vm", "{'state':'Resumed'}", false, true, true },
	{ "PATCH vm", "{'state':'Paused'}", false, true, true },
};

static void each_action_is_allowed_in_its_states_only(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(phases); i++) {
		int r;

		vmm_fini(&vmm);
		vmm_init(&vmm, NULL, "test-instance", false);
		r = act(phases[i].endpoint, phases[i].body);
		assert_int_equal(!r, phases[i].before);
		if (r)
			assert_string_equal(e.text,
					    "The requested operation is not supported before starting the microVM.");
	}
	for (size_t i = 0; i < ARRAY_SIZE(phases); i++) {
		vmm_fini(&vmm);
		vmm_init(&vmm, NULL, "test-instance", false);
		start();
		for (int paused = 0; paused < 2; paused++) {
			int r = act(phases[i].endpoint, phases[i].body);

			assert_int_equal(!r, paused ? phases[i].paused : phases[i].running);
			if (r && phases[i].before)
				assert_string_equal(
					e.text, "The requested operation is not supported after starting the microVM.");
			assert_int_equal(act("PATCH vm", "{'state':'Paused'}"), 0);
		}
	}
}

static void note_idle(void *ctx)
{
	(*(unsigned int *)ctx)++;
}

static bool must_wait(const char *method, const char *path)
{
	struct endpoint ep;
	const char *id;

	assert_true(endpoint_find(method, path, &ep, &id));
	return vmm_must_wait(&vmm, &ep);
}

static void what_waits_for_files_goes_on_beside_the_loop(void **state)
{
	static const char *const failures[] = { NULL, "save" };
	unsigned int idle = 0;

	(void)state;
	vmm_set_on_idle(&vmm, note_idle, &idle);
	start();
	assert_int_equal(act("PATCH vm", "{'state': 'Paused'}"), 0);
	fake.is_slow = true;
	for (unsigned int i = 0; i < ARRAY_SIZE(failures); i++) {
		json_t *reply = NULL;

		fake.fail = failures[i];
		assert_int_equal(act("PUT snapshot/create", "{'snapshot_path': 's', 'mem_file_path': 'm'}"), VMM_LATER);
		assert_true(must_wait("PATCH", "vm"));
		assert_true(must_wait("PUT", "snapshot/create"));
		assert_false(must_wait("GET", ""));
		assert_false(must_wait("GET", "vm/config"));
		assert_int_equal(idle, i);
		fake_machine_finish();
		assert_int_equal(idle, i + 1);
		assert_false(must_wait("PATCH", "vm"));
		assert_int_equal(vmm_result(&vmm, &reply, &e), failures[i] ? -EIO : 0);
		assert_null(reply);
		assert_true(!failures[i] || strstr(e.text, "Create snapshot error: the fake fails"));
	}
	/* Of a client that is gone: nobody asks. */
	assert_int_equal(act("PUT snapshot/create", "{'snapshot_path': 's', 'mem_file_path': 'm'}"), VMM_LATER);
	fake_machine_finish();
	fake.is_slow = false;
	fake.fail = NULL;
	assert_int_equal(act("PUT snapshot/create", "{'snapshot_path': 's', 'mem_file_path': 'm'}"), 0);
}

/* Once, for the machine that comes next, and not when there is one already. Where it fails the request for a machine tells. */
static void what_kvm_needs_time_for_is_prepared(void **state)
{
	(void)state;
	vmm_prepare(&vmm);
	vmm_prepare(&vmm);
	assert_string_equal(fake.calls, "prepare_kvm ");
	assert_non_null(vmm.shell);
	assert_int_equal(act("PUT snapshot/load", "{'snapshot_path':'s','mem_file_path':'m'}"), 0);
	assert_null(vmm.shell);
	vmm_prepare(&vmm);
	assert_string_equal(fake.calls, "prepare_kvm load ");
}

static void what_cannot_be_prepared_is_told_by_nobody(void **state)
{
	(void)state;
	fake.fail = "prepare_kvm";
	vmm_prepare(&vmm);
	assert_null(vmm.shell);
	assert_int_equal(act("PUT snapshot/load", "{'snapshot_path':'s','mem_file_path':'m'}"), 0);
}

static const char load_and_wait[] =
	"{'snapshot_path':'s','mem_file_path':'m','resume_vm':true,'reseed_timeout_ms':500}";

static void the_answer_waits_for_the_guest_to_reseed(void **state)
{
	unsigned int idle = 0;
	json_t *reply = NULL;

	(void)state;
	vmm_set_on_idle(&vmm, note_idle, &idle);
	fake.is_slow = true;
	assert_int_equal(act("PUT snapshot/load", load_and_wait), VMM_LATER);
	assert_int_equal(fake.reseed_timeout_ms, 500);
	assert_string_equal(fake.calls, "load resume reseed ");
	assert_int_equal(vmm_state(&vmm), VMM_RUNNING);
	assert_true(must_wait("PATCH", "vm"));
	assert_true(must_wait("PUT", "actions"));
	assert_false(must_wait("GET", "entropy"));
	fake_machine_finish();
	assert_int_equal(idle, 1);
	assert_int_equal(vmm_result(&vmm, &reply, &e), 0);
	assert_int_equal(vmm_state(&vmm), VMM_RUNNING);
	assert_int_equal(act("PATCH vm", "{'state':'Paused'}"), 0);

	fake.fail = "reseed";
	assert_int_equal(act("PATCH vm", "{'state':'Resumed','reseed_timeout_ms':60000}"), VMM_LATER);
	assert_int_equal(fake.reseed_timeout_ms, 60000);
	fake_machine_finish();
	assert_int_equal(vmm_result(&vmm, &reply, &e), -EIO);
	assert_string_equal(e.text, "Internal VMM error: the fake fails");
	assert_int_equal(vmm_state(&vmm), VMM_PAUSED);
	/* A guest that has said so by then is not waited for. */
	fake.fail = NULL;
	fake.is_slow = false;
	assert_int_equal(act("PATCH vm", "{'state':'Resumed','reseed_timeout_ms':1}"), 0);
	assert_int_equal(vmm_state(&vmm), VMM_RUNNING);
}

/* The machine is there, paused, for whoever decides. */
static void a_guest_that_does_not_reseed_in_time_is_loaded_and_paused(void **state)
{
	json_t *reply = NULL;

	(void)state;
	fake.is_slow = true;
	fake.fail = "reseed";
	assert_int_equal(act("PUT snapshot/load", load_and_wait), VMM_LATER);
	fake_machine_finish();
	assert_int_equal(vmm_result(&vmm, &reply, &e), -EIO);
	assert_string_equal(e.text, "Load snapshot error: the fake fails");
	assert_int_equal(vmm_state(&vmm), VMM_PAUSED);
	assert_int_equal(act("PATCH vm", "{'state':'Resumed'}"), 0);
	assert_int_equal(vmm_state(&vmm), VMM_RUNNING);
}

static void a_guest_that_will_never_say_so_does_not_run_at_all(void **state)
{
	(void)state;
	fake.progress.driver = LEAK_DRIVER_SILENT;
	assert_int_equal(act("PUT snapshot/load", load_and_wait), -EOPNOTSUPP);
	assert_error("it never says so");
	assert_string_equal(fake.calls, "load free ");
	assert_int_equal(vmm_state(&vmm), VMM_NOT_STARTED);
	start();
	assert_int_equal(act("PATCH vm", "{'state':'Paused'}"), 0);
	assert_int_equal(act("PATCH vm", "{'state':'Resumed','reseed_timeout_ms':1}"), -EOPNOTSUPP);
	assert_int_equal(vmm_state(&vmm), VMM_PAUSED);
}

static void a_timeout_without_a_resume_is_a_mistake(void **state)
{
	(void)state;
	assert_int_equal(act("PUT snapshot/load", "{'snapshot_path':'s','mem_file_path':'m','reseed_timeout_ms':7}"),
			 -EINVAL);
	assert_error("\"reseed_timeout_ms\": 7 is not allowed without resume_vm: expected with the PATCH /vm");
	start();
	assert_int_equal(act("PATCH vm", "{'state':'Paused','reseed_timeout_ms':7}"), -EINVAL);
	assert_error("\"reseed_timeout_ms\": 7 is not allowed with state Paused: expected with Resumed");
	assert_int_equal(act("PATCH vm", "{'state':'Resumed','reseed_timeout_ms':0}"), -EINVAL);
	assert_error("\"reseed_timeout_ms\": 0 is not allowed: expected an integer from 1 to 60000");
	assert_int_equal(act("PATCH vm", "{'state':'Resumed','reseed_timeout_ms':60001}"), -EINVAL);
	assert_int_equal(vmm_state(&vmm), VMM_RUNNING);
}

static void what_the_guest_says_of_leaks_is_shown(void **state)
{
	char *text;

	(void)state;
	assert_int_equal(act("GET entropy", "{}"), -EINVAL);
	start();
	assert_int_equal(act("GET entropy", "{}"), -ENOENT);
	assert_error("Entropy error: \"entropy\" is not configured");
	vmm.config.entropy.present = true;
	fake.progress =
		(struct leak_progress){ .generation = 3, .handled = 2, .late = true, .driver = LEAK_DRIVER_CONFIRMS };
	assert_int_equal(run("GET entropy", "{}", &text), 0);
	assert_string_equal(text, "{\"generation\":3,\"handled\":2,\"late\":true,\"driver\":\"Confirms\"}");
	free(text);
}

static void a_snapshot_of_a_running_machine_is_refused_before_the_machine_is_touched(void **state)
{
	(void)state;
	start();
	fake.calls[0] = '\0';
	assert_int_equal(act("PUT snapshot/create", "{'snapshot_path':'s','mem_file_path':'m'}"), -EBUSY);
	assert_string_equal(e.text, "Create snapshot error: the microVM is running; pause it first");
	assert_string_equal(fake.calls, "");
}

static void replies_have_the_fields_that_clients_read(void **state)
{
	char *text;

	(void)state;
	assert_int_equal(run("GET ", "{}", &text), 0);
	assert_string_equal(
		text, "{\"id\":\"test-instance\",\"state\":\"Not started\",\"vmm_version\":\"" VMM_API_VERSION
		      "\",\"app_name\":\"Firecracker\",\"implementation\":\"snapsafe-vmm " SNAPSAFE_VERSION "\"}");
	free(text);
	assert_int_equal(run("GET version", "{}", &text), 0);
	assert_string_equal(text, "{\"firecracker_version\":\"1.17.0\"}");
	free(text);
	assert_int_equal(run("GET machine-config", "{}", &text), 0);
	assert_string_equal(text, "{\"vcpu_count\":1,\"mem_size_mib\":128,\"smt\":false,\"track_dirty_pages\":false,"
				  "\"huge_pages\":\"None\"}");
	free(text);
	assert_int_equal(act("PATCH machine-config", "{'vm_generation_id':false}"), 0);
	assert_int_equal(act("PATCH machine-config", "{'vcpu_count':1}"), 0);
	assert_int_equal(run("GET machine-config", "{}", &text), 0);
	assert_non_null(strstr(text, "\"vm_generation_id\":false"));
	free(text);
	start();
	assert_int_equal(run("GET ", "{}", &text), 0);
	assert_non_null(strstr(text, "\"state\":\"Running\""));
	free(text);
	assert_int_equal(act("PATCH vm", "{'state':'Paused'}"), 0);
	assert_int_equal(run("GET ", "{}", &text), 0);
	assert_non_null(strstr(text, "\"state\":\"Paused\""));
	free(text);
}

static const struct {
	const char *endpoint;
	const char *body;
	const char *error;
} refused[] = {
	{ "PUT boot-source", "{'kernel_image_path':'nowhere'}",
	  "Boot source error: cannot open kernel_image_path \"nowhere\": No such file or directory" },
	{ "PUT boot-source", "{'kernel_image_path':'sub'}", "\"sub\" is a directory" },
	{ "PUT boot-source", "{'kernel_image_path':'fifo'}", "kernel_image_path \"fifo\" is" },
	{ "PUT boot-source", "{'kernel_image_path':'kernel','initrd_path':'nowhere'}",
	  "initrd_path \"nowhere\": No such file" },
	{ "PUT boot-source", "{'kernel_image_path':'kernel','initrd_path':'sub'}", "initrd_path \"sub\" is" },
	{ "PUT drives/{id}", "{'drive_id':'a','path_on_host':'nowhere','is_root_device':true}",
	  "Drive config error: drive \"a\": cannot open path_on_host \"nowhere\": No such file or directory" },
	{ "PUT drives/{id}", "{'drive_id':'a','path_on_host':'sub','is_root_device':true}", "\"sub\" is a directory" },
	{ "PUT drives/{id}", "{'drive_id':'a','path_on_host':'fifo','is_root_device':true}",
	  "\"fifo\" is a special file, it must be a regular file or a block device" },
	{ "PUT drives/{id}", "{'drive_id':'a','path_on_host':'/dev/null','is_root_device':true}", "special file" },
	{ "PATCH machine-config", "{'smt':true,'vcpu_count':3}",
	  "Machine config error: field \"vcpu_count\": 3 is not allowed with smt" },
	{ "PUT actions", "{'action_type':'InstanceStart'}",
	  "Start microvm error: Cannot start microvm without kernel configuration." },
	{ "PUT logger", "{'log_path':'sub/no/where','level':'Debug'}", "Logger error: " },
	{ "PUT metrics", "{'metrics_path':'sub/no/where'}", "Metrics error: " },
};

static void a_refused_request_leaves_no_trace(void **state)
{
	_cleanup_free_ char *before = config_text();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		_cleanup_free_ char *after = NULL;

		if (!strcmp(refused[i].endpoint, "PUT metrics") && metrics_is_open())
			continue;
		assert_true(act(refused[i].endpoint, refused[i].body) < 0);
		assert_error(refused[i].error);
		after = config_text();
		assert_string_equal(before, after);
		assert_false(vmm.boot_specific);
		assert_int_equal(log_get_level(), LOG_LEVEL_OFF);
	}
	assert_int_equal(act("PUT snapshot/load", "{'snapshot_path':'s','mem_file_path':'m'}"), 0); /* still allowed */
}

static void a_patch_merges_and_a_put_resets(void **state)
{
	(void)state;
	assert_int_equal(act("PUT machine-config", "{'vcpu_count':2,'mem_size_mib':256,'smt':true}"), 0);
	assert_int_equal(act("PATCH machine-config", "{'mem_size_mib':512}"), 0);
	assert_int_equal(vmm.config.machine.vcpu_count, 2);
	assert_int_equal(vmm.config.machine.mem_size_mib, 512);
	assert_true(vmm.config.machine.smt);
	assert_int_equal(act("PATCH machine-config", "{'vcpu_count':3}"), -EINVAL); /* smt is still on */
	assert_int_equal(vmm.config.machine.vcpu_count, 2);
	assert_int_equal(act("PUT machine-config", "{'vcpu_count':3,'mem_size_mib':64}"), 0);
	assert_false(vmm.config.machine.smt);
}

static void loading_is_refused_after_boot_specific_configuration(void **state)
{
	static const struct {
		const char *endpoint;
		const char *body;
		bool boot_specific;
	} rows[] = {
		{ "PUT boot-source", "{'kernel_image_path':'kernel'}", true },
		{ "PUT machine-config", "{'vcpu_count':1,'mem_size_mib':128}", true },
		{ "PATCH machine-config", "{'smt':false}", true },
		{ "PUT drives/{id}", "{'drive_id':'a','path_on_host':'disk','is_root_device':false}", true },
		{ "PUT entropy", "{}", true },
		{ "PUT serial", "{}", false },
		{ "PUT logger", "{}", false },
		{ "GET vm/config", "{}", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int r;

		vmm_fini(&vmm);
		vmm_init(&vmm, NULL, "test-instance", false);
		assert_int_equal(act(rows[i].endpoint, rows[i].body), 0);
		r = act("PUT snapshot/load", "{'snapshot_path':'s','mem_file_path':'m'}");
		assert_int_equal(r, rows[i].boot_specific ? -EINVAL : 0);
		if (r)
			assert_string_equal(e.text, "Load snapshot error: Loading a microVM snapshot not allowed after "
						    "configuring boot-specific resources.");
	}
}

static void a_load_fills_the_configuration(void **state)
{
	(void)state;
	assert_int_equal(act("PUT snapshot/load", "{'snapshot_path':'s','mem_file_path':'m'}"), 0);
	assert_int_equal(vmm_state(&vmm), VMM_PAUSED);
	assert_int_equal(vmm.config.machine.mem_size_mib, 256);
	assert_string_equal(vmm.config.boot_source.kernel_image_path, "/from/the/snapshot");
	assert_string_equal(fake.calls, "load ");
	assert_int_equal(act("PATCH vm", "{'state':'Resumed'}"), 0);
	assert_int_equal(vmm_state(&vmm), VMM_RUNNING);
}

static void resume_vm_loads_and_resumes(void **state)
{
	(void)state;
	assert_int_equal(act("PUT snapshot/load", "{'snapshot_path':'s','mem_file_path':'m','resume_vm':true}"), 0);
	assert_int_equal(vmm_state(&vmm), VMM_RUNNING);
	assert_string_equal(fake.calls, "load resume ");
}

static const char load_served[] = "{'snapshot_path':'s','mem_backend':{'backend_path':'m','backend_type':'Uffd'},"
				  "'resume_vm':true}";

/* Each step may wait for a page: the loop answers others meanwhile. */
static void memory_of_a_handler_is_waited_for_beside_the_loop(void **state)
{
	unsigned int idle = 0;
	json_t *reply = NULL;

	(void)state;
	vmm_set_on_idle(&vmm, note_idle, &idle);
	fake.is_slow = true;
	fake.is_served = true;
	assert_int_equal(act("PUT snapshot/load", load_served), VMM_LATER);
	assert_int_equal(vmm_state(&vmm), VMM_NOT_STARTED);
	assert_true(must_wait("PUT", "actions"));
	assert_false(must_wait("GET", ""));
	fake_machine_finish();
	assert_string_equal(fake.calls, "load prepare ");
	assert_int_equal(vmm_state(&vmm), VMM_PAUSED);
	assert_int_equal(idle, 0);
	fake_machine_finish();
	assert_int_equal(idle, 1);
	assert_int_equal(vmm_result(&vmm, &reply, &e), 0);
	assert_int_equal(vmm_state(&vmm), VMM_RUNNING);

	assert_int_equal(act("PATCH vm", "{'state':'Paused'}"), VMM_LATER);
	fake_machine_finish();
	assert_int_equal(vmm_result(&vmm, &reply, &e), 0);
	assert_int_equal(vmm_state(&vmm), VMM_PAUSED);
	assert_int_equal(act("PATCH vm", "{'state':'Paused'}"), 0); /* it is already */
	fake.fail = "prepare";
	assert_int_equal(act("PATCH vm", "{'state':'Resumed'}"), VMM_LATER);
	fake_machine_finish();
	assert_int_equal(vmm_result(&vmm, &reply, &e), -EIO);
	assert_int_equal(vmm_state(&vmm), VMM_PAUSED); /* and there: the handler may serve the next time */
	fake.fail = NULL;
	assert_int_equal(act("PATCH vm", "{'state':'Resumed'}"), VMM_LATER);
	fake_machine_finish();
	assert_int_equal(vmm_result(&vmm, &reply, &e), 0);
	assert_string_equal(fake.calls, "load prepare resume pause prepare prepare resume ");
}

static void a_handler_that_fails_leaves_everything_as_it_was(void **state)
{
	static const char *const failures[] = { "load", "prepare", "resume" };

	(void)state;
	fake.is_served = true;
	for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
		fake.fail = failures[i];
		assert_int_equal(act("PUT snapshot/load", load_served), -EIO);
		assert_error("Load snapshot error: ");
		assert_error("the fake fails");
		assert_int_equal(vmm_state(&vmm), VMM_NOT_STARTED);
		assert_int_equal(fake.alive, 0);
	}
	fake.fail = NULL;
	assert_int_equal(act("PUT snapshot/load", load_served), 0); /* again */
	assert_int_equal(vmm_state(&vmm), VMM_RUNNING);
}

static void a_failed_load_leaves_everything_as_it_was(void **state)
{
	static const char *const failures[] = { "load", "resume" };
	_cleanup_free_ char *before = NULL;

	(void)state;
	assert_int_equal(act("PUT serial", "{'serial_out_path':'out'}"), 0);
	before = config_text();
	for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
		_cleanup_free_ char *after = NULL;

		fake.fail = failures[i];
		assert_int_equal(act("PUT snapshot/load", "{'snapshot_path':'s','mem_file_path':'m','resume_vm':true}"),
				 -EIO);
		assert_error("Load snapshot error: ");
		assert_error("the fake fails");
		assert_string_equal(fake.serial, "out"); /* the load knows what was configured */
		after = config_text();
		assert_string_equal(before, after);
		assert_int_equal(vmm_state(&vmm), VMM_NOT_STARTED);
		assert_int_equal(fake.alive, 0);
	}
	fake.fail = NULL;
	assert_int_equal(act("PUT snapshot/load", "{'snapshot_path':'s','mem_file_path':'m'}"), 0); /* again */
	vmm_fini(&vmm);
	vmm_init(&vmm, NULL, "test-instance", false);
	fake.fail = "load";
	assert_int_equal(act("PUT snapshot/load", "{'snapshot_path':'s','mem_file_path':'m'}"), -EIO);
	fake.fail = NULL;
	start(); /* or configured and booted */
}

static void a_failed_start_can_be_repeated(void **state)
{
	(void)state;
	assert_int_equal(act("PUT boot-source", "{'kernel_image_path':'kernel'}"), 0);
	fake.fail = "boot";
	assert_int_equal(act("PUT actions", "{'action_type':'InstanceStart'}"), -EIO);
	assert_string_equal(e.text, "Start microvm error: the fake fails");
	assert_int_equal(vmm_state(&vmm), VMM_NOT_STARTED);
	fake.fail = NULL;
	assert_int_equal(act("PUT actions", "{'action_type':'InstanceStart'}"), 0);
	assert_int_equal(act("PUT actions", "{'action_type':'InstanceStart'}"), -EINVAL);
}

static void pause_and_resume_may_be_repeated(void **state)
{
	(void)state;
	start();
	assert_int_equal(act("PATCH vm", "{'state':'Resumed'}"), 0);
	assert_int_equal(act("PATCH vm", "{'state':'Paused'}"), 0);
	assert_int_equal(act("PATCH vm", "{'state':'Paused'}"), 0);
	assert_int_equal(act("PATCH vm", "{'state':'Resumed'}"), 0);
	assert_string_equal(fake.calls, "boot pause resume ");
	fake.fail = "pause";
	assert_int_equal(act("PATCH vm", "{'state':'Paused'}"), -EIO);
	assert_int_equal(vmm_state(&vmm), VMM_RUNNING);
	fake.fail = "resume";
	assert_int_equal(act("PATCH vm", "{'state':'Resumed'}"), 0);
}

static void lifecycle_actions_reach_the_machine(void **state)
{
	(void)state;
	start();
	assert_int_equal(act("PUT actions", "{'action_type':'SignalEntropyLeak'}"), 0);
	assert_int_equal(act("PUT actions", "{'action_type':'SendCtrlAltDel'}"), 0);
	assert_int_equal(act("PATCH vm", "{'state':'Paused'}"), 0);
	assert_int_equal(act("PUT snapshot/create", "{'snapshot_path':'s1','mem_file_path':'m'}"), 0);
	assert_string_equal(fake.path, "s1");
	assert_string_equal(fake.calls, "boot leak ctrl_alt_del pause save ");
	fake.fail = "save";
	assert_int_equal(act("PUT snapshot/create", "{'snapshot_path':'s2','mem_file_path':'m'}"), -EIO);
	assert_string_equal(e.text, "Create snapshot error: the fake fails");
	assert_int_equal(vmm_state(&vmm), VMM_PAUSED);
}

static void a_patched_drive_changes_the_configuration_only_if_the_machine_agrees(void **state)
{
	(void)state;
	start();
	assert_int_equal(act("PATCH drives/{id}", "{'drive_id':'other','path_on_host':'disk2'}"), -ENOENT);
	assert_error("Unable to patch the block device: drive \"other\" does not exist");
	fake.fail = "update";
	assert_int_equal(act("PATCH drives/{id}", "{'drive_id':'rootfs','path_on_host':'disk2'}"), -EIO);
	assert_string_equal(vmm.config.drives[0].path_on_host, "disk");
	fake.fail = NULL;
	assert_int_equal(
		act("PATCH drives/{id}",
		    "{'drive_id':'rootfs','path_on_host':'disk2','rate_limiter':{'ops':{'size':1,'refill_time':2}}}"),
		0);
	assert_string_equal(fake.path, "disk2");
	assert_string_equal(vmm.config.drives[0].path_on_host, "disk2");
	assert_int_equal(vmm.config.drives[0].rate_limiter.ops.size, 1);
	assert_int_equal(act("PATCH drives/{id}",
			     "{'drive_id':'rootfs','rate_limiter':{'bandwidth':{'size':7,'refill_time':2}}}"),
			 0);
	assert_int_equal(vmm.config.drives[0].rate_limiter.ops.size, 1);
	assert_int_equal(vmm.config.drives[0].rate_limiter.bandwidth.size, 7);
	assert_string_equal(vmm.config.drives[0].path_on_host, "disk2");
}

/* The balloon has four PATCHes and three GETs: each is a row of its description. */
static void a_device_is_told_and_asked_at_paths_of_its_own(void **state)
{
	_cleanup_free_ char *before = NULL, *after = NULL, *status = NULL;

	(void)state;
	assert_int_equal(act("PUT balloon", "{'amount_mib':129,'deflate_on_oom':true}"), -EINVAL);
	assert_error("Balloon config error: field \"amount_mib\": 129 is not allowed: the machine has 128 MiB");
	assert_false(vmm.config.balloon.present);
	assert_int_equal(act("PUT balloon", "{'amount_mib':8,'deflate_on_oom':true,'stats_polling_interval_s':1}"), 0);
	assert_int_equal(act("PATCH machine-config", "{'mem_size_mib':7}"), -EINVAL);
	assert_error("Machine config error: field \"mem_size_mib\": 7 is not allowed: the balloon's amount_mib is 8");
	assert_int_equal(act("PUT machine-config", "{'vcpu_count':1,'mem_size_mib':7}"), -EINVAL);
	assert_int_equal(vmm.config.machine.mem_size_mib, 128);
	assert_int_equal(run("GET balloon", "{}", &before), 0);
	assert_string_equal(before, "{\"amount_mib\":8,\"deflate_on_oom\":true,\"stats_polling_interval_s\":1,"
				    "\"free_page_hinting\":false,\"free_page_reporting\":false}");
	assert_int_equal(act("GET balloon/statistics", "{}"), -EINVAL);
	start();
	assert_int_equal(act("PATCH balloon", "{'amount_mib':16}"), 0);
	assert_int_equal(act("PATCH balloon/statistics", "{'stats_polling_interval_s':9}"), 0);
	assert_int_equal(act("PATCH balloon/hinting/start", "{}"), 0);
	assert_int_equal(act("PATCH balloon/hinting/start", "{'acknowledge_on_stop':false}"), 0);
	assert_int_equal(act("PATCH balloon/hinting/stop", "{}"), 0);
	assert_int_equal(run("GET balloon/hinting/status", "{}", &status), 0);
	assert_string_equal(status, "{\"host_cmd\":0,\"guest_cmd\":null}"); /* as the fake has left it */
	assert_string_equal(fake.calls, "boot update update update update update query ");
	fake.fail = "update";
	assert_int_equal(act("PATCH balloon", "{'amount_mib':20}"), -EIO);
	assert_string_equal(e.text, "Balloon update error: the fake fails");
	fake.fail = "query";
	assert_int_equal(act("GET balloon/statistics", "{}"), -EIO);
	assert_string_equal(e.text, "Internal VMM error: the fake fails");
	fake.fail = NULL;
	assert_int_equal(run("GET balloon", "{}", &after), 0);
	assert_non_null(strstr(after, "\"amount_mib\":16,\"deflate_on_oom\":true,\"stats_polling_interval_s\":9,"));
}

static void a_read_only_disk_needs_no_write_permission(void **state)
{
	const bool root = geteuid() == 0;

	(void)state;
	assert_int_equal(chmod("disk2", 0444), 0);
	if (root) { /* who may write everything */
		assert_int_equal(chmod(".", 0755), 0);
		assert_int_equal(seteuid(65534), 0);
	}
	assert_int_equal(act("PUT drives/{id}", "{'drive_id':'a','path_on_host':'disk2','is_root_device':true}"),
			 -EACCES);
	assert_error("for reading and writing: Permission denied");
	assert_int_equal(act("PUT drives/{id}", "{'drive_id':'a','path_on_host':'disk2','is_root_device':true,"
						"'is_read_only':true}"),
			 0);
	if (root)
		assert_int_equal(seteuid(0), 0);
	assert_int_equal(chmod("disk2", 0600), 0);
}

static void metrics_can_be_set_once(void **state)
{
	(void)state;
	if (!metrics_is_open())
		assert_int_equal(act("PUT metrics", "{'metrics_path':'metrics'}"), 0);
	assert_int_equal(act("PUT metrics", "{'metrics_path':'metrics'}"), -EEXIST);
	assert_string_equal(e.text, "Metrics error: Reinitialization of metrics not allowed.");
}

static void the_logger_keeps_what_is_not_given(void **state)
{
	bool show_level, show_origin;

	(void)state;
	log_set_show(true, false);
	assert_int_equal(act("PUT logger", "{'show_log_origin':true}"), 0);
	log_get_show(&show_level, &show_origin);
	assert_true(show_level && show_origin);
	assert_int_equal(act("PUT logger", "{'show_level':false,'log_path':'log','level':'Error'}"), 0);
	log_get_show(&show_level, &show_origin);
	assert_true(!show_level && show_origin);
	assert_int_equal(log_get_level(), LOG_LEVEL_ERROR);
	log_set_level(LOG_LEVEL_OFF);
}

static int run_file(const char *text)
{
	_cleanup_free_ char *json = strdup(text);

	for (char *p = json; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	make_file("config", json);
	return vmm_run_config_file(&vmm, "config", &e);
}

static void the_config_file_of_the_demo_starts_a_machine(void **state)
{
	(void)state;
	assert_int_equal(
		run_file("{'balloon':null,'drives':[{'drive_id':'1','path_on_host':'disk','is_root_device':true,"
			 "'partuuid':null,'is_read_only':false,'cache_type':'Unsafe','rate_limiter':null,"
			 "'io_engine':'Sync'}],'boot-source':{'kernel_image_path':'kernel','initrd_path':null,"
			 "'boot_args':'panic=1 console=ttyS0'},'logger':null,'machine-config':{'vcpu_count':1,"
			 "'mem_size_mib':4096,'smt':false,'track_dirty_pages':false},'metrics':null,'mmds-config':null,"
			 "'network-interfaces':[],'vsock':null,'entropy':{'rate_limiter':{'bandwidth':null,'ops':null}}"
			 "}"),
		0);
	assert_int_equal(vmm_state(&vmm), VMM_RUNNING);
	assert_int_equal(vmm.config.machine.mem_size_mib, 4096);
	assert_true(vmm.config.entropy.present && vmm.config.entropy.leak_reporting);
	assert_int_equal(vmm.config.num_drives, 1);
}

static void what_get_vm_config_shows_is_a_config_file(void **state)
{
	_cleanup_free_ char *first = NULL, *second = NULL;

	(void)state;
	assert_int_equal(act("PUT entropy", "{'leak_reporting':false}"), 0);
	start();
	assert_int_equal(run("GET vm/config", "{}", &first), 0);
	vmm_fini(&vmm);
	vmm_init(&vmm, NULL, "test-instance", false);
	assert_int_equal(run_file(first), 0);
	assert_int_equal(run("GET vm/config", "{}", &second), 0);
	assert_string_equal(first, second);
}

static void wrong_config_files_are_refused_by_name(void **state)
{
	static const struct {
		const char *text, *error;
	} rows[] = {
		{ "", "config file \"config\": invalid JSON" },
		{ "[]", "expected a JSON object of sections" },
		{ "{}", "missing section \"boot-source\"" },
		{ "{'boot-source':null}", "section \"boot-source\": null is not allowed" },
		{ "{'boot-source':{'kernel_image_path':'kernel'},'bootsource':1}",
		  "unknown section \"bootsource\": allowed are logger, metrics" },
		{ "{'boot-source':{'kernel_image_path':'kernel'},'boot-source':{'kernel_image_path':'kernel'}}",
		  "duplicate object key" },
		{ "{'boot-source':{'kernel_image_path':'kernel','x':1}}",
		  "section \"boot-source\": unknown field \"x\"" },
		{ "{'boot-source':{'kernel_image_path':'nowhere'}}", "cannot open kernel_image_path \"nowhere\"" },
		{ "{'boot-source':{'kernel_image_path':'kernel'},'drives':null}",
		  "section \"drives\": expected an array" },
		{ "{'boot-source':{'kernel_image_path':'kernel'},'drives':{}}",
		  "section \"drives\": expected an array" },
		{ "{'boot-source':{'kernel_image_path':'kernel'},'drives':[{}]}",
		  "section \"drives\", entry 0: missing field" },
		{ "{'boot-source':{'kernel_image_path':'kernel'},'drives':[1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7]}",
		  "17 entries are too many: at most 16" },
		{ "{'boot-source':{'kernel_image_path':'kernel'},'balloon':{'amount_mib':1}}",
		  "section \"balloon\": missing field \"deflate_on_oom\"" },
		{ "{'boot-source':{'kernel_image_path':'kernel'},'balloon':{'amount_mib':129,'deflate_on_oom':true}}",
		  "\"amount_mib\": 129 is not allowed: the machine has 128 MiB" },
		{ "{'boot-source':{'kernel_image_path':'kernel'},'vsock':{'guest_cid':2,'uds_path':'v'}}",
		  "section \"vsock\": field \"guest_cid\": 2 is not allowed" },
		{ "{'boot-source':{'kernel_image_path':'kernel'},'network-interfaces':[{}]}",
		  "section \"network-interfaces\", entry 0: missing field" },
		{ "{'boot-source':{'kernel_image_path':'kernel'},'pmem':[{}]}",
		  "section \"pmem\" is not supported yet" },
		{ "{'boot-source':{'kernel_image_path':'kernel'},'cpu-config':'nowhere'}",
		  "section \"cpu-config\": cannot open file \"nowhere\"" },
		{ "{'boot-source':{'kernel_image_path':'kernel'},'memory-hotplug':{}}",
		  "section \"memory-hotplug\" is not supported yet" },
		{ "{'boot-source':{'kernel_image_path':'kernel'},'mmds-config':{}}",
		  "section \"mmds-config\": missing field \"network_interfaces\"" },
		{ "{'boot-source':{'kernel_image_path':'kernel'},'mmds-config':{'network_interfaces':['eth0']}}",
		  "MMDS config error: The list of network interface IDs provided contains at least one ID that does "
		  "not" },
		{ "{'boot-source':{'kernel_image_path':'kernel'},'machine-config':{'vcpu_count':0,'mem_size_mib':1}}",
		  "section \"machine-config\": field \"vcpu_count\": 0" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_true(run_file(rows[i].text) < 0);
		assert_error(rows[i].error);
		assert_int_equal(vmm_state(&vmm), VMM_NOT_STARTED);
	}
	assert_true(vmm_run_config_file(&vmm, "nowhere", &e) < 0);
	assert_error("config file \"nowhere\"");
	assert_true(vmm_run_config_file(&vmm, "sub", &e) < 0);
	assert_string_equal(fake.calls, "");
}

static void a_config_file_is_applied_in_a_fixed_order(void **state)
{
	(void)state;
	/* With the sections the other way round: the machine is started last all the same. */
	assert_int_equal(
		run_file("{'serial':{'serial_out_path':'out'},'memory-hotplug':null,'pmem':null,'entropy':null,"
			 "'network-interfaces':[],'drives':[],'boot-source':{'kernel_image_path':'kernel'},"
			 "'cpu-config':null,'machine-config':null}"),
		0);
	assert_string_equal(fake.calls, "boot ");
	assert_string_equal(vmm.config.serial.serial_out_path, "out");
	assert_int_equal(vmm.config.machine.mem_size_mib, 128);
	assert_false(vmm.config.entropy.present);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(a_refused_request_leaves_no_trace), /* first: metrics can be set once in a process */
		TEST(boot_args_that_do_not_fit_are_refused_when_they_are_put),
		TEST(each_action_is_allowed_in_its_states_only),
		TEST(a_snapshot_of_a_running_machine_is_refused_before_the_machine_is_touched),
		TEST(what_kvm_needs_time_for_is_prepared),
		TEST(what_cannot_be_prepared_is_told_by_nobody),
		TEST(the_answer_waits_for_the_guest_to_reseed),
		TEST(a_guest_that_does_not_reseed_in_time_is_loaded_and_paused),
		TEST(a_guest_that_will_never_say_so_does_not_run_at_all),
		TEST(a_timeout_without_a_resume_is_a_mistake),
		TEST(what_the_guest_says_of_leaks_is_shown),
		TEST(replies_have_the_fields_that_clients_read),
		TEST(a_patch_merges_and_a_put_resets),
		TEST(loading_is_refused_after_boot_specific_configuration),
		TEST(a_load_fills_the_configuration),
		TEST(resume_vm_loads_and_resumes),
		TEST(a_failed_load_leaves_everything_as_it_was),
		TEST(memory_of_a_handler_is_waited_for_beside_the_loop),
		TEST(a_handler_that_fails_leaves_everything_as_it_was),
		TEST(a_failed_start_can_be_repeated),
		TEST(pause_and_resume_may_be_repeated),
		TEST(lifecycle_actions_reach_the_machine),
		TEST(a_patched_drive_changes_the_configuration_only_if_the_machine_agrees),
		TEST(a_device_is_told_and_asked_at_paths_of_its_own),
		TEST(a_read_only_disk_needs_no_write_permission),
		TEST(metrics_can_be_set_once),
		TEST(the_logger_keeps_what_is_not_given),
		TEST(the_config_file_of_the_demo_starts_a_machine),
		TEST(what_get_vm_config_shows_is_a_config_file),
		TEST(wrong_config_files_are_refused_by_name),
		TEST(a_config_file_is_applied_in_a_fixed_order),
		TEST(what_waits_for_files_goes_on_beside_the_loop),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
