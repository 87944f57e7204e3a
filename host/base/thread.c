// SPDX-License-Identifier: Apache-2.0
#include "base/thread.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

/* Of a thread that thread_start() has started; NULL: the main thread. */
static __thread void *thread_own_signal_stack;

/*
 * The stack for signals lies above all that the thread does, out of the way of a stack that overflows. It is a variable that
 * nobody touches until a signal comes: thread-local storage of that size would be cleared, page by page, for each thread.
 */
static void *thread_main(void *arg)
{
	char signal_stack[THREAD_SIGNAL_STACK_SIZE] __attribute__((aligned(16)));
	struct thread *thread = arg;

	thread_own_signal_stack = signal_stack;
	thread->tid = gettid();
	return thread->fn(thread->arg);
}

void *thread_signal_stack(void)
{
	static char of_main[THREAD_SIGNAL_STACK_SIZE] __attribute__((aligned(16)));

	return thread_own_signal_stack ? thread_own_signal_stack : of_main;
}

int thread_start(struct thread *thread, size_t stack_size, void *(*fn)(void *arg), void *arg)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t started;
	int r = pthread_attr_init(&attr);

	if (r)
		return -r;
	r = pthread_attr_setstacksize(&attr, stack_size);
	/* The new thread inherits the mask. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	thread->fn = fn;
	thread->arg = arg;
	if (!r)
		r = pthread_create(&started, &attr, thread_main, thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (!r)
		thread->id = started;
	return -r;
}

bool thread_join_within(const struct thread *thread, unsigned int ms)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	return pthread_timedjoin_np(thread->id, NULL, &until) == 0;
}

int thread_signal(pid_t tid, int signal)
{
	return syscall(SYS_tgkill, getpid(), tid, signal) < 0 ? -errno : 0;
}

void thread_init_cond(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

void thread_set_name(const char *name)
{
	log_set_thread_name(name);
	pthread_setname_np(pthread_self(), name);
}
