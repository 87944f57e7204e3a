/* SPDX-License-Identifier: Apache-2.0 */
/* What the pager's files share. */
#ifndef MACHINE_PAGER_INTERNAL_H
#define MACHINE_PAGER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/thread.h"
#include "machine/pager.h"
#include "mem/copied.h"
#include "mem/populated.h"

#define PAGER_PATIENCE_S 10 /* without a page that somebody of ours waits for */
#define PAGER_LOOP_S	 20 /* without a sign of the loop, which may itself wait 10 s for vCPUs and devices */
#define PAGER_TICK_MS	 1000

struct pager {
	char *path;			/* owned */
	struct loop *loop;		/* borrowed */
	struct guest_mem *mem;		/* borrowed; NULL before pager_map() */
	int uffd, socket;		/* owned */
	bool own;			/* the handler is our thread; then there is no socket */
	uint8_t *huge_page;		/* owned, of huge memory: what our thread fills; of a handler's: zeroes */
	struct mem_copied_page *filled; /* owned: what it fills it with */
	int process;			/* owned: a pidfd of whoever listens at the socket, or -1: it cannot be known */

	pthread_mutex_t mutex; /* guards what follows */
	pthread_cond_t cond;
	bool ends, gone, started;
	struct mem_job *jobs;	 /* borrowed; the first one is being done */
	struct mem_job *current; /* what the thread waits for, if that was not withdrawn */
	uint64_t num_done;	 /* pages, and ranges given back */
	int error;		 /* -errno of our thread, for which gone was set */
	struct thread toucher, watcher, filler;
	bool has_toucher, has_watcher, has_filler;

	int stop_fd;	  /* owned eventfd: the watching ends */
	int fill_stop_fd; /* owned eventfd: our thread ends, after who waits for it */
	int ping_fd;	  /* owned eventfd, which the loop reads */
	struct loop_source *ping;
	atomic_uint pongs;
};

/* pager_touch.c: the thread, and struct mem_handler's functions */
void *pager_touch(void *arg);
int pager_populate(void *ctx, const struct mem_region *region, uint64_t offset, uint64_t len) must_check;
void pager_submit(void *ctx, struct mem_job *job);
void pager_withdraw(void *ctx, struct mem_job *job);

/* pager_connect.c */
int pager_connect(struct pager *p, struct err *e) must_check;
/* Sends the descriptor and where memory is, in one message. */
int pager_send(struct pager *p, struct err *e) must_check;

/* pager_watch.c: the thread, and what it does when the handler has ended. */
void *pager_watch(void *arg);

/* pager_fill.c: our thread. */
void *pager_fill(void *arg);

/* pager.c */
void pager_note_end(struct pager *p);

#endif
