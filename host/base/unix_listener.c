// SPDX-License-Identifier: Apache-2.0
/*
 * A socket file outlives its process, so an existing one says nothing: it is
 * asked by connect(), which a dead socket refuses. Between bind() and listen()
 * a live one refuses as well; a lock on the directory keeps two starting monitors
 * from seeing each other in that state. The lock is advisory and given up
 * after a second: a directory that somebody else keeps locked must not stop us.
 */
#include "base/unix_listener.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define LISTENER_BACKLOG  128
#define LISTENER_LOCK_TRY 100 /* times, 10 ms apart */

static int listener_lock_directory(const char *path)
{
	char copy[UNIX_PATH_MAX + 1]; /* dirname() writes into it */
	int fd;

	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; fd >= 0 && i < LISTENER_LOCK_TRY; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
			break;
		usleep(10 * 1000);
	}
	return fd;
}

static int listener_address(const char *what, const char *path, struct sockaddr_un *addr, struct err *e)
{
	if (!path[0] || strlen(path) > UNIX_PATH_MAX)
		return err_set(e, EINVAL, "%s \"%s\": the path has %zu bytes; a socket's path has 1 to %zu", what, path,
			       strlen(path), UNIX_PATH_MAX);
	*addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(addr->sun_path, path, strlen(path));
	return 0;
}

static int listener_socket(const char *what, const char *path, struct err *e)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? err_errno(e, errno, "%s \"%s\": cannot create a socket", what, path) : fd;
}

/* 0 if the file at addr is a socket that nobody listens on, or there is none. */
static int listener_check_stale(const char *what, const struct sockaddr_un *addr, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : err_errno(e, errno, "%s \"%s\": cannot examine it", what, addr->sun_path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, EEXIST,
			       "%s \"%s\": a file of that name exists and is not a socket; it was left alone", what,
			       addr->sun_path);
	fd = listener_socket(what, addr->sun_path, e);
	if (fd < 0)
		return fd;
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno == EAGAIN)
		return err_set(e, EADDRINUSE,
			       "%s \"%s\" is in use: another process answers on it; stop that process or choose "
			       "another path",
			       what, addr->sun_path);
	if (errno == ECONNREFUSED || errno == ENOENT)
		return 0;
	return err_errno(e, errno, "%s \"%s\" exists and cannot be examined", what, addr->sun_path);
}

static int listener_bind(int fd, const struct sockaddr_un *addr)
{
	mode_t old = umask(0);
	int r;

	umask(old | 0117);
	r = bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ? -errno : 0;
	umask(old);
	return r;
}

static int listener_bind_or_replace(int fd, const char *what, const struct sockaddr_un *addr, struct err *e)
{
	int r = listener_bind(fd, addr);

	if (r == -EADDRINUSE) {
		r = listener_check_stale(what, addr, e);
		if (r)
			return r;
		if (unlink(addr->sun_path) < 0 && errno != ENOENT)
			return err_errno(e, errno, "%s \"%s\": cannot remove the file of a process that is gone", what,
					 addr->sun_path);
		r = listener_bind(fd, addr);
	}
	if (!r && listen(fd, LISTENER_BACKLOG) < 0) {
		r = -errno;
		unlink(addr->sun_path);
	}
	return r ? err_errno(e, -r, "%s \"%s\": cannot listen on it", what, addr->sun_path) : 0;
}

int unix_listener_open(struct unix_listener *l, const char *what, const char *path, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_un addr;
	struct stat st;
	int lock, r = listener_address(what, path, &addr, e);

	if (r)
		return r;
	fd = listener_socket(what, path, e);
	if (fd < 0)
		return fd;
	lock = listener_lock_directory(path);
	r = listener_bind_or_replace(fd, what, &addr, e);
	if (lock >= 0)
		close(lock);
	if (r)
		return r;
	if (lstat(path, &st) < 0)
		return err_errno(e, errno, "%s \"%s\" went away while it was made", what, path);
	*l = (struct unix_listener){ .fd = take_fd(&fd), .dev = st.st_dev, .ino = st.st_ino };
	snprintf(l->path, sizeof(l->path), "%s", path);
	return 0;
}

void unix_listener_close(struct unix_listener *l)
{
	struct stat st;

	if (!l->path[0])
		return;
	if (lstat(l->path, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_dev == l->dev && st.st_ino == l->ino)
		unlink(l->path);
	close(l->fd);
	*l = (struct unix_listener){ .fd = -1 };
}

int unix_listener_check(const char *what, const char *path, struct err *e)
{
	char copy[UNIX_PATH_MAX + 1];
	struct sockaddr_un addr;
	int r = listener_address(what, path, &addr, e);
	const char *directory;
	struct stat st;

	if (r)
		return r;
	snprintf(copy, sizeof(copy), "%s", path);
	directory = dirname(copy);
	if (stat(directory, &st) < 0)
		return err_errno(e, errno, "%s \"%s\": cannot examine the directory \"%s\"", what, path, directory);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ENOTDIR, "%s \"%s\": \"%s\" is not a directory", what, path, directory);
	return listener_check_stale(what, &addr, e);
}
