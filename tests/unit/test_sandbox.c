// SPDX-License-Identifier: Apache-2.0
/*
 * host/sandbox: each case is a child process that puts itself under a filter, makes one system call, and tells by its
 * exit status what came of it. The kernel decides, not a model of the filter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/terminal.h"
#include "base/thread.h"
#include "sandbox/asan.h"
#include "sandbox/crash.h"
#include "sandbox/sandbox.h"
#include "tmpdir.h"

#define X32_BIT	     0x40000000
#define NO_FD	     (-1)
#define CHILD_FAILED 77 /* preparing the case did not work */
#define THREAD_FLAGS                                                                                       \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS | \
	 CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

/* The loop thread's life, and a vCPU thread's, as sets of filters. */
#define SETUP	(1u << SANDBOX_SETUP)
#define LOOP	(1u << SANDBOX_SETUP | 1u << SANDBOX_LOOP)
#define VCPU	(1u << SANDBOX_SETUP | 1u << SANDBOX_VCPU)
#define STREAM	(1u << SANDBOX_SETUP | 1u << SANDBOX_STREAM)
#define IO	(1u << SANDBOX_SETUP | 1u << SANDBOX_IO)
#define AHEAD	(1u << SANDBOX_SETUP | 1u << SANDBOX_AHEAD)
#define SOCKETS (1u << SANDBOX_SETUP | 1u << SANDBOX_SOCKETS)

#define UNIX_STREAM (SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)

struct call {
	const char *what;
	long number;
	long args[6];
};

static struct tmpdir dir;
static char text[64 * 1024];

static int setup(void **state)
{
	(void)state;
	return tmpdir_make(&dir);
}

static int teardown(void **state)
{
	(void)state;
	tmpdir_remove(&dir);
	return 0;
}

static const char *log_text(void)
{
	assert_true(tmpdir_read(tmpdir_file(&dir, "log"), text, sizeof(text)) >= 0);
	return text;
}

/* In the child. */
static void enter(unsigned int filters)
{
	struct err e;

	unlink(tmpdir_file(&dir, "log"));
	if (log_set_path(tmpdir_file(&dir, "log"), &e) < 0 || sandbox_init(filters != 0, &e) < 0)
		_exit(CHILD_FAILED);
	for (int f = 0; f < SANDBOX_NUM_FILTERS; f++)
		if ((filters == 0 || filters & 1u << f) && sandbox_enter((enum sandbox_filter)f, &e) < 0)
			_exit(CHILD_FAILED);
}

/* The wait status of a child that runs fn and then exits with 0. */
static int run_child(unsigned int filters, void (*fn)(const void *arg), const void *arg)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		enter(filters);
		fn(arg);
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void assert_exit(int status, int code, const char *what)
{
	if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
		fail_msg("%s: wait status %#x, not exit status %d", what, (unsigned int)status, code);
}

static void make_call(const void *arg)
{
	const struct call *c = arg;

	syscall(c->number, c->args[0], c->args[1], c->args[2], c->args[3], c->args[4], c->args[5]);
}

static void assert_forbidden(unsigned int filters, const struct call *calls, size_t num)
{
	char line[64];

	for (size_t i = 0; i < num; i++) {
		assert_exit(run_child(filters, make_call, &calls[i]), CRASH_EXIT_SIGSYS, calls[i].what);
		snprintf(line, sizeof(line), "intercepting a bad syscall (%ld", calls[i].number);
		if (!strstr(log_text(), line))
			fail_msg("%s: the log has only %s", calls[i].what, text);
	}
}

static void assert_allowed(unsigned int filters, const struct call *calls, size_t num)
{
	for (size_t i = 0; i < num; i++)
		assert_exit(run_child(filters, make_call, &calls[i]), 0, calls[i].what);
}

#define FORBIDDEN(filters, calls) assert_forbidden(filters, calls, ARRAY_SIZE(calls))
#define ALLOWED(filters, calls)	  assert_allowed(filters, calls, ARRAY_SIZE(calls))

static void what_no_monitor_needs_is_forbidden_in_every_thread(void **state)
{
	const struct call calls[] = {
		{ "execve", SYS_execve, { 0 } },
		{ "execveat", SYS_execveat, { 0 } },
		{ "fork", SYS_fork, { 0 } },
		{ "vfork", SYS_vfork, { 0 } },
		{ "clone of a process", SYS_clone, { SIGCHLD } },
		{ "clone of a thread in a namespace", SYS_clone, { THREAD_FLAGS | CLONE_NEWUSER } },
		{ "unshare", SYS_unshare, { 0 } },
		{ "setns", SYS_setns, { NO_FD } },
		{ "ptrace", SYS_ptrace, { 0 } },
		{ "process_vm_writev", SYS_process_vm_writev, { 0 } },
		{ "pidfd_send_signal", SYS_pidfd_send_signal, { NO_FD } },
		{ "pidfd_getfd", SYS_pidfd_getfd, { NO_FD } },
		{ "kill", SYS_kill, { 1 } },
		{ "tkill", SYS_tkill, { 1 } },
		{ "socket", SYS_socket, { AF_INET, SOCK_STREAM } },
		{ "Unix socket", SYS_socket, { AF_UNIX, SOCK_STREAM } },
		{ "socketpair", SYS_socketpair, { AF_UNIX, SOCK_STREAM } },
		{ "mount", SYS_mount, { 0 } },
		{ "umount2", SYS_umount2, { 0 } },
		{ "chroot", SYS_chroot, { 0 } },
		{ "pivot_root", SYS_pivot_root, { 0 } },
		{ "open_by_handle_at", SYS_open_by_handle_at, { NO_FD } },
		{ "chmod", SYS_chmod, { 0 } },
		{ "chown", SYS_chown, { 0 } },
		{ "link", SYS_link, { 0 } },
		{ "symlink", SYS_symlink, { 0 } },
		{ "mknod", SYS_mknod, { 0 } },
		{ "creat", SYS_creat, { 0 } },
		{ "setuid", SYS_setuid, { 0 } },
		{ "setgroups", SYS_setgroups, { 0 } },
		{ "capset", SYS_capset, { 0 } },
		{ "bpf", SYS_bpf, { 0 } },
		{ "perf_event_open", SYS_perf_event_open, { 0 } },
		{ "keyctl", SYS_keyctl, { 0 } },
		{ "init_module", SYS_init_module, { 0 } },
		{ "kexec_load", SYS_kexec_load, { 0 } },
		{ "memfd_create", SYS_memfd_create, { 0 } },
		{ "personality", SYS_personality, { 0 } },
		{ "modify_ldt", SYS_modify_ldt, { 0 } },
		{ "prctl(PR_SET_DUMPABLE)", SYS_prctl, { PR_SET_DUMPABLE, 1 } },
		{ "a second call list, seccomp(2)", SYS_seccomp, { 0 } },
		{ "write by its x32 number", X32_BIT | SYS_write, { NO_FD } },
		{ "a number that no call has", 5000, { 0 } },
	};

	(void)state;
	FORBIDDEN(SETUP, calls);
	FORBIDDEN(LOOP, calls);
	FORBIDDEN(VCPU, calls);
}

static void arguments_are_checked(void **state)
{
	const struct call setup[] = {
		{ "mmap executable", SYS_mmap, { 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1 } },
		{ "mprotect executable", SYS_mprotect, { 0, 4096, PROT_EXEC } },
		{ "ioctl(KVM_SET_GUEST_DEBUG)", SYS_ioctl, { NO_FD, (long)KVM_SET_GUEST_DEBUG } },
		{ "ioctl(TIOCSTI)", SYS_ioctl, { NO_FD, TIOCSTI } },
		{ "fcntl(F_SETOWN)", SYS_fcntl, { NO_FD, F_SETOWN } },
		{ "fcntl(F_DUPFD)", SYS_fcntl, { NO_FD, F_DUPFD } },
		{ "flock that waits", SYS_flock, { NO_FD, 2 } },
		{ "sendto with other flags", SYS_sendto, { NO_FD, 0, 0, MSG_OOB } },
		{ "accept4 without CLOEXEC", SYS_accept4, { NO_FD, 0, 0, SOCK_NONBLOCK } },
		{ "madvise(MADV_DODUMP)", SYS_madvise, { 0, 0, MADV_DODUMP } },
		{ "futex(FUTEX_LOCK_PI)", SYS_futex, { 0, 6 } },
		{ "timerfd of another clock", SYS_timerfd_create, { CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK } },
		{ "eventfd without flags", SYS_eventfd2, { 0, 0 } },
		{ "rt_sigaction(SIGSYS)", SYS_rt_sigaction, { SIGSYS } },
		{ "SIGABRT to another process", SYS_tgkill, { getpid(), getpid(), SIGABRT } },
		{ "the kick to another process", SYS_tgkill, { getpid(), getpid(), SIGUSR1 } },
		{ "SIGTERM to another process", SYS_tgkill, { getpid(), getpid(), SIGTERM } },
		{ "another process's memory", SYS_process_vm_readv, { getpid(), 0, 0, 0, 0, 0 } },
	};
	const struct call loop[] = {
		{ "writev to what is not stderr", SYS_writev, { 1, 0, 0 } },
		{ "mmap of a file", SYS_mmap, { 0, 4096, PROT_READ, MAP_PRIVATE, NO_FD } },
		{ "shared mmap", SYS_mmap, { 0, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, NO_FD } },
		{ "mremap to a chosen place", SYS_mremap, { 0, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED } },
	};

	(void)state;
	FORBIDDEN(SETUP, setup);
	FORBIDDEN(LOOP, setup);
	FORBIDDEN(LOOP, loop);
}

/* Refused by the kernel for a bad descriptor is allowed by the filter. */
static void what_builds_a_machine_goes_away_before_a_guest_runs(void **state)
{
	const struct call calls[] = {
		{ "KVM_CREATE_VM", SYS_ioctl, { NO_FD, KVM_CREATE_VM } },
		{ "KVM_CREATE_VCPU", SYS_ioctl, { NO_FD, KVM_CREATE_VCPU } },
		{ "KVM_SET_USER_MEMORY_REGION", SYS_ioctl, { NO_FD, KVM_SET_USER_MEMORY_REGION } },
		{ "KVM_SET_MSRS", SYS_ioctl, { NO_FD, (long)KVM_SET_MSRS } },
		{ "KVM_IRQFD", SYS_ioctl, { NO_FD, KVM_IRQFD } },
		{ "KVM_RUN", SYS_ioctl, { NO_FD, KVM_RUN } },
		{ "clone of a thread", SYS_clone, { THREAD_FLAGS & ~CLONE_VM } }, /* EINVAL */
		{ "eventfd2", SYS_eventfd2, { 0, EFD_CLOEXEC | EFD_NONBLOCK } },
		{ "mprotect", SYS_mprotect, { 0, 0, PROT_READ } },
		{ "prctl(PR_SET_NAME)", SYS_prctl, { PR_SET_NAME, 0 } },
		{ "another filter", SYS_prctl, { PR_SET_SECCOMP, 2, 0 } },
		{ "sigaltstack", SYS_sigaltstack, { 0 } },
		{ "io_uring_setup", SYS_io_uring_setup, { 0 } },
		{ "io_uring_register", SYS_io_uring_register, { NO_FD } },
		{ "Unix socket", SYS_socket, { AF_UNIX, UNIX_STREAM } },
		{ "connect", SYS_connect, { NO_FD } },
		{ "bind", SYS_bind, { NO_FD } },
		{ "listen", SYS_listen, { NO_FD } },
		{ "umask", SYS_umask, { 0 } },
		{ "userfaultfd", SYS_userfaultfd, { -1 } }, /* EINVAL */
		{ "UFFDIO_REGISTER", SYS_ioctl, { NO_FD, (long)UFFDIO_REGISTER } },
		{ "getsockopt", SYS_getsockopt, { NO_FD, SOL_SOCKET } },
		{ "pidfd_open", SYS_pidfd_open, { NO_FD } },
		{ "TUNSETIFF", SYS_ioctl, { NO_FD, TUNSETIFF } },
		{ "TUNGETIFF", SYS_ioctl, { NO_FD, (long)TUNGETIFF } },
		{ "TUNSETVNETHDRSZ", SYS_ioctl, { NO_FD, TUNSETVNETHDRSZ } },
		{ "TUNSETVNETLE", SYS_ioctl, { NO_FD, TUNSETVNETLE } },
		{ "TUNSETOFFLOAD", SYS_ioctl, { NO_FD, TUNSETOFFLOAD } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		if (calls[i].number != SYS_clone)
			assert_allowed(SETUP, &calls[i], 1);
	FORBIDDEN(LOOP, calls);
}

static void the_running_loop_thread_can_serve_and_save(void **state)
{
	const struct call calls[] = {
		{ "read", SYS_read, { NO_FD } },
		{ "openat", SYS_openat, { NO_FD } },
		{ "accept4", SYS_accept4, { NO_FD, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK } },
		{ "KVM_GET_REGS", SYS_ioctl, { NO_FD, KVM_GET_REGS } },
		{ "KVM_IOEVENTFD", SYS_ioctl, { NO_FD, KVM_IOEVENTFD } },
		{ "an ioctl with bits above the lower half, which the kernel ignores",
		  SYS_ioctl,
		  { NO_FD, (long)(0xffffffff00000000ul | TCSETS) } },
		{ "rename", SYS_rename, { 0 } },
		{ "anonymous memory", SYS_mmap, { 0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1 } },
	};

	(void)state;
	ALLOWED(LOOP, calls);
}

static void a_thread_that_reads_ahead_can_do_that_alone(void **state)
{
	const struct call allowed[] = {
		{ "pread64", SYS_pread64, { NO_FD } },
		{ "madvise(MADV_WILLNEED)", SYS_madvise, { 0, 0, MADV_WILLNEED } },
		{ "madvise(MADV_POPULATE_READ)", SYS_madvise, { 0, 0, MADV_POPULATE_READ } },
		{ "write", SYS_write, { NO_FD } }, /* a line of the log: the eventfd of its thread */
	};
	const struct call forbidden[] = {
		{ "read", SYS_read, { NO_FD } },
		{ "openat", SYS_openat, { NO_FD } },
		{ "close", SYS_close, { NO_FD } },
		{ "mmap", SYS_mmap, { 0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1 } },
		{ "open", SYS_open, { 0 } },
		{ "madvise(MADV_POPULATE_WRITE)", SYS_madvise, { 0, 0, MADV_POPULATE_WRITE } },
		{ "madvise(MADV_RANDOM)", SYS_madvise, { 0, 0, MADV_RANDOM } },
		{ "fadvise64", SYS_fadvise64, { NO_FD } },
		{ "setpriority", SYS_setpriority, { PRIO_PROCESS } },
		{ "KVM_RUN", SYS_ioctl, { NO_FD, KVM_RUN } },
		{ "Unix socket", SYS_socket, { AF_UNIX, UNIX_STREAM } },
	};
	const struct call loop[] = {
		{ "madvise(MADV_WILLNEED)", SYS_madvise, { 0, 0, MADV_WILLNEED } },
		{ "madvise(MADV_POPULATE_READ)", SYS_madvise, { 0, 0, MADV_POPULATE_READ } },
		{ "madvise(MADV_RANDOM)", SYS_madvise, { 0, 0, MADV_RANDOM } },
		{ "fadvise64", SYS_fadvise64, { NO_FD } },
		{ "setpriority", SYS_setpriority, { PRIO_PROCESS } },
	};

	(void)state;
	ALLOWED(AHEAD, allowed);
	FORBIDDEN(AHEAD, forbidden);
	FORBIDDEN(LOOP, loop);
}

static void a_vcpu_thread_can_run_its_guest_and_little_else(void **state)
{
	const struct call allowed[] = {
		{ "KVM_RUN", SYS_ioctl, { NO_FD, KVM_RUN } },
		{ "write", SYS_write, { NO_FD } },
		{ "poll", SYS_poll, { 0 } },
	};
	const struct call forbidden[] = {
		{ "read", SYS_read, { NO_FD } },
		{ "openat", SYS_openat, { NO_FD } },
		{ "open", SYS_open, { 0 } },
		{ "stat", SYS_stat, { 0 } },
		{ "newfstatat", SYS_newfstatat, { NO_FD } },
		{ "close", SYS_close, { NO_FD } },
		{ "unlink", SYS_unlink, { 0 } },
		{ "rename", SYS_rename, { 0 } },
		{ "accept4", SYS_accept4, { NO_FD, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK } },
		{ "sendto", SYS_sendto, { NO_FD } },
		{ "mmap", SYS_mmap, { 0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1 } },
		{ "munmap", SYS_munmap, { 0 } },
		{ "brk", SYS_brk, { 0 } },
		{ "getrandom", SYS_getrandom, { 0 } },
		{ "epoll_ctl", SYS_epoll_ctl, { NO_FD } },
		{ "timerfd_settime", SYS_timerfd_settime, { NO_FD } },
		{ "KVM_GET_REGS", SYS_ioctl, { NO_FD, KVM_GET_REGS } },
		{ "KVM_SET_REGS", SYS_ioctl, { NO_FD, KVM_SET_REGS } },
		{ "KVM_CREATE_VM", SYS_ioctl, { NO_FD, KVM_CREATE_VM } },
		{ "KVM_IOEVENTFD", SYS_ioctl, { NO_FD, KVM_IOEVENTFD } },
	};

	(void)state;
	ALLOWED(VCPU, allowed);
	FORBIDDEN(VCPU, forbidden);
}

/* What makes and accepts Unix sockets is one device's thread; it opens, binds and listens to nothing, and makes no others. */
static void only_the_socket_device_makes_sockets(void **state)
{
	const struct call allowed[] = {
		{ "Unix socket", SYS_socket, { AF_UNIX, UNIX_STREAM } },
		{ "connect", SYS_connect, { NO_FD } },
		{ "accept4", SYS_accept4, { NO_FD, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK } },
		{ "recvmsg", SYS_recvmsg, { NO_FD } },
		{ "sendmsg", SYS_sendmsg, { NO_FD, 0, MSG_NOSIGNAL } },
		{ "shutdown", SYS_shutdown, { NO_FD } },
		{ "close", SYS_close, { NO_FD } },
		{ "epoll_ctl", SYS_epoll_ctl, { NO_FD } },
		{ "memory", SYS_mmap, { 0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1 } },
		{ "read", SYS_read, { NO_FD } },
	};
	const struct call forbidden[] = {
		{ "TCP socket", SYS_socket, { AF_INET, UNIX_STREAM } },
		{ "vsock socket", SYS_socket, { AF_VSOCK, UNIX_STREAM } },
		{ "netlink socket", SYS_socket, { AF_NETLINK, UNIX_STREAM } },
		{ "datagram socket", SYS_socket, { AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC } },
		{ "socket that waits", SYS_socket, { AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC } },
		{ "bind", SYS_bind, { NO_FD } },
		{ "listen", SYS_listen, { NO_FD } },
		{ "sendmsg with other flags", SYS_sendmsg, { NO_FD, 0, MSG_OOB } },
		{ "openat", SYS_openat, { NO_FD } },
		{ "unlink", SYS_unlink, { 0 } },
		{ "mmap of a file", SYS_mmap, { 0, 4096, PROT_READ, MAP_PRIVATE, NO_FD } },
		{ "KVM_RUN", SYS_ioctl, { NO_FD, KVM_RUN } },
	};
	const struct call not_a_drive[] = {
		{ "Unix socket", SYS_socket, { AF_UNIX, UNIX_STREAM } },
		{ "connect", SYS_connect, { NO_FD } },
		{ "accept4", SYS_accept4, { NO_FD, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK } },
		{ "recvmsg", SYS_recvmsg, { NO_FD } },
		{ "sendmsg", SYS_sendmsg, { NO_FD, 0, MSG_NOSIGNAL } },
	};

	(void)state;
	ALLOWED(SOCKETS, allowed);
	FORBIDDEN(SOCKETS, forbidden);
	FORBIDDEN(IO, not_a_drive);
	FORBIDDEN(VCPU, not_a_drive);
}

static void a_drives_thread_may_read_without_waiting_and_ask_for_what_it_will_read(void **state)
{
	const struct call allowed[] = {
		{ "preadv2(RWF_NOWAIT)", SYS_preadv2, { NO_FD, 0, 0, 0, 0, RWF_NOWAIT } },
		{ "preadv", SYS_preadv, { NO_FD } },
		{ "fadvise64(WILLNEED)", SYS_fadvise64, { NO_FD, 0, 0, POSIX_FADV_WILLNEED } },
	};
	const struct call forbidden[] = {
		{ "preadv2(RWF_HIPRI)", SYS_preadv2, { NO_FD, 0, 0, 0, 0, RWF_HIPRI } },
		{ "preadv2(RWF_HIPRI | RWF_NOWAIT)", SYS_preadv2, { NO_FD, 0, 0, 0, 0, RWF_HIPRI | RWF_NOWAIT } },
		{ "pwritev2", SYS_pwritev2, { NO_FD } },
		{ "fadvise64(DONTNEED)", SYS_fadvise64, { NO_FD, 0, 0, POSIX_FADV_DONTNEED } },
	};

	(void)state;
	ALLOWED(IO, allowed);
	FORBIDDEN(IO, forbidden);
}

/* It frees what it was started with, and malloc(3) may give memory back when it ends. */
static void a_device_thread_can_end(void **state)
{
	const struct call calls[] = {
		{ "brk", SYS_brk, { 0 } },
		{ "madvise(MADV_DONTNEED)", SYS_madvise, { 0, 0, MADV_DONTNEED } },
	};

	(void)state;
	ALLOWED(IO, calls);
	ALLOWED(SOCKETS, calls);
}

static void a_thread_that_waits_for_descriptors_can_do_nothing_else(void **state)
{
	const struct call allowed[] = {
		{ "read", SYS_read, { NO_FD } },   { "write", SYS_write, { NO_FD } },
		{ "poll", SYS_poll, { 0 } },	   { "TIOCGPGRP", SYS_ioctl, { NO_FD, TIOCGPGRP } },
		{ "close", SYS_close, { NO_FD } }, { "brk", SYS_brk, { 0 } },
	};
	const struct call forbidden[] = {
		{ "openat", SYS_openat, { NO_FD } },
		{ "unlink", SYS_unlink, { 0 } },
		{ "accept4", SYS_accept4, { NO_FD, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK } },
		{ "sendto", SYS_sendto, { NO_FD } },
		{ "mmap", SYS_mmap, { 0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1 } },
		{ "clone", SYS_clone, { THREAD_FLAGS } },
		{ "epoll_ctl", SYS_epoll_ctl, { NO_FD } },
		{ "KVM_RUN", SYS_ioctl, { NO_FD, KVM_RUN } },
		{ "KVM_GET_REGS", SYS_ioctl, { NO_FD, KVM_GET_REGS } },
		{ "KVM_CREATE_VM", SYS_ioctl, { NO_FD, KVM_CREATE_VM } },
	};

	(void)state;
	ALLOWED(STREAM, allowed);
	FORBIDDEN(STREAM, forbidden);
}

static void expect_errno(const void *arg)
{
	const struct call *c = arg;

	errno = 0;
	if (syscall(c->number, c->args[0], c->args[1], c->args[2], c->args[3]) != -1 || errno != (int)c->args[5])
		_exit(1);
}

static void two_calls_are_answered_instead(void **state)
{
	const struct call clone3 = { "clone3", SYS_clone3, { [5] = ENOSYS } };
	const struct call option = { "setsockopt", SYS_setsockopt, { NO_FD, [5] = EOPNOTSUPP } };

	(void)state;
	assert_exit(run_child(SETUP, expect_errno, &clone3), 0, clone3.what);
	assert_exit(run_child(LOOP, expect_errno, &option), 0, option.what);
	assert_exit(run_child(VCPU, expect_errno, &clone3), CRASH_EXIT_SIGSYS, clone3.what);
}

#ifdef __x86_64__
static void make_call_as_i386(const void *arg)
{
	long result = 20; /* getpid */

	(void)arg;
	__asm__ volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
}

static void calls_of_another_architecture_are_forbidden(void **state)
{
	(void)state;
	assert_exit(run_child(LOOP, make_call_as_i386, NULL), CRASH_EXIT_SIGSYS, "int 0x80");
}
#endif

static void *vcpu_thread(void *arg)
{
	struct err e;
	sigset_t set;

	/* As vcpu_start_thread() does. */
	sigfillset(&set);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	log_set_thread_name("fc_vcpu 0");
	if (sandbox_enter(SANDBOX_VCPU, &e) < 0)
		_exit(CHILD_FAILED);
	if (arg)
		make_call(arg);
	return NULL;
}

static void start_thread(const void *arg)
{
	const struct call *call = arg;
	struct call copy;
	pthread_t thread;

	if (call)
		copy = *call;
	if (pthread_create(&thread, NULL, vcpu_thread, call ? &copy : NULL) != 0)
		_exit(1);
	if (pthread_join(thread, NULL) != 0)
		_exit(2);
}

static void threads_can_be_started_and_have_filters_of_their_own(void **state)
{
	const struct call call = { "openat on a vCPU's thread", SYS_openat, { NO_FD } };

	(void)state;
	assert_exit(run_child(SETUP, start_thread, NULL), 0, "thread");
	assert_exit(run_child(SETUP, start_thread, &call), CRASH_EXIT_SIGSYS, call.what);
	assert_non_null(strstr(log_text(), ":fc_vcpu 0] Shutting down VM after intercepting signal 31, code 1.\n"));
	assert_non_null(strstr(text, ":fc_vcpu 0] Shutting down VM after intercepting a bad syscall (257, openat).\n"));
}

static void no_new_privileges(const void *arg)
{
	(void)arg;
	_exit(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : 1);
}

static void own_process(const void *arg)
{
	char from[] = "x", to[] = "y";
	struct iovec local = { to, 1 }, remote = { from, 1 };

	(void)arg;
	if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) != 1 || to[0] != 'x')
		_exit(1);
	abort();
}

static void the_process_may_address_itself(void **state)
{
	int status = run_child(LOOP, own_process, NULL);

	(void)state;
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void without_filters_everything_goes(void **state)
{
	const struct call call = { "socket", SYS_socket, { AF_UNIX, SOCK_STREAM } };

	(void)state;
	assert_exit(run_child(0, make_call, &call), 0, call.what);
	assert_exit(run_child(0, no_new_privileges, NULL), 1, "no_new_privs");
}

static void filters_go_with_no_new_privileges(void **state)
{
	const struct call call = { "prctl(PR_GET_NO_NEW_PRIVS)", SYS_prctl, { PR_GET_NO_NEW_PRIVS } };
	char status[4096];
	pid_t pid;

	(void)state;
	assert_exit(run_child(SETUP, make_call, &call), CRASH_EXIT_SIGSYS, call.what);
	pid = fork();
	if (pid == 0) {
		enter(SETUP);
		/* The kernel's own view; the file is read as the loop thread would read it. */
		if (tmpdir_read("/proc/self/status", status, sizeof(status)) < 0)
			_exit(1);
		_exit(strstr(status, "NoNewPrivs:\t1") && strstr(status, "Seccomp:\t2") ? 0 : 2);
	}
	int wait_status;

	assert_int_equal(waitpid(pid, &wait_status, 0), pid);
	assert_exit(wait_status, 0, "status");
}

static void raise_signal(const void *arg)
{
	raise(*(const int *)arg);
}

static void fatal_signals_have_firecrackers_exit_statuses(void **state)
{
	static const struct {
		int number;
		bool is_fault;
		enum crash_exit code;
	} cases[] = {
		{ SIGSYS, false, CRASH_EXIT_SIGSYS },	{ SIGBUS, true, CRASH_EXIT_SIGBUS },
		{ SIGSEGV, true, CRASH_EXIT_SIGSEGV },	{ SIGILL, true, CRASH_EXIT_SIGILL },
		{ SIGXCPU, false, CRASH_EXIT_SIGXCPU }, { SIGXFSZ, false, CRASH_EXIT_SIGXFSZ },
	};
	char line[96];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (SANDBOX_UNDER_ASAN && cases[i].is_fault)
			continue;
		/* raise(3) would break the filters, which allow SIGABRT only. */
		assert_exit(run_child(0, raise_signal, &cases[i].number), cases[i].code, "signal");
		snprintf(line, sizeof(line), ":main] Shutting down VM after intercepting signal %d, code -6.\n",
			 cases[i].number);
		assert_non_null(strstr(log_text(), line));
	}
}

static void touch(const void *arg)
{
	*(volatile char *)(uintptr_t)arg = 1;
}

static int use_up_stack(int depth) /* NOLINT(misc-no-recursion) */
{
	volatile char frame[4096];

	frame[0] = (char)depth;
	return depth == 0 ? 0 : use_up_stack(depth - 1) + frame[0];
}

static void overflow(const void *arg)
{
	(void)arg;
	_exit(use_up_stack(1 << 20) ? 1 : 0);
}

static void *overflow_thread(void *arg)
{
	struct err e;

	if (sandbox_enter(SANDBOX_VCPU, &e) == 0)
		overflow(arg);
	return NULL;
}

static void overflow_in_a_thread(const void *arg)
{
	struct thread thread;

	(void)arg;
	if (thread_start(&thread, 256 * 1024, overflow_thread, NULL) == 0)
		pthread_join(thread.id, NULL);
}

static void faults_are_reported_under_a_filter_and_without_a_stack(void **state)
{
	int fd = open(tmpdir_file(&dir, "empty"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	void *beyond_file = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	void *no_access = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_true(beyond_file != MAP_FAILED && no_access != MAP_FAILED);
	assert_exit(run_child(LOOP, touch, no_access), CRASH_EXIT_SIGSEGV, "SIGSEGV");
	assert_non_null(strstr(log_text(), "intercepting signal 11, code 2.\n"));
	assert_exit(run_child(VCPU, touch, beyond_file), CRASH_EXIT_SIGBUS, "SIGBUS");
	assert_non_null(strstr(log_text(), "intercepting signal 7, code 2.\n"));
	assert_exit(run_child(VCPU, overflow, NULL), CRASH_EXIT_SIGSEGV, "stack overflow");
	assert_exit(run_child(SETUP, overflow_in_a_thread, NULL), CRASH_EXIT_SIGSEGV, "stack overflow in a thread");
	assert_non_null(strstr(log_text(), "intercepting signal 11, code "));
	munmap(beyond_file, 4096);
	munmap(no_access, 4096);
	close(fd);
}

static void fault_with_terminal_and_metrics(const void *arg)
{
	const struct call call = { "socket", SYS_socket, { 0 } };

	terminal_make_raw(*(const int *)arg);
	make_call(&call);
}

static void assert_put_right(unsigned int filters)
{
	struct termios before, after;
	int master, slave, status;
	pid_t pid;

	unlink(tmpdir_file(&dir, "metrics"));
	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	assert_int_equal(tcgetattr(slave, &before), 0);
	assert_true(before.c_lflag & ICANON);
	pid = fork();
	if (pid == 0) {
		struct err e;

		metrics_add(&seccomp_metrics_section);
		if (metrics_open(tmpdir_file(&dir, "metrics"), "id-1", NULL, &e) < 0)
			_exit(CHILD_FAILED);
		enter(filters);
		fault_with_terminal_and_metrics(&slave);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_exit(status, CRASH_EXIT_SIGSYS, "socket");
	assert_int_equal(tcgetattr(slave, &after), 0);
	assert_int_equal(after.c_lflag, before.c_lflag);
	assert_int_equal(after.c_iflag, before.c_iflag);
	assert_true(tmpdir_read(tmpdir_file(&dir, "metrics"), text, sizeof(text)) > 0);
	assert_non_null(strstr(text, "\"id\":\"id-1\""));
	assert_non_null(strstr(text, "\"seccomp\":{\"num_faults\":1}"));
	assert_string_equal(text + strlen(text) - 3, "}}\n");
	close(master);
	close(slave);
}

static void every_thread_can_put_the_terminal_and_the_metrics_right(void **state)
{
	(void)state;
	assert_put_right(SETUP);
	assert_put_right(LOOP);
	assert_put_right(VCPU);
}

static void crash_lines_carry_the_time_that_other_lines_carry(void **state)
{
	static const char *const zones[] = { "UTC", "XYZ-13:30", "ABC+4" };
	char first[11], second[11];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(zones); i++) {
		pid_t pid;
		int status;

		setenv("TZ", zones[i], 1);
		pid = fork();
		if (pid == 0) {
			enter(0);
			log_info("first");
			log_crash("second");
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_exit(status, 0, "log");
		log_text();
		/* Date and hour; a test that runs across a full hour may compare two. */
		memcpy(first, text, 10);
		memcpy(second, strchr(text, '\n') + 1, 10);
		first[10] = second[10] = '\0';
		assert_string_equal(first, second);
		assert_int_equal(strlen(text) - strlen(strchr(text, '\n') + 1),
				 strlen(strchr(text, '\n') + 1) - strlen("second") + strlen("first"));
		assert_memory_equal(text + 10, strchr(text, '\n') + 1 + 10, 3);
	}
	unsetenv("TZ");
}

/* Those that do without filters come first: an AddressSanitizer build has none. */
#define NUM_WITHOUT_FILTERS 3

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_filters_everything_goes),
		cmocka_unit_test(fatal_signals_have_firecrackers_exit_statuses),
		cmocka_unit_test(crash_lines_carry_the_time_that_other_lines_carry),
		cmocka_unit_test(what_no_monitor_needs_is_forbidden_in_every_thread),
		cmocka_unit_test(arguments_are_checked),
		cmocka_unit_test(what_builds_a_machine_goes_away_before_a_guest_runs),
		cmocka_unit_test(the_running_loop_thread_can_serve_and_save),
		cmocka_unit_test(a_thread_that_reads_ahead_can_do_that_alone),
		cmocka_unit_test(a_vcpu_thread_can_run_its_guest_and_little_else),
		cmocka_unit_test(only_the_socket_device_makes_sockets),
		cmocka_unit_test(a_drives_thread_may_read_without_waiting_and_ask_for_what_it_will_read),
		cmocka_unit_test(a_device_thread_can_end),
		cmocka_unit_test(a_thread_that_waits_for_descriptors_can_do_nothing_else),
		cmocka_unit_test(two_calls_are_answered_instead),
		cmocka_unit_test(threads_can_be_started_and_have_filters_of_their_own),
		cmocka_unit_test(the_process_may_address_itself),
		cmocka_unit_test(filters_go_with_no_new_privileges),
		cmocka_unit_test(faults_are_reported_under_a_filter_and_without_a_stack),
		cmocka_unit_test(every_thread_can_put_the_terminal_and_the_metrics_right),
#ifdef __x86_64__
		cmocka_unit_test(calls_of_another_architecture_are_forbidden),
#endif
	};

	return _cmocka_run_group_tests("sandbox", tests, SANDBOX_UNDER_ASAN ? NUM_WITHOUT_FILTERS : ARRAY_SIZE(tests),
				       setup, teardown);
}
