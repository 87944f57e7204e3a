// SPDX-License-Identifier: Apache-2.0
#include "jailer/tree.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "base/cleanup.h"

#define COPY_STEP (1u << 30) /* bytes; the kernel copies less than 2 GiB at a time */

int exec_file_open(struct exec_file *file, const char *path, struct err *e)
{
	_cleanup_free_ char *real = realpath(path, NULL);
	_cleanup_close_ int fd = -1;
	const char *name;
	struct stat st;
	size_t len;

	if (!real)
		return err_errno(e, errno, "exec-file \"%s\" cannot be used", path);
	name = strrchr(real, '/') + 1;
	fd = open(real, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return err_errno(e, errno, "exec-file \"%s\" cannot be opened", path);
	if (fstat(fd, &st) < 0)
		return err_errno(e, errno, "exec-file \"%s\" cannot be used", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "exec-file \"%s\" is no regular file", path);
	len = strlen(name);
	if (len >= sizeof(file->name))
		return err_set(e, ENAMETOOLONG, "exec-file \"%s\" has a name of more than %d bytes", path, NAME_MAX);
	file->mode = st.st_mode & 0777;
	memcpy(file->name, name, len + 1);
	file->fd = take_fd(&fd);
	return 0;
}

int tree_open_base(const char *path, int *fd, struct err *e)
{
	int opened = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (opened < 0)
		return err_errno(e, errno, "chroot-base-dir \"%s\" cannot be used", path);
	*fd = opened;
	return 0;
}

int tree_enter(int parent, const char *name, int *fd, struct err *e)
{
	int opened;

	if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
		return err_errno(e, errno, "directory \"%s\" cannot be made", name);
	opened = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (opened < 0 && (errno == ELOOP || errno == ENOTDIR))
		return err_set(e, errno, "\"%s\" is no directory: nothing else is used there, a link to one neither",
			       name);
	if (opened < 0)
		return err_errno(e, errno, "directory \"%s\" cannot be opened", name);
	*fd = opened;
	return 0;
}

int tree_take(int parent, const char *name, int *fd, struct err *e)
{
	_cleanup_close_ int dir = -1;
	int r = tree_enter(parent, name, &dir, e);

	if (r < 0)
		return r;
	if (fchown(dir, geteuid(), getegid()) < 0 || fchmod(dir, 0700) < 0)
		return err_errno(e, errno, "directory \"%s\" cannot be closed to others", name);
	*fd = take_fd(&dir);
	return 0;
}

int tree_give(int dir, uid_t uid, gid_t gid, struct err *e)
{
	if (fchown(dir, uid, gid) < 0)
		return err_errno(e, errno, "a directory of the jail cannot be given to user %u", uid);
	return 0;
}

/* What is there under the monitor's name may be what an earlier try has left, and nothing else. */
static int remove_old_copy(int dir, const char *name, struct err *e)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_errno(e, errno, "\"%s\" in the jail cannot be looked at", name);
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return err_set(e, EEXIST, "\"%s\" is in the jail already and no plain file of its own: remove it",
			       name);
	if (unlinkat(dir, name, 0) < 0)
		return err_errno(e, errno, "\"%s\" in the jail cannot be replaced", name);
	return 0;
}

static int copy_bytes(int from, int to)
{
	ssize_t n;

	do
		n = sendfile(to, from, NULL, COPY_STEP);
	while (n > 0 || (n < 0 && errno == EINTR));
	return n < 0 ? -errno : 0;
}

int tree_copy_exec(int dir, const struct exec_file *file, uid_t uid, gid_t gid, struct err *e)
{
	_cleanup_close_ int fd = -1;
	int r = remove_old_copy(dir, file->name, e);

	if (r < 0)
		return r;
	fd = openat(dir, file->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(e, errno, "\"%s\" cannot be made in the jail", file->name);
	r = copy_bytes(file->fd, fd);
	if (r < 0)
		return err_errno(e, -r, "exec-file \"%s\" cannot be copied into the jail", file->name);
	if (fchown(fd, uid, gid) < 0 || fchmod(fd, file->mode) < 0)
		return err_errno(e, errno, "\"%s\" in the jail cannot be given to user %u", file->name, uid);
	return 0;
}

int tree_add_device(int dir, const char *name, dev_t device, uid_t uid, gid_t gid, struct err *e)
{
	if (mknodat(dir, name, S_IFCHR | 0600, device) < 0)
		return errno == EEXIST
			       ? err_set(e, EEXIST,
					 "device \"%s\" is in the jail already: remove what an earlier jail has left",
					 name)
			       : err_errno(e, errno, "device \"%s\" cannot be made in the jail", name);
	if (fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(e, errno, "device \"%s\" of the jail cannot be given to user %u", name, uid);
	return 0;
}
