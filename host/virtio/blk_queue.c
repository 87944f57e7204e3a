// SPDX-License-Identifier: Apache-2.0
/*
 * The block device's queue: from the ring to the engine and back.
 *
 * A throttled request, and one for which there is no room in flight, goes back
 * into the ring. So what the device holds is what the engine has, and a device
 * that has been drained holds nothing that the ring does not.
 *
 * Completions come in any order. Those of a device that was reset meanwhile, or
 * needs to be, are dropped: its rings are not the device's to write to any more.
 * A reset is complete when the engine has nothing left, so that no system call
 * writes into memory that the driver has taken back.
 *
 * All with the device's lock held. Loop thread, but for settling and reset.
 */
#include "base/clock.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "virtio/blk_internal.h"

#define BLK_BATCH 64 /* requests a turn: others want the loop, too */

/* The chain goes back and is seen again when the limiter has had time to recover. */
static void blk_throttle(struct blk *blk)
{
	virtq_unpop(&blk->vdev.queues[0]);
	blk->throttled = true;
	loop_set_timer(blk->timer, RATE_LIMITER_RETRY_NS, 0);
	metric_inc(block, rate_limiter_throttled_events);
}

/* Transfers cost their bytes and an operation, GET_ID nothing, everything else an operation. */
static bool blk_may_begin(struct blk *blk, const struct blk_request *req)
{
	if (req->type == VIRTIO_BLK_T_GET_ID)
		return true;
	return rate_limiter_take(&blk->limiter, req->len, clock_now_ns());
}

static bool blk_has_room(const struct blk *blk)
{
	return blk->unused && blk->in_flight_bytes < BLK_MAX_IN_FLIGHT;
}

static void blk_begin(struct blk *blk, struct blk_request *req)
{
	blk->unused = req->next;
	blk->in_flight++;
	blk->in_flight_bytes += req->len;
	blk_request_begin(blk, req);
	blk->engine->ops->submit(blk->engine, req);
}

static void blk_end(struct blk *blk, struct blk_request *req)
{
	blk->in_flight--;
	blk->in_flight_bytes -= req->len;
	req->next = blk->unused;
	blk->unused = req;
}

/* One request: 1 when it was given back or begun, 0 when it has to wait. */
static int blk_serve(struct blk *blk, const struct virtq_chain *chain)
{
	struct blk_request *req = blk->unused;
	int status = blk_request_parse(blk, chain, req);

	if (status < 0) {
		virtq_push(&blk->vdev.queues[0], chain->head, 0);
		return 1;
	}
	if (status != VIRTIO_BLK_S_OK) {
		blk_request_complete(blk, req, status);
		return 1;
	}
	if (!blk_may_begin(blk, req)) {
		blk_throttle(blk);
		return 0;
	}
	if (blk_request_needs_file(req)) {
		blk_begin(blk, req);
		return 1;
	}
	if (req->type == VIRTIO_BLK_T_GET_ID)
		blk_request_get_id(blk, req);
	blk_request_complete(blk, req, status);
	return 1;
}

/* The driver notifies only of what comes after our last look. */
static int blk_next(struct virtq *q, struct virtq_chain *chain)
{
	int r = virtq_pop(q, chain);

	if (r)
		return r;
	virtq_enable_notify(q);
	return virtq_pop(q, chain);
}

/* What has ended, or goes on with its next system call. */
static void blk_reap(struct blk *blk)
{
	struct blk_engine *engine = blk->engine;
	struct virtio_dev *vdev = &blk->vdev;
	struct blk_request *req;
	bool again = false;

	while ((req = engine->ops->reap(engine))) {
		if (blk_io_goes_on(req) && vdev->driver_ok) {
			engine->ops->submit(engine, req);
			again = true;
			continue;
		}
		if (vdev->driver_ok)
			blk_request_complete(blk, req, blk_request_status(blk, req));
		blk_end(blk, req);
	}
	if (again)
		engine->ops->kick(engine);
	if (blk->full && blk_has_room(blk)) {
		blk->full = false;
		virtio_kick(vdev, 0);
	}
	if (vdev->driver_ok)
		virtio_notify_used(vdev, &vdev->queues[0]);
	if (!blk->in_flight)
		virtio_settled(vdev);
}

int blk_notify(struct virtio_dev *vdev, unsigned int queue)
{
	struct blk *blk = blk_from_vdev(vdev);
	struct virtq *q = &vdev->queues[queue];
	struct virtq_chain chain;
	unsigned int n;
	int r = 1;

	metric_inc(block, queue_event_count);
	for (n = 0; n < BLK_BATCH && !blk->throttled; n++) {
		blk->full = !blk_has_room(blk);
		if (blk->full)
			break;
		r = blk_next(q, &chain);
		if (r > 0)
			r = blk_serve(blk, &chain);
		if (r <= 0)
			break;
	}
	if (n == 0 && r == 0 && !blk->throttled)
		metric_inc(block, no_avail_buffer);
	if (r < 0)
		metric_inc(block, event_fails);
	if (blk->in_flight)
		blk->engine->ops->kick(blk->engine);
	blk_reap(blk);
	if (r > 0 && !blk->throttled && !blk->full)
		virtio_kick(vdev, queue);
	return r < 0 ? r : 0;
}

int blk_settle(struct virtio_dev *vdev)
{
	struct blk *blk = blk_from_vdev(vdev);

	blk_reap(blk);
	return blk->in_flight ? blk->engine->done_fd : -1;
}

void blk_on_done(void *ctx, uint32_t events)
{
	struct blk *blk = ctx;

	(void)events;
	virtio_lock(&blk->vdev);
	blk_reap(blk);
	virtio_unlock(&blk->vdev);
}

/* The throttled request, if it is still there, is tried again. */
void blk_retry(struct blk *blk)
{
	if (!blk->throttled)
		return;
	blk->throttled = false;
	virtio_kick(&blk->vdev, 0);
}

/* A reset in between has cleared throttled: then there is nothing left to retry. */
void blk_on_timer(void *ctx, uint32_t events)
{
	struct blk *blk = ctx;

	(void)events;
	virtio_lock(&blk->vdev);
	if (blk->throttled)
		metric_inc(block, rate_limiter_event_count);
	blk_retry(blk);
	virtio_unlock(&blk->vdev);
}

void blk_reset(struct virtio_dev *vdev)
{
	struct blk *blk = blk_from_vdev(vdev);
	struct blk_request *req;

	blk->throttled = false;
	blk->full = false;
	while ((req = blk->engine->ops->take_back(blk->engine)))
		blk_end(blk, req);
}
