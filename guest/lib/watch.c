// SPDX-License-Identifier: Apache-2.0
/*
 * Waiting for a change, callbacks, and the descriptor for event loops. All this
 * is late by design: it runs some time after the restore. Nothing here protects
 * a secret.
 *
 * The default handle can be replaced by another one (a driver that comes back).
 * Its watch stays: a replaced handle counts as a change.
 */
#include "watch.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "handle.h"
#include "process.h"

void sns_watch_fini(struct sns_watch *watch)
{
	sns_event_close(&watch->event);
}

/*
 * A child of fork() has descriptors that it shares with its parent: it gets new
 * ones. So does a program that has closed ours.
 */
static void watch_lock(struct sns_watch *watch)
{
	uint64_t process = sns_process_number();

	sns_lock(&watch->lock);
	if (watch->event.epoll >= 0 && (watch->process != process || !sns_event_is_ours(&watch->event)))
		sns_event_close(&watch->event);
	watch->process = process;
}

static void watch_unlock(struct sns_watch *watch)
{
	sns_unlock(&watch->lock);
}

/* Under the lock. True if there is news for the callbacks. */
static bool watch_look(struct sns_watch *watch, struct snapsafe *s)
{
	uint64_t generation = sns_source_generation(&s->source);
	bool first = !watch->armed;
	bool changed = !first && (generation != watch->generation || s->number != watch->handle);

	watch->armed = true;
	watch->generation = generation;
	watch->handle = s->number;
	return changed;
}

int snapsafe_fd(struct snapsafe *s)
{
	struct sns_watch *watch;
	int fd, r = 0;

	s = sns_handle(s);
	watch = s->watch;
	if (s->source.kind == SNS_SOURCE_NONE)
		return -ENODEV;
	watch_lock(watch);
	if (watch->event.epoll < 0)
		r = sns_event_open(&watch->event, s->path);
	if (!r && !watch->armed)
		watch_look(watch, s);
	fd = watch->event.epoll;
	watch_unlock(watch);
	return r ? r : fd;
}

static int watch_find(const struct sns_watch *watch, void (*fn)(void *, uint64_t), const void *data)
{
	for (unsigned int i = 0; i < watch->count; i++)
		if (watch->callbacks[i].fn == fn && watch->callbacks[i].data == data)
			return (int)i;
	return -1;
}

int snapsafe_on_change(struct snapsafe *s, void (*fn)(void *data, uint64_t generation), void *data)
{
	struct sns_watch *watch;
	int r = 0;

	s = sns_handle(s);
	watch = s->watch;
	watch_lock(watch);
	if (watch_find(watch, fn, data) >= 0)
		r = -EEXIST;
	else if (watch->count == SNS_WATCH_CALLBACKS)
		r = -ENOSPC;
	else
		watch->callbacks[watch->count++] = (struct sns_callback){ .fn = fn, .data = data };
	if (!r && !watch->armed)
		watch_look(watch, s);
	watch_unlock(watch);
	return r;
}

int snapsafe_off_change(struct snapsafe *s, void (*fn)(void *data, uint64_t generation), void *data)
{
	struct sns_watch *watch = sns_handle(s)->watch;
	int i;

	watch_lock(watch);
	i = watch_find(watch, fn, data);
	if (i >= 0) {
		watch->count--;
		memmove(&watch->callbacks[i], &watch->callbacks[i + 1],
			(watch->count - (unsigned int)i) * sizeof(watch->callbacks[0]));
	}
	watch_unlock(watch);
	return i < 0 ? -ENOENT : 0;
}

int snapsafe_dispatch(struct snapsafe *s)
{
	struct sns_callback callbacks[SNS_WATCH_CALLBACKS];
	struct sns_watch *watch;
	uint64_t generation;
	unsigned int count;
	bool changed;

	s = sns_handle(s);
	watch = s->watch;
	watch_lock(watch);
	if (watch->event.epoll >= 0 && watch->armed && watch->handle != s->number && s->source.kind != SNS_SOURCE_NONE)
		(void)sns_event_move(&watch->event, s->path);
	else if (watch->event.epoll >= 0)
		sns_event_clear(&watch->event, s->path);
	changed = watch_look(watch, s);
	generation = watch->generation;
	count = watch->count;
	memcpy(callbacks, watch->callbacks, count * sizeof(callbacks[0]));
	watch_unlock(watch);

	for (unsigned int i = 0; changed && i < count; i++)
		callbacks[i].fn(callbacks[i].data, generation);
	if (changed)
		return 1;
	return sns_handle_state(s) == SNAPSAFE_ABSENT || sns_handle_state(s) == SNAPSAFE_LOST ? -ENODEV : 0;
}

static int64_t wait_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

/* What poll() takes. 0: the time is over. */
static int wait_left(int64_t deadline, bool for_ever)
{
	int64_t left = deadline - wait_now_ms();

	if (for_ever)
		return -1;
	return left > 0 ? (int)left : 0;
}

/* One look. 1: another generation, 0: the same, -ENODEV: there never will be another one. */
static int wait_look(struct snapsafe *wish, uint32_t number, uint64_t *generation)
{
	struct snapsafe *s = sns_handle(wish);
	uint64_t now = sns_source_generation(&s->source);
	enum snapsafe_state state = sns_handle_state(s);

	if (state == SNAPSAFE_ABSENT || state == SNAPSAFE_LOST)
		return -ENODEV;
	if (now == *generation && s->number == number)
		return 0;
	*generation = now;
	return 1;
}

int snapsafe_wait(struct snapsafe *s, uint64_t *generation, int timeout_ms)
{
	struct snapsafe *first = sns_handle(s);
	struct sns_event event = SNS_EVENT_INIT;
	struct pollfd fd = { .events = POLLIN };
	int64_t deadline = wait_now_ms() + timeout_ms;
	int r = wait_look(s, first->number, generation), left;

	if (r || !timeout_ms)
		return r;
	r = sns_event_open(&event, first->path);
	if (r)
		return r;
	fd.fd = event.epoll;
	while ((r = wait_look(s, first->number, generation)) == 0 &&
	       (left = wait_left(deadline, timeout_ms < 0)) != 0) {
		if (poll(&fd, 1, left) < 0) {
			r = -errno;
			break;
		}
		sns_event_clear(&event, first->path);
	}
	sns_event_close(&event);
	return r;
}
