/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Within snapshot/: a file under construction beside the one that it will
 * replace. Who holds the flock(2) on it owns it; the kernel drops the lock
 * when its holder dies, which is how a leftover is told from work in progress.
 */
#ifndef SNAPSHOT_TMPFILE_H
#define SNAPSHOT_TMPFILE_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

struct tmpfile {
	const char *what;    /* "snapshot state file", for errors */
	char path[PATH_MAX]; /* of the target, links followed */
	char tmp[PATH_MAX];  /* its temporary name */
	int fd;		     /* owned; -1: the temporary file is not there, or not ours */
};

/* Finds the names. A target that is there and is no regular file is refused. */
int tmpfile_init(struct tmpfile *file, const char *what, const char *path, struct err *e) must_check;
void tmpfile_fini(struct tmpfile *file); /* closes; removes nothing */

/* Takes what an earlier process left under the temporary name, if anything. -EBUSY while its owner lives. */
int tmpfile_adopt(struct tmpfile *file, struct err *e) must_check;
/* Creates the temporary file, empty, mode 0660 less umask. -EBUSY if another process was faster. */
int tmpfile_create(struct tmpfile *file, struct err *e) must_check;
/* Removes it, if it is ours. */
void tmpfile_remove(struct tmpfile *file);

/* Gives it its target's name, and closes it. */
int tmpfile_rename(struct tmpfile *file, struct err *e) must_check;
/* Makes its contents, or the names in its directory, durable. */
int tmpfile_sync(struct tmpfile *file, struct err *e) must_check;
int tmpfile_sync_directory(struct tmpfile *file, struct err *e) must_check;

/* Is the name a (of file) the same directory entry as the name b (of other)? Both directories exist. */
int tmpfile_same_name(const char *a, const char *b, bool *same, struct err *e) must_check;

#endif
