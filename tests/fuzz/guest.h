/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that does what the input says to one virtio device: writes rings,
 * registers and memory, notifies, lets the machine pause, leak, save and load.
 * After each step what must always hold is checked; at the end the device must
 * serve a well-behaved driver again.
 */
#ifndef TESTS_FUZZ_GUEST_H
#define TESTS_FUZZ_GUEST_H

#include "fuzz.h"
#include "virtio_driver.h"

struct fuzz_guest {
	struct fake_platform fp;
	struct virtio_driver drv;
	unsigned int num_queues;
	unsigned int takes_ahead; /* a bit a queue: its device takes buffers before it needs them */
	bool running;		  /* between resume and pause */
	bool forged;		  /* a state of the input's making was loaded */
	bool gone;		  /* such a state was refused: no machine is left */
	unsigned int leaks;
};

/* Whoever plugs in the device does it between these: drv_plug(&g->drv, &g->fp, ...). */
void fuzz_guest_init(struct fuzz_guest *g);
void fuzz_guest_fini(struct fuzz_guest *g);

typedef void fuzz_step_fn(struct fuzz_guest *g, struct fuzz_input *in);

/* Carries out the input: steps that every device has, and those of extra. */
void fuzz_guest_play(struct fuzz_guest *g, struct fuzz_input *in, fuzz_step_fn *const *extra, unsigned int num_extra);
/* A new driver: reset, features, queues of 256 entries. */
void fuzz_guest_restart(struct fuzz_guest *g, uint64_t features);
/* One good request of a used length that is known. */
void fuzz_guest_expect_used(struct fuzz_guest *g, unsigned int q, uint32_t len);

gpa_t fuzz_gpa(struct fuzz_input *in);
uint32_t fuzz_len(struct fuzz_input *in);

/* Lets the loop serve what is ready; sleeps for nothing. */
void fuzz_run(struct fake_platform *fp);
void fuzz_pause(struct fuzz_guest *g);
void fuzz_resume(struct fuzz_guest *g);

#endif
