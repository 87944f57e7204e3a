/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The jail's control groups: <mount>/<parent>/<id>, in version 1 one in the hierarchy of each controller that is named.
 * (Documentation/admin-guide/cgroup-v1/, cgroup-v2.rst of Linux.)
 */
#ifndef JAILER_CGROUP_H
#define JAILER_CGROUP_H

#include "base/err.h"
#include "jailer/options.h"

/*
 * Makes the groups, writes what the options say, and then moves this process into them. parent is the option's or its default.
 * Version 2 without any file to write: moves into <mount>/<parent>, if that is there.
 */
int cgroup_join(const struct jailer_options *options, const char *parent, struct err *e) must_check;

#endif
