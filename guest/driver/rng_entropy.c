// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The request queue: random bytes from the device for the hwrng core.
 *
 * One buffer, one request: while the device has it, it is `pending`; when the
 * device has used it, its bytes wait to be handed out.
 *
 * Bytes that were fetched before an entropy leak are the same in every copy of
 * this machine. Each request carries the generation that was read just before
 * it was posted. If the counter still reads the same *after* bytes were copied
 * out, no leak lies between post and copy. If not, the device may have filled
 * the buffer before the leak or after; all of it is thrown away. The counter
 * changes while no vCPU runs, so this is exact, not as late as the interrupt.
 *
 * The hwrng core has a buffer of its own, and hands out later what it did not
 * need at once. Where there is <linux/random_epoch.h>, the core drops it itself.
 * Elsewhere a driver cannot reach that buffer, but it decides what gets in:
 * a program that reads /dev/hwrng gets one byte a call from us (the core asks
 * again until its read is complete), so nothing stays behind in the core. That
 * is done only if the device reports leaks. The core's own thread takes whole
 * buffers: it stirs them into the kernel's pool and gives them to nobody.
 *
 * The same queue brings the machine's first identity, onto the counter page.
 *
 * Out of reach: bytes that another hwrng left in the core's buffer before this
 * one was selected, and bytes that a program has already got.
 */
#include "rng_entropy.h"

#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/nospec.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "rng_gen.h"

/* A read gives up after so many buffers that a leak has spoilt, one by one. */
#define RNG_ENTROPY_TRIES 32
/* What a start waits for the device's first bytes. */
#define RNG_ENTROPY_PATIENCE (HZ / 2)

static unsigned long entropy_generation(const struct rng_entropy *e)
{
	return e->gen ? rng_gen_read(e->gen) : 0;
}

/* Posts the buffer. The lock is held. */
static int entropy_request(struct rng_entropy *e)
{
	struct scatterlist sg;
	int err;

	e->pos = 0;
	e->len = 0;
	e->empty = false;
	e->generation = entropy_generation(e);
	barrier(); /* no byte of the answer may be older than that */

	sg_init_one(&sg, e->buf, RNG_ENTROPY_LEN);
	err = virtqueue_add_inbuf(e->vq, &sg, 1, e->buf, GFP_ATOMIC);
	if (err)
		return err;
	e->pending = true;
	virtqueue_kick(e->vq);
	return 0;
}

/*
 * Posts a request for an identity, straight onto the counter page. At each leak
 * the device fills another one in the same place; whichever comes last, no two
 * machines have the same. The lock is held.
 */
static void entropy_request_identity(struct rng_entropy *e)
{
	u8 *identity = rng_gen_identity(e->gen);
	struct scatterlist sg;

	sg_init_one(&sg, identity, RNG_GEN_IDENTITY_LEN);
	/* If there is no room, the first leak brings the first identity. */
	if (virtqueue_add_inbuf(e->vq, &sg, 1, identity, GFP_ATOMIC))
		return;
	e->identifying = true;
	virtqueue_kick(e->vq);
}

/* Part of one is none, and nobody would renew one that nobody watches. */
static void entropy_take_identity(struct rng_entropy *e, unsigned int len)
{
	e->identifying = false;
	if (len < RNG_GEN_IDENTITY_LEN || !rng_gen_is_watched(e->gen))
		rng_gen_clear_identity(e->gen);
}

/*
 * Copies what is there. The lock is held, no request is pending.
 * Return: bytes copied; 0 if a new request had to be posted first; or -errno.
 */
static int entropy_take(struct rng_entropy *e, u8 *to, unsigned int size)
{
	unsigned int n, pos;
	bool empty = e->empty;
	int err;

	n = min(size, e->len - e->pos);
	pos = array_index_nospec(e->pos, RNG_ENTROPY_LEN);
	memcpy(to, e->buf + pos, n);
	memzero_explicit(e->buf + pos, n);
	e->pos += n;

	barrier(); /* the check is only worth something after the copy */
	if (entropy_generation(e) != e->generation) {
		memzero_explicit(to, n);
		memzero_explicit(e->buf, RNG_ENTROPY_LEN);
		e->pos = e->len;
		n = 0;
	}
	if (e->pos < e->len)
		return n;

	/* The device must give at least one byte; it may do better next time. */
	err = entropy_request(e);
	if (!err && empty)
		err = -EIO;
	if (n)
		return n;
	return err;
}

static bool entropy_may_take(struct rng_entropy *e)
{
	return !READ_ONCE(e->pending) || !READ_ONCE(e->running);
}

/* Return: 0 when there is something to take, or why the wait ended. */
static int entropy_wait(struct rng_entropy *e)
{
	for (;;) {
		long left = wait_event_interruptible_timeout(e->wait,
							     entropy_may_take(e),
							     HZ);
		if (left < 0)
			return left;
		if (left > 0)
			return 0;
		/*
		 * The core's thread cannot be interrupted, and keeps others out
		 * while it is here. It comes back in ten seconds.
		 */
		if (current->flags & PF_KTHREAD)
			return -ETIMEDOUT;
	}
}

/**
 * rng_entropy_read() - random bytes
 * @e: the request queue
 * @buf: where to
 * @size: how many, at most
 * @wait: until there are some
 *
 * The hwrng core lets in one caller at a time. If the counter does not hold
 * still, no bytes are good for anything, and nobody is kept here for that.
 *
 * Return: the number of bytes, possibly fewer than @size, or -errno.
 */
int rng_entropy_read(struct rng_entropy *e, void *buf, size_t size, bool wait)
{
	unsigned int tries = 0;
	u8 *to = buf;
	size_t got = 0;
	int ret = 0;

#ifndef RNG_HAVE_RANDOM_EPOCH
	/* Leave nothing behind in the core: see above. */
	if (e->gen && !(current->flags & PF_KTHREAD))
		size = min_t(size_t, size, 1);

#endif
	while (got < size) {
		spin_lock_irq(&e->lock);
		if (!e->running)
			ret = -ENODEV;
		else if (e->pending)
			ret = 0;
		else
			ret = entropy_take(e, to + got, size - got);
		spin_unlock_irq(&e->lock);

		if (ret < 0)
			break;
		got += ret;
		if (ret > 0) {
			tries = 0;
			continue;
		}
		if (!wait)
			break;
		if (++tries > RNG_ENTROPY_TRIES) {
			ret = -EIO;
			break;
		}
		ret = entropy_wait(e);
		if (ret)
			break;
	}
	if (got)
		return got;
	return ret;
}

/* The queue callback. */
void rng_entropy_done(struct rng_entropy *e)
{
	unsigned long flags;
	unsigned int len;
	void *what;

	spin_lock_irqsave(&e->lock, flags);
	while (e->running && (what = virtqueue_get_buf(e->vq, &len))) {
		if (what != e->buf) {
			entropy_take_identity(e, len);
			continue;
		}
		e->len = min_t(unsigned int, len, RNG_ENTROPY_LEN);
		e->empty = !len;
		WRITE_ONCE(e->pending, false);
		wake_up(&e->wait);
	}
	spin_unlock_irqrestore(&e->lock, flags);
}

int rng_entropy_init(struct rng_entropy *e, struct rng_gen *gen)
{
	e->gen = gen;
	spin_lock_init(&e->lock);
	init_waitqueue_head(&e->wait);
	e->buf = kzalloc(RNG_ENTROPY_LEN, GFP_KERNEL);
	return e->buf ? 0 : -ENOMEM;
}

void rng_entropy_fini(struct rng_entropy *e)
{
	kfree_sensitive(e->buf);
	e->buf = NULL;
}

/* The device is up: a request is with it from now on whenever possible. */
void rng_entropy_start(struct rng_entropy *e, struct virtqueue *vq)
{
	spin_lock_irq(&e->lock);
	e->vq = vq;
	e->pending = false;
	e->running = true;
	entropy_request(e); /* if not, the next read tries and says why */
	spin_unlock_irq(&e->lock);
}

/**
 * rng_entropy_mix() - put the device's next bytes into the kernel's pool
 * @e: the request queue, started
 *
 * Waits for them, but not for long. A leak that comes meanwhile brings a seed of
 * its own.
 *
 * Return: whether there were enough of them to reseed with.
 */
bool rng_entropy_mix(struct rng_entropy *e)
{
	u8 bytes[RNG_ENTROPY_LEN];
	int n = 0;

	if (!wait_event_timeout(e->wait, entropy_may_take(e),
				RNG_ENTROPY_PATIENCE))
		return false;
	spin_lock_irq(&e->lock);
	if (e->running && !e->pending)
		n = entropy_take(e, bytes, sizeof(bytes));
	spin_unlock_irq(&e->lock);
	if (n > 0)
		add_device_randomness(bytes, n);
	memzero_explicit(bytes, sizeof(bytes));
	return n >= RNG_ENTROPY_SEED_LEN;
}

/* Has the device give the machine an identity if it has none. */
void rng_entropy_identify(struct rng_entropy *e)
{
	spin_lock_irq(&e->lock);
	if (e->running && !e->identifying && rng_gen_is_watched(e->gen) &&
	    !rng_gen_has_identity(e->gen))
		entropy_request_identity(e);
	spin_unlock_irq(&e->lock);
}

/* From here on the queue is left alone and readers get -ENODEV. */
void rng_entropy_quiesce(struct rng_entropy *e)
{
	spin_lock_irq(&e->lock);
	WRITE_ONCE(e->running, false);
	spin_unlock_irq(&e->lock);
	wake_up(&e->wait);
}

/*
 * The device has been reset. An identity that was under way may be there in part;
 * cleared later, while leaks are reported again, it could be a new one.
 */
void rng_entropy_stop(struct rng_entropy *e)
{
	spin_lock_irq(&e->lock);
	if (e->identifying)
		rng_gen_clear_identity(e->gen);
	e->identifying = false;
	spin_unlock_irq(&e->lock);
}
