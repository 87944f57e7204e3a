/* SPDX-License-Identifier: Apache-2.0 */
/* How each thread of the monitor begins. */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

#define THREAD_SIGNAL_STACK_SIZE (28u * 1024) /* with its neighbours in the frame it stays below -Wframe-larger-than */

/* Stays where it is for as long as the thread runs. */
struct thread {
	pthread_t id;
	pid_t tid;		/* set before fn runs */
	void *(*fn)(void *arg); /* these two: of thread.c */
	void *arg;
};

/*
 * Starts fn(arg) with a stack of so many bytes, that for signals included, and every signal blocked: those for the process are
 * the loop thread's business. Returns 0 or -errno; the id is set on success only. The caller joins or detaches it.
 */
int thread_start(struct thread *thread, size_t stack_size, void *(*fn)(void *arg), void *arg);

/* THREAD_SIGNAL_STACK_SIZE bytes for the handlers of signals (sigaltstack(2)) on the calling thread, as long as it runs. */
void *thread_signal_stack(void);

/* For a loop that looks at memory until somebody else has changed it: the processor's other thread has the room meanwhile. */
static inline void thread_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* False: it has not ended within so many milliseconds, and is not joined. */
bool thread_join_within(const struct thread *thread, unsigned int ms) must_check;

/*
 * To the thread of this process that has the id tid (gettid(2)); 0 or -errno. By tgkill(2), which says whose thread it is, so
 * that a filter can hold it to this process; some C libraries' pthread_kill(3) and raise(3) do not.
 */
int thread_signal(pid_t tid, int signal);

/* Its waits are measured by the clock of clock_now_ns(). */
void thread_init_cond(pthread_cond_t *cond);

/* The calling thread's name, 15 bytes at most, for the kernel and in the lines of the log. Borrowed until the thread ends. */
void thread_set_name(const char *name);

#endif
