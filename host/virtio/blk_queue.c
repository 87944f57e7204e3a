// SPDX-License-Identifier: Apache-2.0
/*
 * The block device's queue: from the ring to the engine and back. notify takes
 * what is in the ring, with the lock; work has it carried out, without; then
 * both again until there is nothing, so that a guest which is as fast as its
 * disk need not ring, and waits for no other thread of ours.
 *
 * A throttled request, and one for which there is no room in flight, goes back
 * into the ring. So a device that has been drained holds nothing that the ring
 * does not.
 *
 * Completions come in any order. Those of a device that was reset meanwhile, or
 * needs to be, are dropped: its rings are not the device's to write to any more.
 * A reset is complete when the engine has nothing left, so that no system call
 * writes into memory that the driver has taken back.
 *
 * On the device's loop, but for settling and reset; with the device's lock held,
 * but for work.
 */
#include <assert.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "virtio/blk.h"
#include "virtio/blk_internal.h"

#define BLK_BATCH 64 /* requests that are taken at a time */

/* Transfers cost their bytes and an operation, GET_ID nothing, everything else an operation. */
static bool blk_may_begin(struct blk *blk, const struct blk_request *req)
{
	if (req->type == VIRTIO_BLK_T_GET_ID)
		return true;
	return throttle_take(&blk->throttle, 0, req->len);
}

/* The request that is begun next; NULL: all are in flight. */
static struct blk_request *blk_unused(const struct blk *blk)
{
	if (blk->unused)
		return blk->unused;
	return blk->num_used < BLK_ENGINE_MAX_REQUESTS ? &blk->pool[blk->num_used] : NULL;
}

static bool blk_has_room(const struct blk *blk)
{
	return blk_unused(blk) && blk->in_flight_bytes < BLK_MAX_IN_FLIGHT;
}

static void blk_begin(struct blk *blk, struct blk_request *req)
{
	eventfd_t ignored;

	if (blk->told)
		(void)eventfd_read(blk->idle_fd, &ignored);
	blk->told = false;
	if (blk->unused)
		blk->unused = req->next;
	else
		blk->num_used++;
	blk->in_flight++;
	blk->in_flight_bytes += req->len;
	atomic_store(&blk->stop, false); /* a reset is complete before there is another request */
	if (!blk->taken_ns)
		blk->taken_ns = clock_now_ns();
	req->begun_ns = blk->taken_ns;
	blk_request_begin(blk, req);
	blk_list_add(&blk->todo, req);
}

static void blk_end(struct blk *blk, struct blk_request *req)
{
	blk_request_release(blk, req);
	blk->in_flight--;
	blk->in_flight_bytes -= req->len;
	req->next = blk->unused;
	blk->unused = req;
}

/* One request: 1 when it was given back or begun, 0 when it has to wait. */
static int blk_serve(struct blk *blk, const struct virtq_chain *chain)
{
	struct blk_request *req = blk_unused(blk);
	int status;

	assert(req); /* blk_has_room() */
	status = blk_request_parse(blk, chain, req);
	if (status < 0) {
		virtq_push(&blk->vdev.queues[0], chain->head, 0);
		return 1;
	}
	if (status != VIRTIO_BLK_S_OK) {
		blk_request_complete(blk, req, status);
		return 1;
	}
	if (!blk_may_begin(blk, req)) {
		blk_request_release(blk, req);
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

/* The driver notifies only of what comes after our last look, and that is when we have nothing else to do. */
static int blk_next(const struct blk *blk, struct virtq *q, struct virtq_chain *chain)
{
	return blk->todo.first ? virtq_pop(q, chain) : virtq_pop_or_wait(q, chain);
}

/* A system call of the request has been made: it has ended, or goes on with the next. */
static void blk_advance(struct blk *blk, struct blk_request *req)
{
	if (blk_io_goes_on(req) && blk->vdev.driver_ok) {
		blk_list_add(&blk->todo, req);
		return;
	}
	if (blk->vdev.driver_ok)
		blk_request_complete(blk, req, blk_request_status(blk, req));
	blk_end(blk, req);
}

static void blk_reap(struct blk *blk)
{
	struct blk_request *req;
	uint64_t now_ns = 0;

	while (blk->engine->ops->reap && (req = blk->engine->ops->reap(blk->engine))) {
		if (!now_ns)
			now_ns = clock_now_ns();
		req->ended_ns = now_ns;
		blk_advance(blk, req);
	}
}

static void blk_drop(struct blk *blk, struct blk_list *list)
{
	struct blk_request *req;

	while ((req = blk_list_take(list)))
		blk_end(blk, req);
}

/* What has been given back is handed over at once: an index that is written once changes hands between processors once. */
static void blk_notify_used(struct blk *blk)
{
	struct virtq *q = &blk->vdev.queues[0];

	virtq_publish(q);
	virtio_notify_used(&blk->vdev, q);
}

/* After some have ended: who is told? */
static void blk_tell(struct blk *blk)
{
	struct virtio_dev *vdev = &blk->vdev;

	if (blk->full && blk_has_room(blk)) {
		blk->full = false;
		virtio_kick(vdev, 0);
	}
	if (vdev->driver_ok)
		blk_notify_used(blk);
	if (blk->in_flight)
		return;
	if (blk->awaited) {
		(void)eventfd_write(blk->idle_fd, 1);
		blk->told = true;
	}
	blk->awaited = false;
	virtio_settled(vdev);
}

int blk_notify(struct virtio_dev *vdev, unsigned int queue)
{
	struct blk *blk = blk_from_vdev(vdev);
	struct virtq *q = &vdev->queues[queue];
	struct virtq_chain chain;
	unsigned int n;
	int r = 1;

	blk->taken_ns = 0;
	if (!blk->again)
		metric_inc_of(blk->counters, queue_event_count);
	for (n = 0; n < BLK_BATCH && !throttle_holds(&blk->throttle, 0) && !blk->held; n++) {
		blk->full = !blk_has_room(blk);
		if (blk->full) {
			metric_inc_of(blk->counters, io_engine_throttled_events);
			break;
		}
		r = blk_next(blk, q, &chain);
		if (r > 0) {
			metric_add_of(blk->counters, remaining_reqs_count, chain.left);
			r = blk_serve(blk, &chain);
		}
		if (r <= 0)
			break;
	}
	if (n == 0 && r == 0 && !throttle_holds(&blk->throttle, 0) && !blk->again)
		metric_inc_of(blk->counters, no_avail_buffer);
	blk->again = false;
	if (r < 0)
		metric_inc_of(blk->counters, event_fails);
	blk_notify_used(blk);
	/* Full of what work will not carry out at once, or of nothing that it carries out at all. */
	if (n == BLK_BATCH && !blk->todo.first)
		virtio_kick(vdev, queue);
	return r < 0 ? r : 0;
}

bool blk_work(struct virtio_dev *vdev)
{
	struct blk *blk = blk_from_vdev(vdev);
	struct blk_list todo, done = { NULL, NULL };
	bool worked = false, polls;
	struct virtq_look look;

	virtio_lock(vdev);
	while (blk->todo.first) {
		struct blk_request *req;

		todo = blk->todo;
		blk->todo.first = NULL;
		virtio_unlock(vdev);
		blk->engine->ops->run(blk->engine, &todo, &blk->stop, &done);
		virtio_lock(vdev);
		while ((req = blk_list_take(&done)))
			blk_advance(blk, req);
		while ((req = blk_list_take(&todo)))
			blk_list_add(&blk->todo, req);
		if (atomic_load(&blk->stop))
			blk_drop(blk, &blk->todo);
		blk_reap(blk);
		blk_tell(blk);
		worked = true;
	}
	blk->again = worked;
	/* While something is in flight there is more to wait for than the driver, and on the machine's loop there are others. */
	polls = worked && vdev->owns_loop && !blk->in_flight && virtq_look(&vdev->queues[0], &look);
	virtio_unlock(vdev);
	if (polls)
		(void)busy_poll(&blk->poll, &look);
	return worked;
}

int blk_settle(struct virtio_dev *vdev)
{
	struct blk *blk = blk_from_vdev(vdev);

	blk_reap(blk);
	if (blk->todo.first)
		virtio_kick(vdev, 0); /* a system call is for the device's loop to make */
	blk_tell(blk);
	blk->awaited = blk->in_flight;
	return blk->in_flight ? blk->idle_fd : -1;
}

void blk_on_done(void *ctx, uint32_t events)
{
	struct blk *blk = ctx;

	(void)events;
	virtio_lock(&blk->vdev);
	blk_reap(blk);
	blk_tell(blk);
	virtio_unlock(&blk->vdev);
	if (blk_work(&blk->vdev))
		virtio_kick(&blk->vdev, 0);
}

void blk_reset(struct virtio_dev *vdev)
{
	struct blk *blk = blk_from_vdev(vdev);

	throttle_reset(&blk->throttle);
	blk->full = false;
	atomic_store(&blk->stop, true);
	blk_drop(blk, &blk->todo);
}
