/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this process may ask the kernel for: a list of system calls for each kind of thread, enforced by the kernel
 * (seccomp(2)), and what happens when a thread breaks it. The lists are in rules.c and arch/x86_64/rules.c; docs/sandbox.md explains them.
 *
 * Filters belong to threads, are inherited by threads that a thread creates, stack, and never go away. So is their state
 * here: one for the process, set before there is a second thread.
 */
#ifndef SANDBOX_SANDBOX_H
#define SANDBOX_SANDBOX_H

#include <stdbool.h>

#include "base/err.h"

/*
 * The filters, and what they are called in sentences, in docs/sandbox.md and in custom filters:
 *
 *	setup	 loop thread: what building a machine takes, and everything in the lists below
 *	loop	 loop thread, from the moment before a guest first runs
 *	vcpu	 a vCPU's thread
 *	io	 a device's thread: system calls that wait for files
 *	files	 a thread that does the loop thread's work with files: its list
 *	sockets	 a device's thread that makes and accepts Unix sockets; also what io has
 *	stream	 a thread that waits for a stream (base/io_thread.h)
 *	ahead	 the thread that reads a working set ahead
 */
#define SANDBOX_FILTERS(F)    \
	F(SETUP, "setup")     \
	F(LOOP, "loop")       \
	F(VCPU, "vcpu")       \
	F(IO, "io")           \
	F(FILES, "files")     \
	F(SOCKETS, "sockets") \
	F(STREAM, "stream")   \
	F(AHEAD, "ahead")

#define SANDBOX_FILTER_ID(id, name) SANDBOX_##id,
enum sandbox_filter { SANDBOX_FILTERS(SANDBOX_FILTER_ID) SANDBOX_NUM_FILTERS };

/*
 * Once, before any other thread exists. Installs the handlers of the signals by which a process dies (crash.h); filters says
 * whether sandbox_enter() is to do anything.
 */
int sandbox_init(bool filters, struct err *e) must_check;

/*
 * Puts the calling thread under a filter, in addition to those that it has; from then on what the list does not name ends the
 * process with exit status CRASH_EXIT_SIGSYS. Entering LOOP twice is as good as once. Each new thread calls this first: it
 * also lets the thread receive the signals by which it would die.
 */
int sandbox_enter(enum sandbox_filter filter, struct err *e) must_check;

#endif
