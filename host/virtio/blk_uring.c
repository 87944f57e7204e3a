// SPDX-License-Identifier: Apache-2.0
/*
 * The Async engine: io_uring. A batch is submitted with one system call, which
 * carries out what the page cache has: the guest hears of that before the next.
 * Later completions make the ring's own descriptor readable, so that there is no
 * eventfd between. The submission queue belongs to the device's loop, the
 * completion queue to whoever has the device's lock.
 *
 * Writes do not go through the ring. Few file systems take them without waiting,
 * and block devices only sometimes, so that the kernel hands them to workers of
 * its own, and lets those of one file wait for each other: nothing is gained, and
 * half of the throughput is lost (bench/run disk). They are made here, into the
 * page cache, after the rest of a batch is on its way.
 *
 * What goes through a ring is not seen by system call filters. So the ring is
 * restricted, before it can be used, to the operations that a disk needs;
 * nothing can be registered with it afterwards. Buffers are not registered:
 * guest memory may be a private mapping of a snapshot's file, whose pages come
 * and are copied on demand.
 */
#include <assert.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "virtio/blk_engine.h"
#include "virtio/blk_internal.h"

#define BLK_URING_END_MS 2000 /* how long the end of the process waits for requests that do not return */

struct blk_uring {
	struct blk_engine engine; /* must be first; done_fd is the ring's descriptor */
	struct io_uring ring;
	bool has_ring;
	_Atomic unsigned int num; /* in the ring */
};

static struct blk_uring *uring_from_engine(struct blk_engine *engine)
{
	return (struct blk_uring *)engine;
}

static void uring_add(struct blk_uring *u, struct blk_request *req)
{
	/* Never NULL: there are as many entries as there can be requests. */
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
	/* One piece is cheaper to name than a list of one. */
	bool one = req->num_left == 1;

	switch (req->op) {
	case BLK_IO_READ:
		if (one)
			io_uring_prep_read(sqe, req->fd, req->at->iov_base, (unsigned int)req->at->iov_len,
					   req->offset);
		else
			io_uring_prep_readv(sqe, req->fd, req->at, (unsigned int)req->num_left, req->offset);
		break;
	case BLK_IO_WRITE: /* uring_run() keeps them */
		assert(false);
		break;
	case BLK_IO_SYNC:
		io_uring_prep_fsync(sqe, req->fd, IORING_FSYNC_DATASYNC);
		break;
	case BLK_IO_ALLOCATE:
		io_uring_prep_fallocate(sqe, req->fd, req->mode, (off_t)req->offset, (off_t)req->range_len);
		break;
	}
	io_uring_sqe_set_data(sqe, req);
	atomic_fetch_add(&u->num, 1);
}

/* What the kernel does not take now (it is out of memory) stays in the ring's queue for the next time. */
static void uring_enter(struct blk_uring *u)
{
	int r;

	do
		r = io_uring_sq_ready(&u->ring) ? io_uring_submit(&u->ring) : 0;
	while (r == -EINTR);
	if (r < 0)
		log_warn("io_uring takes no requests now: %s", strerror(-r));
}

static void uring_run(struct blk_engine *engine, struct blk_list *todo, const atomic_bool *stop, struct blk_list *done)
{
	struct blk_uring *u = uring_from_engine(engine);
	struct blk_list writes = { NULL, NULL };
	struct blk_request *req;

	for (unsigned int n = 0; n < BLK_IO_BATCH && !atomic_load(stop) && (req = blk_list_take(todo)); n++) {
		if (req->op == BLK_IO_WRITE)
			blk_list_add(&writes, req);
		else
			uring_add(u, req);
	}
	uring_enter(u);
	blk_io_run_batch(&writes, stop, done);
	while ((req = blk_list_take(&writes)))
		blk_list_add(todo, req);
}

static struct blk_request *uring_reap(struct blk_engine *engine)
{
	struct blk_uring *u = uring_from_engine(engine);
	struct io_uring_cqe *cqe = NULL;
	struct blk_request *req;
	unsigned int head;

	io_uring_for_each_cqe(&u->ring, head, cqe) break;
	if (!cqe)
		return NULL;
	req = io_uring_cqe_get_data(cqe);
	req->result = cqe->res;
	io_uring_cqe_seen(&u->ring, cqe);
	atomic_fetch_sub(&u->num, 1);
	return req;
}

static bool uring_free(struct blk_engine *engine)
{
	struct blk_uring *u = uring_from_engine(engine);

	for (int waited_ms = 0; u->num && waited_ms < BLK_URING_END_MS;) {
		if (!uring_reap(engine))
			waited_ms += blk_wait_readable(engine->done_fd, 10);
	}
	if (u->num)
		return false;
	if (u->has_ring)
		io_uring_queue_exit(&u->ring);
	free(u);
	return true;
}

static const struct blk_engine_ops uring_ops = {
	.run = uring_run,
	.reap = uring_reap,
	.free = uring_free,
};

static int uring_restrict(struct io_uring *ring)
{
	static const uint8_t allowed[] = { IORING_OP_READ, IORING_OP_READV, IORING_OP_FSYNC, IORING_OP_FALLOCATE };
	struct io_uring_restriction restrictions[ARRAY_SIZE(allowed)];
	int r;

	memset(restrictions, 0, sizeof(restrictions));
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++) {
		restrictions[i].opcode = IORING_RESTRICTION_SQE_OP;
		restrictions[i].sqe_op = allowed[i];
	}
	/* Not by the functions that liburing has for these: the shared library of Debian 12 does not export them. */
	r = io_uring_register((unsigned int)ring->ring_fd, IORING_REGISTER_RESTRICTIONS, restrictions,
			      ARRAY_SIZE(allowed));
	return r ? r : io_uring_register((unsigned int)ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

static int uring_refuse(const char *name, int error, struct err *e)
{
	const char *why = strerror(error);

	if (error == ENOSYS || error == EINVAL)
		why = "this host's kernel does not have what is needed of it (Linux 5.10)";
	else if (error == EPERM || error == EACCES)
		why = "this host does not permit it (sysctl kernel.io_uring_disabled, or a container's filter)";
	return err_set(e, error, "drive %s: io_engine \"Async\" needs io_uring: %s; \"Sync\" does without", name, why);
}

int blk_uring_new(const char *name, struct blk_engine **engine, struct err *e)
{
	struct blk_uring *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return err_set(e, ENOMEM, "drive %s: out of memory", name);
	u->engine.ops = &uring_ops;
	r = io_uring_queue_init(BLK_ENGINE_MAX_REQUESTS, &u->ring, IORING_SETUP_R_DISABLED);
	if (!r) {
		u->has_ring = true;
		u->engine.done_fd = u->ring.ring_fd;
		r = uring_restrict(&u->ring);
	}
	if (r < 0) {
		(void)uring_free(&u->engine);
		return uring_refuse(name, -r, e);
	}
	*engine = &u->engine;
	return 0;
}
