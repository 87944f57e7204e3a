/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the block device's requests reach the file: an engine takes them, and
 * gives them back in any order, each when one system call's worth of it has
 * been done. Sync (blk_thread.c) is a thread of the device's own, Async
 * (blk_uring.c) is io_uring. Neither makes anybody wait who holds the device's
 * lock, under which all functions but free are called.
 */
#ifndef VIRTIO_BLK_ENGINE_H
#define VIRTIO_BLK_ENGINE_H

#include <stdbool.h>

#include "base/err.h"

struct blk_engine;
struct blk_request;
struct platform;

#define BLK_ENGINE_MAX_REQUESTS 256u /* at the same time */

struct blk_engine_ops {
	/* Takes over req until reap() or take_back() returns it. It may wait for kick() before it begins. Loop thread. */
	void (*submit)(struct blk_engine *engine, struct blk_request *req);
	void (*kick)(struct blk_engine *engine);
	/* A request whose req->result says what its system call returned (-errno, or a number of bytes); NULL: none yet. */
	struct blk_request *(*reap)(struct blk_engine *engine);
	/* A request that has not begun, and now will not; NULL: there is none, or the engine cannot. */
	struct blk_request *(*take_back)(struct blk_engine *engine);
	/* Waits, within a bound, for what has begun. False: something has not ended, and its memory must stay for good. */
	bool (*free)(struct blk_engine *engine);
};

struct blk_engine {
	const struct blk_engine_ops *ops;
	int done_fd; /* readable while reap() has something to return; the engine's */
};

/* name: for errors and the thread's name. */
int blk_thread_new(const char *name, struct platform *p, struct blk_engine **engine, struct err *e) must_check;
int blk_uring_new(const char *name, struct blk_engine **engine, struct err *e) must_check;

#endif
