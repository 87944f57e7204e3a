// SPDX-License-Identifier: Apache-2.0
/*
 * Our own page-fault handler: it copies huge pages from the memory's files. It
 * alone waits for them; its lock, which is the pager's, is free meanwhile. It
 * may be in a file that never answers when the memory goes: once the lock is
 * its own again it looks whether that has happened.
 */
#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <unistd.h>

#include "base/log.h"
#include "base/thread.h"
#include "machine/pager_internal.h"
#include "sandbox/sandbox.h"

/* -errno: the page cannot be had. */
static int fill_page(struct pager *p, uint64_t address)
{
	bool is_missing;
	int r;

	pthread_mutex_lock(&p->mutex);
	is_missing = !p->ends && mem_copied_find(p->mem, address, p->filled);
	pthread_mutex_unlock(&p->mutex);
	if (!is_missing)
		return 0;
	r = mem_copied_read(p->filled, p->huge_page);
	if (r < 0)
		return r;
	pthread_mutex_lock(&p->mutex);
	r = p->ends ? 0 : mem_copied_put(p->filled, p->uffd, p->huge_page);
	pthread_mutex_unlock(&p->mutex);
	return r;
}

static int fill_event(struct pager *p)
{
	struct uffd_msg msg;
	ssize_t n = read(p->uffd, &msg, sizeof(msg));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n != (ssize_t)sizeof(msg))
		return n < 0 ? -errno : -EIO;
	return msg.event == UFFD_EVENT_PAGEFAULT ? fill_page(p, msg.arg.pagefault.address) : 0;
}

static void fill_fails(struct pager *p, int r)
{
	pthread_mutex_lock(&p->mutex);
	p->error = r;
	pthread_mutex_unlock(&p->mutex);
	pager_note_end(p);
}

void *pager_fill(void *arg)
{
	struct pager *p = arg;
	struct pollfd fds[] = { { .fd = p->fill_stop_fd, .events = POLLIN }, { .fd = p->uffd, .events = POLLIN } };
	struct err e;
	int r;

	thread_set_name("fc_fill");
	if (sandbox_enter(SANDBOX_FILES, &e)) {
		log_error("%s", e.text);
		loop_stop(p->loop, 1);
		return NULL;
	}
	for (;;) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[0].revents)
			return NULL;
		r = fds[1].revents ? fill_event(p) : 0;
		if (r == 0)
			continue;
		fill_fails(p, r);
		fds[1].fd = -1; /* who waits for a page waits until the end */
	}
}
