/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libsnapsafe: being told of a change. Part of snapsafe.h, which has the rules.
 */
#ifndef SNAPSAFE_WATCH_H
#define SNAPSAFE_WATCH_H

#include "snapsafe.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * snapsafe_wait() - sleeps until the generation is another one
 * @generation: the one that the caller knows; set to the new one on success
 * @timeout_ms: milliseconds; 0 only looks; negative waits for ever
 *
 * For tasks such as restarting a service. It wakes up some time after the
 * restore; to protect a secret use a token. Nothing wakes it before: only a
 * counter that cannot be polled, or was taken away, is looked at ten times a second.
 *
 * Returns 1 if it changed, 0 at the timeout, -EINTR after a signal, -ENODEV if
 * there is no counter or it has been lost.
 */
int snapsafe_wait(struct snapsafe *s, uint64_t *generation, int timeout_ms) SNAPSAFE_MUST_CHECK;

/*
 * snapsafe_fd() - a descriptor for one's own event loop
 *
 * Readable (POLLIN, EPOLLIN; use it level-triggered) when snapsafe_dispatch()
 * should be called. It may be readable although nothing has changed. It belongs
 * to the handle: do not read or close it. A process forked later needs a handle
 * of its own for this.
 *
 * Returns the descriptor; -ENODEV without a counter; -EMFILE and the like.
 */
int snapsafe_fd(struct snapsafe *s) SNAPSAFE_MUST_CHECK;

/*
 * snapsafe_on_change() - registers a function to be called by snapsafe_dispatch()
 * @fn: gets @data and the new generation; may call any function of this library
 *	but snapsafe_close() on this handle
 *
 * Returns 0; -EEXIST if (fn, data) is there already; -ENOSPC after 32.
 */
int snapsafe_on_change(struct snapsafe *s, void (*fn)(void *data, uint64_t generation), void *data) SNAPSAFE_MUST_CHECK;

/*
 * snapsafe_off_change() - forgets (fn, data); another thread may still be in it
 *
 * Returns 0, or -ENOENT.
 */
int snapsafe_off_change(struct snapsafe *s, void (*fn)(void *data, uint64_t generation), void *data);

/*
 * snapsafe_dispatch() - calls the registered functions if the generation is
 * another one than at the last call (at the first one: than when the first
 * function was registered or snapsafe_fd() was called), in the caller's thread,
 * in the order of registration. Several leaks in between count as one.
 *
 * Returns 1 if it had changed, 0 if not, -ENODEV if there is no counter or it
 * has been lost.
 */
int snapsafe_dispatch(struct snapsafe *s);

#ifdef __cplusplus
}
#endif

#endif /* SNAPSAFE_WATCH_H */
