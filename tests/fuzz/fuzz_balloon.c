// SPDX-License-Identifier: Apache-2.0
/* The balloon: its five queues, on memory of its own or of a memory file, and what a client asks of it meanwhile. */
#include "guest.h"

#include <linux/virtio_balloon.h>

#include "base/cleanup.h"
#include "virtio/balloon.h"
#include "virtio/balloon_internal.h"

#define VICTIM_GPA (DRV_DATA_GPA + 0x100000u)

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

static void step_set_size(struct fuzz_guest *g, struct fuzz_input *in)
{
	struct err e;
	uint32_t mib = (uint32_t)fuzz_value(in);
	int r = balloon_set_size(g->drv.vdev, mib, &e);

	fuzz_expect(r == 0 || r == -EINVAL);
	fuzz_expect(r || (mib <= FAKE_MEM_SIZE >> 20 && g->drv.vdev->driver_ok));
}

/* 0 seconds is no interval, and any but the first asks at once; none comes to its end while an input lasts. */
static void step_set_interval(struct fuzz_guest *g, struct fuzz_input *in)
{
	uint32_t seconds = fuzz_u8(in);
	struct err e;

	fuzz_expect(balloon_set_interval(g->drv.vdev, seconds ? seconds + 1000 : 0, &e) == (seconds ? 0 : -EINVAL));
	fuzz_run(&g->fp);
}

static void step_hinting(struct fuzz_guest *g, struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	struct err e;
	int r = how & 1 ? balloon_start_hinting(g->drv.vdev, how & 2, &e) : balloon_stop_hinting(g->drv.vdev, &e);

	fuzz_expect(r == 0 || r == -EINVAL);
	fuzz_expect(r || (how & 1) == (balloon_from_vdev(g->drv.vdev)->hint.cmd.host_cmd >= 2));
}

static void step_ask(struct fuzz_guest *g, struct fuzz_input *in)
{
	struct balloon_statistics statistics;
	struct balloon_hinting hinting;
	struct err e;

	(void)in;
	fuzz_expect(balloon_get_statistics(g->drv.vdev, &statistics, &e) == 0);
	for (unsigned int tag = 0; tag < BALLOON_NUM_STATS; tag++)
		fuzz_expect(statistics.guest[tag].value <= INT64_MAX);
	fuzz_expect(balloon_get_hinting(g->drv.vdev, &hinting, &e) == 0);
}

/* What a driver writes into its buffers: page numbers, a command, or a tag and its value. */
static void step_write_words(struct fuzz_guest *g, struct fuzz_input *in)
{
	gpa_t gpa = fuzz_gpa(in);

	for (unsigned int i = 0, num = fuzz_u8(in) % 8; i < num; i++) {
		uint32_t word = (uint32_t)fuzz_value(in);

		(void)!mem_write(&g->fp.mem, gpa + i * sizeof(word), &word, sizeof(word));
	}
}

static fuzz_step_fn *const extra[] = { step_set_size, step_set_interval, step_hinting, step_ask, step_write_words };

/* A driver as it should be: the page is zero before its buffer is used, the one beside it is as it was. */
static void expect_good_device(struct fuzz_guest *g)
{
	const uint32_t pfn = VICTIM_GPA / MEM_PAGE_SIZE;
	struct ring_buf list = { .gpa = DRV_DATA_GPA, .len = sizeof(pfn) };
	const uint8_t *page;

	fuzz_guest_restart(g, 1ull << VIRTIO_BALLOON_F_STATS_VQ | 1ull << VIRTIO_BALLOON_F_FREE_PAGE_HINT |
				      1ull << VIRTIO_BALLOON_F_REPORTING);
	fuzz_expect(mem_write(&g->fp.mem, DRV_DATA_GPA, &pfn, sizeof(pfn)));
	fuzz_expect(mem_write(&g->fp.mem, VICTIM_GPA + 100, "used", 4));
	fuzz_expect(mem_write(&g->fp.mem, VICTIM_GPA + MEM_PAGE_SIZE, "kept", 4));
	ring_add(&g->drv.rings[BALLOON_INFLATE], &list, 1, NULL, 0);
	ring_add(&g->drv.rings[BALLOON_DEFLATE], &list, 1, NULL, 0);
	drv_write(&g->drv, VIRTIO_MMIO_QUEUE_NOTIFY, BALLOON_INFLATE);
	drv_write(&g->drv, VIRTIO_MMIO_QUEUE_NOTIFY, BALLOON_DEFLATE);
	fuzz_run(&g->fp);
	fuzz_guest_expect_used(g, BALLOON_INFLATE, 0);
	fuzz_guest_expect_used(g, BALLOON_DEFLATE, 0);
	page = mem_host(&g->fp.mem, VICTIM_GPA, 2 * MEM_PAGE_SIZE);
	for (unsigned int i = 0; i < MEM_PAGE_SIZE; i++)
		fuzz_expect(page[i] == 0);
	fuzz_expect(page[MEM_PAGE_SIZE] == 'k');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct balloon_config config = { .present = true,
					 .stats_polling_interval_s = 65535,
					 .free_page_hinting = true,
					 .free_page_reporting = true };
	bool is_clone = fuzz_u8(&in) & 1;
	struct fuzz_guest g;
	struct virtio_dev *vdev;
	struct err e;

	fuzz_guest_init(&g);
	if (is_clone)
		fake_platform_file_mem(&g.fp, 0);
	else
		fake_platform_anonymous_mem(&g.fp);
	fuzz_expect(balloon_new(&config, &g.fp.p, &vdev, &e) == 0);
	drv_plug(&g.drv, &g.fp, vdev, "balloon");
	g.num_queues = BALLOON_NUM_QUEUES;
	fuzz_guest_play(&g, &in, extra, ARRAY_SIZE(extra));
	if (!g.gone)
		expect_good_device(&g);
	fuzz_guest_fini(&g);
	return 0;
}
