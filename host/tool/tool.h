/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of snapsafe-snapshot. Each prints what it has found, and says in a sentence why it could not. */
#ifndef TOOL_TOOL_H
#define TOOL_TOOL_H

#include "base/err.h"

/* Describes one file, of whichever kind, to standard output. */
int tool_info(const char *path, struct err *e) must_check;
/* Do these files make a memory, as a load would have it? below: as struct snapshot_load_config has its layers, or NULL. */
int tool_check(const char *state_path, const char *mem_path, const char *below, struct err *e) must_check;

/*
 * Can this host run the machine of a state file: does its KVM take the processors that the guest has seen? Tries it, on a machine
 * that never runs; the sentence names the features that are missing. Needs /dev/kvm.
 */
int tool_check_host(const char *state_path, struct err *e) must_check;

#endif
