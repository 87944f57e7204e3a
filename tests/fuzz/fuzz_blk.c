// SPDX-License-Identifier: Apache-2.0
/* The block device over a file. */
#include "guest.h"

#include <string.h>
#include <unistd.h>

#include <linux/virtio_blk.h>

#include "base/cleanup.h"
#include "virtio/blk.h"

#define DISK_SIZE (64u * 1024)

static uint8_t disk_data[DISK_SIZE];
static struct fuzz_file *disk; /* of the input that runs */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	for (unsigned int i = 0; i < DISK_SIZE; i++)
		disk_data[i] = (uint8_t)(i >> 9 ^ i);
	return 0;
}

/* A request with a header, so that inputs need not find the shape: data is where the input says. */
static void step_request(struct fuzz_guest *g, struct fuzz_input *in)
{
	static const uint32_t types[] = { VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID };
	struct ring_driver *ring = &g->drv.rings[0];
	struct virtio_blk_outhdr header = { 0 };
	struct ring_buf bufs[3] = { { .gpa = fuzz_gpa(in), .len = sizeof(header) } };
	uint8_t type = fuzz_u8(in);
	bool out;

	header.type = type & 0x80 ? type : types[type % ARRAY_SIZE(types)];
	header.sector = type & 0x40 ? fuzz_value(in) : fuzz_u8(in);
	out = header.type == VIRTIO_BLK_T_OUT;
	bufs[1] = (struct ring_buf){ .gpa = fuzz_gpa(in), .len = fuzz_len(in) };
	bufs[2] = (struct ring_buf){ .gpa = fuzz_gpa(in), .len = 1 };
	(void)!mem_write(&g->fp.mem, bufs[0].gpa, &header, sizeof(header));
	if (ring->size >= 3)
		ring_add(ring, bufs, out ? 2 : 1, bufs + (out ? 2 : 1), out ? 1 : 2);
}

static void step_update(struct fuzz_guest *g, struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in);
	struct drive_update update = { .has_bandwidth = what & 1, .has_ops = what & 2 };
	struct err e;

	update.path_on_host = what & 4 ? disk->path : NULL;
	update.rate_limiter.bandwidth = (struct token_bucket_config){ fuzz_value(in), fuzz_value(in), fuzz_value(in) };
	update.rate_limiter.ops = (struct token_bucket_config){ fuzz_value(in), fuzz_value(in), fuzz_value(in) };
	fuzz_expect(blk_update(g->drv.vdev, &update, &e) == 0);
}

static void step_resize_file(struct fuzz_guest *g, struct fuzz_input *in)
{
	(void)g;
	fuzz_expect(ftruncate(disk->fd, fuzz_u16(in)) == 0);
}

static void expect_good_device(struct fuzz_guest *g)
{
	struct drive_update update = { .path_on_host = disk->path, .has_bandwidth = true, .has_ops = true };
	const struct virtio_blk_outhdr header = { .type = VIRTIO_BLK_T_IN, .sector = 2 };
	struct ring_buf out = { .gpa = DRV_DATA_GPA, .len = sizeof(header) };
	struct ring_buf in[] = { { .gpa = DRV_DATA_GPA + 4096, .len = 512 }, { .gpa = DRV_DATA_GPA + 8192, .len = 1 } };
	struct err e;

	drv_settle(&g->drv);
	fuzz_guest_restart(g, 0); /* first: requests that had waited for the machine to run are carried out */
	fuzz_expect(pwrite(disk->fd, disk_data, DISK_SIZE, 0) == DISK_SIZE);
	fuzz_expect(blk_update(g->drv.vdev, &update, &e) == 0); /* no limits, and the file as it is now */
	fuzz_expect(mem_write(&g->fp.mem, DRV_DATA_GPA, &header, sizeof(header)));
	ring_add(&g->drv.rings[0], &out, 1, in, 2);
	drv_write(&g->drv, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	drv_settle(&g->drv);
	fuzz_guest_expect_used(g, 0, 513);
	fuzz_expect(*(const uint8_t *)mem_host(&g->fp.mem, DRV_DATA_GPA + 8192, 1) == VIRTIO_BLK_S_OK);
	fuzz_expect(memcmp(mem_host(&g->fp.mem, DRV_DATA_GPA + 4096, 512), disk_data + 1024, 512) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static fuzz_step_fn *const extra[] = { step_request, step_request,     step_request, step_request,
					       step_request, step_resize_file, step_update };
	struct fuzz_input in = { data, size };
	uint8_t kind = fuzz_u8(&in);
	struct drive_config config = { .drive_id = (char[]){ "disk" }, .is_read_only = kind & 1 };
	struct fuzz_file file;
	struct virtio_dev *vdev;
	struct fuzz_guest g;
	struct err e;

	fuzz_file_init(&file, disk_data, DISK_SIZE);
	disk = &file;
	config.path_on_host = file.path;
	config.cache_type = kind & 2 ? CACHE_WRITEBACK : CACHE_UNSAFE;
	fuzz_guest_init(&g);
	fuzz_expect(blk_new(&config, &g.fp.p, &vdev, &e) == 0);
	drv_plug(&g.drv, &g.fp, vdev, "drive.disk");
	g.num_queues = 1;
	fuzz_guest_play(&g, &in, extra, ARRAY_SIZE(extra));
	if (!g.gone)
		expect_good_device(&g);
	fuzz_guest_fini(&g);
	fuzz_file_fini(&file);
	return 0;
}
