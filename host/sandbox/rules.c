// SPDX-License-Identifier: Apache-2.0
/*
 * Every system call that the monitor may make. What is not here ends it. A rule
 * without a reason is one that the system tests see in use, in each filter that
 * has it; the others say what they are for. A call that gets its arguments in
 * memory cannot be checked for them: a filter sees registers only. What only one
 * architecture has or needs is in its rules.c (arch/).
 *
 * Most arguments are an int: the kernel looks at their lower half alone, and so
 * do we. Constants are the kernel's own, from its headers.
 */
#include "sandbox/rules.h"

#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sandbox/filters.h"
#include "sandbox/rule_macros.h"

#define FUTEX_OPERATION (INT_MASK & FUTEX_CMD_MASK)
#define MAP_KIND	(MAP_TYPE | MAP_ANONYMOUS)
#define KICK_SIGNAL	SIGUSR1 /* of vcpu.c */

/* What glibc passes for a thread; musl CLONE_DETACHED besides, which has no effect since Linux 2.6. */
#define THREAD_FLAGS                                                                                       \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS | \
	 CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

#define ABORT	 "abort(3) of glibc, when an assertion fails"
#define MALLOC	 "malloc(3): which one it uses depends on sizes and on what was freed before"
#define GIVEN_UP "a thread that nobody waited for ends at last and frees what is its own"
#define ENDS	 "a thread that has freed something gives back what malloc(3) kept for it when it ends"
#define CLOCK	 "the vDSO asks the kernel where the host's clock cannot be read from user space"
#define ASYNC	 "the testbed's guests have no drive with io_engine Async"
#define DISCARD	 "a guest that discards, or writes zeros"
#define VSOCK	 "a machine with a vsock device"
#define HUGE	 "a restored machine with huge_pages 2M: its pages are copied from the memory file"
#define WSET	 "a machine with a working set"
#define UFFD	 "a machine whose memory a page-fault handler serves"

#define COLD "a read of a drive that is not in the page cache"

#define UNIX_STREAM (SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)

const struct rule rules[] = {
	/* The guest. First, since it is by far the most frequent. */
	IOCTL(VCPU, KVM_RUN, NULL),

	/* Open files: descriptors say which, and what they are good for. */
	CALL(LOOP | STREAM, read, NULL),
	CALL(IO, read, "timers of a rate limiter, and events that are taken back"),
	CALL(LOOP | VCPU | IO | STREAM, write, NULL),
	CALL(AHEAD, write, "the last line of a process that a fatal signal ends"),
	CALL(LOOP, pread64, NULL),
	CALL(AHEAD, pread64, WSET),
	CALL(LOOP, pwrite64, NULL),
	CALL(IO, readv, NULL),
	CALL(IO, writev, "frames in several pieces, as Linux sends long ones"),
	CALL1(IO, preadv2, IS(5, RWF_NOWAIT), NULL),
	CALL(IO, preadv, COLD),
	CALL1(IO, fadvise64, IS(3, POSIX_FADV_WILLNEED), COLD),
	CALL(IO, pwritev, NULL),
	CALL(IO, fallocate, DISCARD),
	CALL(LOOP, lseek, NULL),
	CALL(LOOP, fsync, NULL),
	CALL(LOOP | IO, fdatasync, NULL),
	CALL1(LOOP, sync_file_range, IS(3, SYNC_FILE_RANGE_WRITE), NULL),
	CALL(LOOP, ftruncate, NULL),
	CALL(LOOP, copy_file_range, NULL),
	CALL1(LOOP, flock, IS(1, LOCK_EX | LOCK_NB), NULL),
	CALL(LOOP, close, NULL),
	CALL(STREAM, close, GIVEN_UP),
	CALL(LOOP, newfstatat, GLIBC),
	CALL(LOOP, fstat, NULL),
	CALL1(LOOP, fcntl, IS(1, F_GETFL), NULL),
	CALL1(LOOP, fcntl, IS(1, F_SETFL), NULL),
	CALL1(LOOP, fcntl, IS(1, F_SETFD),
	      NULL), /* open(3) of musl, with O_CLOEXEC: once more, for kernels that do not know the flag */
	CALL1(SETUP, fcntl, IS(1, F_DUPFD_CLOEXEC), NULL),

	/* io_uring, for drives with the engine Async: what a ring can do is restricted before it is used (virtio/blk_uring.c). */
	CALL(SETUP, io_uring_setup, ASYNC),
	CALL(SETUP, io_uring_register, ASYNC),
	CALL(IO, io_uring_enter, ASYNC),

	/* Files by name: what a client names, and the snapshot's temporary files. */
	CALL(LOOP, openat, GLIBC),

	/* The terminal. Every thread may have to put its settings back before it ends the process. */
	IOCTL(LOOP | STREAM, TCGETS, NULL),
	IOCTL(LOOP | STREAM, TCSETS, NULL),
	IOCTL(LOOP | STREAM, TIOCGPGRP, NULL),
	IOCTL(SETUP, TIOCGWINSZ, NULL), /* isatty(3) of musl */
	CALL1(LOOP | STREAM, getpgid, IS(0, 0), NULL),
	CALL1(VCPU | IO | AHEAD, getpgid, IS(0, 0), CRASH),
	IOCTL(VCPU | IO | AHEAD, TCGETS, CRASH),
	IOCTL(VCPU | IO | AHEAD, TCSETS, CRASH),
	IOCTL(VCPU | IO | AHEAD, TIOCGPGRP, CRASH),
	IOCTL(ALL, TCGETS2, "instead of TCGETS with glibc after 2.41"),
	IOCTL(ALL, TCSETS2, "instead of TCSETS with glibc after 2.41"),

	/* Taps: attached to while a machine is built; what a driver can make of frames is known when it is there. */
	IOCTL(SETUP, TUNSETIFF, NULL),
	IOCTL(SETUP, TUNGETIFF, NULL),
	IOCTL(SETUP, TUNSETVNETHDRSZ, NULL),
	IOCTL(SETUP, TUNSETVNETLE, NULL),
	IOCTL(IO, TUNSETOFFLOAD, NULL),

	/* The event loop. */
	CALL(LOOP, epoll_ctl, NULL),
	CALL1(SETUP, epoll_create1, IS(0, EPOLL_CLOEXEC), NULL),
	CALL1(SETUP, eventfd2, IS(1, EFD_CLOEXEC | EFD_NONBLOCK), NULL),
	CALL2(SETUP, signalfd4, IS(0, -1), IS(3, SFD_CLOEXEC | SFD_NONBLOCK), NULL),
	CALL2(SETUP, timerfd_create, IS(0, CLOCK_MONOTONIC), IS(1, TFD_CLOEXEC | TFD_NONBLOCK), NULL),
	CALL1(LOOP, timerfd_settime, IS(1, 0), NULL),
	CALL1(IO, timerfd_settime, IS(1, 0), "a drive with a rate limiter"),

	/* The API: connections to the socket that listens already. */
	CALL1(LOOP, accept4, IS(3, SOCK_CLOEXEC | SOCK_NONBLOCK), NULL),
	CALL(LOOP, recvfrom, NULL),
	CALL1(LOOP, sendto, IS(3, MSG_NOSIGNAL), NULL),
	CALL1(LOOP, sendmsg, IS(2, MSG_NOSIGNAL), NULL),
	CALL(LOOP, shutdown, NULL),

	/* The vsock device: Unix stream sockets, of which the device's thread makes and accepts new ones. */
	CALL2(SETUP, socket, IS(0, AF_UNIX), IS(1, UNIX_STREAM), VSOCK),
	CALL(SETUP, bind, VSOCK),
	CALL(SETUP, listen, VSOCK),
	CALL(SETUP, connect, VSOCK),
	CALL(SETUP, umask, VSOCK),
	CALL(SETUP, clock_nanosleep, "another process has locked the directory of the vsock device's socket"),
	CALL2(SOCKETS, socket, IS(0, AF_UNIX), IS(1, UNIX_STREAM), VSOCK),
	CALL(SOCKETS, connect, VSOCK),
	CALL1(SOCKETS, accept4, IS(3, SOCK_CLOEXEC | SOCK_NONBLOCK), VSOCK),
	CALL(SOCKETS, recvmsg, VSOCK),
	CALL1(SOCKETS, sendmsg, IS(2, MSG_NOSIGNAL), VSOCK),
	CALL(SOCKETS, shutdown, VSOCK),
	CALL(SOCKETS, close, VSOCK),
	CALL(SOCKETS, epoll_ctl, VSOCK),
	CALL2(SOCKETS, mmap, LACKS(2, PROT_EXEC), MASKED(3, MAP_KIND, MAP_PRIVATE | MAP_ANONYMOUS), VSOCK),
	CALL(SOCKETS, munmap, VSOCK),
	FAIL(LOOP, setsockopt, EOPNOTSUPP, "the HTTP library tries options of TCP, and gets this answer anyway"),

	/* Memory: never executable; from files only while a machine is built. */
	CALL1(SETUP, mmap, LACKS(2, PROT_EXEC), NULL),
	CALL2(LOOP, mmap, LACKS(2, PROT_EXEC), MASKED(3, MAP_KIND, MAP_PRIVATE | MAP_ANONYMOUS), NULL),
	CALL(LOOP, munmap, NULL),
	CALL(STREAM, munmap, GIVEN_UP),
	CALL1(SETUP, mprotect, LACKS(2, PROT_EXEC), NULL),
	CALL1(LOOP, mremap, IS(3, MREMAP_MAYMOVE), MALLOC),
	CALL(LOOP, brk, MALLOC),
	CALL(IO | STREAM | AHEAD, brk, ENDS),
	CALL(IO | AHEAD, munmap, ENDS),
	CALL1(ALL, madvise, IS(2, MADV_DONTNEED), "a balloon that takes pages; and glibc, when a thread ends"),
	CALL1(ALL, madvise, IS(2, MADV_FREE), MALLOC),
	CALL1(LOOP, madvise, IS(2, MADV_DONTDUMP), "a restored machine whose balloon gives memory back"),
	CALL1(SETUP, madvise, IS(2, MADV_HUGEPAGE), "a machine with huge_pages Transparent"),
	CALL1(AHEAD, madvise, IS(2, MADV_WILLNEED), WSET),
	CALL1(AHEAD, madvise, IS(2, MADV_POPULATE_READ), WSET),
	CALL1(SETUP, madvise, IS(2, MADV_RANDOM), "a working set is to be recorded"),
	CALL(SETUP, fadvise64, "a working set is to be recorded"),
	CALL1(LOOP, madvise, IS(2, MADV_NORMAL), "a working set has been recorded"),
	CALL1(LOOP, process_vm_readv, IS(0, SANDBOX_OWN_PID), NULL),
	CALL(LOOP, getrandom, NULL),

	/* Memory that a page-fault handler serves (mem_backend Uffd). */
	CALL(SETUP, userfaultfd, UFFD),
	IOCTL(SETUP, USERFAULTFD_IOC_NEW, UFFD),
	IOCTL(SETUP, UFFDIO_API, UFFD),
	IOCTL(SETUP, UFFDIO_REGISTER, UFFD),
	IOCTL(LOOP, UFFDIO_UNREGISTER, UFFD),
	IOCTL(LOOP, UFFDIO_ZEROPAGE, UFFD),
	IOCTL(LOOP, UFFDIO_COPY, HUGE),
	CALL(LOOP | IO, mincore, UFFD),
	CALL1(SETUP, getsockopt, IS(1, SOL_SOCKET), UFFD),
	CALL(SETUP, pidfd_open, UFFD),
	CALL(LOOP, rt_sigpending, UFFD),

	/* Threads. */
	FAIL(SETUP, clone3, ENOSYS, "its flags are in memory: pthread_create(3) takes clone(2) instead"),
	CALL1(SETUP, clone, IS(0, THREAD_FLAGS), GLIBC),
	CALL1(SETUP, clone, IS(0, THREAD_FLAGS | CLONE_DETACHED), NULL),
	CALL(SETUP, set_robust_list, GLIBC),
	CALL(SETUP, rseq, GLIBC),
	CALL(SETUP, sigaltstack, NULL),
	CALL1(SETUP, prctl, IS(0, PR_SET_NAME), NULL),
	CALL2(SETUP, prctl, IS(0, PR_SET_SECCOMP), IS(1, SECCOMP_MODE_FILTER), NULL),
	CALL1(LOOP | VCPU, futex, MASKED(1, FUTEX_OPERATION, FUTEX_WAIT), NULL),
	CALL1(IO, futex, MASKED(1, FUTEX_OPERATION, FUTEX_WAIT), "a device's lock that another thread has"),
	CALL1(LOOP | VCPU | IO, futex, MASKED(1, FUTEX_OPERATION, FUTEX_WAKE), NULL),
	CALL1(AHEAD, futex, MASKED(1, FUTEX_OPERATION, FUTEX_WAIT), WSET),
	CALL1(AHEAD, futex, MASKED(1, FUTEX_OPERATION, FUTEX_WAKE), WSET),
	CALL1(SETUP, setpriority, IS(0, PRIO_PROCESS), WSET),
	CALL1(ALL, futex, MASKED(1, FUTEX_OPERATION, FUTEX_REQUEUE),
	      "pthread_cond_signal(3) of musl, while another thread has the lock"),
	CALL1(STREAM, futex, MASKED(1, FUTEX_OPERATION, FUTEX_WAIT), "a lock that another thread has"),
	CALL1(STREAM, futex, MASKED(1, FUTEX_OPERATION, FUTEX_WAKE), "a lock that another thread waits for"),
	CALL1(ALL, futex, MASKED(1, FUTEX_OPERATION, FUTEX_WAIT_BITSET), GLIBC),
	CALL(ALL, exit, NULL),

	/* Signals. */
	CALL1(SETUP, rt_sigaction, IS(0, KICK_SIGNAL), NULL),
	CALL(ALL, rt_sigprocmask, NULL),
	CALL(VCPU, rt_sigreturn, NULL),
	CALL(IO, rt_sigreturn, "the kick signal, if another process sends it"),
	CALL(LOOP, rt_sigreturn, "the kick signal, if another process sends it"),
	CALL(LOOP, getpid, NULL),
	CALL2(LOOP, tgkill, IS(0, SANDBOX_OWN_PID), IS(2, KICK_SIGNAL), NULL),
	CALL2(LOOP, tgkill, IS(0, SANDBOX_OWN_PID), IS(2, SIGTERM), NULL),
	CALL2(LOOP, tgkill, IS(0, SANDBOX_OWN_PID), IS(2, SIGINT), "the process dies by the signal that has ended it"),
	CALL(ALL, restart_syscall, "poll(2) that a stopped process goes on with"),

	/* The end, good or bad. */
	CALL(LOOP, exit_group, NULL),
	CALL(OTHER, exit_group, CRASH),
	CALL1(LOOP | VCPU | STREAM | AHEAD, writev, IS(0, STDERR_FILENO), ABORT),
	CALL(OTHER, getpid, ABORT),
	CALL(ALL, gettid, ABORT),
	CALL2(ALL, tgkill, IS(0, SANDBOX_OWN_PID), IS(2, SIGABRT), ABORT),

	CALL(ALL, clock_gettime, CLOCK),

	/* KVM, whatever the architecture: a machine is built; doorbells are taken away when it ends. */
	IOCTL(SETUP, KVM_GET_API_VERSION, NULL),
	IOCTL(SETUP, KVM_GET_VCPU_MMAP_SIZE, NULL),
	IOCTL(SETUP, KVM_CREATE_VM, NULL),
	IOCTL(SETUP, KVM_SET_USER_MEMORY_REGION, NULL),
	IOCTL(SETUP, KVM_CREATE_VCPU, NULL),
	IOCTL(SETUP, KVM_IRQFD, NULL),
	IOCTL(LOOP, KVM_CHECK_EXTENSION, NULL),
	IOCTL(LOOP, KVM_IOEVENTFD, NULL),
	IOCTL(LOOP, KVM_GET_DIRTY_LOG, NULL),
};

const size_t num_rules = ARRAY_SIZE(rules);
