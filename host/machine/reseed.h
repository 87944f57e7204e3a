/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for the guest's word that it has reseeded after a leak event
 * (docs/leak-protocol.md, rule 16). Nobody waits in a call: the device's word
 * makes a descriptor readable, and a timer says when it is too late.
 */
#ifndef MACHINE_RESEED_H
#define MACHINE_RESEED_H

#include <stdint.h>
#include <sys/eventfd.h>

#include "base/err.h"

struct loop;
struct loop_source;
struct machine;

/* Zeroed, but said_fd -1: reseed_fini() accepts it. */
struct reseed_wait {
	struct loop_source *said, *late;
	int said_fd;	   /* eventfd, owned */
	uint64_t begun_ns; /* while somebody waits: done is there */
	uint32_t timeout_ms;
	const char *reason; /* why it is too late, while the machine is being paused for that; else NULL */
	void (*done)(void *arg, int r, const struct err *e);
	void *arg;
};

int reseed_init(struct machine *m, struct loop *loop, struct err *e) must_check;
void reseed_fini(struct machine *m);
/* The guest has said something. Any thread. */
static inline void reseed_tell(struct reseed_wait *w)
{
	(void)eventfd_write(w->said_fd, 1);
}

#endif
