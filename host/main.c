// SPDX-License-Identifier: Apache-2.0
/*
 * The life of the process, top to bottom: arguments, log, signals, loop, API
 * socket, machine from a config file, loop until the end, and back.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "api/server.h"
#include "base/cleanup.h"
#include "base/io_thread.h"
#include "base/libc.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "base/own_stack.h"
#include "base/terminal.h"
#include "cli/args.h"
#include "sandbox/crash.h"
#include "sandbox/custom.h"
#include "sandbox/sandbox.h"
#include "snapshot/statefile.h"
#include "vmm/vmm.h"

/* How long the start took. */
#define API_SERVER_METRICS(M)                  \
	M(api_server, process_startup_time_us) \
	M(api_server, process_startup_time_cpu_us)
METRICS_DECLARE(api_server, API_SERVER_METRICS)
METRICS_DEFINE(api_server, API_SERVER_METRICS, true)

#define METRICS_INTERVAL_NS (60ull * 1000 * 1000 * 1000)
/* After the start. Whoever asks sooner has the first answers that much sooner; what is prepared then takes some milliseconds. */
#define PREPARE_AFTER_NS (20ull * 1000 * 1000)
#define LOG_LAST_WAIT_MS 150
/* JSON may nest 2048 levels (jansson), which takes about a third of this. */
#define PROCESS_STACK_SIZE (1024u * 1024)

struct process {
	struct args args;
	struct loop *loop;
	int signal_fd;
	struct loop_source *signal_source;
	struct loop_source *timer; /* expires once for vmm_prepare(), then for metrics */
	bool prepared;
	struct vmm vmm;
	struct api_server *server;
	uint64_t began_us; /* CLOCK_MONOTONIC */
	int code;	   /* the exit status, or minus the signal to die by */
};

static uint64_t now_us(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000;
}

static void on_signal(void *ctx, uint32_t events)
{
	struct process *p = ctx;
	struct signalfd_siginfo info;

	(void)events;
	if (read(p->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGPIPE) {
		metric_inc(signals, sigpipe);
		log_error("Received signal %u, code %d.", info.ssi_signo, info.ssi_code);
		return;
	}
	log_info("Shutting down VM after intercepting signal %u, code %d.", info.ssi_signo, info.ssi_code);
	if (info.ssi_signo == SIGHUP)
		metric_inc(signals, sighup);
	loop_stop(p->loop, info.ssi_signo == SIGHUP ? EXIT_CODE_SIGHUP : -(int)info.ssi_signo);
}

static void on_timer(void *ctx, uint32_t events)
{
	struct process *p = ctx;
	struct err e;

	(void)events;
	if (!p->prepared) {
		p->prepared = true;
		vmm_prepare(&p->vmm);
		return;
	}
	if (metrics_flush(&e) < 0)
		log_warn("Metrics: %s", e.text);
}

/*
 * Descriptors 0 to 2 are what they are said to be, or nothing: else the next file that is opened would become standard output,
 * and the guest's console be written into it. Where there is no /dev/null, what cannot be read or written takes the place.
 */
static void open_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		/* Each open(2) gives the lowest number that is free: fd. */
		if (open("/dev/null", O_RDWR) < 0)
			(void)!open("/", O_PATH | O_DIRECTORY);
	}
}

/* Those that end the process. */
static void ending_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
}

/*
 * Before any other thread exists: what is blocked here stays blocked in all. A write to a closed pipe is an error of that
 * write (base/outlet.c counts it), no reason to die; neither is a terminal that is touched from the background one to stop
 * (base/terminal.h). SIGCONT is read by whoever has the terminal. What we shall die by must be able to kill us, whatever the
 * parent has ignored.
 */
static void block_signals(void)
{
	sigset_t set;

	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	ending_signals(&set);
	sigaddset(&set, SIGPIPE);
	sigaddset(&set, SIGTTIN);
	sigaddset(&set, SIGTTOU);
	sigaddset(&set, SIGCONT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* Signals that end the process are taken from the loop, so that the terminal and the socket are put right. SIGPIPE is noted. */
static int process_init_signals(struct process *p, struct err *e)
{
	sigset_t set;

	ending_signals(&set);
	sigaddset(&set, SIGPIPE);
	p->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (p->signal_fd < 0)
		return err_errno(e, errno, "cannot watch signals");
	p->signal_source = loop_add(p->loop, p->signal_fd, EPOLLIN, on_signal, p);
	if (!p->signal_source)
		return err_errno(e, errno, "cannot watch signals");
	return 0;
}

static void add_metrics(void)
{
	metrics_add(&api_server_metrics_section);
	metrics_add(&deprecated_api_metrics_section);
	metrics_add(&logger_metrics_section);
	metrics_add(&seccomp_metrics_section);
	metrics_add(&signals_metrics_section);
	vmm_add_metrics();
}

static int process_init_log(const struct args *args, struct err *e)
{
	int r;

	log_set_id(args->id);
	log_set_level(args->level);
	log_set_show(args->show_level, args->show_log_origin);
	if (args->module)
		log_set_module(args->module);
	r = args->log_path ? log_set_path(args->log_path, e) : log_start(e);
	if (r < 0)
		return args->log_path ? err_wrap(e, -EINVAL, "log-path") : r;
	if (args->metrics_path && metrics_open(args->metrics_path, NULL, NULL, e) < 0)
		return err_wrap(e, -EINVAL, "metrics-path");
	return 0;
}

static uint64_t time_since(uint64_t now, uint64_t then)
{
	return now > then ? now - then : 0;
}

/* Whoever has started us, such as a jailer, knows since when, and what it has used itself. */
static void record_startup_time(const struct process *p)
{
	const struct args *args = &p->args;
	uint64_t began_us = args->has_start_time ? args->start_time_us : p->began_us;

	metric_set(api_server, process_startup_time_us, time_since(now_us(CLOCK_MONOTONIC), began_us));
	metric_set(api_server, process_startup_time_cpu_us,
		   time_since(now_us(CLOCK_PROCESS_CPUTIME_ID), args->start_time_cpu_us) + args->parent_cpu_time_us);
}

static bool enter_stream_sandbox(void)
{
	struct err e;

	if (sandbox_enter(SANDBOX_STREAM, &e) == 0)
		return true;
	log_error("%s", e.text);
	return false;
}

static int process_init(struct process *p, struct err *e)
{
	int r;

	block_signals();
	r = sandbox_init(!p->args.no_seccomp, e);
	if (!r && p->args.seccomp_filter)
		r = sandbox_custom_load(p->args.seccomp_filter, e);
	if (r < 0)
		return r;
	io_thread_set_enter(enter_stream_sandbox);
	add_metrics();
	r = process_init_log(&p->args, e);
	if (r < 0)
		return r;
	log_info("Running Firecracker v%s", VMM_API_VERSION);
	log_info("It is snapsafe-vmm v%s that runs, with the API of that version.", SNAPSAFE_VERSION);
	args_note_idle(&p->args);
	p->loop = loop_new();
	if (!p->loop)
		return err_errno(e, errno, "cannot create the event loop");
	r = process_init_signals(p, e);
	if (r < 0)
		return r;
	vmm_init(&p->vmm, p->loop, p->args.id, p->args.boot_timer);
	p->vmm.metadata.max_len = (size_t)p->args.mmds_size_limit;
	r = p->args.metadata ? mmds_store_read(&p->vmm.metadata, p->args.metadata, e) : 0;
	if (r < 0)
		return r;
	p->timer = loop_add_timer(p->loop, on_timer, p);
	if (!p->timer)
		return err_errno(e, errno, "cannot create the metrics timer");
	loop_set_timer(p->timer, PREPARE_AFTER_NS, METRICS_INTERVAL_NS);
	if (!p->args.no_api) {
		r = api_server_new(p->args.api_sock, p->args.http_api_max_payload_size, &p->vmm, p->loop, &p->server,
				   e);
		if (r < 0)
			return r;
	}
	/* From here on others can talk to us, and the files of a machine are read. */
	r = sandbox_enter(SANDBOX_SETUP, e);
	if (r < 0)
		return r;
	record_startup_time(p);
	return p->args.config_file ? vmm_run_config_file(&p->vmm, p->args.config_file, e) : 0;
}

/*
 * Accepts half-built. The machine goes last: it restores the terminal after the last line of the log. If one of its vCPUs does
 * not come, it is left as it is: the end of the process takes it along.
 */
static void process_fini(struct process *p)
{
	struct err e;

	api_server_free(p->server);
	if (p->loop) {
		if (metrics_flush(&e) < 0)
			log_warn("Metrics: %s", e.text);
		if (vmm_stop(&p->vmm, &e) < 0) {
			log_warn("Ending without waiting: %s", e.text);
			terminal_end();
			goto drain;
		}
		vmm_fini(&p->vmm);
		loop_remove(p->timer);
		loop_remove(p->signal_source);
		loop_free(p->loop);
	}
	cleanup_close(&p->signal_fd);
drain:
	(void)log_drain(LOG_LAST_WAIT_MS);
}

/* Nothing is left to be put right: from here on a signal ends a process that waits for its standard error to be read. */
static void print_error(const char *text)
{
	sigset_t set;

	ending_signals(&set);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	fprintf(stderr, "Error: %s\n", text);
}

/*
 * Whoever waits for us sees that we were killed, and not that the guest has ended. The first process of a PID namespace does
 * not die of its own signals; its status is what a shell would make of it.
 */
static int die_by_signal(int number)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, number);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	(void)thread_signal(gettid(), number);
	return 128 + number;
}

static void process_run(void *ctx)
{
	struct process *p = ctx;
	struct err e = { "" };

	p->code = EXIT_CODE_GENERIC;
	if (process_init(p, &e) < 0) {
		log_error("%s", e.text);
		log_error("Firecracker exiting with error. exit_code=%d", p->code);
		process_fini(p);
		print_error(e.text);
		return;
	}
	if (metrics_flush(&e) < 0)
		log_warn("Metrics: %s", e.text);
	p->code = loop_run(p->loop);
	if (p->code == EXIT_CODE_OK) {
		log_info("Vmm is stopping.");
		log_info("Firecracker exiting successfully. exit_code=%d", p->code);
	} else if (p->code > 0) {
		log_error("Firecracker exiting with error. exit_code=%d", p->code);
	}
	process_fini(p);
}

static int describe_snapshot(const char *path)
{
	struct snapshot_version v;
	struct err e;

	if (statefile_version(path, &v, &e) < 0) {
		fprintf(stderr, "Error: describe-snapshot: %s\n", e.text);
		return EXIT_CODE_GENERIC;
	}
	printf("v%u.%u.%u\n", v.major, v.minor, v.patch);
	return EXIT_CODE_OK;
}

int main(int argc, char **argv)
{
	struct process p = { .signal_fd = -1, .began_us = now_us(CLOCK_MONOTONIC) };
	enum exit_code code;
	struct err e;

	open_standard_descriptors();
	libc_init();
	if (args_parse(argc, argv, &p.args, &code, &e) < 0) {
		if (code == EXIT_CODE_BAD_ARGS)
			fprintf(stderr, "Arguments parsing error: %s \n\nFor more information try --help.\n", e.text);
		else
			fprintf(stderr, "Error: %s\n", e.text);
		return code;
	}
	if (p.args.help) {
		args_print_help(stdout);
		return EXIT_CODE_OK;
	}
	if (p.args.version) {
		/* Clients look for a version of Firecracker's in the first line. */
		printf("Firecracker v%s\nsnapsafe-vmm v%s\n", VMM_API_VERSION, SNAPSAFE_VERSION);
		return EXIT_CODE_OK;
	}
	if (p.args.snapshot_version) {
		printf("v%d.%d.%d\n", SNAPSHOT_VERSION_MAJOR, SNAPSHOT_VERSION_MINOR, SNAPSHOT_VERSION_PATCH);
		return EXIT_CODE_OK;
	}
	if (p.args.print_seccomp_filter)
		return fputs(sandbox_builtin_json, stdout) >= 0 && fflush(stdout) == 0 ? EXIT_CODE_OK
										       : EXIT_CODE_GENERIC;
	if (p.args.describe_snapshot)
		return describe_snapshot(p.args.describe_snapshot);
	/* A stack as small as the caller's limit allows must not decide what can be loaded. */
	if (own_stack_run(PROCESS_STACK_SIZE, process_run, &p, &e) < 0) {
		print_error(e.text);
		return EXIT_CODE_GENERIC;
	}
	return p.code < 0 ? die_by_signal(-p.code) : p.code;
}
