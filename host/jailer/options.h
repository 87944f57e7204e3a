/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of snapsafe-jailer: options, values and defaults are those of Firecracker's jailer. */
#ifndef JAILER_OPTIONS_H
#define JAILER_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/err.h"

#define JAILER_MAX_CGROUPS 64

/* "cpuset.cpus=0-1". Both parts are checked: a file's name has a dot, and nothing in it that leads elsewhere. */
struct jailer_cgroup {
	const char *file; /* borrowed, file_len bytes */
	int file_len;
	const char *value; /* borrowed; not empty */
};

/* Strings are borrowed from argv; NULL means that the option was not given. */
struct jailer_options {
	const char *id;
	const char *exec_file;
	const char *chroot_base;
	const char *netns;
	const char *parent_cgroup; /* NULL: the name of exec_file */
	struct jailer_cgroup cgroups[JAILER_MAX_CGROUPS];
	size_t num_cgroups;
	uint64_t cgroup_version; /* 1 or 2 */
	uid_t uid;
	gid_t gid;
	uint64_t max_open_files; /* descriptors */
	uint64_t max_file_size;	 /* bytes */
	bool limits_file_size;
	bool daemonize;
	bool new_pid_ns;
	bool version;
	bool help;
	char **args; /* what stands behind "--": the monitor's; NULL-terminated */
};

/* Fills *options, defaults included. --help, --version win over everything else, also over mistakes. */
int jailer_options_parse(int argc, char **argv, struct jailer_options *options, struct err *e) must_check;

void jailer_print_help(FILE *out);

#endif
