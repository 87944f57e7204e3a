/* SPDX-License-Identifier: Apache-2.0 */
/*
 * THE device contract. Everything that a guest can talk to is a struct device
 * with a const table of these functions, embedded first in its own struct.
 *
 * Life: created by its constructor (machine/models.c lists them in boot order)
 * -> [load] -> resume -> (read | write | loop callbacks)* -> pause ->
 * [flush -> save] -> ... -> free. Between pause and resume nothing touches guest memory:
 * devices keep quiet, so that a snapshot sees one moment.
 *
 * Threads: read and write run on vCPU threads, everything else on the loop
 * thread. All run with the bus lock held (bus.h), except free.
 */
#ifndef BUS_DEVICE_H
#define BUS_DEVICE_H

#include <stdint.h>

#include "base/err.h"

struct dec;
struct device;
struct enc;

struct device_ops {
	/* A guest access of 1, 2, 4 or 8 bytes at offset from the start of the device's range. data is little endian; read must set all of it. */
	void (*read)(struct device *dev, uint64_t offset, void *data, unsigned int len);
	void (*write)(struct device *dev, uint64_t offset, const void *data, unsigned int len);

	/*
	 * A snapshot is about to be taken: what the guest believes to be on a medium outside of its memory gets there. An error
	 * is the snapshot's, which is not created then. Between pause and save.
	 */
	int (*flush)(struct device *dev, struct err *e);

	/* Guest-visible state to and from a map of the device's own. load has hostile input; errors go into dec (dec_fail). */
	void (*save)(struct device *dev, struct enc *enc);
	void (*load)(struct device *dev, struct dec *dec);

	/*
	 * The machine is about to run again after its secrets may have been copied. Runs while every vCPU is stopped, after
	 * load and before resume. An error keeps the machine paused.
	 */
	int (*leak)(struct device *dev, struct err *e);

	void (*pause)(struct device *dev);  /* stop looking at the guest's requests */
	void (*resume)(struct device *dev); /* look again; there may be work that arrived meanwhile */
	void (*free)(struct device *dev);
	/* Only read, write and free must be there; a NULL elsewhere means that there is nothing to do. */
};

struct device {
	const struct device_ops *ops;
	char name[64]; /* unique in the machine; key of its state in a snapshot: "entropy", "drive.rootfs", "serial" */
	struct device *next; /* the machine's list, in boot order */
};

#endif
