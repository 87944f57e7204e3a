// SPDX-License-Identifier: Apache-2.0
/*
 * Processes that are left behind wait at a pipe which the monitor's execve(2) closes: so a client that waits for the jailer
 * knows that the monitor runs and that its pid file is there, or why not.
 */
#include "jailer/run.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fdio.h"

#define NUM_OWN_ARGS 9 /* its name, and four options with a value */

struct run {
	const struct jailer_options *options;
	const char *name;  /* of the monitor's file, in "/" */
	uint64_t start_us; /* CLOCK_MONOTONIC, when the jailer began */
	uint64_t cpu_us;   /* what processes of the jailer that are left behind have used */
	int pipe[2];	   /* what went wrong in a child; its end, if nothing did */
	bool is_child;
};

static uint64_t cpu_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000;
}

/* The first process of all, until the monitor runs or cannot. */
static _Noreturn void wait_for_monitor(struct run *run)
{
	char text[sizeof(((struct err *)0)->text)];
	size_t len = 0;
	ssize_t n = 1;

	close(run->pipe[1]);
	while (len < sizeof(text) && n != 0) {
		n = read(run->pipe[0], text + len, sizeof(text) - len);
		if (n < 0 && errno != EINTR)
			break;
		len += n > 0 ? (size_t)n : 0;
	}
	if (len)
		fprintf(stderr, "Error: %.*s\n", (int)len, text);
	_exit(len ? 1 : 0);
}

/* fork(2); what the parent has used so far is added up, and the child knows that it is one. */
static pid_t fork_counted(struct run *run)
{
	pid_t pid;

	run->cpu_us += cpu_us();
	pid = fork();
	run->is_child |= !pid;
	return pid;
}

static int write_pid_file(const char *name, pid_t pid, struct err *e)
{
	_cleanup_close_ int fd = -1;
	char path[NAME_MAX + 8];
	char text[24];
	int r;

	snprintf(path, sizeof(path), "/%s.pid", name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0 && errno == EEXIST)
		return err_set(e, EEXIST, "\"%s\" is in the jail already: remove what an earlier jail has left",
			       path + 1);
	if (fd < 0)
		return err_errno(e, errno, "\"%s\" cannot be made in the jail", path + 1);
	r = fd_write_all(fd, text, (size_t)snprintf(text, sizeof(text), "%d", pid));
	return r < 0 ? err_errno(e, -r, "\"%s\" cannot be written", path + 1) : 0;
}

/* Two forks: who is no session leader gets no terminal again by opening one. */
static int become_daemon(struct run *run, int null_fd, struct err *e)
{
	pid_t pid = fork_counted(run);

	if (pid > 0)
		wait_for_monitor(run);
	if (pid < 0 || setsid() < 0)
		return err_errno(e, errno, "the monitor cannot be detached");
	pid = fork_counted(run);
	if (pid > 0)
		_exit(0);
	if (pid < 0)
		return err_errno(e, errno, "the monitor cannot be detached");
	for (int fd = 0; fd <= 2; fd++)
		if (dup2(null_fd, fd) < 0)
			return err_errno(e, errno, "the monitor cannot have /dev/null as its standard streams");
	return 0;
}

/* The parent knows the child's number as others do, so it writes the file. */
static int enter_pid_namespace(struct run *run, struct err *e)
{
	bool is_leader = getsid(0) == getpid();
	pid_t pid;
	int r;

	if (unshare(CLONE_NEWPID) < 0)
		return err_errno(e, errno, "a PID namespace cannot be made");
	pid = fork_counted(run);
	if (pid < 0)
		return err_errno(e, errno, "the first process of a PID namespace cannot be made");
	if (!pid) {
		/* Else the end of its session's leader would be a SIGHUP. */
		if (is_leader)
			(void)setsid();
		return 0;
	}
	r = write_pid_file(run->name, pid, e);
	if (r < 0) {
		kill(pid, SIGKILL);
		return r;
	}
	if (!run->is_child)
		wait_for_monitor(run);
	_exit(0);
}

/* For good: also what a program with file capabilities would get. Root remains root, as with Firecracker's jailer. */
static int drop_privileges(const struct jailer_options *options, struct err *e)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	for (int cap = 0; options->uid && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return err_errno(e, errno, "capability %d cannot be dropped", cap);
	if (setgroups(0, NULL) < 0 || setresgid(options->gid, options->gid, options->gid) < 0 ||
	    setresuid(options->uid, options->uid, options->uid) < 0)
		return err_errno(e, errno, "the monitor cannot be user %u of group %u", options->uid, options->gid);
	if (options->uid && syscall(SYS_capset, &header, none) < 0)
		return err_errno(e, errno, "capabilities cannot be dropped");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_errno(e, errno, "privileges cannot be given up");
	return 0;
}

static int execute(const struct run *run, struct err *e)
{
	const struct jailer_options *options = run->options;
	char start[24];
	char own_cpu[24];
	char parent_cpu[24];
	char path[NAME_MAX + 2];
	char *no_environment[] = { NULL };
	uint64_t now_us = cpu_us();
	size_t num_args = 0;
	char **argv;

	while (options->args[num_args])
		num_args++;
	argv = calloc(NUM_OWN_ARGS + num_args + 1, sizeof(*argv));
	if (!argv)
		return err_errno(e, ENOMEM, "the monitor cannot be started");
	snprintf(path, sizeof(path), "/%s", run->name);
	snprintf(start, sizeof(start), "%llu", (unsigned long long)run->start_us);
	snprintf(own_cpu, sizeof(own_cpu), "%llu", (unsigned long long)now_us);
	/* The monitor adds this to what it has used since own_cpu. */
	snprintf(parent_cpu, sizeof(parent_cpu), "%llu", (unsigned long long)run->cpu_us + now_us);
	memcpy(argv,
	       (const char *const[NUM_OWN_ARGS]){ path, "--id", options->id, "--start-time-us", start,
						  "--start-time-cpu-us", own_cpu, "--parent-cpu-time-us", parent_cpu },
	       NUM_OWN_ARGS * sizeof(*argv));
	memcpy(argv + NUM_OWN_ARGS, options->args, num_args * sizeof(*argv));
	execve(path, argv, no_environment);
	free(argv);
	if (errno == ENOENT)
		return err_set(
			e, ENOENT,
			"\"%s\" cannot be run in the jail: it needs a dynamic linker or an interpreter, and a jail has "
			"neither; use a static program",
			run->name);
	return err_errno(e, errno, "\"%s\" cannot be run in the jail", run->name);
}

static int run_steps(struct run *run, int null_fd, struct err *e)
{
	int r = run->options->daemonize ? become_daemon(run, null_fd, e) : 0;

	if (!r)
		r = run->options->new_pid_ns ? enter_pid_namespace(run, e) : write_pid_file(run->name, getpid(), e);
	if (!r)
		r = drop_privileges(run->options, e);
	return r ? r : execute(run, e);
}

int run_monitor(const struct jailer_options *options, const char *name, uint64_t start_us, int null_fd, struct err *e)
{
	struct run run = { .options = options, .name = name, .start_us = start_us };
	int r;

	if (pipe2(run.pipe, O_CLOEXEC) < 0)
		return err_errno(e, errno, "the monitor cannot be started");
	r = run_steps(&run, null_fd, e);
	if (!run.is_child)
		return r;
	/* Whoever started the jailer reads it from the first process. */
	(void)!write(run.pipe[1], e->text, strlen(e->text));
	_exit(1);
}
