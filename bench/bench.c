// SPDX-License-Identifier: Apache-2.0
#include "bench.h"

#include "base/loop.h"

struct rounds {
	struct loop *loop;
	unsigned int left;
};

static int stop_after(void *ctx)
{
	struct rounds *rounds = ctx;

	if (rounds->left-- == 0)
		loop_stop(rounds->loop, 0);
	return 0;
}

void loop_once(struct fake_platform *fp)
{
	struct rounds rounds = { .loop = fp->p.loop, .left = 1 };

	loop_set_hook(fp->p.loop, stop_after, &rounds);
	(void)loop_run(fp->p.loop);
	loop_set_hook(fp->p.loop, NULL, NULL);
}

void serve(struct virtio_driver *drv, unsigned int q, uint16_t used)
{
	drv_write(drv, VIRTIO_MMIO_QUEUE_NOTIFY, q);
	while (ring_used_idx(&drv->rings[q]) != used)
		loop_once(drv->fp);
}
