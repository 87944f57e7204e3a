// SPDX-License-Identifier: Apache-2.0
/*
 * Takes the place of virtio/blk_sync.c: the same calls on the file. What is done
 * is given back last first, and only at every third look: completions that are
 * late and in another order than the requests.
 */
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"
#include "fuzz.h"
#include "virtio/blk_engine.h"
#include "virtio/blk_internal.h"

#define LOOKS 3

struct engine {
	struct blk_engine engine; /* must be first */
	struct blk_request *done;
	unsigned int looks;
};

static void engine_run(struct blk_engine *engine, struct blk_list *todo, const atomic_bool *stop, struct blk_list *done)
{
	struct engine *e = (struct engine *)engine;
	struct blk_request *req;

	(void)done;
	while (!atomic_load(stop) && (req = blk_list_take(todo))) {
		blk_io_run(req);
		req->next = e->done;
		e->done = req;
	}
	(void)eventfd_write(engine->done_fd, 1);
}

static struct blk_request *engine_reap(struct blk_engine *engine)
{
	struct engine *e = (struct engine *)engine;
	struct blk_request *req = e->done;
	eventfd_t ignored;

	if (!req) {
		(void)eventfd_read(engine->done_fd, &ignored);
		return NULL;
	}
	if (e->looks++ % LOOKS != LOOKS - 1)
		return NULL;
	e->done = req->next;
	return req;
}

static bool engine_free(struct blk_engine *engine)
{
	cleanup_close(&engine->done_fd);
	free(engine);
	return true;
}

static const struct blk_engine_ops engine_ops = {
	.run = engine_run,
	.reap = engine_reap,
	.free = engine_free,
};

int blk_sync_new(const char *name, struct blk_engine **engine, struct err *e)
{
	struct engine *made = calloc(1, sizeof(*made));

	(void)name;
	(void)e;
	fuzz_expect(made);
	made->engine.ops = &engine_ops;
	made->engine.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fuzz_expect(made->engine.done_fd >= 0);
	*engine = &made->engine;
	return 0;
}
