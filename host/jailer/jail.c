// SPDX-License-Identifier: Apache-2.0
#include "jailer/jail.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#ifndef OPEN_TREE_CLONE /* glibc has it in <sys/mount.h>, and then the two do not go together */
#include <linux/mount.h>
#endif

#include "base/cleanup.h"

#define MISC_MAJOR 10 /* Documentation/admin-guide/devices.txt of Linux */
#define MEM_MAJOR  1

int jail_unshare(struct err *e)
{
	if (unshare(CLONE_NEWNS) < 0)
		return err_errno(e, errno, "a mount namespace cannot be made");
	/* What the host mounts later below the jail appears in it; what we do stays here. */
	if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		return err_errno(e, errno, "mounts cannot be made our own");
	return 0;
}

/* A line of /proc/misc is "257 userfaultfd", the number padded. -1: this kernel has no such device. */
static int misc_minor(const char *wanted)
{
	FILE *misc = fopen("/proc/misc", "re");
	char line[128];
	int found = -1;

	while (misc && found < 0 && fgets(line, sizeof(line), misc)) {
		char *name;
		long minor = strtol(line, &name, 10);

		name += strspn(name, " ");
		name[strcspn(name, "\n")] = '\0';
		if (strcmp(name, wanted) == 0)
			found = (int)minor;
	}
	if (misc)
		fclose(misc);
	return found;
}

static int make_devices(const struct jailer_options *o, int dev, int net, struct err *e)
{
	int uffd = misc_minor("userfaultfd");
	int r = tree_add_device(net, "tun", makedev(MISC_MAJOR, 200), o->uid, o->gid, e);

	if (!r)
		r = tree_add_device(dev, "kvm", makedev(MISC_MAJOR, 232), o->uid, o->gid, e);
	if (!r)
		r = tree_add_device(dev, "urandom", makedev(MEM_MAJOR, 9), o->uid, o->gid, e);
	if (!r && uffd >= 0)
		r = tree_add_device(dev, "userfaultfd", makedev(MISC_MAJOR, (unsigned int)uffd), o->uid, o->gid, e);
	return r;
}

/* The directories are given away last: until then nobody else changes what is in them. */
static int fill(const struct jailer_options *o, const struct exec_file *file, int root, struct err *e)
{
	_cleanup_close_ int dev = -1;
	_cleanup_close_ int net = -1;
	_cleanup_close_ int run = -1;
	int r = tree_copy_exec(root, file, o->uid, o->gid, e);

	if (!r)
		r = tree_take(root, "dev", &dev, e);
	if (!r)
		r = tree_take(dev, "net", &net, e);
	if (!r)
		r = tree_take(root, "run", &run, e);
	if (!r)
		r = make_devices(o, dev, net, e);
	if (r < 0)
		return r;
	for (size_t i = 0; !r && i < 4; i++)
		r = tree_give((const int[]){ net, dev, run, root }[i], o->uid, o->gid, e);
	return r;
}

int jail_furnish(const struct jailer_options *options, const struct exec_file *file, int *root, struct err *e)
{
	_cleanup_close_ int base = -1;
	_cleanup_close_ int kind = -1;
	_cleanup_close_ int own = -1;
	_cleanup_close_ int made = -1;
	struct statvfs fs;
	int r = tree_open_base(options->chroot_base, &base, e);

	if (r < 0)
		return r;
	if (fstatvfs(base, &fs) == 0 && fs.f_flag & (ST_NODEV | ST_NOEXEC))
		return err_set(e, EINVAL,
			       "chroot-base-dir \"%s\" is on a file system that is mounted \"%s\": a jail has devices "
			       "and a program",
			       options->chroot_base, fs.f_flag & ST_NODEV ? "nodev" : "noexec");
	r = tree_enter(base, file->name, &kind, e);
	if (!r)
		r = tree_enter(kind, options->id, &own, e);
	if (!r)
		r = tree_take(own, "root", &made, e);
	if (!r)
		r = fill(options, file, made, e);
	if (r < 0)
		return err_wrap(e, r, "jail \"%s\"", options->id);
	*root = take_fd(&made);
	return 0;
}

static int set_limit(const char *name, int which, uint64_t value, struct err *e)
{
	struct rlimit limit = { .rlim_cur = value, .rlim_max = value };

	if (setrlimit(which, &limit) < 0)
		return err_errno(e, errno, "resource-limit %s cannot be %llu", name, (unsigned long long)value);
	return 0;
}

static int join_network(const char *path, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return err_errno(e, errno, "netns \"%s\" cannot be opened", path);
	if (setns(fd, CLONE_NEWNET) < 0)
		return errno == EINVAL ? err_set(e, EINVAL, "netns \"%s\" is no network namespace", path)
				       : err_errno(e, errno, "netns \"%s\" cannot be joined", path);
	return 0;
}

int jail_limit(const struct jailer_options *options, struct err *e)
{
	int r = options->netns ? join_network(options->netns, e) : 0;

	if (!r && options->limits_file_size)
		r = set_limit("fsize", RLIMIT_FSIZE, options->max_file_size, e);
	if (!r)
		r = set_limit("no-file", RLIMIT_NOFILE, options->max_open_files, e);
	return r;
}

/*
 * By descriptors: whoever renames the directory meanwhile changes nothing. pivot_root(2), "pivot_root(".", ".")": the old
 * root lies above the new one, and is taken away.
 */
int jail_enter(int root, struct err *e)
{
	_cleanup_close_ int tree = (int)syscall(SYS_open_tree, root, "",
						AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (tree < 0 ||
	    syscall(SYS_move_mount, tree, "", root, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return err_errno(e, errno, "the jail's directory cannot be mounted on itself");
	if (fchdir(tree) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
		return err_errno(e, errno, "the jail's directory cannot become the root");
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return err_errno(e, errno, "the host's root cannot be left");
	return 0;
}
