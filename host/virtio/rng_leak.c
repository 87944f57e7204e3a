// SPDX-License-Identifier: Apache-2.0
/*
 * The leak queues of the entropy device (docs/leak-protocol.md).
 *
 * Theory of operation. The driver puts requests into two leak queues in
 * advance. A request with writable buffers only is a fill: random bytes. One
 * with readable buffers and then writable ones of the same length is a copy.
 * One of the queues is active; the other one was active before, and is called
 * signalled once there has been an event. Both are known to the driver by
 * counting events, and start anew with every reset.
 *
 *                  event                       event
 *   active leakq1  ----->   active leakq2      ----->  active leakq1
 *   signalled none          signalled leakq1           signalled leakq2
 *
 * An event means that a copy of the machine, secrets included, may exist. It
 * runs while every vCPU is stopped, before the machine runs on, and uses
 *   1. what waits in the signalled queue: the driver made it available before
 *      the machine stopped, and only the doorbell is still under way;
 *   2. what is available in the active queue, in order.
 * Then the queues change roles and the driver gets its notification. An empty
 * active queue is a late event: the driver has not yet answered the one before.
 * The queues keep their roles, and the event is made up for as soon as there is
 * a request in the active queue; however many were late, it is one event then,
 * by which the driver learns of them all.
 *
 * All or nothing: requests are carried out first and given back when all of
 * them have been. If the host has no random bytes the chains go back where they
 * were, no index that the guest can see has moved, the machine stays paused and
 * the whole event is run again at the next resume, fills with new bytes. So a
 * snapshot taken in between holds no finished request whose bytes all its
 * clones would share. It is the same if a request is in memory that a page-fault
 * handler has not served; a resume has had all of it before (virtq_prepare()).
 *
 * A request that cannot be carried out (a side that is outside memory or longer
 * than RNG_MAX_LEAK_REQUEST, in an event longer than what its queue's share of
 * the event has left, lengths that differ, no writable buffer) is given
 * back with length 0, counted and logged. A fill or copy of zero bytes is valid
 * and does what it says: a driver may want to be told of the event and nothing
 * else. A queue that the driver has not set up is an empty one.
 *
 * What a guest can have done. An event never waits for the rate limiter, and
 * writes at most RNG_MAX_LEAK_EVENT bytes in each of the two queues; those of
 * the active one are free. What is left of as many bytes may be used in the
 * signalled queue until the next event: a driver that was between two of its
 * buffers when the event came adds the second one there, and if it is a clone's
 * driver, its first event may have been late. Beyond that the
 * signalled queue waits for the limiter as the request queue does. If an event
 * finds requests there it does not wait for them, so they are charged, as a
 * debt. No turn on the loop writes more than RNG_TURN_BYTES and one request, or
 * an event that is made up for.
 *
 * An event that no driver can be told of is counted, and the count can be read
 * from the configuration space: before DRIVER_OK, without the feature, with a
 * broken ring, or late and still waiting when the driver resets the device.
 *
 * Loop thread with the device's lock held, but for reset (any thread).
 */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "virtio/rng.h"
#include "virtio/rng_internal.h"
#include "virtio_rng_leak.h"

#define RNG_LEAK_BATCH	  8  /* requests a turn while vCPUs run, if RNG_TURN_BYTES do not end it before */
#define RNG_LEAK_MIN_COST 64 /* bytes that even an empty request counts as */

int rng_leakq_init(struct rng_leak *leak)
{
	int r;

	leak->bounce = malloc(RNG_MAX_LEAK_REQUEST);
	if (!leak->bounce)
		return -ENOMEM;
	rng_leak_reset(leak);
	/* Another device, as far as a driver can tell that remembers the number (docs/leak-protocol.md). */
	r = rand_bytes(&leak->unreported, sizeof(leak->unreported));
	errno = -r;
	return r;
}

void rng_leakq_fini(struct rng_leak *leak)
{
	free(leak->bounce);
	leak->bounce = NULL;
}

/* An event that no driver is told of. One that comes later finds a new number, and bytes in the request queue. */
static void rng_leak_miss(struct rng_leak *leak)
{
	leak->unreported++;
	leak->generation++;
}

/* A late event that was still waiting is one that nobody will be told of. */
void rng_leak_reset(struct rng_leak *leak)
{
	if (leak->late)
		rng_leak_miss(leak);
	leak->active = VIRTIO_RNG_LEAKQ1;
	leak->signalled = RNG_LEAK_NONE;
	leak->late = false;
	leak->credit = 0;
}

static unsigned int rng_leak_other(unsigned int q)
{
	return q == VIRTIO_RNG_LEAKQ1 ? VIRTIO_RNG_LEAKQ2 : VIRTIO_RNG_LEAKQ1;
}

/* Why a request cannot be carried out, or NULL. max: bytes that it may write. */
static const char *rng_leak_refusal(const struct virtq *q, const struct virtq_chain *chain, uint64_t max)
{
	if (chain->num_writable == 0)
		return "it has no writable buffer";
	if (chain->num_readable && chain->readable_len != chain->writable_len)
		return "its readable and writable part differ in length";
	if (chain->writable_len > max)
		return "it is too long";
	if (!virtq_chain_ok(q, chain))
		return "a buffer lies outside guest memory";
	return NULL;
}

/* The whole source is read before the first byte is written: the two may overlap. */
static int rng_leak_copy(struct rng *rng, const struct virtq *q, const struct virtq_chain *chain)
{
	uint8_t *bounce = rng->leak.bounce;

	if (!virtq_chain_read(q, chain, 0, bounce, chain->readable_len) ||
	    !virtq_chain_write(q, chain, 0, bounce, chain->readable_len))
		return -EFAULT;
	return 0;
}

/* Carries out one request. 0, or -EIO: the host has no random bytes, and the request stands as if nobody had touched it. */
static int rng_leak_execute(struct rng *rng, const struct virtq *q, const struct virtq_chain *chain, uint64_t max,
			    struct rng_leak_done *done)
{
	const char *refusal = rng_leak_refusal(q, chain, max);
	int r;

	done->head = chain->head;
	done->outcome = RNG_LEAK_REFUSED;
	done->len = 0;
	if (refusal) {
		log_warn("entropy: a leak request of %llu readable and %llu writable bytes is refused: %s",
			 (unsigned long long)chain->readable_len, (unsigned long long)chain->writable_len, refusal);
		return 0;
	}
	r = chain->num_readable ? rng_leak_copy(rng, q, chain) : rng_fill(q, chain, chain->writable_len);
	if (r)
		return -EIO;
	done->outcome = chain->num_readable ? RNG_LEAK_COPIED : RNG_LEAK_FILLED;
	done->len = (uint32_t)chain->writable_len;
	return 0;
}

/* Gives a request back and counts it. at_once: it was due when it was made available. */
static void rng_leak_finish(struct virtq *q, const struct rng_leak_done *done, bool at_once)
{
	if (at_once && done->outcome != RNG_LEAK_REFUSED)
		metric_inc(entropy, leak_signalled_count);
	switch (done->outcome) {
	case RNG_LEAK_REFUSED:
		metric_inc(entropy, leak_refused_count);
		break;
	case RNG_LEAK_FILLED:
		metric_inc(entropy, leak_fill_count);
		metric_add(entropy, leak_fill_bytes, done->len);
		break;
	case RNG_LEAK_COPIED:
		metric_inc(entropy, leak_copy_count);
		metric_add(entropy, leak_copy_bytes, done->len);
		break;
	}
	virtq_push(q, done->head, done->len);
}

/*
 * Carries out everything that is available in q, at most what a ring holds since no vCPU runs. 0, -EINVAL for a broken
 * ring, -EIO, -EAGAIN for one that is in memory which is not here. *num says how many requests were carried out in any case.
 */
static int rng_leak_execute_all(struct rng *rng, struct virtq *q, struct rng_leak_done *done, unsigned int *num)
{
	uint64_t left = RNG_MAX_LEAK_EVENT;
	struct virtq_chain chain;
	int r = 0;

	*num = 0;
	while (*num < VIRTQ_MAX_SIZE) {
		r = virtq_pop(q, &chain);
		if (r == 0 && q->lacks)
			r = -EAGAIN;
		if (r <= 0)
			break;
		r = rng_leak_execute(rng, q, &chain, left < RNG_MAX_LEAK_REQUEST ? left : RNG_MAX_LEAK_REQUEST,
				     &done[*num]);
		if (r) {
			virtq_unpop(q);
			break;
		}
		left -= done[*num].len;
		(*num)++;
	}
	return r < 0 ? r : 0;
}

static void rng_leak_finish_all(struct virtq *q, const struct rng_leak_done *done, unsigned int num, bool at_once)
{
	for (unsigned int i = 0; i < num; i++)
		rng_leak_finish(q, &done[i], at_once);
}

static void rng_leak_undo_all(struct virtq *q, unsigned int num)
{
	while (num--)
		virtq_unpop(q);
}

static uint64_t rng_leak_cost(uint64_t len)
{
	return len > RNG_LEAK_MIN_COST ? len : RNG_LEAK_MIN_COST;
}

/* Pays for len bytes out of what the last event grants; false, and nothing paid, if that is not enough. */
static bool rng_leak_pay(struct rng_leak *leak, uint64_t len)
{
	if (rng_leak_cost(len) > leak->credit)
		return false;
	leak->credit -= rng_leak_cost(len);
	return true;
}

/* What an event has found in the signalled queue, and could not let wait. */
static void rng_leak_charge_all(struct rng *rng, const struct rng_leak_done *done, unsigned int num)
{
	for (unsigned int i = 0; i < num; i++) {
		if (done[i].outcome != RNG_LEAK_REFUSED && !rng_leak_pay(&rng->leak, done[i].len))
			throttle_charge(&rng->throttle, rng_leak_cost(done[i].len));
	}
}

/* The queues change roles, after an event that has used num requests of the active one. */
static void rng_leak_swap(struct rng_leak *leak, const struct rng_leak_done *done, unsigned int num)
{
	leak->late = false;
	leak->generation++;
	leak->signalled = leak->active;
	leak->active = rng_leak_other(leak->active);
	leak->credit = RNG_MAX_LEAK_EVENT;
	for (unsigned int i = 0; i < num; i++)
		(void)rng_leak_pay(leak, done[i].len);
}

/*
 * Uses what is in the signalled queue, then what is in the active one; *num_active says how many that were, and if there was
 * one the roles have changed. late: an event that is made up for. -EINVAL for a broken ring; -EIO: the host has no random bytes, -EAGAIN: memory is
 * missing, and nothing has happened.
 */
static int rng_leak_carry_out(struct rng *rng, bool late, unsigned int *num_active)
{
	struct rng_leak *leak = &rng->leak;
	/* Before the first event there is no signalled queue; the other leak queue then stays untouched. */
	bool has_signalled = leak->signalled != RNG_LEAK_NONE;
	struct virtq *signalled = &rng->vdev.queues[rng_leak_other(leak->active)];
	struct virtq *active = &rng->vdev.queues[leak->active];
	unsigned int num_signalled = 0;
	int r = 0;

	*num_active = 0;
	if (has_signalled)
		r = rng_leak_execute_all(rng, signalled, leak->done[0], &num_signalled);
	if (!r)
		r = rng_leak_execute_all(rng, active, leak->done[1], num_active);
	if (r == -EIO || r == -EAGAIN) {
		rng_leak_undo_all(signalled, num_signalled);
		rng_leak_undo_all(active, *num_active);
		return r;
	}
	rng_leak_finish_all(signalled, leak->done[0], num_signalled, true);
	rng_leak_finish_all(active, leak->done[1], *num_active, late);
	rng_leak_charge_all(rng, leak->done[0], num_signalled);
	throttle_forget(&rng->throttle, rng_leak_other(leak->active));
	if (!r && *num_active)
		rng_leak_swap(leak, leak->done[1], *num_active);
	return r;
}

int rng_leak_event(struct rng *rng, struct err *e)
{
	struct rng_leak *leak = &rng->leak;
	unsigned int num;
	bool wanted;
	int r;

	if (!rng->vdev.driver_ok || !virtio_has(&rng->vdev, VIRTIO_RNG_F_LEAK)) {
		rng_leak_miss(leak);
		return 0;
	}
	r = rng_leak_carry_out(rng, false, &num);
	if (r == -EIO)
		return err_set(e, EIO, "entropy device: the host gives no random bytes for the guest's leak requests");
	if (r == -EAGAIN)
		return err_set(e, EAGAIN,
			       "entropy device: a leak request of the guest is in memory that was not served yet");
	metric_inc(entropy, leak_event_count);
	if (r) {
		log_warn("entropy: a leak queue is broken");
		rng_leak_miss(leak);
		virtio_fail(&rng->vdev);
		return 0;
	}
	if (!num) {
		leak->late = true;
		leak->credit = RNG_MAX_LEAK_EVENT;
		metric_inc(entropy, leak_late_count);
		log_info("entropy: a leak event found no request in leak queue %u: the driver learns of it late",
			 leak->active);
	}
	/* One notification for both queues; each has its own say, and remembers what it was asked for. */
	wanted = virtq_need_irq(&rng->vdev.queues[VIRTIO_RNG_LEAKQ1]);
	wanted |= virtq_need_irq(&rng->vdev.queues[VIRTIO_RNG_LEAKQ2]);
	if (wanted)
		rng->vdev.interrupt(rng->vdev.transport, VIRTIO_INT_USED);
	return 0;
}

/* An event was late: it is carried out now if the active queue has a request. */
static int rng_leak_make_up(struct rng *rng)
{
	struct virtq *active = &rng->vdev.queues[rng->leak.active];
	struct virtq_chain chain;
	unsigned int num;
	int r = virtq_pop(active, &chain);

	if (r <= 0)
		return r;
	virtq_unpop(active);
	r = rng_leak_carry_out(rng, true, &num);
	return r == -EAGAIN ? 0 : r; /* once it is here there is another notification */
}

/* Requests in the active queue wait for the event; those in the signalled one came too late for theirs. */
static int rng_leak_serve(struct rng *rng, unsigned int q)
{
	struct rng_leak *leak = &rng->leak;
	struct virtq *signalled = &rng->vdev.queues[leak->signalled];
	struct rng_leak_done done;
	struct virtq_chain chain;
	uint64_t bytes = 0;

	for (unsigned int n = 0; n < RNG_LEAK_BATCH && bytes < RNG_TURN_BYTES; n++) {
		int r = virtq_pop(signalled, &chain);

		if (r <= 0)
			return r;
		if (!rng_leak_refusal(signalled, &chain, RNG_MAX_LEAK_REQUEST) &&
		    !rng_leak_pay(leak, chain.writable_len) &&
		    !throttle_take(&rng->throttle, leak->signalled, rng_leak_cost(chain.writable_len)))
			return 0;
		r = rng_leak_execute(rng, signalled, &chain, RNG_MAX_LEAK_REQUEST, &done);
		if (r)
			return r;
		rng_leak_finish(signalled, &done, true);
		bytes += done.len;
	}
	virtio_kick(&rng->vdev, q);
	return 0;
}

int rng_leak_notify(struct rng *rng, unsigned int q)
{
	int r = rng->leak.late ? rng_leak_make_up(rng) : 0;

	if (!r && rng->leak.signalled != RNG_LEAK_NONE && !throttle_holds(&rng->throttle, rng->leak.signalled))
		r = rng_leak_serve(rng, q);
	virtio_notify_used(&rng->vdev, &rng->vdev.queues[VIRTIO_RNG_LEAKQ1]);
	virtio_notify_used(&rng->vdev, &rng->vdev.queues[VIRTIO_RNG_LEAKQ2]);
	return r;
}

/*
 * A driver says numbers that it has read from us, in rising order, each once; others (a hostile guest may write anything) are
 * as if it had said nothing. Numbers wrap.
 */
bool rng_leak_handled(struct rng_leak *leak, uint32_t generation)
{
	uint32_t step = generation - leak->handled;

	if (!step || step > leak->generation - leak->handled)
		return false;
	leak->handled = generation;
	return true;
}

bool rng_leak_set(struct rng_leak *leak, unsigned int active, unsigned int signalled, bool late)
{
	bool before_any = active == VIRTIO_RNG_LEAKQ1 && signalled == RNG_LEAK_NONE;

	rng_leak_reset(leak);
	/* An index into the queues must be good whatever else has been refused. */
	if (active != VIRTIO_RNG_LEAKQ1 && active != VIRTIO_RNG_LEAKQ2)
		return false;
	if (!before_any && signalled != rng_leak_other(active))
		return false;
	leak->active = active;
	leak->signalled = signalled;
	leak->late = late;
	return true;
}
