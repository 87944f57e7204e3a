// SPDX-License-Identifier: Apache-2.0
/*
 * The Sync engine: one request after the other, with blocking system calls.
 *
 * So that a disk has more than one thing to do at a time, reads of what is not
 * in the page cache are not waited for at once: the kernel is asked for them,
 * all that there are, what needs no waiting is carried out meanwhile, and the
 * guest hears of that; the next turn waits. A read that goes on where another
 * ended is left to the kernel's own read-ahead, which sees it only if it is
 * not there yet when it is read.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "virtio/blk_engine.h"
#include "virtio/blk_internal.h"

/* Where the file system cannot tell what is in the page cache, it is asked again after so many reads: the drive may have another file by then. */
#define SYNC_BLIND_READS 4096u

struct blk_sync {
	struct blk_engine engine; /* must be first */
	uint64_t read_end;	  /* where the last read ends */
	unsigned int blind;	  /* so many reads are made without asking */
};

/* False: it is not in the page cache, or nobody knows. */
static bool sync_read_cached(struct blk_sync *sync, struct blk_request *req)
{
	int r;

	if (sync->blind) {
		sync->blind--;
		return false;
	}
	r = blk_io_run_cached(req);
	if (r == -EOPNOTSUPP)
		sync->blind = SYNC_BLIND_READS;
	return !r;
}

/* False: it has to wait for the disk, or might. */
static bool sync_try(struct blk_sync *sync, struct blk_request *req)
{
	uint64_t end = req->offset + (req->len - req->done);
	bool goes_on = req->offset == sync->read_end;

	if (req->op == BLK_IO_WRITE) {
		blk_io_run(req);
		return true;
	}
	if (req->op != BLK_IO_READ)
		return false;
	sync->read_end = end;
	if (sync_read_cached(sync, req))
		return true;
	if (!goes_on)
		blk_io_ask_for(req);
	return false;
}

/* What needs no waiting goes to done, the others to slow; a batch at most. */
static void sync_run_quick(struct blk_sync *sync, struct blk_list *todo, const atomic_bool *stop, struct blk_list *done,
			   struct blk_list *slow)
{
	uint64_t start_ns = clock_now_ns();
	struct blk_request *req;

	for (unsigned int n = 0; n < BLK_IO_BATCH && !atomic_load(stop) && (req = blk_list_take(todo));) {
		if (!sync_try(sync, req)) {
			blk_list_add(slow, req);
			continue;
		}
		req->ended_ns = clock_now_ns();
		blk_list_add(done, req);
		n++;
		if (req->ended_ns - start_ns >= BLK_IO_HOLD_NS)
			return;
	}
}

static void sync_run(struct blk_engine *engine, struct blk_list *todo, const atomic_bool *stop, struct blk_list *done)
{
	struct blk_list slow = { NULL, NULL };
	struct blk_request *req;

	sync_run_quick((struct blk_sync *)engine, todo, stop, done, &slow);
	if (!done->first)
		blk_io_run_batch(&slow, stop, done);
	/* These first, the next time. */
	while ((req = blk_list_take(todo)))
		blk_list_add(&slow, req);
	*todo = slow;
}

static bool sync_free(struct blk_engine *engine)
{
	free(engine);
	return true;
}

static const struct blk_engine_ops sync_ops = {
	.run = sync_run,
	.free = sync_free,
};

int blk_sync_new(const char *name, struct blk_engine **engine, struct err *e)
{
	struct blk_sync *sync = calloc(1, sizeof(*sync));

	if (!sync)
		return err_set(e, ENOMEM, "drive %s: out of memory", name);
	sync->engine.ops = &sync_ops;
	sync->engine.done_fd = -1;
	*engine = (struct blk_engine *)sync;
	return 0;
}
