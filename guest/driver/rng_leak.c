// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The leak queue pair of the virtio entropy device.
 *
 * Theory of operation
 * ===================
 * An entropy leak is an event after which somebody else may know what this
 * machine knows: a snapshot was taken, or this machine was loaded from one.
 * The device handles it while no vCPU runs, by carrying out what the driver
 * put into one of two queues beforehand. Per queue the driver arms
 *
 *	fill	64 bytes, the seed, and the 16 bytes of the identity on the counter
 *		page, that the device fills with new random bytes, then
 *	copy	one word that the device copies onto the counter page, and, where
 *		the kernel lets it, one more onto the vDSO's page (rng_vdso.h).
 *
 * fill comes first, and each queue has a seed buffer of its own: whoever sees
 * the counter changed may rely on the seed being in memory. The identity has
 * only one place, which is in both queues' fills: no processor of this machine
 * has to do anything for it to be new, and none ever writes one (rng_page.c).
 * Seed and identity are different bytes of the device. The seed is secret, and
 * only mixed in; the identity is public, and mixed into nothing.
 *
 * The device's side, in short (the host's documentation has it in full): it
 * keeps `active`, at first leakq1, and `signalled`, at first none. An event
 * uses all that `active` holds, then signalled := active, active := the other
 * one. What is added to `signalled` afterwards is used at once. An event that
 * finds `active` empty is late: it waits for the next buffer in `active`.
 *
 * So the queues are used in turn, whatever happens, and the values that are
 * given out in rising order come back in that order: the queue with the highest
 * value that has come back was the active one, the other one is it now. At
 * start both queues are armed, with n+1 and n+2. After that only the active one
 * is, once all that it held has come back: one event is armed, and the other
 * queue, which the device would use at once, is left alone.
 *
 * Interleavings. A vCPU can be stopped between any two instructions, and the
 * host thread that serves our kicks runs beside us when it is not.
 *
 * 1. Event between adding fill and adding copy. The fill is used, the queue is
 *    now `signalled`. The copy lands there and is used at the kick; another vCPU
 *    may run before: the event is late by a few instructions. A fill alone is no
 *    news; its copy is.
 * 2. Event between add and kick: the device sees what is in the ring.
 * 3. Two events before the callback ran, both queues armed (only after start):
 *    both queues are used, values n+1 and n+2. Collecting goes back and forth
 *    until nothing is found.
 * 4. Events when nothing is armed (no callback yet, or before the start): what
 *    we add is used at once: the counter moves, late, with a seed younger than
 *    all of them, and the next callback arms the other queue.
 *
 * No value comes twice. No event is lost, however many come at whatever place;
 * those that are late share one value (tests/model/leak.pml looks at them all).
 * The machines that come from one late event have the same identity for as
 * long as they have the same counter: microseconds, but not none.
 * The first identity comes by the request queue (rng_entropy.c), not from this
 * kernel's generator, which is the same in machines that were copied before.
 * Whenever reporting ends, the identity is cleared: nobody would renew it.
 *
 * Nothing here loops on the device's behaviour: a callback takes what is there
 * (two buffers a queue at most), arms once, and leaves. A device that uses
 * everything at once for ever is slowed down to a few events a second
 * (RNG_LEAK_BURST); one that answers nonsense is not armed again, which
 * programs can see in the page's second word, and entropy keeps flowing.
 *
 * The seed is mixed into the kernel's pool right in the callback. Forcing the
 * CRNG to use the pool, poll() and the uevent need process context: `react`.
 * Confirming: the device numbers its events. `react` reads the number, collects
 * what came before it was read, has the CRNG take a new key, and then writes the
 * number back. Events that nobody was told of are covered by what the request
 * queue brings at a start, or by the first seed after it; before, none is written.
 */
#include "rng_leak.h"

#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/random.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/virtio_config.h>

#include "rng_reseed.h"
#include "virtio_rng_leak.h"

/* More events than this in one second: arm again only after a pause. */
#define RNG_LEAK_BURST 256
#define RNG_LEAK_PAUSE (HZ / 8)

/* The CRNG could not be reseeded (not ready, no /dev yet): try again after. */
#define RNG_LEAK_RETRY_MIN (HZ / 16)
#define RNG_LEAK_RETRY_MAX (16 * HZ)

static void leak_give_up(struct rng_leak *leak, const char *why)
{
	if (leak->broken)
		return;
	leak->broken = true;
	rng_vdso_disarm(&leak->vdso);
	rng_gen_set_watched(leak->gen, false);
	dev_warn(leak->dev, "%s: leak reporting is off\n", why);
}

static int leak_add_fill(struct rng_leak *leak, struct rng_leak_queue *q)
{
	struct scatterlist sg[2];
	int err;

	sg_init_table(sg, ARRAY_SIZE(sg));
	sg_set_buf(&sg[0], q->buf->seed, sizeof(q->buf->seed));
	sg_set_buf(&sg[1], rng_gen_identity(leak->gen), RNG_GEN_IDENTITY_LEN);
	err = virtqueue_add_inbuf(q->vq, sg, ARRAY_SIZE(sg), q->buf->seed,
				  GFP_ATOMIC);
	if (err)
		return err;
	q->fill_pending = true;
	return 0;
}

static int leak_add_copy(struct rng_leak *leak, struct rng_leak_queue *q)
{
	struct scatterlist from, to[RNG_VDSO_COPIES], *sgs[] = { &from, to };
	unsigned int n;
	int err;

	n = rng_vdso_copies(&leak->vdso, q->buf->value, to,
			    rng_gen_word(leak->gen), leak->next + 1);
	sg_init_one(&from, q->buf->value, n * sizeof(q->buf->value[0]));
	err = virtqueue_add_sgs(q->vq, sgs, 1, 1, q->buf->value, GFP_ATOMIC);
	if (err)
		return err;
	q->copy_pending = true;
	q->copy_len = n * sizeof(q->buf->value[0]);
	q->value = ++leak->next;
	return 0;
}

/*
 * Fill before copy. A queue that has not come back whole is left alone: the
 * rest of it is on its way, and brings us here again.
 */
static void leak_arm(struct rng_leak *leak, unsigned int i)
{
	struct rng_leak_queue *q = &leak->queue[i];
	int err;

	if (leak->broken || q->fill_pending || q->copy_pending)
		return;
	err = leak_add_fill(leak, q);
	if (!err)
		err = leak_add_copy(leak, q);
	virtqueue_kick(q->vq);
	if (err)
		leak_give_up(leak, "cannot queue a leak request");
}

/* The vDSO relies on what is armed whole, and on nothing else. */
static void leak_arm_active(struct rng_leak *leak)
{
	const struct rng_leak_queue *q = &leak->queue[leak->active];

	leak_arm(leak, leak->active);
	if (!leak->broken && q->fill_pending && q->copy_pending)
		rng_vdso_arm(&leak->vdso, leak->latest);
}

/*
 * The device has used a fill request: mix the seed, even a short one. An
 * identity that was not filled whole, or that will not be the next time, is
 * none.
 */
static void leak_take_seed(struct rng_leak *leak, struct rng_leak_queue *q,
			   unsigned int len)
{
	q->fill_pending = false;
	if (!len) {
		leak_give_up(leak, "the device left a fill request empty");
		return;
	}
	if (len < RNG_LEAK_FILL_LEN || leak->broken)
		rng_gen_clear_identity(leak->gen);
	if (len < RNG_LEAK_SEED_LEN)
		leak->confirms = false;
	leak->covered = true;
	len = min_t(unsigned int, len, sizeof(q->buf->seed));
	add_device_randomness(q->buf->seed, len);
	rng_gen_set_seed(leak->gen, q->buf->seed, len);
	memzero_explicit(q->buf->seed, sizeof(q->buf->seed));
}

/* The device has used a copy request: the counter has moved, or ought to. */
static void leak_take_copy(struct rng_leak *leak, unsigned int i,
			   unsigned int len)
{
	struct rng_leak_queue *q = &leak->queue[i];
	unsigned long value = q->value;

	q->copy_pending = false;
	if (len != q->copy_len) {
		leak_give_up(leak, "the device refused a copy request");
		/* An event it was all the same: programs must see a change. */
		value = max(value, leak->latest + 1);
	}
	rng_gen_raise(leak->gen, value);
	if (value <= leak->latest)
		return;
	leak->latest = value;
	leak->active = !i;
}

/* Takes what the device has used of queue i. True if an event is complete. */
static bool leak_drain(struct rng_leak *leak, unsigned int i)
{
	struct rng_leak_queue *q = &leak->queue[i];
	bool event = false;
	unsigned int len;
	void *what;

	while ((what = virtqueue_get_buf(q->vq, &len))) {
		if (what == q->buf->value) {
			leak_take_copy(leak, i, len);
			event = true;
		} else {
			leak_take_seed(leak, q, len);
		}
	}
	return event;
}

static bool leak_is_storm(struct rng_leak *leak)
{
	if (time_after(jiffies, leak->burst_start + HZ)) {
		leak->burst_start = jiffies;
		leak->burst = 0;
	}
	return ++leak->burst > RNG_LEAK_BURST;
}

/* The lock is held. */
static void leak_collect(struct rng_leak *leak)
{
	unsigned int i, idle = 0;
	bool event = false;

	for (i = leak->active; idle < RNG_LEAK_QUEUES; i = !i) {
		bool found = leak_drain(leak, i);

		event |= found;
		idle = found ? 0 : idle + 1;
	}
	if (!event)
		return;
	if (!leak->broken)
		leak->handled = leak->latest;
	mod_delayed_work(system_highpri_wq, &leak->react, 0);

	if (leak_is_storm(leak))
		queue_delayed_work(system_highpri_wq, &leak->rearm,
				   RNG_LEAK_PAUSE);
	else
		leak_arm_active(leak);
}

/**
 * rng_leak_collect() - take used leak requests and arm for the next event
 * @leak: the queue pair
 *
 * The queue callback. Any context, any number of times.
 */
void rng_leak_collect(struct rng_leak *leak)
{
	unsigned long flags;

	spin_lock_irqsave(&leak->lock, flags);
	if (leak->running)
		leak_collect(leak);
	spin_unlock_irqrestore(&leak->lock, flags);
}

static void leak_rearm_work(struct work_struct *work)
{
	struct rng_leak *leak = container_of(to_delayed_work(work),
					     struct rng_leak, rearm);
	unsigned long flags;

	spin_lock_irqsave(&leak->lock, flags);
	if (leak->running)
		leak_arm_active(leak);
	spin_unlock_irqrestore(&leak->lock, flags);
}

/*
 * Reseeds, then tells user space: a program that poll() woke gets fresh bytes
 * from getrandom(). If the CRNG cannot be reseeded yet, the news comes first.
 * Without a leak (a start, a suspend) nobody else in the kernel hears of it.
 */
static void leak_react_work(struct work_struct *work)
{
	struct rng_leak *leak = container_of(to_delayed_work(work),
					     struct rng_leak, react);
	u32 generation = rng_leak_read_generation(leak);
	unsigned long handled, now, flags;
	int err;

	spin_lock_irqsave(&leak->lock, flags);
	if (leak->running)
		leak_collect(leak);
	handled = leak->handled;
	spin_unlock_irqrestore(&leak->lock, flags);

	now = rng_gen_read(leak->gen);
	err = now == leak->told ? rng_reseed_quietly() : rng_reseed_now();
	if (!err) {
		leak->told = now;
		rng_gen_set_reseeded(leak->gen, handled);
		rng_leak_confirm(leak, generation);
	}

	now = rng_gen_read(leak->gen);
	if (now != leak->notified) {
		leak->notified = now;
		rng_gen_notify(leak->gen);
	}

	if (!err || err == -EOPNOTSUPP) {
		leak->retry_delay = RNG_LEAK_RETRY_MIN;
		return;
	}
	/* No effect if a leak has already queued us again. */
	queue_delayed_work(system_highpri_wq, &leak->react, leak->retry_delay);
	leak->retry_delay = min_t(unsigned long, 2 * leak->retry_delay,
				  RNG_LEAK_RETRY_MAX);
}

int rng_leak_init(struct rng_leak *leak, struct virtio_device *vdev,
		  struct rng_gen *gen)
{
	unsigned int i;

	leak->vdev = vdev;
	leak->dev = &vdev->dev;
	leak->gen = gen;
	spin_lock_init(&leak->lock);
	INIT_DELAYED_WORK(&leak->rearm, leak_rearm_work);
	INIT_DELAYED_WORK(&leak->react, leak_react_work);
	leak->retry_delay = RNG_LEAK_RETRY_MIN;
	leak->notified = rng_gen_read(gen);
	leak->told = leak->notified;
	leak->latest = leak->notified;

	for (i = 0; i < RNG_LEAK_QUEUES; i++) {
		struct rng_leak_buf *buf = kzalloc(sizeof(*buf), GFP_KERNEL);

		if (!buf) {
			rng_leak_fini(leak);
			return -ENOMEM;
		}
		leak->queue[i].buf = buf;
	}
	rng_vdso_claim(&leak->vdso, vdev, &leak->epoch);
	rng_epoch_enter(&leak->epoch, leak->dev, rng_gen_word(gen),
			leak->queue[0].buf->seed, leak->queue[1].buf->seed);
	return 0;
}

/* What the device has filled when nobody looked any more, nobody will renew. */
void rng_leak_fini(struct rng_leak *leak)
{
	unsigned int i;

	rng_gen_clear_identity(leak->gen);
	rng_epoch_leave(&leak->epoch);
	rng_vdso_release(&leak->vdso);
	for (i = 0; i < RNG_LEAK_QUEUES; i++) {
		kfree_sensitive(leak->queue[i].buf);
		leak->queue[i].buf = NULL;
	}
}

/**
 * rng_leak_start() - arm both queues of a device that has just been set up
 * @leak: the queue pair
 * @leakq1: the queue that the device uses first
 * @leakq2: the other one
 * @missed: leaks have gone unreported until now: count one ourselves, later
 *
 * An identity stays if there was no leak since we looked the last time.
 */
void rng_leak_start(struct rng_leak *leak, struct virtqueue *leakq1,
		    struct virtqueue *leakq2, bool missed)
{
	unsigned long before = rng_gen_read(leak->gen);
	unsigned long flags;
	unsigned int i;

	spin_lock_irqsave(&leak->lock, flags);
	missed |= leak->half_told;
	leak->half_told = false;
	if (missed || before != leak->latest)
		rng_gen_clear_identity(leak->gen);
	leak->queue[0].vq = leakq1;
	leak->queue[1].vq = leakq2;
	for (i = 0; i < RNG_LEAK_QUEUES; i++) {
		leak->queue[i].fill_pending = false;
		leak->queue[i].copy_pending = false;
	}
	leak->active = 0;
	leak->broken = false;
	leak->confirms = virtio_has_feature(leak->vdev,
					    VIRTIO_RNG_F_LEAK_HANDLED);
	leak->covered = false;
	leak->burst = 0;
	leak->burst_start = jiffies;
	leak->floor = before + missed;
	leak->next = leak->floor;
	leak->latest = before;
	leak->handled = before;
	rng_vdso_start(&leak->vdso);
	leak->running = true;
	for (i = 0; i < RNG_LEAK_QUEUES; i++)
		leak_arm(leak, i);
	/* Events while arming. */
	leak_collect(leak);
	spin_unlock_irqrestore(&leak->lock, flags);
}

/**
 * rng_leak_catch_up() - the second half of a start: count, reseed, tell
 * @leak: the queue pair, armed
 * @mixed: bytes of the device's, asked for since it was started, are in the pool
 *
 * The device's first bytes are in the kernel's pool by now. Our own step is
 * taken after arming, so that no moment is left in which a leak would not be
 * followed by a change. If the device has moved the counter by then, that is the
 * change, and ours is not needed. Sleeps until the CRNG has been reseeded.
 */
void rng_leak_catch_up(struct rng_leak *leak, bool mixed)
{
	unsigned long flags;

	spin_lock_irqsave(&leak->lock, flags);
	leak->covered |= mixed;
	rng_gen_raise(leak->gen, leak->floor);
	leak->latest = max(leak->latest, leak->floor);
	if (!leak->broken) {
		leak->handled = max(leak->handled, leak->floor);
		rng_gen_set_watched(leak->gen, true);
	}
	leak_arm_active(leak);
	mod_delayed_work(system_highpri_wq, &leak->react, 0);
	spin_unlock_irqrestore(&leak->lock, flags);
	flush_delayed_work(&leak->react);
}

/**
 * rng_leak_quiesce() - leave the queues alone from here on
 * @leak: the queue pair; the device may still be running
 * @for_good: not only until the machine wakes up, before which no program runs
 */
void rng_leak_quiesce(struct rng_leak *leak, bool for_good)
{
	unsigned long flags;

	spin_lock_irqsave(&leak->lock, flags);
	leak->running = false;
	rng_vdso_disarm(&leak->vdso);
	if (for_good)
		rng_gen_set_watched(leak->gen, false);
	spin_unlock_irqrestore(&leak->lock, flags);
}

/*
 * An event between our adding of fill and copy has used the fill; the reset may
 * have come before the kick: the event is over, and the counter has not moved.
 */
static bool leak_is_half_told(struct rng_leak *leak, struct rng_leak_queue *q)
{
	if (!q->copy_pending || rng_gen_read(leak->gen) >= q->value)
		return false;
	return !q->fill_pending ||
	       memchr_inv(q->buf->seed, 0, sizeof(q->buf->seed));
}

/* The device has been reset: it holds nothing of ours any more. */
void rng_leak_stop(struct rng_leak *leak)
{
	unsigned int i;

	cancel_delayed_work_sync(&leak->rearm);
	cancel_delayed_work_sync(&leak->react);
	for (i = 0; i < RNG_LEAK_QUEUES; i++) {
		leak->half_told |= leak_is_half_told(leak, &leak->queue[i]);
		/* The counter may have moved with nobody left to collect the seed. */
		add_device_randomness(leak->queue[i].buf->seed, RNG_LEAK_SEED_LEN);
		memzero_explicit(leak->queue[i].buf->seed, RNG_LEAK_SEED_LEN);
	}
}
