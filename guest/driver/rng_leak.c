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
 *	copy	one word that the device copies onto the counter page.
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
 * one. What is added to `signalled` afterwards is used at once. The driver
 * keeps `active` as it believes it to be. At start both queues are armed, with
 * n+1 and n+2. The first sign of an event in queue q (its fill or its copy was
 * used) makes the other queue the active one; that one is armed, unless it
 * still is. So in steady state one event is armed, and q, which the device
 * would use at once, is left alone.
 *
 * Interleavings. A vCPU can be stopped between any two instructions, and the
 * host thread that serves our kicks runs beside us when it is not.
 *
 * 1. Event between adding fill and adding copy. The fill is used, the queue is
 *    now `signalled`. The copy lands there and is used at once: the counter
 *    moves as soon as this function kicks, on a vCPU that has done nothing
 *    else in between. (Another vCPU may run in that gap: the event is late by
 *    a few instructions.)
 * 2. Event between add and kick. The device sees what is in the ring, kicked
 *    or not. The kick then finds the queue empty.
 * 3. Event while this code runs, on the other queue: the callback for it waits
 *    for the lock and finds everything in its place.
 * 4. Two events before the callback ran, both queues armed (only after start):
 *    both queues are used, values n+1 and n+2. Collecting starts with the
 *    queue believed active and goes back and forth until nothing is found, so
 *    `active` follows the device's.
 * 5. An event when nothing is armed (the callback of the one before has not
 *    run). The device can only swap the queues. We arm the queue that we
 *    believe active; it is `signalled`, so it is used at once: the counter
 *    moves, late, and the next callback arms the right queue. This is also how
 *    events between DRIVER_OK and arming are reported.
 * 6. Copy used with no fill collected beside it (1, when the callback came in
 *    between; or a further event hit a queue with only its copy left). The
 *    driver cannot tell how old the seed is that it has already mixed in. It
 *    asks for another, by a fill alone in that queue: it is signalled, so a
 *    seed comes at once. Until then that generation does not count as handled.
 *    A fill that was asked for is no sign of an event. It renews the identity
 *    once more, for the same reason.
 * 7. The queues are used in another order than believed (events before both
 *    were armed, with a kick that the host had not served yet). A queue may
 *    then hold a value that the counter has already passed. The copy source is
 *    ordinary memory: it is rewritten with a higher value as soon as seen.
 *
 * Values are given out in rising order, one a copy request, and no value comes
 * twice. What is not covered: one leak between fill and copy, and two more
 * before the callback for it has run (or three while starting up), or five
 * without a rest. The driver cannot tell what happened then: the counter may
 * take one step back, and the last of them may have no seed of its own, or not
 * be seen at all (tests/model/leak.pml has the traces). The
 * machines that come from one late event have the same identity for as long as
 * they have the same counter, and if it hit a queue with only its copy left (6)
 * until the fill that is asked for is used: microseconds, but not none.
 *
 * The first identity comes from the device as well, by the request queue
 * (rng_entropy.c), not from this kernel's generator, which is the same in
 * machines that were copied before this driver was there. Whenever reporting
 * ends, the identity is cleared: nobody would renew it.
 *
 * Nothing here loops on the device's behaviour: a callback takes what is there
 * (two buffers a queue at most), arms once, and leaves. A device that uses
 * everything at once for ever is slowed down to a few events a second
 * (RNG_LEAK_BURST); one that answers nonsense is not armed again, which
 * programs can see in the page's second word, and entropy keeps flowing.
 *
 * The seed is mixed into the kernel's pool right in the callback. Forcing the
 * CRNG to use the pool, poll() and the uevent need process context: `react`.
 */
#include "rng_leak.h"

#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/random.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "rng_reseed.h"

/* More events than this in one second: arm again only after a pause. */
#define RNG_LEAK_BURST 256
#define RNG_LEAK_PAUSE (HZ / 8)

/* The CRNG could not be reseeded (not ready, no /dev yet): try again after. */
#define RNG_LEAK_RETRY_MIN (HZ / 16)
#define RNG_LEAK_RETRY_MAX (16 * HZ)

/* What was found in a queue. */
#define LEAK_EVENT 1
#define LEAK_SEED 2

static void leak_give_up(struct rng_leak *leak, const char *why)
{
	if (leak->broken)
		return;
	leak->broken = true;
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
	q->fill_asked = false;
	return 0;
}

static int leak_add_copy(struct rng_leak *leak, struct rng_leak_queue *q)
{
	struct scatterlist from, to, *sgs[] = { &from, &to };
	int err;

	WRITE_ONCE(q->buf->value, leak->next + 1);
	sg_init_one(&from, &q->buf->value, sizeof(q->buf->value));
	sg_init_one(&to, rng_gen_word(leak->gen), sizeof(unsigned long));
	err = virtqueue_add_sgs(q->vq, sgs, 1, 1, &q->buf->value, GFP_ATOMIC);
	if (err)
		return err;
	q->copy_pending = true;
	q->fill_asked = false;
	q->value = ++leak->next;
	return 0;
}

/* Makes queue i hold what it lacks, fill before copy. */
static void leak_arm(struct rng_leak *leak, unsigned int i)
{
	struct rng_leak_queue *q = &leak->queue[i];
	int err = 0;

	if (leak->broken || (q->fill_pending && q->copy_pending))
		return;
	if (!q->fill_pending)
		err = leak_add_fill(leak, q);
	if (!err && !q->copy_pending)
		err = leak_add_copy(leak, q);
	virtqueue_kick(q->vq);
	if (err)
		leak_give_up(leak, "cannot queue a leak request");
}

/*
 * Interleaving 7: no armed value may lie behind the counter. Compared with
 * what has been collected, not with the counter itself: that may have moved
 * since, by the very request that would be changed here.
 */
static void leak_renew_values(struct rng_leak *leak)
{
	unsigned int i;

	leak->next = max(leak->next, leak->latest);
	for (i = 0; i < RNG_LEAK_QUEUES; i++) {
		struct rng_leak_queue *q = &leak->queue[i];

		if (q->copy_pending && q->buf->value <= leak->latest)
			WRITE_ONCE(q->buf->value, ++leak->next);
	}
}

/*
 * The device has used a fill request: mix the seed, even a short one. False if
 * there is none. An identity that was not filled whole, or that will not be the
 * next time, is none.
 */
static bool leak_take_seed(struct rng_leak *leak, struct rng_leak_queue *q,
			   unsigned int len)
{
	q->fill_pending = false;
	if (!len) {
		leak_give_up(leak, "the device left a fill request empty");
		return false;
	}
	if (len < RNG_LEAK_FILL_LEN || leak->broken)
		rng_gen_clear_identity(leak->gen);
	len = min_t(unsigned int, len, sizeof(q->buf->seed));
	add_device_randomness(q->buf->seed, len);
	rng_gen_set_seed(leak->gen, q->buf->seed, len);
	memzero_explicit(q->buf->seed, sizeof(q->buf->seed));
	return true;
}

/* The device has used a copy request: the counter has moved, or ought to. */
static void leak_take_copy(struct rng_leak *leak, struct rng_leak_queue *q,
			   unsigned int len)
{
	q->copy_pending = false;
	if (len != sizeof(unsigned long)) {
		leak_give_up(leak, "the device refused a copy request");
		/* An event it was all the same: programs must see a change. */
		rng_gen_raise(leak->gen, leak->latest + 1);
	}
	rng_gen_raise(leak->gen, q->value);
	leak->latest = max(leak->latest, rng_gen_read(leak->gen));
}

/* Interleaving 6. */
static void leak_ask_for_seed(struct rng_leak *leak, struct rng_leak_queue *q)
{
	if (q->fill_pending || leak->broken)
		return;
	if (leak_add_fill(leak, q))
		leak_give_up(leak, "cannot queue a leak request");
	else
		q->fill_asked = true;
	virtqueue_kick(q->vq);
}

/*
 * Takes what the device has used of queue i. Returns LEAK_EVENT if that is the
 * first sign of an event, LEAK_SEED if it is only a seed that was asked for.
 */
static unsigned int leak_drain(struct rng_leak *leak, unsigned int i)
{
	struct rng_leak_queue *q = &leak->queue[i];
	bool seed = false, copy = false, asked = false;
	unsigned long known = leak->latest;
	unsigned int len;
	void *what;

	while ((what = virtqueue_get_buf(q->vq, &len))) {
		if (what == &q->buf->value) {
			leak_take_copy(leak, q, len);
			copy = true;
			continue;
		}
		asked = q->fill_asked;
		seed = leak_take_seed(leak, q, len);
	}
	if (seed)
		leak->seed_owed = false;
	if (copy && !seed) {
		/* Interleaving 1, but a later event has been seen before. */
		if (leak->latest == known)
			return 0;
		leak->seed_owed = true;
		leak_ask_for_seed(leak, q);
	}
	if (copy || (seed && !asked))
		return LEAK_EVENT;
	return seed ? LEAK_SEED : 0;
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
	unsigned int i, idle = 0, all = 0;

	for (i = leak->active; idle < RNG_LEAK_QUEUES; i = !i) {
		unsigned int found = leak_drain(leak, i);

		if (found & LEAK_EVENT)
			leak->active = !i;
		all |= found;
		idle = found ? 0 : idle + 1;
	}
	if (!all)
		return;
	if (!leak->seed_owed)
		leak->handled = leak->latest;
	mod_delayed_work(system_highpri_wq, &leak->react, 0);

	if (!(all & LEAK_EVENT))
		return;
	leak_renew_values(leak);
	if (leak_is_storm(leak))
		queue_delayed_work(system_highpri_wq, &leak->rearm,
				   RNG_LEAK_PAUSE);
	else
		leak_arm(leak, leak->active);
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
		leak_arm(leak, leak->active);
	spin_unlock_irqrestore(&leak->lock, flags);
}

/*
 * Reseeds, then tells user space: a program that poll() woke gets fresh bytes
 * from getrandom(). If the CRNG cannot be reseeded yet, the news comes first.
 */
static void leak_react_work(struct work_struct *work)
{
	struct rng_leak *leak = container_of(to_delayed_work(work),
					     struct rng_leak, react);
	unsigned long handled, now, flags;
	int err;

	spin_lock_irqsave(&leak->lock, flags);
	handled = leak->handled;
	spin_unlock_irqrestore(&leak->lock, flags);

	err = rng_reseed_now();
	if (!err)
		rng_gen_set_reseeded(leak->gen, handled);

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

int rng_leak_init(struct rng_leak *leak, struct device *dev,
		  struct rng_gen *gen)
{
	unsigned int i;

	leak->dev = dev;
	leak->gen = gen;
	spin_lock_init(&leak->lock);
	INIT_DELAYED_WORK(&leak->rearm, leak_rearm_work);
	INIT_DELAYED_WORK(&leak->react, leak_react_work);
	leak->retry_delay = RNG_LEAK_RETRY_MIN;
	leak->notified = rng_gen_read(gen);

	for (i = 0; i < RNG_LEAK_QUEUES; i++) {
		leak->queue[i].buf = kzalloc(sizeof(*leak->queue[i].buf),
					     GFP_KERNEL);
		if (!leak->queue[i].buf) {
			rng_leak_fini(leak);
			return -ENOMEM;
		}
	}
	return 0;
}

void rng_leak_fini(struct rng_leak *leak)
{
	unsigned int i;

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
 * @advance: leaks may have gone unreported until now: count one ourselves
 *
 * Our own step is taken after arming, so that no moment is left in which a
 * leak would not be followed by a change. If the device has moved the counter
 * by then, that is the change, and ours is not needed.
 */
void rng_leak_start(struct rng_leak *leak, struct virtqueue *leakq1,
		    struct virtqueue *leakq2, bool advance)
{
	unsigned long before = rng_gen_read(leak->gen);
	unsigned long flags;
	unsigned int i;

	rng_epoch_enter(&leak->epoch, leak->dev, rng_gen_word(leak->gen),
			leak->queue[0].buf->seed, leak->queue[1].buf->seed);
	spin_lock_irqsave(&leak->lock, flags);
	leak->queue[0].vq = leakq1;
	leak->queue[1].vq = leakq2;
	for (i = 0; i < RNG_LEAK_QUEUES; i++) {
		leak->queue[i].fill_pending = false;
		leak->queue[i].copy_pending = false;
	}
	leak->active = 0;
	leak->seed_owed = false;
	leak->broken = false;
	leak->burst = 0;
	leak->burst_start = jiffies;
	leak->next = before + advance;
	leak->latest = before;
	leak->running = true;
	for (i = 0; i < RNG_LEAK_QUEUES; i++)
		leak_arm(leak, i);

	if (advance)
		rng_gen_raise(leak->gen, before + 1);
	leak->latest = before + advance;
	leak->handled = leak->latest;
	if (!leak->broken)
		rng_gen_set_watched(leak->gen, true);
	if (advance)
		mod_delayed_work(system_highpri_wq, &leak->react, 0);
	/* Events while arming: interleaving 7 can be put right at once. */
	leak_collect(leak);
	spin_unlock_irqrestore(&leak->lock, flags);
}

/* From here on the queues are left alone; the device may still be running. */
void rng_leak_quiesce(struct rng_leak *leak)
{
	unsigned long flags;

	spin_lock_irqsave(&leak->lock, flags);
	leak->running = false;
	rng_gen_set_watched(leak->gen, false);
	spin_unlock_irqrestore(&leak->lock, flags);
}

/*
 * The device has been reset: it holds nothing of ours any more. What it has
 * filled since we looked away, nobody will renew.
 */
void rng_leak_stop(struct rng_leak *leak)
{
	unsigned int i;

	cancel_delayed_work_sync(&leak->rearm);
	cancel_delayed_work_sync(&leak->react);
	rng_gen_clear_identity(leak->gen);
	/* The counter may have moved with nobody left to collect the seed. */
	for (i = 0; i < RNG_LEAK_QUEUES; i++)
		add_device_randomness(leak->queue[i].buf->seed, RNG_LEAK_SEED_LEN);
	rng_epoch_leave(&leak->epoch);
	for (i = 0; i < RNG_LEAK_QUEUES; i++)
		memzero_explicit(leak->queue[i].buf->seed, RNG_LEAK_SEED_LEN);
}
