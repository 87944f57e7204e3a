// SPDX-License-Identifier: Apache-2.0
/*
 * Watching a page-fault handler. It has ended if its connection is closed and
 * its process is gone: one alone may be a handler that does not need the
 * connection any more, or one that has left the serving to a child. Where the
 * process cannot be known, the connection says it.
 *
 * And the loop: it is asked every second for a sign. If it touches a page that
 * is not served, signals that end the process would wait with it; so this
 * thread takes them, and in the end it loses its patience.
 */
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/thread.h"
#include "machine/pager_internal.h"
#include "sandbox/crash.h"
#include "sandbox/sandbox.h"

#define WATCH_SIGNAL_TICKS 2 /* how long a signal may lie there before it is taken for one that nobody gets */

enum { WATCH_STOP, WATCH_SOCKET, WATCH_PROCESS, WATCH_NUM };

struct watch {
	struct pollfd fds[WATCH_NUM];
	unsigned int pings;	   /* that were sent */
	unsigned int loop_ticks;   /* since the last of them, without an answer */
	unsigned int signal_ticks; /* that a signal has been waiting */
};

/* Signals that end the process; 0: none waits. */
static int watch_pending_signal(void)
{
	static const int ending[] = { SIGTERM, SIGINT, SIGHUP };
	sigset_t pending;

	if (sigpending(&pending) < 0)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(ending); i++)
		if (sigismember(&pending, ending[i]))
			return ending[i];
	return 0;
}

static void watch_look_for_signals(struct watch *w)
{
	int number = watch_pending_signal();

	w->signal_ticks = number ? w->signal_ticks + 1 : 0;
	if (w->signal_ticks >= WATCH_SIGNAL_TICKS)
		crash_leave("Shutting down VM by a signal: the monitor itself waits for a page of guest memory.",
			    number);
}

static void watch_look_at_loop(struct watch *w, struct pager *p)
{
	if (atomic_load(&p->pongs) == w->pings) {
		w->pings++;
		w->loop_ticks = 0;
		(void)eventfd_write(p->ping_fd, 1);
		return;
	}
	if (++w->loop_ticks < PAGER_LOOP_S * 1000 / PAGER_TICK_MS)
		return;
	crash_leave("Shutting down VM: the monitor itself waits for a page of guest memory, which is not served.", 0);
}

/* One of the two signs alone. */
static void watch_warn(const struct watch *w, const struct pager *p)
{
	if (w->fds[WATCH_SOCKET].fd < 0)
		log_warn("The page-fault handler at \"%s\" has closed its connection; its process is still there.",
			 p->path);
	else
		log_warn("The process that listened at \"%s\" has ended; its connection is still open.", p->path);
}

/* Who closes a connection with something unread in it resets it. Then nobody has the descriptor. */
static bool watch_was_refused(const struct pager *p)
{
	char byte;
	ssize_t n;

	do
		n = recv(p->socket, &byte, sizeof(byte), MSG_DONTWAIT);
	while (n > 0);
	return n < 0 && errno == ECONNRESET;
}

/* True: the handler is no more. */
static bool watch_notices(struct watch *w, struct pager *p)
{
	bool news = false;

	if (w->fds[WATCH_SOCKET].revents && watch_was_refused(p))
		return true;

	for (unsigned int i = WATCH_SOCKET; i < WATCH_NUM; i++) {
		if (!w->fds[i].revents)
			continue;
		w->fds[i].fd = -1; /* poll(2) skips it from now on */
		w->fds[i].revents = 0;
		news = true;
	}
	if (!news)
		return false;
	/* A process that ends closes its sockets a moment before it can be seen. */
	if (w->fds[WATCH_SOCKET].fd < 0 && w->fds[WATCH_PROCESS].fd >= 0 &&
	    poll(&w->fds[WATCH_PROCESS], 1, PAGER_TICK_MS / 4) > 0)
		w->fds[WATCH_PROCESS].fd = -1;
	if (w->fds[WATCH_SOCKET].fd >= 0 || w->fds[WATCH_PROCESS].fd >= 0) {
		watch_warn(w, p);
		return false;
	}
	return true;
}

void *pager_watch(void *arg)
{
	struct pager *p = arg;
	struct watch w = {
		.fds = {
			[WATCH_STOP] = { .fd = p->stop_fd, .events = POLLIN },
			[WATCH_SOCKET] = { .fd = p->socket }, /* POLLHUP is always told */
			[WATCH_PROCESS] = { .fd = p->process, .events = POLLIN },
		},
	};
	struct err e;

	thread_set_name("fc_watch");
	if (sandbox_enter(SANDBOX_FILES, &e)) {
		log_error("%s", e.text);
		loop_stop(p->loop, 1);
		return NULL;
	}
	for (;;) {
		int n = poll(w.fds, WATCH_NUM, PAGER_TICK_MS);

		if (w.fds[WATCH_STOP].revents)
			return NULL;
		if (n > 0 && watch_notices(&w, p)) {
			pager_note_end(p);
			w.fds[WATCH_SOCKET].fd = w.fds[WATCH_PROCESS].fd = -1;
		}
		if (n > 0)
			continue;
		watch_look_for_signals(&w);
		watch_look_at_loop(&w, p);
	}
}
