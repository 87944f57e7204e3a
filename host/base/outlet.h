/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output that waits for nobody. Bytes go into a ring of bounded size, without a
 * lock; a thread of the outlet's own takes them from there to the descriptor,
 * and may wait as long as it likes. What the ring has no room for is dropped and
 * counted.
 */
#ifndef BASE_OUTLET_H
#define BASE_OUTLET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct outlet;

struct outlet_config {
	const char *name; /* of the thread */
	const char *what; /* "the console": said in one line of the log when the first write fails; NULL: nothing is */
	size_t size;	  /* bytes that the ring holds; below 4 GiB */
	unsigned int
		gather_ms; /* a first byte waits so long for more, so that one write takes them all; 0: not at all */
	bool lines;	   /* each outlet_put() is a line with its newline; lines, not bytes, are counted */
	_Atomic uint64_t *lost; /* metric that counts it, or NULL */
};

/* fd may be of any kind, blocking or not; it is the outlet's if this succeeds. config's strings must live on. -errno. */
int outlet_new(const struct outlet_config *config, int fd, struct outlet **out);

/* Takes all of data (0) or nothing (-EAGAIN, counted). Any thread; async-signal-safe. */
int outlet_put(struct outlet *o, const void *data, size_t len);

/* Gives the thread at most ms to write what has been put: true if nothing is left. Async-signal-safe. */
bool outlet_drain(struct outlet *o, unsigned int ms);
/* The last write that failed since this was called before: -errno, or 0. */
int outlet_take_error(struct outlet *o);

/* Drains for at most ms, then closes, without waiting for a write that is stuck. NULL is fine. */
void outlet_free(struct outlet *o, unsigned int ms);

#endif
