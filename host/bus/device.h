/* SPDX-License-Identifier: Apache-2.0 */
/*
 * THE device contract. Everything that a guest can talk to is a struct device
 * with a const table of these functions, embedded first in its own struct.
 *
 * Life. A constructor makes it (arch_board_devices has the boot order), free ends
 * it at any time; in between:
 *
 *   created --load--> loaded --------------------save------------------.
 *      |                 |                                              v
 *      +--resume----+----+                                              |
 *                   v                                                   |
 *     .--------> running --pause--> pausing --drain--> quiet --save--> saved
 *     |                                |                 |              |
 *     '------------------resume--------+-----------------+--------------'
 *
 * leak before each resume that needs it, flush before each save; what is saved
 * may be saved again. Guests read and write, and callbacks run, while it is running.
 * What has begun ends while it is pausing (a drain that fails leaves it there).
 * When it is quiet nothing touches guest memory, so that a snapshot sees one
 * moment. device.c is where a step that the state does not allow is caught.
 *
 * Threads: read and write run on vCPU threads, and take the device's lock
 * themselves where they need it; everything else runs on the loop thread, with
 * the lock held, except free. A device's callbacks on its loop take it, too,
 * unless its registers never do (the console's).
 *
 * Lock order: a device's lock is the innermost but for the log's and the
 * metrics'. Who holds it takes no other device's and no vCPU's, and does not
 * wait for a vCPU: vm_pause() is called without. Guest memory that is populated
 * (mem/populated.h: a page-fault handler may have the rest), and system calls that do
 * not wait for a file or a peer, may be used under it.
 */
#ifndef BUS_DEVICE_H
#define BUS_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/fair_lock.h"

struct dec;
struct device;
struct enc;

/* Is there anybody in the guest who is told of leaks, and who says that they have been handled? */
enum leak_driver { LEAK_DRIVER_NONE, LEAK_DRIVER_SILENT, LEAK_DRIVER_CONFIRMS };

/* How far the guest is with the leaks of its machine (docs/leak-protocol.md, rule 16). */
struct leak_progress {
	uint32_t generation; /* leak events so far, modulo 2^32 */
	uint32_t handled;    /* the last of them after which the guest says that it has reseeded */
	bool late;	     /* the last one waits for the driver's next request */
	enum leak_driver driver;
};

struct device_ops {
	/* A guest access of 1, 2, 4 or 8 bytes at offset from the start of the device's range. data is little endian; read must set all of it. */
	void (*read)(struct device *dev, uint64_t offset, void *data, unsigned int len);
	void (*write)(struct device *dev, uint64_t offset, const void *data, unsigned int len);

	/*
	 * A snapshot is about to be taken: what the guest believes to be on a medium outside of its memory gets there. An error
	 * is the snapshot's, which is not created then. Before save.
	 */
	int (*flush)(struct device *dev, struct err *e);

	/* Guest-visible state to and from a map of the device's own. load has hostile input; errors go into dec (dec_fail). */
	void (*save)(struct device *dev, struct enc *enc);
	void (*load)(struct device *dev, struct dec *dec);

	/*
	 * The memory may be with a page-fault handler: has what leak and resume will touch (mem_prepare()). Beside the loop,
	 * while the machine is paused, and without the lock: only looks. -errno of the handler.
	 */
	int (*prepare)(struct device *dev);
	/*
	 * The machine is about to run again after its secrets may have been copied. Runs while every vCPU is stopped, after
	 * load and before resume. An error keeps the machine paused.
	 */
	int (*leak)(struct device *dev, struct err *e);
	/* What the guest says of leaks; false: this device does not ask it. At any time. */
	bool (*leak_progress)(struct device *dev, struct leak_progress *progress);

	void (*pause)(struct device *dev); /* stop looking at the guest's requests */
	/*
	 * After pause: what was begun ends, and is given back to the guest. Without the lock. Takes ms at most; an error means
	 * that something has not ended, and that the machine cannot be paused.
	 */
	int (*drain)(struct device *dev, unsigned int ms, struct err *e);
	void (*resume)(struct device *dev); /* look again; there may be work that arrived meanwhile */
	void (*free)(struct device *dev);
	/* Only read, write and free must be there; a NULL elsewhere means that there is nothing to do. */
};

enum device_state {
	DEVICE_CREATED,
	DEVICE_LOADED,
	DEVICE_RUNNING,
	DEVICE_PAUSING,
	DEVICE_QUIET,
	DEVICE_SAVED,
};

#define DEVICE_NAME_SIZE 88

struct device {
	struct fair_lock lock; /* guards the device's state */
	const struct device_ops *ops;
	enum device_state state; /* changed by the calls below */
	/* Unique in the machine; key of its state in a snapshot: "entropy", "drive.rootfs", "serial". */
	char name[DEVICE_NAME_SIZE];
	struct device *next; /* the machine's list, in boot order */
};

/* For constructors, and for the free of every device. name is cut off if it is too long. */
void device_init(struct device *dev, const struct device_ops *ops, const char *name);
void device_fini(struct device *dev);

void device_lock(struct device *dev);
void device_unlock(struct device *dev);

/* The calls of the contract, with the lock; asserts that the state allows them. save: only for devices that have it; load also without, with NULL. */
int device_flush(struct device *dev, struct err *e) must_check;
void device_save(struct device *dev, struct enc *enc);
void device_load(struct device *dev, struct dec *dec);
int device_leak(struct device *dev, struct err *e) must_check;
bool device_leak_progress(struct device *dev, struct leak_progress *progress) must_check;
void device_pause(struct device *dev);
int device_drain(struct device *dev, unsigned int ms, struct err *e) must_check;
void device_resume(struct device *dev);

#endif
