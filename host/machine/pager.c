// SPDX-License-Identifier: Apache-2.0
/*
 * Making a pager, and its end. pager_touch.c has the thread that touches pages
 * for others.
 */
#include "machine/pager.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/thread.h"
#include "machine/pager_internal.h"
#include "mem/userfault.h"

#define PAGER_STACK_SIZE (128u * 1024)
#define PAGER_END_MS	 2000 /* how long the end waits for a thread */

static int pager_discard(void *ctx, const struct mem_region *region, uint64_t offset, uint64_t len)
{
	struct pager *p = ctx;

	if (!p->mem->huge)
		return userfault_discard(p->uffd, region, offset, len);
	if (!p->own)
		return userfault_discard_huge(p->uffd, p->mem, region, offset, len, p->huge_page);
	pthread_mutex_lock(&p->mutex);
	mem_copied_discard(p->mem, region, offset, len);
	pthread_mutex_unlock(&p->mutex);
	return 0;
}

static void pager_on_ping(void *ctx, uint32_t events)
{
	struct pager *p = ctx;
	eventfd_t ignored;

	(void)events;
	if (eventfd_read(p->ping_fd, &ignored) == 0)
		atomic_fetch_add(&p->pongs, 1);
}

static int pager_init(struct pager *p, const char *path, struct err *e)
{
	p->path = strdup(path);
	p->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->fill_stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->ping_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!p->path || p->stop_fd < 0 || p->fill_stop_fd < 0 || p->ping_fd < 0)
		return err_errno(e, errno, "cannot prepare for a page-fault handler");
	p->ping = loop_add(p->loop, p->ping_fd, EPOLLIN, pager_on_ping, p);
	if (!p->ping)
		return err_errno(e, errno, "cannot watch an eventfd");
	return p->own ? 0 : pager_connect(p, e);
}

static int pager_make(const char *path, bool own, struct loop *loop, struct pager **out, struct err *e)
{
	struct pager *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return err_errno(e, ENOMEM, "cannot prepare for a page-fault handler");
	*p = (struct pager){
		.loop = loop,
		.own = own,
		.uffd = -1,
		.socket = -1,
		.process = -1,
		.stop_fd = -1,
		.fill_stop_fd = -1,
		.ping_fd = -1,
	};
	pthread_mutex_init(&p->mutex, NULL);
	pthread_cond_init(&p->cond, NULL);
	r = pager_init(p, path, e);
	if (r == 0)
		r = userfault_open(&p->uffd, e);
	if (r < 0) {
		pager_free(p);
		return r;
	}
	*out = p;
	return 0;
}

int pager_new(const char *path, struct loop *loop, struct pager **out, struct err *e)
{
	return pager_make(path, false, loop, out, e);
}

int pager_new_own(const char *path, struct loop *loop, struct pager **out, struct err *e)
{
	int r = pager_make(path, true, loop, out, e);

	return r < 0 ? err_wrap(e, r, "huge_pages is 2M, for memory of a file") : 0;
}

static int pager_start_threads(struct pager *p, struct err *e)
{
	int r = thread_start(&p->toucher, PAGER_STACK_SIZE, pager_touch, p);

	p->has_toucher = r == 0;
	if (r == 0)
		r = thread_start(&p->watcher, PAGER_STACK_SIZE, pager_watch, p);
	p->has_watcher = r == 0 && p->has_toucher;
	if (r == 0 && p->own) {
		r = thread_start(&p->filler, PAGER_STACK_SIZE, pager_fill, p);
		p->has_filler = r == 0;
	}
	return r < 0 ? err_errno(e, -r, "cannot start a thread for guest memory") : 0;
}

/* Somewhere to put a page together; nothing of it is there as long as it is zero. */
static int pager_alloc(struct pager *p, struct err *e)
{
	void *page = mmap(NULL, MEM_HUGE_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return err_errno(e, errno, "cannot serve guest memory");
	p->huge_page = page;
	(void)madvise(page, MEM_HUGE_PAGE_SIZE, MADV_DONTDUMP);
	if (p->own)
		p->filled = calloc(1, sizeof(*p->filled));
	return p->own && !p->filled ? err_errno(e, ENOMEM, "cannot serve guest memory") : 0;
}

static const struct mem_handler pager_handler = {
	.populate = pager_populate,
	.discard = pager_discard,
	.submit = pager_submit,
	.withdraw = pager_withdraw,
};

static int pager_attach(struct pager *p, struct guest_mem *mem, struct err *e)
{
	struct mem_handler handler = pager_handler;
	int r = mem->huge ? pager_alloc(p, e) : 0;

	if (r < 0)
		return r;
	handler.ctx = p;
	mem_set_handler(mem, &handler);
	p->mem = mem;
	r = userfault_register(p->uffd, mem, e);
	if (r == 0 && !p->own)
		r = pager_send(p, e);
	return r < 0 ? r : pager_start_threads(p, e);
}

int pager_map(struct pager *p, const struct mem_layout *layout, struct guest_mem *mem, struct err *e)
{
	int r = mem_init_handler(mem, layout, &pager_handler, e);

	return r < 0 ? r : pager_attach(p, mem, e);
}

int pager_serve_files(struct pager *p, struct guest_mem *mem, struct err *e)
{
	return pager_attach(p, mem, e);
}

static int pager_explain_own(const struct pager *p, int r, struct err *e)
{
	if (r == -ENOTCONN && p->error == -ENODATA)
		return err_set(e, EIO, "mem_backend: the memory file \"%s\" was cut", p->path);
	if (r == -ENOTCONN && p->error)
		return err_errno(e, -p->error, "mem_backend: cannot copy guest memory from \"%s\"", p->path);
	if (r == -ETIMEDOUT)
		return err_set(e, ETIMEDOUT, "mem_backend: the memory file \"%s\" could not be read for %u s", p->path,
			       PAGER_PATIENCE_S);
	return err_errno(e, -r, "mem_backend: guest memory cannot be had");
}

int pager_explain(struct pager *p, int r, struct err *e)
{
	if (p->own)
		return pager_explain_own(p, r, e);
	if (r == -ENOTCONN)
		return err_set(e, EIO, "mem_backend: the page-fault handler at \"%s\" has ended", p->path);
	if (r == -ETIMEDOUT)
		return err_set(e, ETIMEDOUT,
			       "mem_backend: the page-fault handler at \"%s\" has not served a page for %u s", p->path,
			       PAGER_PATIENCE_S);
	return err_errno(e, -r, "mem_backend: guest memory cannot be had");
}

int pager_start(struct pager *p, struct err *e)
{
	bool gone;

	pthread_mutex_lock(&p->mutex);
	gone = p->gone;
	p->started = !gone;
	pthread_mutex_unlock(&p->mutex);
	return gone ? pager_explain(p, -ENOTCONN, e) : 0;
}

/* Watching thread, or our own. What the guest has not touched yet is lost. */
void pager_note_end(struct pager *p)
{
	struct err why;
	bool started;

	pthread_mutex_lock(&p->mutex);
	started = p->started && !p->gone;
	pthread_mutex_unlock(&p->mutex);
	if (started && p->own) {
		(void)pager_explain_own(p, -ENOTCONN, &why);
		log_error("%s; with it the memory of this machine is lost: shutting down.", why.text);
	} else if (started) {
		log_error(
			"The page-fault handler at \"%s\" has ended, and with it the memory of this machine: shutting "
			"down.",
			p->path);
	}
	pager_give_up(p);
	if (started)
		loop_stop(p->loop, 1);
}

void pager_give_up(struct pager *p)
{
	pthread_mutex_lock(&p->mutex);
	p->gone = true;
	pthread_cond_broadcast(&p->cond);
	pthread_mutex_unlock(&p->mutex);
}

/*
 * A machine that has run may have a request in flight whose bytes are in a page that was not served: were the memory let go, a
 * disk would be written with zeroes. Its threads end with the process.
 */
void pager_stop(struct pager *p)
{
	if (!p)
		return;
	if (p->mem && !p->started)
		userfault_unregister(p->uffd, p->mem);
	pthread_mutex_lock(&p->mutex);
	p->ends = true;
	pthread_cond_broadcast(&p->cond);
	pthread_mutex_unlock(&p->mutex);
	(void)eventfd_write(p->stop_fd, 1);
	if (p->has_watcher && thread_join_within(&p->watcher, PAGER_END_MS))
		p->has_watcher = false;
	if (p->has_toucher && thread_join_within(&p->toucher, PAGER_END_MS))
		p->has_toucher = false;
	(void)eventfd_write(p->fill_stop_fd, 1);
	if (p->has_filler && thread_join_within(&p->filler, PAGER_END_MS))
		p->has_filler = false;
	if (p->has_filler) /* it is in one of them, and will look at `ends` before it touches memory */
		mem_copied_leave_files(p->mem);
}

void pager_free(struct pager *p)
{
	if (!p)
		return;
	loop_remove(p->ping);
	if (p->has_watcher || p->has_toucher || p->has_filler) {
		log_warn("A thread waits for guest memory from \"%s\" and has not ended.", p->path);
		return;
	}
	cleanup_close(&p->ping_fd);
	cleanup_close(&p->stop_fd);
	cleanup_close(&p->fill_stop_fd);
	cleanup_close(&p->process);
	cleanup_close(&p->socket);
	if (!p->started) /* as above: what waits goes on when the last one closes it */
		cleanup_close(&p->uffd);
	pthread_cond_destroy(&p->cond);
	pthread_mutex_destroy(&p->mutex);
	if (p->huge_page)
		munmap(p->huge_page, MEM_HUGE_PAGE_SIZE);
	free(p->filled);
	free(p->path);
	free(p);
}
