/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model of the entropy device as the driver sees it, with a logical clock,
 * and of what the driver calls. There is one machine at a time.
 *
 * The model ends the test at once if the counter goes back, if a value comes
 * twice, if the driver claims to have reseeded without the seed (to programs, or
 * to the device: rule 16 of the leak protocol), if seed and identity get mixed
 * up, or if the kernel's vDSO is left to make bytes from before an event.
 */
#ifndef TESTS_DRIVER_MODEL_H
#define TESTS_DRIVER_MODEL_H

#include "kshim.h"

#include "rng_entropy.h"
#include "rng_leak.h"

#define MODEL_QUEUE_SIZE 8
#define MODEL_IDENTITY	 0x1d00000000u /* no seed is ever such a number */

struct model_request {
	void *token;
	const void *from; /* copy requests only */
	void *to;
	void *identity; /* second buffer; fill requests of the leak queues only */
	void *vdso;	/* second place of a copy; where the kernel lets a device change the vDSO's generation */
	unsigned int from_len, to_len, identity_len, vdso_len, used_len;
};

struct virtqueue {
	struct model_request avail[MODEL_QUEUE_SIZE], used[MODEL_QUEUE_SIZE];
	unsigned int n_avail, n_used;
	bool kicked, irq;
};

struct model {
	/* How this device behaves. */
	bool slow_kicks; /* kicks wait for model_serve_kicks() */
	bool late_swaps; /* a late event swaps the queues, as in the first proposal */
	bool never_asks; /* without VIRTIO_RNG_F_LEAK_HANDLED */
	bool half_seed;	 /* fills half of the seed */
	bool refuses_copy, empty_fill, deaf, uses_at_once, overstates;
	bool short_fill, short_identity; /* fills the seed only; half of the first identity */
	unsigned int room;		 /* descriptors that add accepts; 0: as many as fit */
	int reseed_error;		 /* what rng_reseed_now() returns */

	/* What may happen wherever a vCPU can be stopped; NULL: nothing. */
	void (*hook)(void);
	unsigned long steps; /* such points so far */

	/* The device. */
	struct virtqueue request, leak[2];
	unsigned int active;
	int signalled; /* -1: none */
	bool late;
	bool stopped; /* after a reset, before DRIVER_OK */
	unsigned long events, late_events, fills;
	u32 generation, handled;		    /* there as well */
	unsigned long confirmations;		    /* how often the driver has written */
	unsigned long generation_events[4096];	    /* [generation % 4096] = events at that time */
	unsigned long unreported, known_unreported; /* in the configuration space; as the driver has read it */

	/* When things last happened, by the number of events so far. */
	unsigned long filled_after, changed_after, mixed_after, reseeded_after;
	unsigned long identity_after;
	unsigned long reseeds, told;	 /* so far; and how often others in the kernel were told of a leak */
	unsigned long bytes_mixed;	 /* how often bytes of the request queue were */
	unsigned long bytes_after;	 /* of them, the events before they were given */
	unsigned long fill_events[4096]; /* [fill % 4096] = events at that time */

	/* The guest. */
	unsigned long words[2]; /* counter page: generation, unwatched */
	/* Also on that page. Both words are MODEL_IDENTITY + which one it is. */
	unsigned long identity[2];
	unsigned long identities; /* filled so far */
	/* The vDSO's page, as far as the driver has to do with it. */
	const void *vdso_source;
	u64 vdso_generation, vdso_own_generation;
	bool vdso_armed;
	unsigned long vdso_generation_after; /* events before the generation that was made at the last arming */

	unsigned long reseeded, notified;
	unsigned int warnings, digests;
	bool locked;
	unsigned int callbacks; /* running */
	struct rng_leak driver;
	struct rng_entropy entropy;
};

extern struct model m;

/* A machine with a driver that has not been started. */
void model_boot(void);
void model_shutdown(void);
void model_start(bool missed);
/* The machine is suspended, and wakes up: the device says whether there were leaks that it told nobody of. */
void model_freeze(void);
void model_restore(void);

/* A leak event: the vCPUs are stopped, wherever they are. */
void model_event(void);
void model_serve_kicks(void);
/* Runs the callbacks that are due, unless the driver holds its lock. */
void model_interrupt(void);
/* Runs one work item that is due. False if there is none. */
bool model_work(void);
/* Nothing is under way any more between device and driver. */
bool model_is_at_rest(void);
/* Lets everything happen that is under way; fails if it does not end. */
void model_settle(void);
/* Whether the vDSO makes bytes itself. */
bool model_vdso_is_on(void);
/* Whether there is an identity, all of it. */
bool model_has_identity(void);
/* Settled, and every event so far is visible, seeded and reseeded for, and has an identity of its own. */
void model_check_all_reported(void);

#endif /* TESTS_DRIVER_MODEL_H */
