/* SPDX-License-Identifier: Apache-2.0 */
/* How each thread of the monitor begins. */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <stddef.h>

/*
 * Starts fn(arg) with a stack of so many bytes and every signal blocked: those for the process are the loop thread's business.
 * Returns 0 or -errno; *thread is set on success only. The caller joins or detaches it.
 */
int thread_start(pthread_t *thread, size_t stack_size, void *(*fn)(void *arg), void *arg);

/* The calling thread's name, 15 bytes at most, for the kernel and in the lines of the log. Borrowed until the thread ends. */
void thread_set_name(const char *name);

#endif
