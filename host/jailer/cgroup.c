// SPDX-License-Identifier: Apache-2.0
/* No process is moved before every value is written: who starts to run has all of its limits. */
#include "jailer/cgroup.h"

#include <fcntl.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fdio.h"
#include "jailer/tree.h"

#define LINE_MAX_LEN 4096 /* bytes of a cgroup file's first line, "0-1,4,..." */

/* Without these a group of cpuset takes no process; a new one has neither. */
static const char *const cpuset_files[] = { "cpuset.cpus", "cpuset.mems" };

struct controller {
	char name[NAME_MAX + 1];
};

static void controller_of(const struct jailer_cgroup *cgroup, struct controller *controller)
{
	snprintf(controller->name, sizeof(controller->name), "%.*s", (int)strcspn(cgroup->file, "."), cgroup->file);
}

/* controller: of version 1; NULL: version 2. *fd is the caller's. -ENOENT without a sentence if there is no such mount. */
static int open_mount(const char *controller, int *fd, struct err *e)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent *found;
	struct mntent entry;
	char line[LINE_MAX_LEN];
	int opened = -1, r = -ENOENT;

	if (!mounts)
		return err_errno(e, errno, "cgroups cannot be found, since /proc/self/mounts cannot be read");
	while (r == -ENOENT && (found = getmntent_r(mounts, &entry, line, sizeof(line)))) {
		if (strcmp(found->mnt_type, controller ? "cgroup" : "cgroup2") != 0 ||
		    (controller && !hasmntopt(found, controller)))
			continue;
		opened = open(found->mnt_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = opened < 0 ? err_errno(e, errno, "cgroup mount \"%s\" cannot be opened", found->mnt_dir) : 0;
	}
	endmntent(mounts);
	if (opened >= 0)
		*fd = opened;
	return r;
}

/* The first line, without its end. */
static int read_line(int dir, const char *file, char line[LINE_MAX_LEN])
{
	_cleanup_close_ int fd = openat(dir, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, line, LINE_MAX_LEN - 1);

	if (n < 0)
		return -errno;
	line[n] = '\0';
	line[strcspn(line, "\n")] = '\0';
	return 0;
}

static int write_line(int dir, const char *file, const char *text, struct err *e)
{
	_cleanup_close_ int fd = openat(dir, file, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		return err_set(e, ENOENT, "there is no file \"%s\" in a cgroup of this host", file);
	/* One write: the kernel takes each for a value of its own. */
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return err_errno(e, errno, "\"%s\" cannot be written to \"%s\"", text, file);
	return 0;
}

/* A value that a new group does not have is its parent's. */
static int inherit(int parent, int dir, const char *file, struct err *e)
{
	char own[LINE_MAX_LEN];
	char above[LINE_MAX_LEN];

	if (read_line(dir, file, own) < 0 || read_line(parent, file, above) < 0)
		return err_set(e, EIO, "\"%s\" cannot be read", file);
	return *own ? 0 : write_line(dir, file, above, e);
}

/* On the way down: what a level has to have before the one below it is of use. */
static int prepare_level(const struct jailer_options *options, const char *controller, int parent, int dir,
			 struct err *e)
{
	char enable[sizeof(struct controller) + 1];
	int r = 0;

	if (options->cgroup_version == 2) {
		snprintf(enable, sizeof(enable), "+%s", controller);
		return write_line(parent, "cgroup.subtree_control", enable, e);
	}
	for (size_t i = 0; !r && i < ARRAY_SIZE(cpuset_files) && strcmp(controller, "cpuset") == 0; i++)
		r = inherit(parent, dir, cpuset_files[i], e);
	return r;
}

/* The controller's group of the jail, made if it is missing. *fd is the caller's. */
static int open_group(const struct jailer_options *options, const char *parent, const char *controller, int mount,
		      int *fd, struct err *e)
{
	_cleanup_close_ int dir = dup(mount);
	const char *rest = parent;
	int r = dir < 0 ? err_errno(e, errno, "a cgroup cannot be opened") : 0;

	while (!r && rest) {
		size_t len = strcspn(rest, "/");
		char name[NAME_MAX + 1];
		int below = -1;

		snprintf(name, sizeof(name), "%.*s", *rest ? (int)len : NAME_MAX, *rest ? rest : options->id);
		r = tree_enter(dir, name, &below, e);
		if (!r)
			r = prepare_level(options, controller, dir, below, e);
		cleanup_close(&dir);
		dir = below;
		/* Behind the parent's last name comes the id, and then nothing. */
		rest = !*rest ? NULL : rest[len] ? rest + len + 1 : "";
	}
	if (!r)
		*fd = take_fd(&dir);
	return r;
}

/* Is the name one of the words of cgroup.controllers? */
static bool has_controller(int mount, const char *controller)
{
	char line[LINE_MAX_LEN];
	char *save = NULL;

	if (read_line(mount, "cgroup.controllers", line) < 0)
		return false;
	for (char *word = strtok_r(line, " ", &save); word; word = strtok_r(NULL, " ", &save))
		if (strcmp(word, controller) == 0)
			return true;
	return false;
}

static int make_group(const struct jailer_options *options, const char *parent, const struct jailer_cgroup *cgroup,
		      int *fd, struct err *e)
{
	bool is_v2 = options->cgroup_version == 2;
	_cleanup_close_ int mount = -1;
	_cleanup_close_ int dir = -1;
	struct controller controller;
	char file[NAME_MAX + 1];
	int r;

	controller_of(cgroup, &controller);
	r = open_mount(is_v2 ? NULL : controller.name, &mount, e);
	if (r == -ENOENT || (!r && is_v2 && !has_controller(mount, controller.name)))
		return err_set(e, ENOENT, "this host has no controller \"%s\" in cgroups of version %d",
			       controller.name, is_v2 ? 2 : 1);
	if (!r)
		r = open_group(options, parent, controller.name, mount, &dir, e);
	if (r < 0)
		return r;
	snprintf(file, sizeof(file), "%.*s", cgroup->file_len, cgroup->file);
	r = write_line(dir, file, cgroup->value, e);
	if (!r)
		*fd = take_fd(&dir);
	return r;
}

/* "0" is who writes. */
static int move_into(const struct jailer_options *options, int group, struct err *e)
{
	return write_line(group, options->cgroup_version == 2 ? "cgroup.procs" : "tasks", "0", e);
}

static int join_parent(const struct jailer_options *options, const char *parent, struct err *e)
{
	_cleanup_close_ int mount = -1;
	_cleanup_close_ int group = -1;
	int r = open_mount(NULL, &mount, e);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	group = openat(mount, parent, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return group < 0 ? 0 : move_into(options, group, e);
}

int cgroup_join(const struct jailer_options *options, const char *parent, struct err *e)
{
	int groups[JAILER_MAX_CGROUPS];
	size_t made = 0;
	int r = 0;

	if (!options->num_cgroups)
		return options->cgroup_version == 2 ? join_parent(options, parent, e) : 0;
	while (!r && made < options->num_cgroups) {
		const struct jailer_cgroup *cgroup = &options->cgroups[made];

		groups[made] = -1;
		r = make_group(options, parent, cgroup, &groups[made], e);
		if (r < 0)
			r = err_wrap(e, r, "cgroup \"%.*s\"", cgroup->file_len, cgroup->file);
		else
			made++;
	}
	for (size_t i = 0; !r && i < made; i++)
		r = move_into(options, groups[i], e);
	while (made)
		close(groups[--made]);
	return r;
}
