// SPDX-License-Identifier: Apache-2.0
#include "base/thread.h"

#include <signal.h>

#include "base/log.h"

int thread_start(pthread_t *thread, size_t stack_size, void *(*fn)(void *arg), void *arg)
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
	if (!r)
		r = pthread_create(&started, &attr, fn, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (!r)
		*thread = started;
	return -r;
}

void thread_set_name(const char *name)
{
	log_set_thread_name(name);
	pthread_setname_np(pthread_self(), name);
}
