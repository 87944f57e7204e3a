// SPDX-License-Identifier: Apache-2.0
#include "guest.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"

#define TABLES_GPA   0x80000u /* indirect tables go here */
#define MAX_SEGMENTS 12u
#define MAX_LEAKS    16u /* an event may copy 256 MiB: more are only slow */
#define RUN_ROUNDS   4

static int run_hook(void *ctx)
{
	struct fake_platform *fp = ctx;
	static int rounds_left = RUN_ROUNDS;

	if (rounds_left-- == 0) {
		rounds_left = RUN_ROUNDS;
		loop_stop(fp->p.loop, 0);
	}
	return 0;
}

void fuzz_run(struct fake_platform *fp)
{
	loop_set_hook(fp->p.loop, run_hook, fp);
	(void)loop_run(fp->p.loop);
	loop_set_hook(fp->p.loop, NULL, NULL);
}

void fuzz_guest_init(struct fuzz_guest *g)
{
	log_set_level(LOG_LEVEL_OFF);
	memset(g, 0, sizeof(*g));
	fuzz_rand_start();
	fake_platform_init(&g->fp);
	g->running = true; /* drv_plug() resumes */
}

void fuzz_guest_fini(struct fuzz_guest *g)
{
	drv_unplug(&g->drv);
	fake_platform_fini(&g->fp);
}

void fuzz_pause(struct fuzz_guest *g)
{
	if (g->running)
		drv_pause(&g->drv);
	g->running = false;
}

void fuzz_resume(struct fuzz_guest *g)
{
	if (!g->running)
		drv_resume(&g->drv);
	g->running = true;
}

gpa_t fuzz_gpa(struct fuzz_input *in)
{
	uint8_t kind = fuzz_u8(in);

	switch (kind & 7) {
	case 0:
		return fuzz_number(in, 8);
	case 1:
		return FAKE_MEM_SIZE - fuzz_u8(in);
	case 2:
		return FAKE_HIGH_GPA + fuzz_u16(in);
	case 3:
		return DRV_RINGS_GPA + fuzz_number(in, 3) % 0x40000;
	case 4:
		return TABLES_GPA + fuzz_u8(in) * 16u;
	default:
		return DRV_DATA_GPA + (kind >> 3) * 0x1000u + fuzz_u8(in);
	}
}

uint32_t fuzz_len(struct fuzz_input *in)
{
	uint8_t kind = fuzz_u8(in);

	switch (kind & 7) {
	case 0:
		return fuzz_u32(in);
	case 1:
		return 0x100000u + (kind >> 3) - 8u;
	case 2:
		return fuzz_u16(in);
	case 3:
	case 4:
		return 512u * (kind >> 3);
	case 5:
		return kind >> 3 == 31 ? 1 : 16;
	default:
		return kind >> 3;
	}
}

static unsigned int step_queue(struct fuzz_guest *g, struct fuzz_input *in)
{
	return fuzz_u8(in) % g->num_queues;
}

static struct ring_driver *step_ring(struct fuzz_guest *g, struct fuzz_input *in)
{
	struct ring_driver *ring = &g->drv.rings[step_queue(g, in)];

	return ring->size ? ring : NULL;
}

/* The bits of the input choose among what is offered, or are all there is. */
static void step_negotiate(struct fuzz_guest *g, struct fuzz_input *in)
{
	uint8_t choice = fuzz_u8(in);
	uint64_t features = fuzz_number(in, 5);

	(void)drv_negotiate(&g->drv, choice & 1 ? features : g->drv.vdev->offered & ~features);
}

static void step_set_up_queue(struct fuzz_guest *g, struct fuzz_input *in)
{
	unsigned int q = step_queue(g, in);
	uint8_t size = fuzz_u8(in);

	(void)drv_set_up_queue(&g->drv, q, (uint16_t)(size < 0x80 ? 1u << size % 9 : size & 0x7f));
	if (g->drv.rings[q].size == 0)
		g->drv.rings[q].size = 1; /* the ring driver divides by it */
}

/* Rings where the input wants them, behind the ring driver's back. */
static void step_place_queue(struct fuzz_guest *g, struct fuzz_input *in)
{
	static const unsigned int low[] = { VIRTIO_MMIO_QUEUE_DESC_LOW, VIRTIO_MMIO_QUEUE_AVAIL_LOW,
					    VIRTIO_MMIO_QUEUE_USED_LOW };

	drv_write(&g->drv, VIRTIO_MMIO_QUEUE_SEL, step_queue(g, in));
	drv_write(&g->drv, VIRTIO_MMIO_QUEUE_NUM, 1u << fuzz_u8(in) % 9);
	for (size_t i = 0; i < ARRAY_SIZE(low); i++) {
		gpa_t gpa = fuzz_gpa(in) & ~15ull;

		drv_write(&g->drv, low[i], (uint32_t)gpa);
		drv_write(&g->drv, low[i] + 4, (uint32_t)(gpa >> 32));
	}
	drv_write(&g->drv, VIRTIO_MMIO_QUEUE_READY, 1);
}

static void step_ready(struct fuzz_guest *g, struct fuzz_input *in)
{
	(void)in;
	drv_ready(&g->drv);
}

static void step_start(struct fuzz_guest *g, struct fuzz_input *in)
{
	drv_reset(&g->drv);
	step_negotiate(g, in);
	for (unsigned int q = 0; q < g->num_queues; q++)
		(void)drv_set_up_queue(&g->drv, q, (uint16_t)(1u << fuzz_u8(in) % 9));
	drv_ready(&g->drv);
}

static void step_reset(struct fuzz_guest *g, struct fuzz_input *in)
{
	(void)in;
	drv_reset(&g->drv);
}

static unsigned int step_buffers(struct fuzz_input *in, struct ring_buf *bufs, unsigned int num)
{
	for (unsigned int i = 0; i < num; i++) {
		bufs[i].gpa = fuzz_gpa(in);
		bufs[i].len = fuzz_len(in);
	}
	return num;
}

/* A chain as a driver would make it, of buffers that are anything. */
static void step_add(struct fuzz_guest *g, struct fuzz_input *in)
{
	struct ring_driver *ring = step_ring(g, in);
	struct ring_buf bufs[2 * MAX_SEGMENTS];
	uint8_t shape = fuzz_u8(in);
	unsigned int num_out = (shape & 15) % MAX_SEGMENTS, num_in = (shape >> 4) % MAX_SEGMENTS;
	unsigned int num = step_buffers(in, bufs, num_out + num_in);

	if (ring && num >= 1 && num <= ring->size)
		ring_add(ring, bufs, num_out, bufs + num_out, num_in);
}

static void step_add_indirect(struct fuzz_guest *g, struct fuzz_input *in)
{
	struct ring_driver *ring = step_ring(g, in);
	gpa_t table = TABLES_GPA + fuzz_u8(in) * 16u;
	struct ring_buf bufs[2 * MAX_SEGMENTS];
	uint8_t shape = fuzz_u8(in);
	unsigned int num_out = (shape & 15) % MAX_SEGMENTS, num_in = (shape >> 4) % MAX_SEGMENTS;

	step_buffers(in, bufs, num_out + num_in);
	if (ring)
		ring_add_indirect(ring, table, bufs, num_out, bufs + num_out, num_in);
}

/* One descriptor, in a ring or in an indirect table, with flags of its own. */
static void step_set_desc(struct fuzz_guest *g, struct fuzz_input *in)
{
	struct ring_driver *ring = step_ring(g, in);
	uint8_t where = fuzz_u8(in);
	gpa_t gpa = fuzz_gpa(in);
	uint32_t len = fuzz_len(in);
	uint16_t flags = fuzz_u8(in), next = fuzz_u16(in);

	if (where & 1)
		ring_set_desc(&g->fp.mem, TABLES_GPA, where >> 1, gpa, len, flags, next);
	else if (ring)
		ring_set_desc(&g->fp.mem, ring->desc, (where >> 1) % ring->size, gpa, len, flags, next);
}

static void step_publish(struct fuzz_guest *g, struct fuzz_input *in)
{
	struct ring_driver *ring = step_ring(g, in);
	uint16_t head = fuzz_u8(in);

	if (ring)
		ring_publish(ring, head == 0xff ? fuzz_u16(in) : head);
}

static void step_set_index(struct fuzz_guest *g, struct fuzz_input *in)
{
	struct ring_driver *ring = step_ring(g, in);
	uint16_t value = fuzz_u16(in);
	uint8_t which = fuzz_u8(in);

	if (!ring)
		return;
	switch (which & 3) {
	case 0:
		ring_set_avail_idx(ring, value);
		break;
	case 1:
		ring_set_avail_idx(ring, (uint16_t)(ring->avail_idx + value % 512));
		break;
	case 2:
		ring_set_avail_flags(ring, value);
		break;
	default:
		ring_set_used_event(ring, value);
	}
}

static void step_write_memory(struct fuzz_guest *g, struct fuzz_input *in)
{
	gpa_t gpa = fuzz_gpa(in);
	size_t len;
	const uint8_t *data = fuzz_bytes(in, fuzz_u8(in) % 32, &len);

	(void)!mem_write(&g->fp.mem, gpa, data, len);
}

static void step_kick(struct fuzz_guest *g, struct fuzz_input *in)
{
	drv_write(&g->drv, VIRTIO_MMIO_QUEUE_NOTIFY, step_queue(g, in));
	fuzz_run(&g->fp);
}

/* The doorbell rings, and the loop has not heard it yet. */
static void step_ring_doorbell(struct fuzz_guest *g, struct fuzz_input *in)
{
	drv_write(&g->drv, VIRTIO_MMIO_QUEUE_NOTIFY, fuzz_u8(in) & 7);
}

static void step_run(struct fuzz_guest *g, struct fuzz_input *in)
{
	(void)in;
	fuzz_run(&g->fp);
}

static void step_access(struct fuzz_guest *g, struct fuzz_input *in)
{
	uint8_t kind = fuzz_u8(in);
	unsigned int len = 1u << (kind & 3);
	uint64_t offset = kind & 4 ? fuzz_u16(in) % 4096 : fuzz_u8(in) * 4u;

	if (kind & 8)
		(void)fake_read(&g->fp, g->drv.base + offset, kind & 16 ? len : 4);
	else
		fake_write(&g->fp, g->drv.base + offset, fuzz_value(in), kind & 16 ? len : 4);
}

static void step_pause(struct fuzz_guest *g, struct fuzz_input *in)
{
	(void)in;
	fuzz_pause(g);
}

static void step_resume(struct fuzz_guest *g, struct fuzz_input *in)
{
	(void)in;
	fuzz_resume(g);
}

/* An event fails only if the host has no random bytes, and then the machine stays paused. */
static void step_leak(struct fuzz_guest *g, struct fuzz_input *in)
{
	struct err e;
	int r;

	(void)in;
	if (!g->drv.dev->ops->leak || g->leaks++ == MAX_LEAKS)
		return;
	fuzz_pause(g);
	r = drv_leak(&g->drv, &e);
	fuzz_expect(r == 0 || r == -EIO);
	if (r == 0)
		fuzz_resume(g);
}

static void step_save_and_load(struct fuzz_guest *g, struct fuzz_input *in)
{
	struct virtio_driver before = g->drv;
	uint16_t at = fuzz_u16(in);
	uint8_t change = fuzz_u8(in);
	struct err e;
	uint8_t *data;
	size_t len;
	int r;

	fuzz_pause(g);
	data = drv_save(&g->drv, &len);
	data[at % len] ^= change;
	r = drv_load(&g->drv, &before, data, len, &e);
	free(data);
	fuzz_expect(r == 0 || (r == -EINVAL && change));
	g->forged = g->forged || change;
	g->gone = r != 0;
}

static void step_rand_runs_out(struct fuzz_guest *g, struct fuzz_input *in)
{
	uint8_t calls = fuzz_u8(in);

	(void)g;
	fuzz_rand_set_calls_left(calls < 16 ? calls : -1);
}

static fuzz_step_fn *const steps[] = {
	step_start,   step_add,		  step_kick,	      step_leak,      step_add_indirect,  step_set_desc,
	step_publish, step_set_index,	  step_write_memory,  step_access,    step_save_and_load, step_pause,
	step_resume,  step_ring_doorbell, step_run,	      step_negotiate, step_set_up_queue,  step_place_queue,
	step_ready,   step_reset,	  step_rand_runs_out,
};

/* A device with nothing in flight holds nothing that the ring does not, and a failed one stands still. */
static void check_queues(struct fuzz_guest *g)
{
	bool busy = drv_is_busy(&g->drv);
	const struct virtio_dev *vdev = g->drv.vdev;

	for (unsigned int q = 0; q < g->num_queues; q++) {
		const struct virtq *vq = &vdev->queues[q];

		fuzz_expect(!vq->ready || (vq->size && vq->size <= vq->max_size));
		fuzz_expect(g->takes_ahead >> q & 1 || g->forged || busy || !vdev->driver_ok || !vq->ready ||
			    vq->next_avail == vq->next_used);
	}
}

void fuzz_guest_play(struct fuzz_guest *g, struct fuzz_input *in, fuzz_step_fn *const *extra, unsigned int num_extra)
{
	while (!fuzz_done(in) && !g->gone) {
		unsigned int step = fuzz_u8(in) % (32 + num_extra);

		if (step >= 32)
			extra[step - 32](g, in);
		else
			steps[step % ARRAY_SIZE(steps)](g, in);
		if (!g->gone)
			check_queues(g);
	}
}

void fuzz_guest_restart(struct fuzz_guest *g, uint64_t features)
{
	fuzz_resume(g);
	drv_reset(&g->drv);
	fuzz_expect(drv_read(&g->drv, VIRTIO_MMIO_STATUS) == 0);
	drv_start(&g->drv, features, g->num_queues);
	fuzz_expect(drv_read(&g->drv, VIRTIO_MMIO_STATUS) == 15);
	fuzz_rand_set_calls_left(-1);
}

void fuzz_guest_expect_used(struct fuzz_guest *g, unsigned int q, uint32_t len)
{
	struct ring_used used;

	fuzz_expect(ring_get_used(&g->drv.rings[q], &used));
	fuzz_expect(used.len == len);
}
