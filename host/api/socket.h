/* SPDX-License-Identifier: Apache-2.0 */
/* The listening Unix socket and its file. */
#ifndef API_SOCKET_H
#define API_SOCKET_H

#include <sys/types.h>
#include <sys/un.h>

#include "base/err.h"

struct api_socket {
	int fd;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* empty: not open */
	dev_t dev;						/* which file we made, so that we remove no other */
	ino_t ino;
};

/*
 * Binds and listens. The file of a process that is gone is replaced; a socket that answers, and anything that is not a
 * socket, is refused and left alone. Others than owner and group never get access; umask decides about the group.
 */
int api_socket_open(struct api_socket *s, const char *path, struct err *e) must_check;
/* Removes the file if it is still ours. */
void api_socket_close(struct api_socket *s);

#endif
