/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A descriptor that becomes readable when it is worth looking at the counter.
 */
#ifndef LIB_EVENT_H
#define LIB_EVENT_H

#include <stdbool.h>
#include <sys/types.h>

struct sns_event {
	int epoll; /* owned; -1: closed. What others poll */
	int inner; /* owned; -1: closed. The counter file, or a timer */
	bool timer;
	bool again; /* timer: because the counter file is not there now; it may come back */
	dev_t dev;  /* counter file: what inner was opened as */
	ino_t ino;
};

#define SNS_EVENT_INIT                   \
	{                                \
		.epoll = -1, .inner = -1 \
	}

/* 0 or -errno. On errors the event is closed. */
int sns_event_open(struct sns_event *event, const char *path);

/*
 * Closes what is still ours: a program that closes all its descriptors, in a
 * forked child as a rule, may have given the numbers to files of its own. Those
 * are forgotten.
 */
void sns_event_close(struct sns_event *event);

/* False: the program has closed our descriptors. Neither is good for anything then. */
bool sns_event_is_ours(const struct sns_event *event);

/* Has the event look at another counter; the descriptor stays the same. */
int sns_event_move(struct sns_event *event, const char *path);

/*
 * Takes note of everything up to now. Look at the counter after this, not before.
 * A counter file that stays readable, as one does that was taken away, is given
 * up for a timer, and taken again when there is a good one at @path.
 */
void sns_event_clear(struct sns_event *event, const char *path);

#endif /* LIB_EVENT_H */
