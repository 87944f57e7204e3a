/* SPDX-License-Identifier: Apache-2.0 */
/* All devices of a machine, in a fake platform: what a machine has, without KVM. */
#ifndef TESTS_FUZZ_BOARD_H
#define TESTS_FUZZ_BOARD_H

#include "fuzz.h"
#include "virtio_driver.h"

struct dec;
struct enc;

enum board_device {
	BOARD_SERIAL,
	BOARD_I8042,
	BOARD_BOOT_TIMER,
	BOARD_DISK,
	BOARD_ENTROPY,
	BOARD_VMGENID,
	BOARD_VMCLOCK,
	BOARD_NUM
};

struct board {
	struct fake_platform fp;
	struct fuzz_file disk;
	struct virtio_driver virtio[2]; /* disk, entropy */
	struct device *devices[BOARD_NUM];
	int typing; /* what is written here is typed into the console */
	unsigned int resets;
};

void board_init(struct board *b);
void board_fini(struct board *b);

/* As the machine does them, for all devices. */
void board_pause(struct board *b);
void board_resume(struct board *b);
void board_leak(struct board *b);
void board_save(struct board *b, struct enc *enc);
/* Each device reads its own map of devices; errors are in there. */
void board_load(struct board *b, struct dec *devices);

/* Both virtio devices serve a well-behaved driver. */
void board_expect_good(struct board *b);

#endif
