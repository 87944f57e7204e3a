// SPDX-License-Identifier: Apache-2.0
/* The entropy device: request queue, leak queues, and the virtqueue below them. */
#include "guest.h"

#include "virtio/rng.h"
#include "virtio_rng_leak.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

/* The event that has just been is not handled before the driver says so, whatever it has said before. */
static void expect_handled(struct fuzz_guest *g)
{
	const unsigned int config = VIRTIO_MMIO_CONFIG;
	uint32_t generation = drv_read(&g->drv, config + VIRTIO_RNG_CONFIG_GENERATION);
	struct leak_progress p;

	fuzz_expect(device_leak_progress(g->drv.dev, &p) && p.generation == generation && p.handled != generation);
	drv_write(&g->drv, config + VIRTIO_RNG_CONFIG_HANDLED, generation + 1);
	drv_write(&g->drv, config + VIRTIO_RNG_CONFIG_HANDLED, p.handled - 1);
	fuzz_expect(drv_read(&g->drv, config + VIRTIO_RNG_CONFIG_HANDLED) == p.handled);
	drv_write(&g->drv, config + VIRTIO_RNG_CONFIG_HANDLED, generation);
	fuzz_expect(device_leak_progress(g->drv.dev, &p) && p.handled == generation);
}

static void expect_good_device(struct fuzz_guest *g, bool limited)
{
	struct ring_buf buf = { .gpa = DRV_DATA_GPA, .len = 16 };
	struct err e;

	fuzz_guest_restart(g, 1ull << VIRTIO_RNG_F_LEAK | 1ull << VIRTIO_RNG_F_LEAK_HANDLED);
	ring_add(&g->drv.rings[VIRTIO_RNG_REQUESTQ], NULL, 0, &buf, 1);
	drv_write(&g->drv, VIRTIO_MMIO_QUEUE_NOTIFY, VIRTIO_RNG_REQUESTQ);
	fuzz_run(&g->fp);
	if (!limited)
		fuzz_guest_expect_used(g, VIRTIO_RNG_REQUESTQ, 16);
	ring_add(&g->drv.rings[VIRTIO_RNG_LEAKQ1], NULL, 0, &buf, 1);
	ring_add(&g->drv.rings[VIRTIO_RNG_LEAKQ2], NULL, 0, &buf, 1);
	fuzz_pause(g);
	fuzz_expect(drv_leak(&g->drv, &e) == 0);
	fuzz_resume(g);
	fuzz_guest_expect_used(g, VIRTIO_RNG_LEAKQ1, 16);
	fuzz_expect(ring_used_idx(&g->drv.rings[VIRTIO_RNG_LEAKQ2]) == 0);
	expect_handled(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct entropy_config config = { .present = true, .leak_reporting = true };
	bool limited = fuzz_u8(&in) & 1;
	struct fuzz_guest g;
	struct virtio_dev *vdev;
	struct err e;

	if (limited) /* for good, as far as an input lasts */
		config.rate_limiter.ops = (struct token_bucket_config){ .size = 3, .refill_time_ms = 1ull << 40 };
	fuzz_guest_init(&g);
	fuzz_expect(rng_new(&config, &g.fp.p, &vdev, &e) == 0);
	drv_plug(&g.drv, &g.fp, vdev, "entropy");
	g.num_queues = VIRTIO_RNG_NUM_QUEUES;
	fuzz_guest_play(&g, &in, NULL, 0);
	if (!g.gone)
		expect_good_device(&g, limited || g.forged); /* a forged state has limits of its own */
	fuzz_guest_fini(&g);
	return 0;
}
