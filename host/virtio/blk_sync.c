// SPDX-License-Identifier: Apache-2.0
/* The Sync engine: one request after the other, with blocking system calls. */
#include <stdlib.h>

#include "virtio/blk_engine.h"
#include "virtio/blk_internal.h"

static void sync_run(struct blk_engine *engine, struct blk_list *todo, const atomic_bool *stop, struct blk_list *done)
{
	(void)engine;
	blk_io_run_batch(todo, stop, done);
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
	struct blk_engine *made = calloc(1, sizeof(*made));

	if (!made)
		return err_set(e, ENOMEM, "drive %s: out of memory", name);
	made->ops = &sync_ops;
	made->done_fd = -1;
	*engine = made;
	return 0;
}
