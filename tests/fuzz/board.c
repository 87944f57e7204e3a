// SPDX-License-Identifier: Apache-2.0
#include "board.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <linux/virtio_blk.h>

#include "arch/arch.h"
#include "base/cleanup.h"
#include "state/codec.h"
#include "base/log.h"
#include "devices/devices.h"
#include "guest.h"
#include "virtio/blk.h"
#include "virtio/rng.h"

static void board_reset(void *ctx)
{
	struct board *b = ctx;

	b->resets++;
}

/* The console reads a pipe in place of standard input; what it prints goes nowhere. */
static void board_plug_serial(struct board *b)
{
	struct serial_config config = { 0 };
	struct err e;
	int fds[2];

	fuzz_expect(pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
	fuzz_expect(dup2(fds[0], STDIN_FILENO) == STDIN_FILENO);
	close(fds[0]);
	b->typing = fds[1];
	fuzz_expect(serial_new(&config, ARCH_SERIAL_PORT, 0, &b->fp.p, &b->devices[BOARD_SERIAL], &e) == 0);
}

static void board_plug_disk(struct board *b)
{
	struct drive_config config = { .drive_id = (char[]){ "disk" }, .path_on_host = b->disk.path };
	static const uint8_t zeros[16 * 512];
	struct virtio_dev *vdev;
	struct err e;

	fuzz_file_init(&b->disk, zeros, sizeof(zeros));
	config.cache_type = CACHE_WRITEBACK;
	fuzz_expect(blk_new(&config, &b->fp.p, &vdev, &e) == 0);
	drv_plug(&b->virtio[0], &b->fp, vdev, "drive.disk");
	b->devices[BOARD_DISK] = b->virtio[0].dev;
}

static void board_plug_entropy(struct board *b)
{
	struct entropy_config config = { .present = true, .leak_reporting = true };
	struct virtio_dev *vdev;
	struct err e;

	fuzz_expect(rng_new(&config, &b->fp.p, &vdev, &e) == 0);
	drv_plug(&b->virtio[1], &b->fp, vdev, "entropy");
	b->devices[BOARD_ENTROPY] = b->virtio[1].dev;
}

void board_init(struct board *b)
{
	struct err e;

	log_set_level(LOG_LEVEL_OFF);
	memset(b, 0, sizeof(*b));
	fuzz_rand_start();
	fake_platform_init(&b->fp);
	board_plug_serial(b);
	fuzz_expect(i8042_new(ARCH_I8042_PORT, 0, &b->fp.p, board_reset, b, &b->devices[BOARD_I8042], &e) == 0);
	fuzz_expect(boot_timer_new(ARCH_BOOT_TIMER_BASE, &b->fp.p, &b->devices[BOARD_BOOT_TIMER], &e) == 0);
	board_plug_disk(b);
	board_plug_entropy(b);
	fuzz_expect(vmgenid_new(ARCH_VMGENID_GPA, 0, &b->fp.p, &b->devices[BOARD_VMGENID], &e) == 0);
	fuzz_expect(vmclock_new(ARCH_VMCLOCK_GPA, 0, &b->fp.p, &b->devices[BOARD_VMCLOCK], &e) == 0);
	board_resume(b);
}

void board_fini(struct board *b)
{
	for (unsigned int i = 0; i < BOARD_NUM; i++)
		b->devices[i]->ops->free(b->devices[i]);
	close(b->typing);
	fuzz_file_fini(&b->disk);
	fake_platform_fini(&b->fp);
}

void board_pause(struct board *b)
{
	struct err e;

	for (unsigned int i = 0; i < BOARD_NUM; i++) {
		device_pause(b->devices[i]);
		fuzz_expect(device_drain(b->devices[i], 60000, &e) == 0);
	}
}

void board_resume(struct board *b)
{
	for (unsigned int i = 0; i < BOARD_NUM; i++) {
		if (b->devices[i]->state != DEVICE_RUNNING) /* drv_plug() has let them run */
			device_resume(b->devices[i]);
	}
}

void board_leak(struct board *b)
{
	struct err e;

	for (unsigned int i = 0; i < BOARD_NUM; i++) {
		fuzz_expect(device_leak(b->devices[i], &e) == 0);
	}
}

void board_save(struct board *b, struct enc *enc)
{
	for (unsigned int i = 0; i < BOARD_NUM; i++) {
		if (!b->devices[i]->ops->save)
			continue;
		enc_map_begin(enc, b->devices[i]->name);
		device_save(b->devices[i], enc);
		enc_map_end(enc);
	}
}

void board_load(struct board *b, struct dec *devices)
{
	for (unsigned int i = 0; i < BOARD_NUM; i++) {
		struct dec *own;

		b->devices[i]->state = DEVICE_CREATED; /* as a new machine's: that it is an old one is the point */
		if (!b->devices[i]->ops->load)
			continue;
		own = dec_map(devices, b->devices[i]->name);
		device_load(b->devices[i], own);
		dec_end(own);
	}
	dec_end(devices);
}

static uint32_t board_used_len(struct virtio_driver *drv, unsigned int q)
{
	struct ring_used used;

	fuzz_expect(ring_get_used(&drv->rings[q], &used));
	return used.len;
}

void board_expect_good(struct board *b)
{
	const struct virtio_blk_outhdr header = { .type = VIRTIO_BLK_T_GET_ID };
	struct ring_buf out = { .gpa = DRV_DATA_GPA, .len = sizeof(header) };
	struct ring_buf id = { .gpa = DRV_DATA_GPA + 4096, .len = VIRTIO_BLK_ID_BYTES + 1 };
	struct ring_buf bytes = { .gpa = DRV_DATA_GPA + 8192, .len = 16 };

	/* First: their queues may lie in the same memory, and each may have been rung. */
	for (unsigned int i = 0; i < ARRAY_SIZE(b->virtio); i++)
		drv_reset(&b->virtio[i]);
	for (unsigned int i = 0; i < ARRAY_SIZE(b->virtio); i++) {
		drv_reset(&b->virtio[i]);
		fuzz_expect(drv_negotiate(&b->virtio[i], 0));
		fuzz_expect(drv_set_up_queue(&b->virtio[i], 0, 16));
		drv_ready(&b->virtio[i]);
		fuzz_expect(drv_read(&b->virtio[i], VIRTIO_MMIO_STATUS) == 15);
		if (i == 0) {
			fuzz_expect(mem_write(&b->fp.mem, DRV_DATA_GPA, &header, sizeof(header)));
			ring_add(&b->virtio[i].rings[0], &out, 1, &id, 1);
		} else {
			ring_add(&b->virtio[i].rings[0], NULL, 0, &bytes, 1);
		}
		drv_write(&b->virtio[i], VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		fuzz_run(&b->fp);
		if (i == 0)
			fuzz_expect(board_used_len(&b->virtio[i], 0) == VIRTIO_BLK_ID_BYTES + 1);
	}
}
