// SPDX-License-Identifier: Apache-2.0
/*
 * Temporary files with an owner. A lock is worth something only if the locked
 * file still has the name: between open() and flock() another process may have
 * removed or renamed it, hence the look at the inode afterwards.
 */
#include "snapshot/tmpfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fdio.h"
#include "snapshot/format.h"

/* Bytes of a file's name that leave room for the suffix. */
#define TMPFILE_NAME_MAX (NAME_MAX - strlen(SNAPSHOT_TMP_SUFFIX))

static const char *tmpfile_last_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static int tmpfile_check_target(const struct tmpfile *file, struct err *e)
{
	struct stat st;

	if (stat(file->path, &st) < 0)
		return errno == ENOENT ? 0 : err_errno(e, errno, "cannot examine %s \"%s\"", file->what, file->path);
	if (S_ISDIR(st.st_mode))
		return err_set(e, EISDIR, "%s \"%s\" is a directory, it must be a file or not exist", file->what,
			       file->path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "%s \"%s\" is not a regular file, it must be one or not exist", file->what,
			       file->path);
	return 0;
}

int tmpfile_init(struct tmpfile *file, const char *what, const char *path, struct err *e)
{
	const char *name;
	int r;

	*file = (struct tmpfile){ .what = what, .fd = -1 };
	r = snapshot_resolve(what, path, file->path, e);
	if (r < 0)
		return r;
	name = tmpfile_last_name(file->path);
	if (strlen(name) > TMPFILE_NAME_MAX)
		return err_set(
			e, ENAMETOOLONG,
			"the name of the %s, \"%s\", has %zu bytes, at most %zu are allowed: \"" SNAPSHOT_TMP_SUFFIX
			"\" is added to it while the file is written",
			what, name, strlen(name), TMPFILE_NAME_MAX);
	snprintf(file->tmp, sizeof(file->tmp), "%.*s" SNAPSHOT_TMP_SUFFIX,
		 (int)(sizeof(file->tmp) - sizeof(SNAPSHOT_TMP_SUFFIX)), file->path);
	return tmpfile_check_target(file, e);
}

void tmpfile_fini(struct tmpfile *file)
{
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
}

static int tmpfile_busy(const struct tmpfile *file, struct err *e)
{
	return err_set(e, EBUSY, "another process is writing a snapshot to %s \"%s\"", file->what, file->path);
}

/* Locks fd and makes sure that it is what the temporary name stands for. */
static int tmpfile_lock(const struct tmpfile *file, int fd, struct err *e)
{
	struct stat mine, named;
	bool there;

	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? tmpfile_busy(file, e)
					    : err_errno(e, errno, "cannot lock \"%s\"", file->tmp);
	if (fstat(fd, &mine) < 0)
		return err_errno(e, errno, "cannot examine \"%s\"", file->tmp);
	there = lstat(file->tmp, &named) == 0;
	if (!there && errno != ENOENT)
		return err_errno(e, errno, "cannot examine \"%s\"", file->tmp);
	if (!there || mine.st_dev != named.st_dev || mine.st_ino != named.st_ino)
		return tmpfile_busy(file, e);
	if (!S_ISREG(mine.st_mode))
		return err_set(e, EINVAL, "\"%s\" is in the way: it is not a regular file", file->tmp);
	return 0;
}

int tmpfile_adopt(struct tmpfile *file, struct err *e)
{
	_cleanup_close_ int fd = open(file->tmp, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	int r;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return err_errno(e, errno, "\"%s\" is in the way", file->tmp);
	r = tmpfile_lock(file, fd, e);
	if (r < 0)
		return r;
	file->fd = take_fd(&fd);
	return 0;
}

int tmpfile_create(struct tmpfile *file, struct err *e)
{
	_cleanup_close_ int fd = open(file->tmp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0660);
	int r;

	if (fd < 0 && errno == EEXIST)
		return tmpfile_busy(file, e);
	if (fd < 0)
		return err_errno(e, errno, "cannot create %s \"%s\"", file->what, file->path);
	r = tmpfile_lock(file, fd, e);
	if (r < 0 && r != -EBUSY) /* else somebody has taken it over */
		(void)unlink(file->tmp);
	if (r < 0)
		return r;
	file->fd = take_fd(&fd);
	return 0;
}

void tmpfile_remove(struct tmpfile *file)
{
	if (file->fd < 0)
		return;
	/* While the lock is held, the name is ours. */
	(void)unlink(file->tmp);
	tmpfile_fini(file);
}

int tmpfile_rename(struct tmpfile *file, struct err *e)
{
	if (rename(file->tmp, file->path) < 0)
		return err_errno(e, errno, "cannot rename \"%s\" to \"%s\"", file->tmp, file->path);
	tmpfile_fini(file);
	return 0;
}

int tmpfile_sync(struct tmpfile *file, struct err *e)
{
	if (fsync(file->fd) < 0)
		return err_errno(e, errno, "cannot write %s \"%s\" to its disk", file->what, file->path);
	return 0;
}

int tmpfile_sync_directory(struct tmpfile *file, struct err *e)
{
	int r = fsync_parent(file->path);

	if (r < 0)
		return err_errno(e, -r, "cannot write the directory of %s \"%s\" to its disk", file->what, file->path);
	return 0;
}

static int tmpfile_stat_directory(const char *path, struct stat *st, struct err *e)
{
	char directory[PATH_MAX];
	const char *slash = strrchr(path, '/');

	if (!slash)
		snprintf(directory, sizeof(directory), ".");
	else
		snprintf(directory, sizeof(directory), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	if (stat(directory, st) < 0)
		return err_errno(e, errno, "cannot use the directory of \"%s\"", path);
	return 0;
}

int tmpfile_same_name(const char *a, const char *b, bool *same, struct err *e)
{
	struct stat directory_a, directory_b;
	int r;

	r = tmpfile_stat_directory(a, &directory_a, e);
	if (r != 0)
		return r;
	r = tmpfile_stat_directory(b, &directory_b, e);
	if (r != 0)
		return r;
	*same = directory_a.st_dev == directory_b.st_dev && directory_a.st_ino == directory_b.st_ino &&
		strcmp(tmpfile_last_name(a), tmpfile_last_name(b)) == 0;
	return 0;
}
