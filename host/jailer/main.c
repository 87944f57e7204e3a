// SPDX-License-Identifier: Apache-2.0
/*
 * snapsafe-jailer: makes a directory with nothing but what a monitor needs, goes into it for good, gives up every privilege and
 * becomes the monitor. The order is that of the calls in jail(): what needs the host's files comes before jail_enter(),
 * what needs privileges before run_monitor().
 */
#include <fcntl.h>
#include <linux/close_range.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/api_version.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/libc.h"
#include "jailer/cgroup.h"
#include "jailer/jail.h"
#include "jailer/options.h"
#include "jailer/run.h"

#define UMASK 022 /* modes are what the code says, whatever the caller's umask is */

/* Standard streams are there, also where the caller has closed them; no other descriptor is. *null_fd: /dev/null. */
static int tidy_descriptors(int *null_fd, struct err *e)
{
	int fd;

	if (syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_UNSHARE) < 0)
		return err_errno(e, errno, "descriptors of the caller cannot be closed");
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= 2);
	if (fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return err_errno(e, errno, "/dev/null cannot be opened");
	*null_fd = fd;
	return 0;
}

static int jail(const struct jailer_options *options, uint64_t start_us, int null_fd, struct err *e)
{
	struct exec_file file = { .fd = -1 };
	_cleanup_close_ int root = -1;
	mode_t mask = umask(UMASK);
	int r;

	r = exec_file_open(&file, options->exec_file, e);
	if (!r)
		r = jail_unshare(e);
	if (!r)
		r = jail_furnish(options, &file, &root, e);
	if (!r)
		r = cgroup_join(options, options->parent_cgroup ? options->parent_cgroup : file.name, e);
	if (!r)
		r = jail_limit(options, e);
	if (!r)
		r = jail_enter(root, e);
	umask(mask);
	if (!r)
		r = run_monitor(options, file.name, start_us, null_fd, e);
	cleanup_close(&file.fd);
	return r;
}

int main(int argc, char **argv)
{
	uint64_t start_us = clock_now_ns() / 1000;
	struct jailer_options options;
	struct err e;
	int null_fd = -1;
	int r;

	libc_init();
	clearenv();
	r = tidy_descriptors(&null_fd, &e);
	if (!r)
		r = jailer_options_parse(argc, argv, &options, &e);
	if (!r && options.help)
		jailer_print_help(stdout);
	else if (!r && options.version)
		printf("Jailer v%s\nsnapsafe-jailer v%s\n", VMM_API_VERSION, SNAPSAFE_VERSION);
	else if (!r)
		r = jail(&options, start_us, null_fd, &e);
	if (r < 0)
		fprintf(stderr, "Error: %s\n", e.text);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
