// SPDX-License-Identifier: Apache-2.0
/*
 * Takes the place of virtio/blk_thread.c: the same calls on the file, without a
 * thread, so that an input does the same each time. What is done is given back
 * last first, and only at every third look: completions that are late and in
 * another order than the requests.
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
	struct blk_request *todo, *done;
	unsigned int looks;
};

static void engine_submit(struct blk_engine *engine, struct blk_request *req)
{
	struct engine *e = (struct engine *)engine;

	req->next = e->todo;
	e->todo = req;
}

static void engine_kick(struct blk_engine *engine)
{
	struct engine *e = (struct engine *)engine;

	while (e->todo) {
		struct blk_request *req = e->todo;

		e->todo = req->next;
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

static struct blk_request *engine_take_back(struct blk_engine *engine)
{
	struct engine *e = (struct engine *)engine;
	struct blk_request *req = e->todo;

	if (req)
		e->todo = req->next;
	return req;
}

static bool engine_free(struct blk_engine *engine)
{
	cleanup_close(&engine->done_fd);
	free(engine);
	return true;
}

static const struct blk_engine_ops engine_ops = {
	.submit = engine_submit,
	.kick = engine_kick,
	.reap = engine_reap,
	.take_back = engine_take_back,
	.free = engine_free,
};

int blk_thread_new(const char *name, struct platform *p, struct blk_engine **engine, struct err *e)
{
	struct engine *made = calloc(1, sizeof(*made));

	(void)name;
	(void)p;
	(void)e;
	fuzz_expect(made);
	made->engine.ops = &engine_ops;
	made->engine.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fuzz_expect(made->engine.done_fd >= 0);
	*engine = &made->engine;
	return 0;
}
