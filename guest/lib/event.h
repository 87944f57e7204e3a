/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A descriptor that becomes readable when it is worth looking at the counter.
 */
#ifndef LIB_EVENT_H
#define LIB_EVENT_H

struct sns_event {
	int epoll; /* owned; -1: closed. What others poll */
	int inner; /* owned; the counter file, or a timer where that cannot be polled */
};

#define SNS_EVENT_INIT                   \
	{                                \
		.epoll = -1, .inner = -1 \
	}

/* 0 or -errno. On errors the event is closed. */
int sns_event_open(struct sns_event *event, const char *path);
void sns_event_close(struct sns_event *event);

/* Has the event look at another counter; the descriptor stays the same. */
int sns_event_move(struct sns_event *event, const char *path);

/* Takes note of everything up to now. Look at the counter after this, not before. */
void sns_event_clear(struct sns_event *event);

#endif /* LIB_EVENT_H */
