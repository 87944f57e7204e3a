// SPDX-License-Identifier: Apache-2.0
/*
 * The entropy device and its request queue (virtio 1.2, section 5.4). The leak
 * queues are in rng_leak.c, the configuration space in rng_config.c.
 *
 * Random bytes go from the host kernel straight into guest memory; nothing is
 * kept here, so that a copy of the monitor has nothing of it either.
 *
 * A request that makes no sense (no room, readable buffers, an address that is
 * no memory) is given back with length 0, counted and logged: the ring is still
 * in order and the driver finds out. A host without random bytes leaves the
 * device in need of a reset, since section 5.4.6.1 wants at least one byte and
 * anything else would be taken for randomness.
 *
 * Loop thread with the device's lock held, but for reset and config access (any thread).
 */
#include "virtio/rng.h"

#include <stdlib.h>
#include <string.h>

#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

#include "base/log.h"
#include "base/rand.h"
#include "state/codec.h"
#include "state/limiter.h"
#include "state/table.h"
#include "virtio/rng_internal.h"
#include "virtio_rng_leak.h"

METRICS_DEFINE(entropy, ENTROPY_METRICS, false)

#define RNG_QUEUE_SIZE 256
#define RNG_BATCH      32 /* requests a turn, if RNG_TURN_BYTES do not end it before */

static struct rng *rng_from_vdev(struct virtio_dev *vdev)
{
	return (struct rng *)vdev;
}

int rng_fill(const struct virtq *q, const struct virtq_chain *chain, uint64_t len)
{
	struct iovec iov[VIRTQ_MAX_SIZE];
	int num = virtq_chain_lease(q, chain, 0, len, iov);
	int r = 0;

	if (num < 0)
		return num;
	for (int i = 0; i < num && !r; i++)
		r = rand_bytes(iov[i].iov_base, iov[i].iov_len);
	virtq_release(q, iov, num);
	if (!r)
		return 0;
	metric_inc(entropy, host_rng_fails);
	log_error("entropy: the host gives no random bytes (errno %d)", -r);
	return -EIO;
}

static bool rng_request_is_valid(const struct virtq *q, const struct virtq_chain *chain)
{
	if (chain->num_readable == 0 && chain->writable_len > 0 && virtq_chain_ok(q, chain))
		return true;
	metric_inc(entropy, entropy_event_fails);
	log_warn("entropy: a request with %u readable buffers and room for %llu bytes%s: nothing done",
		 chain->num_readable, (unsigned long long)chain->writable_len,
		 virtq_chain_ok(q, chain) ? "" : ", outside guest memory");
	return false;
}

/* One request: 1 when it was given back, 0 when it has to wait, -EIO. Adds what was written to *bytes. */
static int rng_serve(struct rng *rng, struct virtq *q, const struct virtq_chain *chain, uint64_t *bytes)
{
	uint64_t len = chain->writable_len < RNG_MAX_REQUEST ? chain->writable_len : RNG_MAX_REQUEST;
	int r;

	if (!rng_request_is_valid(q, chain)) {
		virtq_push(q, chain->head, 0);
		return 1;
	}
	if (!throttle_take(&rng->throttle, VIRTIO_RNG_REQUESTQ, len))
		return 0;
	r = rng_fill(q, chain, len);
	if (r) {
		metric_inc(entropy, entropy_event_fails);
		return r;
	}
	metric_add(entropy, entropy_bytes, len);
	*bytes += len;
	virtq_push(q, chain->head, (uint32_t)len);
	return 1;
}

static int rng_notify_requests(struct rng *rng)
{
	struct virtq *q = &rng->vdev.queues[VIRTIO_RNG_REQUESTQ];
	struct virtq_chain chain;
	uint64_t bytes = 0;
	unsigned int n;
	int r = 0;

	metric_inc(entropy, entropy_event_count);
	for (n = 0; n < RNG_BATCH && bytes < RNG_TURN_BYTES && !throttle_holds(&rng->throttle, VIRTIO_RNG_REQUESTQ);
	     n++) {
		r = virtq_pop(q, &chain);
		if (r > 0)
			r = rng_serve(rng, q, &chain, &bytes);
		if (r <= 0)
			break;
	}
	virtio_notify_used(&rng->vdev, q);
	if (n == RNG_BATCH || bytes >= RNG_TURN_BYTES)
		virtio_kick(&rng->vdev, VIRTIO_RNG_REQUESTQ);
	return r < 0 ? r : 0;
}

static int rng_notify(struct virtio_dev *vdev, unsigned int q)
{
	struct rng *rng = rng_from_vdev(vdev);

	return q == VIRTIO_RNG_REQUESTQ ? rng_notify_requests(rng) : rng_leak_notify(rng, q);
}

static void rng_reset(struct virtio_dev *vdev)
{
	struct rng *rng = rng_from_vdev(vdev);

	throttle_reset(&rng->throttle);
	rng_leak_reset(&rng->leak);
}

static int rng_leak(struct virtio_dev *vdev, struct err *e)
{
	return rng_leak_event(rng_from_vdev(vdev), e);
}

static void rng_pause(struct virtio_dev *vdev)
{
	throttle_pause(&rng_from_vdev(vdev)->throttle);
}

struct rng_state {
	struct rate_limiter_state rate_limiter;
	uint32_t leak_active, leak_signalled;
	bool leak_late;
	uint32_t leak_generation, leak_handled;
};

static const struct state_field rng_fields[] = {
	STATE_MAP_FIELD(struct rng_state, rate_limiter, &limiter_state_table),
	STATE_UINT_FIELD(struct rng_state, leak_active, VIRTIO_RNG_LEAKQ1, VIRTIO_RNG_LEAKQ2),
	STATE_UINT_FIELD(struct rng_state, leak_signalled, RNG_LEAK_NONE, VIRTIO_RNG_LEAKQ2),
	STATE_BOOL_FIELD(struct rng_state, leak_late),
	STATE_UINT_FIELD(struct rng_state, leak_generation, 0, UINT32_MAX, .since = 1),
	STATE_UINT_FIELD(struct rng_state, leak_handled, 0, UINT32_MAX, .since = 1),
};
static const struct state_table rng_table = STATE_TABLE(rng_fields);

static void rng_save(struct virtio_dev *vdev, struct enc *enc)
{
	struct rng *rng = rng_from_vdev(vdev);
	struct rng_state state = {
		.leak_active = rng->leak.active,
		.leak_signalled = rng->leak.signalled,
		.leak_late = rng->leak.late,
		.leak_generation = rng->leak.generation,
		.leak_handled = rng->leak.handled,
	};

	throttle_get(&rng->throttle, &state.rate_limiter);
	state_save(&rng_table, &state, enc);
}

static void rng_load(struct virtio_dev *vdev, struct dec *dec)
{
	struct rng *rng = rng_from_vdev(vdev);
	struct rng_state state;

	state_load(&rng_table, &state, dec);
	throttle_load(&rng->throttle, &state.rate_limiter, dec);
	if (!rng_leak_set(&rng->leak, state.leak_active, state.leak_signalled, state.leak_late))
		dec_fail(dec, "leak_signalled %u cannot be while leak_active is %u", state.leak_signalled,
			 state.leak_active);
	/* No driver can be ahead, and none gets 2^31 events behind. */
	if (state.leak_generation - state.leak_handled > INT32_MAX)
		dec_fail(dec, "leak_handled %u is ahead of leak_generation %u", state.leak_handled,
			 state.leak_generation);
	rng->leak.generation = state.leak_generation;
	rng->leak.handled = state.leak_handled;
}

static void rng_dev_free(struct virtio_dev *vdev)
{
	struct rng *rng = rng_from_vdev(vdev);

	throttle_fini(&rng->throttle);
	rng_leakq_fini(&rng->leak);
	virtio_dev_fini(&rng->vdev);
	free(rng);
}

static const struct virtio_ops rng_ops = {
	.type = "rng",
	.device_id = VIRTIO_ID_RNG,
	.num_queues = VIRTIO_RNG_NUM_QUEUES,
	.queue_needs = {
		[VIRTIO_RNG_LEAKQ1] = 1ull << VIRTIO_RNG_F_LEAK,
		[VIRTIO_RNG_LEAKQ2] = 1ull << VIRTIO_RNG_F_LEAK,
	},
	.notify = rng_notify,
	.config_read = rng_config_read,
	.config_write = rng_config_write,
	.reset = rng_reset,
	.leak = rng_leak,
	.leak_progress = rng_leak_progress,
	.pause = rng_pause,
	.save = rng_save,
	.load = rng_load,
	.free = rng_dev_free,
};

int rng_new(const struct entropy_config *config, struct platform *p, struct virtio_dev **vdev, struct err *e)
{
	struct rng *rng = calloc(1, sizeof(*rng));
	uint64_t offered = 1ull << VIRTIO_RING_F_INDIRECT_DESC;
	int r;

	if (!rng)
		return err_set(e, ENOMEM, "entropy device: out of memory");
	if (config->leak_reporting)
		offered |= 1ull << VIRTIO_RNG_F_LEAK | 1ull << VIRTIO_RNG_F_LEAK_COUNT |
			   1ull << VIRTIO_RNG_F_LEAK_HANDLED;
	rng->p = p;
	r = virtio_dev_init(&rng->vdev, &rng_ops, p, offered, RNG_QUEUE_SIZE);
	if (r) {
		free(rng);
		return err_errno(e, -r, "entropy device: cannot be created");
	}
	for (unsigned int q = 0; q < VIRTIO_RNG_NUM_QUEUES; q++)
		rng->vdev.queues[q].max_read = rng->vdev.queues[q].max_written = RNG_MAX_LEAK_REQUEST;
	rng->vdev.queues[VIRTIO_RNG_REQUESTQ].max_read = 0;
	rng->vdev.queues[VIRTIO_RNG_REQUESTQ].max_written = RNG_MAX_REQUEST;
	r = throttle_init(&rng->throttle, &rng->vdev, &config->rate_limiter,
			  &entropy_metrics.entropy_rate_limiter_throttled, &entropy_metrics.rate_limiter_event_count);
	if (!r)
		r = rng_leakq_init(&rng->leak);
	if (r) {
		rng_dev_free(&rng->vdev);
		return err_errno(e, -r, "entropy device: cannot be created");
	}
	*vdev = &rng->vdev;
	return 0;
}
