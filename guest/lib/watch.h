/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who wants to be told of changes.
 */
#ifndef LIB_WATCH_H
#define LIB_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "event.h"
#include "lock.h"

#define SNS_WATCH_CALLBACKS 32

struct sns_callback {
	void (*fn)(void *data, uint64_t generation);
	void *data;
};

/* All under lock, which is held for moments only, never while callbacks run. */
struct sns_watch {
	struct sns_lock lock;
	uint64_t process;	/* whose descriptors these are */
	struct sns_event event; /* once snapsafe_fd() was called */
	bool armed;		/* the two below are set */
	uint32_t handle;	/* number of the handle that generation is from */
	uint64_t generation;	/* the last one that callbacks know */
	unsigned int count;
	struct sns_callback callbacks[SNS_WATCH_CALLBACKS];
};

#define SNS_WATCH_INIT                  \
	{                               \
		.event = SNS_EVENT_INIT \
	}

void sns_watch_fini(struct sns_watch *watch);

#endif /* LIB_WATCH_H */
