/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block device with a driver in the calling thread, as a vCPU would be: it
 * rings and is interrupted as the event indices say, and sleeps until then.
 * Three ways of carrying requests out: the engines, and the one that they
 * replaced, for comparison: each request where it is found, on the loop, with
 * the device's lock held.
 */
#ifndef BENCH_GUEST_H
#define BENCH_GUEST_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtio_driver.h"

enum guest_way { GUEST_INLINE, GUEST_SYNC, GUEST_ASYNC, GUEST_NUM_WAYS };

#define GUEST_BLOCK	4096u
#define GUEST_FILE_SIZE (64ull << 20)
#define GUEST_MAX_DEPTH 32u

struct guest {
	struct fake_platform fp;
	struct virtio_driver drv;
	pthread_t loop; /* runs the machine's loop */
	uint32_t type;
	uint32_t random;
	unsigned int depth, slot;
	unsigned int rings; /* of the doorbell */
	bool spins;	    /* instead of sleeping: makes no system calls but the rings */
	bool alone;	    /* there is no other thread: instead of sleeping, it is the machine's loop */
};

/* "inline", "Sync", "Async". */
const char *guest_way_name(enum guest_way way);

/* path: a file of GUEST_FILE_SIZE bytes, read only. Ends the process if something is wrong. */
struct guest *guest_new(char *path, enum guest_way way, bool alone);
void guest_free(struct guest *g);

/* n requests of a type (VIRTIO_BLK_T_*) at random blocks, depth of them at a time. */
void guest_run(struct guest *g, uint32_t type, unsigned int n, unsigned int depth);

uint64_t guest_random_block(uint32_t *random);

#endif
