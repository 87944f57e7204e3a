// SPDX-License-Identifier: Apache-2.0
/* What needs KVM, or a whole monitor: the virtual machine, each request of the API, the config file, the server. */
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/routes.h"
#include "api/server.h"
#include "arch/arch.h"
#include "base/cleanup.h"
#include "config/json_fields.h"
#include "resource/vm_config.h"
#include "constructors.h"
#include "kvm/vm.h"
#include "vmm/vmm.h"

#define MAKE(function) static int function(const struct constructor *c, void **out, struct err *e)

/* kvm/ */

static const struct mem_layout layout = { .num_regions = 1, .regions = { { .gpa = 0, .size = 2u << 20 } } };
static struct guest_mem mem;
static struct bus bus;

static void before_vm(const struct constructor *c)
{
	struct err e;
	int r = mem_init_anonymous(&mem, &layout, &e);

	(void)c;
	assert(r == 0);
	(void)r;
	bus_init(&bus);
}

static void after_vm(const struct constructor *c)
{
	(void)c;
	mem_fini(&mem);
}

static void on_exit_of_vm(void *ctx, enum vm_exit why)
{
	(void)ctx;
	(void)why;
}

MAKE(make_vm)
{
	(void)c;
	return vm_new(&(struct vm_setup){ .arch = &arch_vm_ops, .num_vcpus = 2 }, &bus, &mem, on_exit_of_vm, NULL,
		      (struct vm **)out, e);
}

static void unmake_vm(void *out)
{
	vm_free(out);
}

/* api/, vmm/, machine/: a request after those that stand before it. */

struct request {
	const char *method, *path, *body;
};

struct requests {
	const struct request *before[8]; /* which succeed; up to NULL */
	const struct request *request;
};

static const struct request put_boot = { "PUT", "/boot-source",
					 "{\"kernel_image_path\":\"" KERNEL_FILE "\",\"initrd_path\":\"" TEXT_FILE
					 "\",\"boot_args\":\"a b\"}" };
static const struct request put_machine = { "PUT", "/machine-config", "{\"vcpu_count\":2,\"mem_size_mib\":4}" };
static const struct request patch_machine = { "PATCH", "/machine-config", "{\"vcpu_count\":1}" };
static const struct request put_drive = { "PUT", "/drives/a",
					  "{\"drive_id\":\"a\",\"path_on_host\":\"" DISK_FILE
					  "\",\"is_root_device\":true,\"cache_type\":\"Writeback\"}" };
static const struct request put_entropy = { "PUT", "/entropy",
					    "{\"rate_limiter\":{\"ops\":{\"size\":9,\"refill_time\":9}}}" };
static const struct request put_serial = { "PUT", "/serial", "{\"serial_out_path\":\"console\"}" };
static const struct request put_logger = { "PUT", "/logger", "{\"log_path\":\"log\",\"level\":\"Off\"}" };
static const struct request get_info = { "GET", "/", "" };
static const struct request get_version = { "GET", "/version", "" };
static const struct request get_machine = { "GET", "/machine-config", "" };
static const struct request get_config = { "GET", "/vm/config", "" };
static const struct request start = { "PUT", "/actions", "{\"action_type\":\"InstanceStart\"}" };
static const struct request pause_vm = { "PATCH", "/vm", "{\"state\":\"Paused\"}" };
static const struct request resume_vm = { "PATCH", "/vm", "{\"state\":\"Resumed\"}" };
static const struct request resume_and_wait = { "PATCH", "/vm", "{\"state\":\"Resumed\",\"reseed_timeout_ms\":1}" };
static const struct request get_entropy = { "GET", "/entropy", "" };
static const struct request ctrl_alt_del = { "PUT", "/actions", "{\"action_type\":\"SendCtrlAltDel\"}" };
static const struct request leak = { "PUT", "/actions", "{\"action_type\":\"SignalEntropyLeak\"}" };
static const struct request flush = { "PUT", "/actions", "{\"action_type\":\"FlushMetrics\"}" };
static const struct request patch_drive = { "PATCH", "/drives/a",
					    "{\"drive_id\":\"a\",\"path_on_host\":\"" DISK_FILE "\"}" };
static const struct request save = { "PUT", "/snapshot/create",
				     "{\"snapshot_path\":\"" STATE_FILE "\",\"mem_file_path\":\"" MEM_FILE "\"}" };
static const struct request load = { "PUT", "/snapshot/load",
				     "{\"snapshot_path\":\"" STATE_FILE
				     "\",\"mem_backend\":{\"backend_path\":\"" MEM_FILE
				     "\",\"backend_type\":\"File\"},\"resume_vm\":true}" };

#define CONFIGURED &put_boot, &put_machine, &put_drive, &put_entropy, &put_serial
#define RUNNING	   CONFIGURED, &start
#define PAUSED	   RUNNING, &pause_vm

static struct loop *loop;
static struct vmm vmm;

static int request_carry_out(const struct request *r, json_t **reply, struct err *e)
{
	bool deprecated;
	int result = api_route_request(&vmm, r->method, r->path, r->body, strlen(r->body), reply, &deprecated, e);

	if (result != API_LATER)
		return result;
	(void)loop_run(loop);
	return api_route_result(&vmm, reply, e);
}

/* What goes on beside the loop is done. */
static void on_idle(void *ctx)
{
	loop_stop(ctx, 0);
}

static void request_must_succeed(const struct request *r)
{
	struct err e = { "" };
	json_t *reply;

	if (request_carry_out(r, &reply, &e) < 0) {
		fprintf(stderr, "%s %s: %s\n", r->method, r->path, e.text);
		abort();
	}
	json_decref(reply);
}

static void before_vmm(const struct constructor *c)
{
	(void)c;
	loop = loop_new();
	assert(loop);
	vmm_init(&vmm, loop, "test", false);
	vmm_set_on_idle(&vmm, on_idle, loop);
}

static void after_vmm(const struct constructor *c)
{
	(void)c;
	vmm_fini(&vmm);
	loop_free(loop);
}

static void before_request(const struct constructor *c)
{
	const struct requests *requests = c->arg;

	before_vmm(c);
	for (size_t i = 0; requests->before[i]; i++)
		request_must_succeed(requests->before[i]);
}

/* A failure leaves the configuration and the state as they were, but for a leak that could not be reported: the guest waits. */
MAKE(make_request)
{
	const struct requests *requests = c->arg;
	enum vmm_state state = vmm_state(&vmm);
	unsigned int num_drives = vmm.config.num_drives;
	struct boot_source_config boot = vmm.config.boot_source;
	int r = request_carry_out(requests->request, (json_t **)out, e);

	if (!r)
		return 0;
	assert(vmm_state(&vmm) == state || (requests->request == &leak && vmm_state(&vmm) == VMM_PAUSED));
	assert(vmm.config.num_drives == num_drives);
	assert(!memcmp(&vmm.config.boot_source, &boot, sizeof(boot)));
	return r;
}

static void unmake_request(void *out)
{
	json_decref(out);
}

/* A snapshot for those that load it. */
static void before_load(const struct constructor *c)
{
	static const struct request *const make_pair[] = { PAUSED, &save };
	static bool made;

	if (!made) {
		before_vmm(c);
		for (size_t i = 0; i < ARRAY_SIZE(make_pair); i++)
			request_must_succeed(make_pair[i]);
		after_vmm(c);
		made = true;
	}
	before_request(c);
}

static const char config_file[] =
	"{\"boot-source\":{\"kernel_image_path\":\"" KERNEL_FILE "\"},\"machine-config\":{\"vcpu_count\":1,"
	"\"mem_size_mib\":4},\"drives\":[{\"drive_id\":\"a\",\"path_on_host\":\"" DISK_FILE
	"\",\"is_root_device\":true}],\"entropy\":{},\"serial\":{\"serial_out_path\":\"console\"}}";

static void before_config_file(const struct constructor *c)
{
	FILE *f = fopen("config", "w");

	assert(f);
	fputs(config_file, f);
	fclose(f);
	before_vmm(c);
}

/* The sections before the one that fails have been carried out: the process ends then, and starts with none of them. */
MAKE(make_configured)
{
	int r = vmm_run_config_file(&vmm, "config", e);

	(void)c;
	if (r < 0) {
		vmm_fini(&vmm);
		vmm_init(&vmm, loop, "test", false);
		return r;
	}
	*out = NULL;
	return 0;
}

MAKE(make_server)
{
	(void)c;
	return api_server_new("socket", 1000, &vmm, loop, (struct api_server **)out, e);
}

static void unmake_server(void *out)
{
	api_server_free(out);
}

/* A request as a client sends it: it must get an answer or see the connection closed, and the next one is served. */

static struct api_server *server;

static void before_client(const struct constructor *c)
{
	struct err e;
	int r;

	before_vmm(c);
	r = api_server_new("socket", 1000, &vmm, loop, &server, &e);
	assert(r == 0);
	(void)r;
}

static void after_client(const struct constructor *c)
{
	api_server_free(server);
	after_vmm(c);
}

/* The client is on a thread of its own: nothing of it fails. */
static void *client_run(void *ctx)
{
	static const char body[] = "{\"kernel_image_path\":\"" KERNEL_FILE "\"}";
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "socket" };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char *answer = ctx, request[256];
	size_t len = 0;
	ssize_t n = 1;

	snprintf(request, sizeof(request), "PUT /boot-source HTTP/1.0\r\nContent-Length: %zu\r\n\r\n%s", strlen(body),
		 body);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 &&
	    send(fd, request, strlen(request), MSG_NOSIGNAL) > 0)
		while (n > 0 && len < 999) {
			n = recv(fd, answer + len, 999 - len, 0);
			len += n > 0 ? (size_t)n : 0;
		}
	answer[len] = '\0';
	close(fd);
	loop_stop(loop, 0);
	return NULL;
}

static pthread_t client;

MAKE(make_answer)
{
	static char answer[1000];
	extern int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

	(void)c;
	answer[0] = '\0';
	__real_pthread_create(&client, NULL, client_run, answer);
	(void)loop_run(loop);
	pthread_join(client, NULL);
	if (!strstr(answer, " 204 "))
		return err_set(e, EIO, "the answer is \"%s\"", answer);
	*out = NULL;
	return 0;
}

#define REQUEST(what, ...)                                                                                     \
	{                                                                                                      \
#what, before_request, after_vmm, make_request, unmake_request,                                \
			&(const struct requests){ .before = { __VA_ARGS__ }, .request = &(what) }, NULL, false \
	}

const struct constructor constructors_of_machines[] = {
	{ "vm_new, vm_shell_new, irqchip_init, vcpu_init", before_vm, after_vm, make_vm, unmake_vm, NULL, NULL, false },
	REQUEST(put_boot, NULL), /* json_fields_new */
	REQUEST(put_machine, NULL),
	REQUEST(patch_machine, NULL),
	REQUEST(put_drive, NULL),
	REQUEST(put_entropy, NULL),
	REQUEST(put_serial, NULL),
	REQUEST(put_logger, NULL),
	REQUEST(get_info, NULL),
	REQUEST(get_version, NULL),
	REQUEST(get_machine, NULL), /* machine_config_to_json */
	REQUEST(get_config, CONFIGURED),
	REQUEST(start,
		CONFIGURED), /* machine_boot, beside_init, reseed_init, machine_alloc, machine_build, arch_boot, kernel_load, crash_init_thread, irq_init, machine_irq_wait_init, machine_platform_init */
	REQUEST(pause_vm, RUNNING),
	REQUEST(resume_vm, PAUSED),
	REQUEST(resume_and_wait, PAUSED), /* there was no leak: the guest has handled them all */
	REQUEST(get_entropy, RUNNING),
	REQUEST(ctrl_alt_del, RUNNING),
	REQUEST(leak, RUNNING),
	REQUEST(flush, RUNNING),
	REQUEST(patch_drive, RUNNING), /* machine_update_drive, blk_update */
	REQUEST(save, PAUSED),	       /* vmm_save, machine_save, arch_vcpu_save, arch_vm_save */
	{ "load", before_load, after_vmm, make_request,
	  unmake_request, /* vmm_load, machine_load, arch_board_load, arch_clock_load, arch_vcpu_load, arch_vm_load */
	  &(const struct requests){ .before = { &put_serial }, .request = &load }, MEMFILE_IS_TRIED_AGAIN, false },
	{ "vmm_run_config_file", before_config_file, after_vmm, make_configured, NULL, NULL, NULL, false },
	{ "api_server_new", before_vmm, after_vmm, make_server, unmake_server, NULL, "open ", false },
	{ "a request to the server", before_client, after_client, make_answer, NULL, NULL, NULL, false },
};
const size_t num_constructors_of_machines = ARRAY_SIZE(constructors_of_machines);
