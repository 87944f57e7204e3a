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
 * clones would share.
 *
 * A request that cannot be carried out (a side that is outside memory or longer
 * than RNG_MAX_LEAK_REQUEST, lengths that differ, no writable buffer) is given
 * back with length 0, counted and logged. A fill or copy of zero bytes is valid
 * and does what it says: a driver may want to be told of the event and nothing
 * else. A queue that the driver has not set up is an empty one.
 *
 * An event costs at most two rings of 256 requests of 1 MiB.
 *
 * Loop thread with the device's lock held, but for reset (any thread).
 */
#include <stdlib.h>

#include "base/codec.h"
#include "base/log.h"
#include "base/metrics.h"
#include "virtio/rng.h"
#include "virtio/rng_internal.h"
#include "virtio_rng_leak.h"

#define RNG_LEAK_BATCH 8 /* requests a turn while vCPUs run: 8 MiB at most */

int rng_leak_init(struct rng_leak *leak)
{
	leak->bounce = malloc(RNG_MAX_LEAK_REQUEST);
	rng_leak_reset(leak);
	return leak->bounce ? 0 : -ENOMEM;
}

void rng_leak_fini(struct rng_leak *leak)
{
	free(leak->bounce);
	leak->bounce = NULL;
}

void rng_leak_reset(struct rng_leak *leak)
{
	leak->active = VIRTIO_RNG_LEAKQ1;
	leak->signalled = RNG_LEAK_NONE;
	leak->late = false;
}

static unsigned int rng_leak_other(unsigned int q)
{
	return q == VIRTIO_RNG_LEAKQ1 ? VIRTIO_RNG_LEAKQ2 : VIRTIO_RNG_LEAKQ1;
}

/* Why a request cannot be carried out, or NULL. */
static const char *rng_leak_refusal(const struct virtq *q, const struct virtq_chain *chain)
{
	if (chain->num_writable == 0)
		return "it has no writable buffer";
	if (chain->num_readable && chain->readable_len != chain->writable_len)
		return "its readable and writable part differ in length";
	if (chain->writable_len > RNG_MAX_LEAK_REQUEST)
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
static int rng_leak_execute(struct rng *rng, const struct virtq *q, const struct virtq_chain *chain,
			    struct rng_leak_done *done)
{
	const char *refusal = rng_leak_refusal(q, chain);
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

/* Gives a request back and counts it. at_once: from the signalled queue. */
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
 * ring, -EIO. *num says how many requests were carried out in any case.
 */
static int rng_leak_execute_all(struct rng *rng, struct virtq *q, struct rng_leak_done *done, unsigned int *num)
{
	struct virtq_chain chain;
	int r = 0;

	*num = 0;
	while (*num < VIRTQ_MAX_SIZE) {
		r = virtq_pop(q, &chain);
		if (r <= 0)
			break;
		r = rng_leak_execute(rng, q, &chain, &done[*num]);
		if (r) {
			virtq_unpop(q);
			break;
		}
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

static void rng_leak_swap(struct rng_leak *leak)
{
	leak->late = false;
	leak->signalled = leak->active;
	leak->active = rng_leak_other(leak->active);
}

int rng_leak_event(struct rng *rng, struct err *e)
{
	struct rng_leak *leak = &rng->leak;
	/* Before the first event there is no signalled queue; the other leak queue then stays untouched. */
	bool has_signalled = leak->signalled != RNG_LEAK_NONE;
	struct virtq *signalled = &rng->vdev.queues[rng_leak_other(leak->active)];
	struct virtq *active = &rng->vdev.queues[leak->active];
	unsigned int num_signalled = 0, num_active = 0;
	bool wanted;
	int r = 0;

	if (!rng->vdev.driver_ok || !virtio_has(&rng->vdev, VIRTIO_RNG_F_LEAK))
		return 0;
	if (has_signalled)
		r = rng_leak_execute_all(rng, signalled, leak->done[0], &num_signalled);
	if (!r)
		r = rng_leak_execute_all(rng, active, leak->done[1], &num_active);
	if (r == -EIO) {
		rng_leak_undo_all(signalled, num_signalled);
		rng_leak_undo_all(active, num_active);
		return err_set(e, EIO, "entropy device: the host gives no random bytes for the guest's leak requests");
	}

	rng_leak_finish_all(signalled, leak->done[0], num_signalled, true);
	rng_leak_finish_all(active, leak->done[1], num_active, false);
	metric_inc(entropy, leak_event_count);
	if (r) {
		log_warn("entropy: a leak queue is broken");
		virtio_fail(&rng->vdev);
		return 0;
	}
	if (num_active) {
		rng_leak_swap(leak);
	} else {
		leak->late = true;
		metric_inc(entropy, leak_late_count);
		log_info("entropy: a leak event found no request in leak queue %u: the driver learns of it late",
			 leak->active);
	}
	/* One notification for both queues; each has its own say, and remembers what it was asked for. */
	wanted = virtq_need_irq(signalled);
	wanted |= virtq_need_irq(active);
	if (wanted)
		rng->vdev.interrupt(rng->vdev.transport, VIRTIO_INT_USED);
	return 0;
}

/*
 * The next request that does not have to wait: of the signalled queue or, if an event was late, of the active one, which
 * is the signalled one from then on. NULL: none, and *r says if a ring is broken.
 */
static struct virtq *rng_leak_next(struct rng *rng, struct virtq_chain *chain, int *r)
{
	struct rng_leak *leak = &rng->leak;
	struct virtq *signalled = &rng->vdev.queues[leak->signalled], *active = &rng->vdev.queues[leak->active];

	*r = leak->signalled == RNG_LEAK_NONE ? 0 : virtq_pop(signalled, chain);
	if (*r)
		return *r > 0 ? signalled : NULL;
	if (!leak->late)
		return NULL;
	*r = virtq_pop(active, chain);
	if (*r <= 0)
		return NULL;
	rng_leak_swap(leak);
	return active;
}

/* Requests in the active queue wait for the event; those in the signalled one came too late for theirs. */
int rng_leak_notify(struct rng *rng, unsigned int q)
{
	struct rng_leak_done done;
	struct virtq_chain chain;
	struct virtq *vq;
	unsigned int n;
	int r = 0;

	for (n = 0; n < RNG_LEAK_BATCH; n++) {
		vq = rng_leak_next(rng, &chain, &r);
		if (!vq)
			break;
		r = rng_leak_execute(rng, vq, &chain, &done);
		if (r)
			break;
		rng_leak_finish(vq, &done, true);
	}
	virtio_notify_used(&rng->vdev, &rng->vdev.queues[VIRTIO_RNG_LEAKQ1]);
	virtio_notify_used(&rng->vdev, &rng->vdev.queues[VIRTIO_RNG_LEAKQ2]);
	if (n == RNG_LEAK_BATCH)
		virtio_kick(&rng->vdev, q);
	return r < 0 ? r : 0;
}

void rng_leak_save(const struct rng_leak *leak, struct enc *enc)
{
	enc_u64(enc, "leak_active", leak->active);
	enc_u64(enc, "leak_signalled", leak->signalled);
	enc_bool(enc, "leak_late", leak->late);
}

void rng_leak_load(struct rng_leak *leak, struct dec *dec)
{
	unsigned int active = (unsigned int)dec_u64(dec, "leak_active", VIRTIO_RNG_LEAKQ1, VIRTIO_RNG_LEAKQ2);
	unsigned int signalled = (unsigned int)dec_u64(dec, "leak_signalled", RNG_LEAK_NONE, VIRTIO_RNG_LEAKQ2);
	bool late = dec_bool(dec, "leak_late");
	bool before_any = active == VIRTIO_RNG_LEAKQ1 && signalled == RNG_LEAK_NONE;

	rng_leak_reset(leak);
	/* An index into the queues must be good even if the error is yet to be looked at. */
	if (active != VIRTIO_RNG_LEAKQ1 && active != VIRTIO_RNG_LEAKQ2)
		return;
	if (!before_any && signalled != rng_leak_other(active)) {
		dec_fail(dec, "leak_signalled %u cannot be while leak_active is %u", signalled, active);
		return;
	}
	leak->active = active;
	leak->signalled = signalled;
	leak->late = late;
}
