/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the block device's requests reach the file. Sync (blk_sync.c) makes one
 * blocking system call after the other on the device's own thread, Async
 * (blk_uring.c) is io_uring. Neither is called with a lock held that anybody
 * else may want, but for reap.
 */
#ifndef VIRTIO_BLK_ENGINE_H
#define VIRTIO_BLK_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"

struct blk_engine;
struct blk_list;
struct blk_request;

#define BLK_ENGINE_MAX_REQUESTS 256u /* at the same time */

struct blk_engine_ops {
	/*
	 * Takes requests from the front of todo and makes the next system call of each. Those for which that is done go to done,
	 * others come from reap() later; req->result says what the call returned (-errno, or a number of bytes). Takes some, if
	 * there are any, and as many as it likes; none any more when *stop. On the device's loop, without its lock.
	 */
	void (*run)(struct blk_engine *engine, struct blk_list *todo, const atomic_bool *stop, struct blk_list *done);
	/* A request that has ended since; NULL: none. Any thread, with the device's lock. NULL: run() does all. */
	struct blk_request *(*reap)(struct blk_engine *engine);
	/* Waits, within a bound, for what has begun. False: something has not ended, and its memory must stay for good. */
	bool (*free)(struct blk_engine *engine);
};

struct blk_engine {
	const struct blk_engine_ops *ops;
	int done_fd; /* readable while reap() has something to return; the engine's, -1: there is no reap() */
};

/* name: for errors. */
int blk_sync_new(const char *name, struct blk_engine **engine, struct err *e) must_check;
int blk_uring_new(const char *name, struct blk_engine **engine, struct err *e) must_check;

#endif
