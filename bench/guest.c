// SPDX-License-Identifier: Apache-2.0
#include "guest.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include <linux/virtio_blk.h>

#include "base/clock.h"
#include "base/loop.h"
#include "virtio/blk.h"
#include "virtio/blk_internal.h"
#include "bench.h"
#include "virtio/mmio_internal.h"

#define HEADER_GPA   0x80000u
#define STATUS_GPA   0x90000u
#define INLINE_BATCH 32

static struct virtio_ops inline_ops;

const char *guest_way_name(enum guest_way way)
{
	static const char *const names[] = { "inline", "Sync", "Async" };

	return names[way];
}

static void guest_expect(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bench: %s\n", what);
	exit(EXIT_FAILURE);
}

static int inline_next(struct virtq *q, struct virtq_chain *chain)
{
	int r = virtq_pop(q, chain);

	if (r)
		return r;
	virtq_enable_notify(q);
	return virtq_pop(q, chain);
}

/* As the device did before it had engines. */
static int inline_notify(struct virtio_dev *vdev, unsigned int queue)
{
	struct blk *blk = blk_from_vdev(vdev);
	struct blk_request *req = blk->pool; /* one at a time: always the same */
	struct virtq *q = &vdev->queues[queue];
	struct virtq_chain chain;
	eventfd_t ignored;
	int r = 1;

	(void)eventfd_read(((struct virtio_mmio *)vdev->transport)->doorbells[queue].fd, &ignored);
	for (unsigned int n = 0; n < INLINE_BATCH; n++) {
		int status;

		r = inline_next(q, &chain);
		if (r <= 0)
			break;
		status = blk_request_parse(blk, &chain, req);
		guest_expect(status == VIRTIO_BLK_S_OK && throttle_take(&blk->throttle, 0, req->len),
			     "a request was refused");
		req->begun_ns = clock_now_ns();
		blk_request_begin(blk, req);
		do
			blk_io_run(req);
		while (blk_io_goes_on(req));
		req->ended_ns = clock_now_ns();
		blk_request_complete(blk, req, blk_request_status(blk, req));
		virtq_publish(q);
	}
	virtio_notify_used(vdev, q);
	if (r > 0)
		virtio_kick(vdev, queue);
	return r < 0 ? r : 0;
}

static void *guest_loop(void *arg)
{
	(void)loop_run(arg);
	return NULL;
}

struct guest *guest_new(char *path, enum guest_way way, bool alone)
{
	struct drive_config config = {
		.drive_id = (char[]){ "disk" },
		.path_on_host = path,
		.cache_type = CACHE_WRITEBACK,
		.io_engine = way == GUEST_ASYNC ? IO_ENGINE_ASYNC : IO_ENGINE_SYNC,
	};
	struct guest *g = calloc(1, sizeof(*g));
	struct virtio_dev *vdev;
	struct err e = { "out of memory" };

	guest_expect(g, e.text);
	fake_platform_init(&g->fp);
	g->alone = alone;
	g->fp.p.one_loop = alone || way == GUEST_INLINE;
	guest_expect(!blk_new(&config, &g->fp.p, &vdev, &e), e.text);
	if (way == GUEST_INLINE) {
		inline_ops = *vdev->ops;
		inline_ops.notify = inline_notify;
		inline_ops.work = NULL;
		vdev->ops = &inline_ops;
	}
	drv_plug(&g->drv, &g->fp, vdev, "drive.disk");
	drv_start(&g->drv, FEATURE(VIRTIO_RING_F_EVENT_IDX) | FEATURE(VIRTIO_BLK_F_FLUSH), 1);
	guest_expect(alone || !pthread_create(&g->loop, NULL, guest_loop, g->fp.p.loop), "no thread");
	return g;
}

void guest_free(struct guest *g)
{
	if (!g->alone) {
		loop_stop(g->fp.p.loop, 0);
		pthread_join(g->loop, NULL);
	}
	drv_unplug(&g->drv);
	fake_platform_fini(&g->fp);
	free(g);
}

uint64_t guest_random_block(uint32_t *random)
{
	*random = *random * 1664525u + 1013904223u;
	return (*random >> 8) % (GUEST_FILE_SIZE / GUEST_BLOCK);
}

static void guest_send(struct guest *g)
{
	unsigned int n = g->slot++ % GUEST_MAX_DEPTH;
	struct virtio_blk_outhdr header = { .type = g->type };
	struct ring_buf head = { HEADER_GPA + n * 64, sizeof(header) };
	struct ring_buf data = { DRV_DATA_GPA + n * GUEST_BLOCK, GUEST_BLOCK };
	struct ring_buf status = { STATUS_GPA + n, 1 };
	struct ring_driver *ring = &g->drv.rings[0];

	header.sector = guest_random_block(&g->random) * (GUEST_BLOCK / 512);
	guest_expect(mem_write(&g->fp.mem, head.gpa, &header, sizeof(header)), "no memory");
	if (g->type == VIRTIO_BLK_T_OUT)
		ring_add(ring, (struct ring_buf[]){ head, data }, 2, &status, 1);
	else if (g->type == VIRTIO_BLK_T_IN)
		ring_add(ring, &head, 1, (struct ring_buf[]){ data, status }, 2);
	else
		ring_add(ring, &head, 1, &status, 1);
}

/* As Linux does: all that there is is sent, then the device is told if it wants to be. */
static void guest_ring(struct guest *g, uint16_t before)
{
	struct ring_driver *ring = &g->drv.rings[0];

	if ((uint16_t)(ring->avail_idx - ring_avail_event(ring) - 1) >= (uint16_t)(ring->avail_idx - before))
		return;
	g->rings++;
	drv_write(&g->drv, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
}

/* Asks for an interrupt with the next that is used, looks once more, and sleeps. */
static void guest_wait(struct guest *g)
{
	struct ring_driver *ring = &g->drv.rings[0];
	struct pollfd pfd = { .fd = g->fp.irq_fds[0], .events = POLLIN };
	eventfd_t ignored;

	ring_set_used_event(ring, ring->last_used);
	if (ring_used_idx(ring) != ring->last_used || g->spins)
		return;
	if (g->alone) {
		loop_once(&g->fp);
		return;
	}
	(void)poll(&pfd, 1, -1);
	(void)eventfd_read(pfd.fd, &ignored);
}

void guest_run(struct guest *g, uint32_t type, unsigned int n, unsigned int depth)
{
	struct ring_driver *ring = &g->drv.rings[0];
	unsigned int to_send = n, to_come = n, under_way = 0;
	struct ring_used used;

	g->type = type;
	while (to_come) {
		uint16_t before = ring->avail_idx;

		for (; to_send && under_way < depth; to_send--, under_way++)
			guest_send(g);
		guest_ring(g, before);
		guest_wait(g);
		while (ring_get_used(ring, &used)) {
			to_come--;
			under_way--;
		}
	}
}
