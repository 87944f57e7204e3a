// SPDX-License-Identifier: Apache-2.0
/*
 * See model.h.
 */
#include "model.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "rng_gen.h"
#include "rng_reseed.h"
#include "virtio_rng_leak.h"

#define MODEL_WORKS    4
#define MODEL_PATIENCE 10000

struct model m;
unsigned long jiffies;
static struct task_struct model_task;
struct task_struct *current = &model_task;

static struct {
	struct delayed_work *work;
	unsigned long due;
} model_works[MODEL_WORKS];
static struct virtio_device model_vdev;

static void model_check_vdso(void);

/* The guest's side of the ring. */

static int model_add(struct virtqueue *vq, const struct model_request *r, unsigned int descriptors)
{
	unsigned int taken = 0;

	for (unsigned int i = 0; i < vq->n_avail; i++)
		taken += vq->avail[i].from || vq->avail[i].identity ? 2 : 1;
	if (m.room && taken + descriptors > m.room)
		return -ENOSPC;
	assert_true(vq->n_avail + vq->n_used < MODEL_QUEUE_SIZE);
	kshim_step();
	vq->avail[vq->n_avail++] = *r;
	kshim_step();
	return 0;
}

int virtqueue_add_inbuf(struct virtqueue *vq, struct scatterlist *sg, unsigned int n, void *data, gfp_t gfp)
{
	struct model_request r = {
		.token = data,
		.to = sg->buf,
		.to_len = sg->len,
	};

	assert_int_equal(gfp, GFP_ATOMIC);
	assert_int_equal(n, vq == &m.request ? 1 : 2);
	if (n == 2) {
		assert_int_equal(r.to_len, RNG_LEAK_SEED_LEN);
		r.identity = sg[1].buf;
		r.identity_len = sg[1].len;
	}
	return model_add(vq, &r, n);
}

int virtqueue_add_sgs(struct virtqueue *vq, struct scatterlist *sgs[], unsigned int out, unsigned int in, void *data,
		      gfp_t gfp)
{
	struct model_request r = {
		.token = data,
		.from = sgs[0]->buf,
		.from_len = sgs[0]->len,
		.to = sgs[1]->buf,
		.to_len = sgs[1]->len,
	};

#ifdef RNG_HAVE_VDSO_EPOCH
	r.vdso = sgs[1][1].buf;
	r.vdso_len = sgs[1][1].len;
#endif
	assert_int_equal(out, 1);
	assert_int_equal(in, 1);
	assert_int_equal(gfp, GFP_ATOMIC);
	return model_add(vq, &r, 2);
}

bool virtqueue_kick(struct virtqueue *vq)
{
	kshim_step();
	vq->kicked = true;
	if (!m.slow_kicks)
		model_serve_kicks();
	kshim_step();
	return true;
}

void *virtqueue_get_buf(struct virtqueue *vq, unsigned int *len)
{
	void *token;

	kshim_step();
	if (!vq->n_used)
		return NULL;
	token = vq->used[0].token;
	*len = vq->used[0].used_len;
	memmove(vq->used, vq->used + 1, --vq->n_used * sizeof(vq->used[0]));
	kshim_step();
	return token;
}

/* The device's side. */

/* Each in its place, whole, and from here only. An identity says which one it is. */
static void model_identify(void *to, unsigned int len)
{
	assert_ptr_equal(to, m.identity);
	assert_int_equal(len, sizeof(m.identity));
	m.identities++;
	m.identity[0] = m.identity[1] = MODEL_IDENTITY + m.identities;
	m.identity_after = m.events;
}

static unsigned int model_first_identity(struct model_request *r)
{
	model_identify(r->to, r->to_len);
	if (!m.short_identity)
		return r->to_len;
	m.identity[1] = 0;
	return r->to_len / 2;
}

/* A seed says which one it is. */
static unsigned int model_fill(struct model_request *r)
{
	unsigned long *seed = r->to;

	if (m.empty_fill)
		return 0;
	m.fill_events[++m.fills % 4096] = m.events;
	m.filled_after = m.events;
	if (m.half_seed) {
		memset(seed, 0, RNG_LEAK_SEED_LEN);
		return r->to_len / 2;
	}
	for (unsigned int i = 0; i < r->to_len / sizeof(*seed); i++)
		seed[i] = m.fills;
	if (m.short_fill)
		return r->to_len;
	model_identify(r->identity, r->identity_len);
	return r->to_len + r->identity_len;
}

/* What the kernel would have a device write: no generation of its own. */
static u64 told_generation(unsigned long event)
{
	return ~(u64)event;
}

static bool is_told(u64 generation)
{
	return generation >> 63;
}

static unsigned int model_copy(struct model_request *r)
{
	unsigned long value;
	u64 generation;

	assert_int_equal(r->from_len, r->to_len + r->vdso_len);
	if (m.refuses_copy)
		return 0;
	memcpy(&value, r->from, sizeof(value));
	assert_ptr_equal(r->to, &m.words[0]);
	if (!(value > m.words[0])) {
		fprintf(stderr, "value %lu word %lu events %lu slow %d steps %lu\n", value, m.words[0], m.events,
			m.slow_kicks, m.steps);
	}
	assert_true(value > m.words[0]);
	m.words[0] = value;
	m.changed_after = m.events;
	if (r->vdso) {
		assert_ptr_equal(r->vdso, &m.vdso_generation);
		memcpy(&generation, (const u8 *)r->from + sizeof(value), sizeof(generation));
		assert_int_equal(generation, told_generation(value));
		m.vdso_generation = generation;
	}
	return r->to_len + r->vdso_len;
}

static bool model_use_all(struct virtqueue *vq)
{
	bool any = vq->n_avail > 0;

	if (m.deaf)
		return false;
	for (unsigned int i = 0; i < vq->n_avail; i++) {
		struct model_request r = vq->avail[i];

		if (vq == &m.request && r.to == m.identity) {
			r.used_len = m.empty_fill ? 0 : model_first_identity(&r);
		} else if (vq == &m.request) {
			memset(r.to, (int)(m.events & 0xff), r.to_len);
			r.used_len = m.empty_fill ? 0 : r.to_len;
		} else {
			r.used_len = r.from ? model_copy(&r) : model_fill(&r);
		}
		if (m.overstates)
			r.used_len += 1u << 20;
		vq->used[vq->n_used++] = r;
	}
	vq->n_avail = 0;
	vq->irq |= any;
	return any;
}

/* The seeds of all events so far are there, or nobody is told of them. */
static void model_count(void)
{
	m.generation_events[++m.generation % 4096] = m.events;
}

static void model_swap(void)
{
	model_count();
	m.late = false;
	m.signalled = (int)m.active;
	m.active = !m.active;
}

/* An event that finds nothing armed waits for the next request, or swaps the queues all the same: see model.h. */
void model_event(void)
{
	/* What is in the signalled queue was to be used before this. */
	if (m.signalled >= 0)
		model_use_all(&m.leak[m.signalled]);
	m.events++;
	if (m.stopped) {
		model_count();
		m.unreported++;
		return;
	}
	if (model_use_all(&m.leak[m.active])) {
		model_swap();
		return;
	}
	m.late_events++;
	if (m.late_swaps)
		model_swap();
	m.late = true;
}

static void model_serve_request(void)
{
	if (!m.request.kicked)
		return;
	m.request.kicked = false;
	model_use_all(&m.request);
}

void model_serve_kicks(void)
{
	for (int i = 0; i < 2; i++) {
		if (!m.leak[i].kicked)
			continue;
		m.leak[i].kicked = false;
		if (m.signalled >= 0)
			model_use_all(&m.leak[m.signalled]);
		if (m.uses_at_once)
			model_use_all(&m.leak[i]);
		else if (m.late && !m.late_swaps && model_use_all(&m.leak[m.active]))
			model_swap();
	}
	model_serve_request();
}

static void model_interrupt_request(void)
{
	if (!m.request.irq)
		return;
	m.request.irq = false;
	rng_entropy_done(&m.entropy);
}

void model_interrupt(void)
{
	if (m.locked)
		return;
	model_interrupt_request();
	for (int i = 0; i < 2; i++) {
		if (!m.leak[i].irq)
			continue;
		m.leak[i].irq = false;
		m.callbacks++;
		rng_leak_collect(&m.driver);
		m.callbacks--;
	}
}

bool model_vdso_is_on(void)
{
	return m.vdso_armed && !is_told(m.vdso_generation);
}

/* As long as the vDSO makes bytes itself its key is from after the last event. A device that breaks its rules has not told. */
static void model_check_vdso(void)
{
	if (m.refuses_copy || m.deaf || m.late_swaps || m.uses_at_once || !model_vdso_is_on())
		return;
	assert_int_equal(m.vdso_generation_after, m.events);
}

/* What the driver calls. */

void kshim_step(void)
{
	m.steps++;
	if (m.hook)
		m.hook();
	model_check_vdso();
}

void kshim_lock(void)
{
	kshim_step();
	assert_false(m.locked);
	m.locked = true;
	kshim_step();
}

void kshim_unlock(void)
{
	kshim_step();
	assert_true(m.locked);
	m.locked = false;
	kshim_step();
}

bool kshim_wait(void)
{
	assert_false(m.locked);
	kshim_step();
	if (m.deaf)
		return false;
	if (!m.slow_kicks)
		model_serve_kicks();
	model_serve_request();
	if (m.slow_kicks)
		model_interrupt_request();
	else
		model_interrupt();
	return true;
}

void kshim_warn(const char *text)
{
	assert_non_null(text);
	m.warnings++;
}

void kshim_queue_work(void *work, unsigned long delay, bool replace)
{
	int place = -1;

	for (int i = 0; i < MODEL_WORKS; i++) {
		if (model_works[i].work == work) {
			if (replace)
				model_works[i].due = jiffies + delay;
			return;
		}
		if (!model_works[i].work)
			place = i;
	}
	assert_true(place >= 0);
	model_works[place].work = work;
	model_works[place].due = jiffies + delay;
}

void kshim_cancel_work(void *work)
{
	assert_false(m.locked);
	for (int i = 0; i < MODEL_WORKS; i++) {
		if (model_works[i].work == work)
			model_works[i].work = NULL;
	}
}

void kshim_flush_work(void *work)
{
	assert_false(m.locked);
	for (int i = 0; i < MODEL_WORKS; i++) {
		struct delayed_work *w = model_works[i].work;

		if (w != work || model_works[i].due > jiffies)
			continue;
		model_works[i].work = NULL;
		w->work.func(&w->work);
		return;
	}
}

bool model_work(void)
{
	for (int i = 0; i < MODEL_WORKS; i++) {
		struct delayed_work *w = model_works[i].work;

		if (!w || model_works[i].due > jiffies)
			continue;
		model_works[i].work = NULL;
		w->work.func(&w->work);
		return true;
	}
	return false;
}

/* From the request queue: each byte is the number of events so far. */
static void model_mix_bytes(const u8 *bytes)
{
	m.bytes_mixed++;
	if (*bytes != (m.events & 0xff))
		return; /* a leak meanwhile: it brings a seed */
	m.bytes_after = m.mixed_after = m.events;
	kshim_step();
}

void add_device_randomness(const void *buf, size_t len)
{
	unsigned long seed[RNG_LEAK_SEED_LEN / sizeof(unsigned long)];

	if (m.half_seed && len == sizeof(seed) / 2)
		return; /* worth nothing */
	assert_int_equal(len, sizeof(seed));
	memcpy(seed, buf, len);
	if (buf != m.driver.queue[0].buf->seed && buf != m.driver.queue[1].buf->seed) {
		model_mix_bytes(buf);
		return;
	}
	for (size_t i = 0; i < len / sizeof(*seed); i++)
		assert_int_equal(seed[i], seed[0]);
	if (!seed[0])
		return; /* wiped: there was nothing left to mix in at the end */
	assert_true(seed[0] <= m.fills);
	if (m.fill_events[seed[0] % 4096] > m.mixed_after)
		m.mixed_after = m.fill_events[seed[0] % 4096];
	kshim_step();
}

int rng_reseed_quietly(void)
{
	assert_false(m.locked);
	kshim_step();
	if (m.reseed_error)
		return m.reseed_error;
	m.reseeded_after = m.mixed_after;
	m.reseeds++;
	return 0;
}

int rng_reseed_now(void)
{
	int err = rng_reseed_quietly();

	m.told += !err;
	return err;
}

unsigned long *rng_gen_word(struct rng_gen *gen)
{
	(void)gen;
	return &m.words[0];
}

unsigned long rng_gen_read(const struct rng_gen *gen)
{
	(void)gen;
	kshim_step();
	return m.words[0];
}

void rng_gen_raise(struct rng_gen *gen, unsigned long value)
{
	(void)gen;
	kshim_step();
	if (m.words[0] < value) {
		m.words[0] = value;
		m.changed_after = m.events;
	}
	kshim_step();
}

void rng_gen_set_watched(struct rng_gen *gen, bool watched)
{
	m.words[1] = !watched;
	kshim_step();
	if (!watched)
		rng_gen_clear_identity(gen);
}

bool rng_gen_is_watched(const struct rng_gen *gen)
{
	(void)gen;
	kshim_step();
	return !m.words[1];
}

u8 *rng_gen_identity(struct rng_gen *gen)
{
	(void)gen;
	return (u8 *)m.identity;
}

void rng_gen_clear_identity(struct rng_gen *gen)
{
	(void)gen;
	for (int i = 0; i < 2; i++) {
		kshim_step();
		m.identity[i] = 0;
	}
}

bool rng_gen_has_identity(const struct rng_gen *gen)
{
	(void)gen;
	return m.identity[0] || m.identity[1];
}

void rng_gen_set_seed(struct rng_gen *gen, const void *seed, unsigned int len)
{
	(void)gen;
	assert_true(len <= RNG_LEAK_SEED_LEN);
	assert_true((const u8 *)seed + len <= (u8 *)m.identity || (const u8 *)seed >= (u8 *)(m.identity + 2));
	m.digests++;
}

void rng_gen_set_reseeded(struct rng_gen *gen, unsigned long value)
{
	(void)gen;
	assert_true(value >= m.reseeded);
	assert_true(value <= m.words[0]);
	m.reseeded = value;
}

void rng_gen_notify(struct rng_gen *gen)
{
	(void)gen;
	assert_false(m.locked);
	m.notified = m.words[0];
}

#ifdef RNG_HAVE_VDSO_EPOCH
void rng_epoch_enter(struct rng_epoch *e, struct device *dev, const unsigned long *word, const u8 *seed1,
		     const u8 *seed2)
{
	(void)e;
	(void)dev;
	assert_ptr_equal(word, &m.words[0]);
	assert_ptr_not_equal(seed1, seed2);
}

void rng_epoch_leave(struct rng_epoch *e)
{
	(void)e;
}

/* The kernel stores a new generation, unless the device's is there and is not the one that is dealt with. */
static void model_renew_generation(u64 handled)
{
	if (is_told(m.vdso_generation) && m.vdso_generation != handled)
		return;
	m.vdso_generation = ++m.vdso_own_generation;
	m.vdso_generation_after = m.events;
}

u64 *random_epoch_vdso_claim(const struct random_epoch_source *source)
{
	m.vdso_source = source;
	m.vdso_armed = false;
	model_renew_generation(m.vdso_generation);
	return &m.vdso_generation;
}

u64 random_epoch_vdso_generation(unsigned long event)
{
	return told_generation(event);
}

void random_epoch_vdso_arm(const struct random_epoch_source *source, unsigned long event)
{
	assert_ptr_equal(source, m.vdso_source);
	kshim_step();
	model_renew_generation(told_generation(event));
	kshim_step();
	m.vdso_armed = true;
	kshim_step();
}

void random_epoch_vdso_disarm(const struct random_epoch_source *source)
{
	assert_ptr_equal(source, m.vdso_source);
	kshim_step();
	m.vdso_armed = false;
	kshim_step();
}

void random_epoch_vdso_release(const struct random_epoch_source *source)
{
	assert_ptr_equal(source, m.vdso_source);
	m.vdso_armed = false;
	m.vdso_source = NULL;
}
#endif

bool virtio_has_feature(const struct virtio_device *vdev, unsigned int bit)
{
	if (bit == VIRTIO_F_ACCESS_PLATFORM)
		return false;
	assert_ptr_equal(vdev, &model_vdev);
	assert_int_equal(bit, VIRTIO_RNG_F_LEAK_HANDLED);
	return !m.never_asks;
}

u32 virtio_cread32(struct virtio_device *vdev, unsigned int offset)
{
	u32 value;

	assert_ptr_equal(vdev, &model_vdev);
	assert_int_equal(offset, VIRTIO_RNG_CONFIG_GENERATION);
	assert_false(m.locked || m.never_asks);
	kshim_step();
	value = m.generation;
	kshim_step();
	return value;
}

void virtio_cwrite32(struct virtio_device *vdev, unsigned int offset, u32 value)
{
	assert_ptr_equal(vdev, &model_vdev);
	assert_int_equal(offset, VIRTIO_RNG_CONFIG_HANDLED);
	assert_false(m.locked || m.never_asks);
	kshim_step();
	m.confirmations++;
	if (m.stopped || !(value - m.handled) || value - m.handled > m.generation - m.handled)
		return;
	/* The generator has a seed that is not older than any of these events. */
	assert_true(m.reseeded_after >= m.generation_events[value % 4096]);
	m.handled = value;
	kshim_step();
}

/* The machine. */

void model_boot(void)
{
	struct rng_gen *gen = (struct rng_gen *)(void *)&m;

	memset(&m, 0, sizeof(m));
	memset(model_works, 0, sizeof(model_works));
	model_task.flags = 0;
	m.signalled = -1;
	m.words[1] = 1;
	assert_int_equal(rng_leak_init(&m.driver, &model_vdev, gen), 0);
	assert_int_equal(rng_entropy_init(&m.entropy, gen), 0);
}

/* As rng_main.c does it. */
void model_start(bool missed)
{
	rng_leak_start(&m.driver, &m.leak[0], &m.leak[1], missed);
	rng_entropy_start(&m.entropy, &m.request);
	rng_leak_catch_up(&m.driver, rng_entropy_mix(&m.entropy));
	rng_entropy_identify(&m.entropy);
}

void model_freeze(void)
{
	rng_entropy_quiesce(&m.entropy);
	rng_leak_quiesce(&m.driver, false);
	kshim_step();
	m.stopped = true;
	if (m.late)
		model_count();
	m.unreported += m.late;
	m.late = false;
	memset(&m.request, 0, sizeof(m.request));
	memset(m.leak, 0, sizeof(m.leak));
	m.active = 0;
	m.signalled = -1;
	kshim_step();
	rng_entropy_stop(&m.entropy);
	rng_leak_stop(&m.driver);
	kshim_step();
}

void model_restore(void)
{
	bool missed;

	kshim_step();
	m.stopped = false;
	kshim_step();
	missed = m.unreported != m.known_unreported;
	m.known_unreported = m.unreported;
	model_start(missed);
}

void model_shutdown(void)
{
	m.hook = NULL;
	rng_entropy_quiesce(&m.entropy);
	rng_leak_quiesce(&m.driver, true);
	rng_entropy_stop(&m.entropy);
	rng_leak_stop(&m.driver);
	rng_entropy_fini(&m.entropy);
	rng_leak_fini(&m.driver);
}

bool model_is_at_rest(void)
{
	for (int i = 0; i < MODEL_WORKS; i++) {
		if (model_works[i].work)
			return false;
	}
	return !m.locked && !m.callbacks && !m.leak[0].kicked && !m.leak[1].kicked && !m.leak[0].irq && !m.leak[1].irq;
}

void model_settle(void)
{
	void (*hook)(void) = m.hook;

	m.hook = NULL;
	for (int i = 0; i < MODEL_PATIENCE; i++) {
		model_serve_kicks();
		model_interrupt();
		if (model_work())
			continue;
		if (model_is_at_rest()) {
			m.hook = hook;
			return;
		}
		jiffies++;
	}
	fail_msg("the driver does not come to rest");
}

bool model_has_identity(void)
{
	return m.identity[0] && m.identity[0] == m.identity[1];
}

void model_check_all_reported(void)
{
	model_settle();
	/* Made after the last event: no other machine of that event has it. */
	assert_int_equal(m.identity_after, m.events);
	assert_int_equal(m.identity[0], MODEL_IDENTITY + m.identities);
	assert_true(model_has_identity());
	assert_int_equal(m.changed_after, m.events);
	assert_true(m.filled_after == m.events || m.bytes_after == m.events);
	assert_int_equal(m.mixed_after, m.events);
	assert_int_equal(m.reseeded_after, m.events);
	assert_int_equal(m.reseeded, m.words[0]);
	assert_true(m.never_asks || m.handled == m.generation);
	assert_int_equal(m.notified, m.words[0]);
	assert_int_equal(m.leak[m.active].n_avail, 2);
	assert_int_equal(m.words[1], 0);
}
