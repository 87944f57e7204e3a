// SPDX-License-Identifier: Apache-2.0
/*
 * A socket file outlives its process, so an existing one says nothing: it is
 * asked by connect(), which a dead socket refuses. Between bind() and listen()
 * a live one refuses as well; a lock on the folder keeps two starting monitors
 * from seeing each other in that state. The lock is advisory and given up
 * after a second: a folder that somebody else keeps locked must not stop us.
 */
#include "api/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

#define API_SOCKET_BACKLOG  128
#define API_SOCKET_LOCK_TRY 100 /* times, 10 ms apart */

static int api_socket_lock_folder(const char *path)
{
	char copy[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* dirname() writes into it */
	int fd;

	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; fd >= 0 && i < API_SOCKET_LOCK_TRY; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
			break;
		usleep(10 * 1000);
	}
	return fd;
}

/* 0 if the file at addr is a socket that nobody listens on. */
static int api_socket_check_stale(const struct sockaddr_un *addr, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0
				       : err_errno(e, errno, "API socket \"%s\": cannot examine it", addr->sun_path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, EEXIST,
			       "API socket \"%s\": a file of that name exists and is not a socket; it was left alone",
			       addr->sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(e, errno, "API socket \"%s\": cannot create a socket", addr->sun_path);
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno == EAGAIN)
		return err_set(
			e, EADDRINUSE,
			"API socket \"%s\" is in use: another process answers on it; stop that process or choose "
			"another path with --api-sock",
			addr->sun_path);
	if (errno == ECONNREFUSED || errno == ENOENT)
		return 0;
	return err_errno(e, errno, "API socket \"%s\" exists and cannot be examined", addr->sun_path);
}

static int api_socket_bind(int fd, const struct sockaddr_un *addr)
{
	mode_t old = umask(0);
	int r;

	umask(old | 0117);
	r = bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ? -errno : 0;
	umask(old);
	return r;
}

static int api_socket_bind_or_replace(int fd, const struct sockaddr_un *addr, struct err *e)
{
	int r = api_socket_bind(fd, addr);

	if (r == -EADDRINUSE) {
		r = api_socket_check_stale(addr, e);
		if (r)
			return r;
		if (unlink(addr->sun_path) < 0 && errno != ENOENT)
			return err_errno(e, errno,
					 "API socket \"%s\": cannot remove the file of a process that is gone",
					 addr->sun_path);
		r = api_socket_bind(fd, addr);
	}
	if (!r && listen(fd, API_SOCKET_BACKLOG) < 0) {
		r = -errno;
		unlink(addr->sun_path);
	}
	return r ? err_errno(e, -r, "API socket \"%s\": cannot listen on it", addr->sun_path) : 0;
}

int api_socket_open(struct api_socket *s, const char *path, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;
	struct stat st;
	int lock, r;

	if (!path[0] || strlen(path) >= sizeof(addr.sun_path))
		return err_set(e, EINVAL, "API socket \"%s\": the path has %zu bytes; a socket's path has 1 to %zu",
			       path, strlen(path), sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(e, errno, "API socket \"%s\": cannot create a socket", path);
	lock = api_socket_lock_folder(path);
	r = api_socket_bind_or_replace(fd, &addr, e);
	if (lock >= 0)
		close(lock);
	if (r)
		return r;
	if (lstat(path, &st) < 0)
		return err_errno(e, errno, "API socket \"%s\" went away while it was made", path);
	*s = (struct api_socket){ .fd = take_fd(&fd), .dev = st.st_dev, .ino = st.st_ino };
	snprintf(s->path, sizeof(s->path), "%s", path);
	return 0;
}

void api_socket_close(struct api_socket *s)
{
	struct stat st;

	if (!s->path[0])
		return;
	if (lstat(s->path, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_dev == s->dev && st.st_ino == s->ino)
		unlink(s->path);
	close(s->fd);
	*s = (struct api_socket){ .fd = -1 };
}
