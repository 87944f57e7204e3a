/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata service of a machine: what the guest reads at an address of its
 * network, by HTTP. It is behind those of its interfaces that the configuration
 * names, as a service of each (virtio/net_backend.h).
 *
 * Frames are taken and given by the interfaces' threads, through a ring for each
 * direction; all the rest (TCP, HTTP, metadata, tokens) happens on the machine's
 * loop. No snapshot has any of it: a restored machine's connections are unknown
 * here and get reset, and its tokens are those of another key.
 */
#ifndef MMDS_MMDS_H
#define MMDS_MMDS_H

#include "base/err.h"
#include "base/loop.h"
#include "config/config.h"
#include "mmds/metrics.h"
#include "mmds/store.h"
#include "virtio/net_backend.h"

struct mmds;

/* store is borrowed. One at a time in a process (mmds/stack.h). Loop thread. */
int mmds_new(const struct mmds_config *config, const struct mmds_store *store, struct loop *loop, struct mmds **out,
	     struct err *e) must_check;
void mmds_free(struct mmds *mmds); /* after those who have its links; NULL is fine */

/* What stands behind an interface: the caller's, free()d by its ops on the loop thread. NULL and 0: nothing, it is not named. */
int mmds_new_link(struct mmds *mmds, const char *iface_id, struct net_backend **out, struct err *e) must_check;

#endif
