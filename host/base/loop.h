/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop: epoll, level-triggered, one thread. A source is a descriptor
 * with a callback. Sources may be added, changed and removed from inside
 * callbacks; a source removed during a round is not called any more in it.
 * All functions but loop_stop() belong to the loop's thread.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct loop;
struct loop_source;

/* events: EPOLLIN and so on, what epoll reported. */
typedef void loop_fn(void *ctx, uint32_t events);

struct loop *loop_new(void);	   /* NULL with errno */
void loop_free(struct loop *loop); /* every source must have been removed */

/* fd stays the caller's. events may be 0 (only errors are reported). NULL with errno. */
struct loop_source *loop_add(struct loop *loop, int fd, uint32_t events, loop_fn *fn, void *ctx);
void loop_set_events(struct loop_source *source, uint32_t events);
void loop_remove(struct loop_source *source); /* NULL is fine */

/*
 * A timer is a source with a timerfd of its own; the expiry is consumed before fn is called (events = 0).
 * It starts disarmed. first_ns 0 disarms; interval_ns 0 means once.
 */
struct loop_source *loop_add_timer(struct loop *loop, loop_fn *fn, void *ctx);
void loop_set_timer(struct loop_source *timer, uint64_t first_ns, uint64_t interval_ns);

/* Calls fn before each wait: for libraries that run inside the loop. Returns the longest wait in ms, -1 for no limit. One hook. */
typedef int loop_hook_fn(void *ctx);
void loop_set_hook(struct loop *loop, loop_hook_fn *fn, void *ctx);

/* Runs until loop_stop(); returns the code that was given there. */
int loop_run(struct loop *loop);

/* Makes loop_run() return code after the current callback; any thread; the first call wins. */
void loop_stop(struct loop *loop, int code);

#endif
