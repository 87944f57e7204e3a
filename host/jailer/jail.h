/* SPDX-License-Identifier: Apache-2.0 */
/* What a jail is: a directory with a copy of the monitor and devices, which becomes the root of a mount namespace. */
#ifndef JAILER_JAIL_H
#define JAILER_JAIL_H

#include "base/err.h"
#include "jailer/options.h"
#include "jailer/tree.h"

/* A mount namespace of our own: what is mounted in it is seen by nobody else. Comes first, since jail_enter() mounts by what is opened. */
int jail_unshare(struct err *e) must_check;

/* <chroot base>/<name of file>/<id>/root with everything in it. *root is the caller's. */
int jail_furnish(const struct jailer_options *options, const struct exec_file *file, int *root,
		 struct err *e) must_check;

/* Network namespace and resource limits. */
int jail_limit(const struct jailer_options *options, struct err *e) must_check;

/* root becomes "/" and the working directory; nothing else of the host's tree can be reached any more. */
int jail_enter(int root, struct err *e) must_check;

#endif
