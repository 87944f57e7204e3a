/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Input that is waited for by a thread of its own: read(2) on a descriptor that
 * others read too may wait although poll(2) said that there is something.
 * The thread reads only when it is asked to, so that it takes no byte that
 * nobody has room for.
 *
 * A terminal is read while its owner wants us to: in the background the thread
 * looks now and then whether we have come to the foreground, and then puts the
 * terminal into raw mode; so it does after each SIGCONT.
 */
#ifndef BASE_INLET_H
#define BASE_INLET_H

#include <stddef.h>
#include <sys/types.h>

struct inlet;

/*
 * fd is borrowed, for as long as a read from it may be stuck: standard input, which is never closed. name is the thread's, and
 * must live on. SIGCONT should be blocked in every thread. -errno.
 */
int inlet_new(const char *name, int fd, struct inlet **out);

/* A descriptor that is readable while inlet_take() has something to say. Borrowed. */
int inlet_fd(const struct inlet *in);

/* The next bytes are wanted. Again before they are there: nothing happens. */
void inlet_want(struct inlet *in);
/* Bytes that have been read, at most max; 0: none yet; -ENODATA: none will come. Never waits. */
ssize_t inlet_take(struct inlet *in, void *data, size_t max);

/* Ends the thread, without waiting longer than ms for one that is stuck. NULL is fine. */
void inlet_free(struct inlet *in, unsigned int ms);

#endif
