/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories and files of a jail, reached from a descriptor by single names, and never through a symbolic link: whoever
 * writes to the chroot base while a jail is made changes what is in it, and nothing elsewhere.
 */
#ifndef JAILER_TREE_H
#define JAILER_TREE_H

#include <limits.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/err.h"

/* The monitor's file. */
struct exec_file {
	int fd;			 /* for reading; -1: none */
	mode_t mode;		 /* permissions */
	char name[NAME_MAX + 1]; /* the last part of its real path: what the jail's directory is called */
};

/* Follows links to the file, which has to be a regular one. The caller closes fd. */
int exec_file_open(struct exec_file *file, const char *path, struct err *e) must_check;

/* The chroot base, which has to be there; links on the way are followed. *fd is the caller's. */
int tree_open_base(const char *path, int *fd, struct err *e) must_check;

/* Makes the directory if it is missing, with permissions 0755 then, and opens it. *fd is the caller's. */
int tree_enter(int parent, const char *name, int *fd, struct err *e) must_check;

/* As tree_enter(), and nobody but us may change what is in it until tree_give(), whoever it belonged to before. */
int tree_take(int parent, const char *name, int *fd, struct err *e) must_check;

/* The directory is the user's from now on, who alone may enter. */
int tree_give(int dir, uid_t uid, gid_t gid, struct err *e) must_check;

/* Copies the monitor's file into the directory. A plain file of a jail that failed halfway is replaced. */
int tree_copy_exec(int dir, const struct exec_file *file, uid_t uid, gid_t gid, struct err *e) must_check;

/* A character device that the user alone may use. */
int tree_add_device(int dir, const char *name, dev_t device, uid_t uid, gid_t gid, struct err *e) must_check;

#endif
