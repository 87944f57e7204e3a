/* SPDX-License-Identifier: Apache-2.0 */
/* A listening Unix stream socket and its file. */
#ifndef BASE_UNIX_LISTENER_H
#define BASE_UNIX_LISTENER_H

#include <sys/types.h>
#include <sys/un.h>

#include "base/err.h"

#define UNIX_PATH_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1) /* bytes of a socket's path */

struct unix_listener {
	int fd;			      /* nonblocking */
	char path[UNIX_PATH_MAX + 1]; /* empty: not open */
	dev_t dev;		      /* which file we made, so that we remove no other */
	ino_t ino;
};

/*
 * Binds and listens. The file of a process that is gone is replaced; a socket that answers, and anything that is not a
 * socket, is refused and left alone. Others than owner and group never get access; umask decides about the group. what
 * ("API socket") is what errors call it.
 */
int unix_listener_open(struct unix_listener *l, const char *what, const char *path, struct err *e) must_check;
/* Removes the file if it is still ours. */
void unix_listener_close(struct unix_listener *l);

/* Could it be opened now? The directory is there, and what has the name is nothing or the file of a process that is gone. */
int unix_listener_check(const char *what, const char *path, struct err *e) must_check;

#endif
