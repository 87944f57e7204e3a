// SPDX-License-Identifier: Apache-2.0
/*
 * Whole transfers over read(2) and friends, and careful opening: whatever a
 * client names as a file may be a FIFO, a device or a directory, and must then
 * give a sentence instead of a hang.
 */
#include "base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

/* 1: go on, 0: done, -errno. n is what the system call gave. */
static int fd_advance(ssize_t n, size_t *done)
{
	if (n < 0)
		return errno == EINTR ? 1 : -errno;
	if (n == 0)
		return -ENODATA;
	*done += (size_t)n;
	return 1;
}

int fd_read_all(int fd, void *buf, size_t len)
{
	size_t done = 0;
	int r = 1;

	while (done < len && r > 0)
		r = fd_advance(read(fd, (char *)buf + done, len - done), &done);
	return r < 0 ? r : 0;
}

int fd_write_all(int fd, const void *buf, size_t len)
{
	size_t done = 0;
	int r = 1;

	while (done < len && r > 0)
		r = fd_advance(write(fd, (const char *)buf + done, len - done), &done);
	return r < 0 ? r : 0;
}

int fd_pread_all(int fd, void *buf, size_t len, off_t offset)
{
	size_t done = 0;
	int r = 1;

	while (done < len && r > 0)
		r = fd_advance(pread(fd, (char *)buf + done, len - done, offset + (off_t)done), &done);
	return r < 0 ? r : 0;
}

int fd_pwrite_all(int fd, const void *buf, size_t len, off_t offset)
{
	size_t done = 0;
	int r = 1;

	while (done < len && r > 0)
		r = fd_advance(pwrite(fd, (const char *)buf + done, len - done, offset + (off_t)done), &done);
	return r < 0 ? r : 0;
}

static const char *file_type_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFIFO:
		return "a FIFO";
	case S_IFSOCK:
		return "a socket";
	case S_IFBLK:
		return "a block device";
	case S_IFCHR:
		return "a character device";
	default:
		return "not a file";
	}
}

/* O_NONBLOCK keeps open() from waiting for a FIFO's other end; left on, it would change what io_uring does with the file. */
static int file_clear_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0 ? -errno : 0;
}

static bool file_is_allowed(mode_t mode, bool device)
{
	return S_ISREG(mode) || (device && S_ISBLK(mode));
}

static int file_refuse_type(const char *what, const char *path, mode_t mode, bool device, struct err *e)
{
	return err_set(e, EINVAL, "%s \"%s\" is %s, it must be a regular file%s", what, path, file_type_name(mode),
		       device ? " or a block device" : "");
}

int fd_size(int fd, uint64_t *size, bool *is_device)
{
	struct stat st;
	off_t end;

	if (fstat(fd, &st) < 0)
		return -errno;
	end = S_ISBLK(st.st_mode) ? lseek(fd, 0, SEEK_END) : st.st_size;
	if (end < 0)
		return -errno;
	*size = (uint64_t)end;
	*is_device = S_ISBLK(st.st_mode);
	return 0;
}

static int file_open(const char *what, const char *path, int flags, bool device, int *fd, uint64_t *size, struct err *e)
{
	_cleanup_close_ int file = -1;
	struct stat st;
	bool is_device;
	int r;

	/* A directory refuses write access with EISDIR by itself; a FIFO without reader with ENXIO. */
	file = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (file < 0) {
		int errnum = errno;

		if ((errnum == EISDIR || errnum == ENXIO) && stat(path, &st) == 0 &&
		    !file_is_allowed(st.st_mode, device))
			return file_refuse_type(what, path, st.st_mode, device, e);
		return err_errno(e, errnum, "cannot open %s \"%s\"", what, path);
	}
	if (fstat(file, &st) < 0)
		return err_errno(e, errno, "cannot examine %s \"%s\"", what, path);
	if (!file_is_allowed(st.st_mode, device))
		return file_refuse_type(what, path, st.st_mode, device, e);
	r = file_clear_nonblock(file);
	if (r < 0)
		return err_errno(e, -r, "cannot set up %s \"%s\"", what, path);
	r = fd_size(file, size, &is_device);
	if (r < 0)
		return err_errno(e, -r, "cannot examine %s \"%s\"", what, path);
	*fd = take_fd(&file);
	return 0;
}

int file_open_regular(const char *what, const char *path, int flags, int *fd, uint64_t *size, struct err *e)
{
	return file_open(what, path, flags, false, fd, size, e);
}

int file_open_storage(const char *what, const char *path, int flags, int *fd, uint64_t *size, struct err *e)
{
	return file_open(what, path, flags, true, fd, size, e);
}

int file_read(const char *what, const char *path, size_t max, char **data, size_t *len, struct err *e)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *buf = NULL;
	uint64_t size = 0;
	int r;

	r = file_open_regular(what, path, O_RDONLY, &fd, &size, e);
	if (r < 0)
		return r;
	if (size > max)
		return err_set(e, EFBIG, "%s \"%s\" has %llu bytes, at most %zu are allowed", what, path,
			       (unsigned long long)size, max);
	buf = malloc((size_t)size + 1);
	if (!buf)
		return err_errno(e, ENOMEM, "cannot read %s \"%s\"", what, path);
	r = fd_read_all(fd, buf, (size_t)size);
	if (r == -ENODATA)
		return err_set(e, EINVAL, "%s \"%s\" became shorter while it was read", what, path);
	if (r < 0)
		return err_errno(e, -r, "cannot read %s \"%s\"", what, path);
	buf[size] = '\0';
	*data = take_ptr(buf);
	*len = (size_t)size;
	return 0;
}

int fsync_parent(const char *path)
{
	_cleanup_close_ int fd = -1;
	char directory[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;

	if (len >= sizeof(directory))
		return -ENAMETOOLONG;
	memcpy(directory, path, len);
	directory[len] = '\0';
	fd = open(!slash ? "." : len == 0 ? "/" : directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* A file system without a way to sync directories says EINVAL; there is nothing more to be had there. */
	if (fsync(fd) < 0 && errno != EINVAL)
		return -errno;
	return 0;
}
