/* SPDX-License-Identifier: Apache-2.0 */
/* The other end of a network interface: what a driver's frames arrive at, and frames come from. Header and frame are one message. */
#ifndef NET_PEER_H
#define NET_PEER_H

#include "virtio/net_backend.h"

/* A backend over a socket pair, which keeps messages apart as a tap does. *peer is the test's end: close it. */
struct net_backend *net_peer_new(int *peer);
/* What the device has told it last (feature bits), and what it answers from now on. */
uint64_t net_peer_features(const struct net_backend *backend);
void net_peer_refuse_features(struct net_backend *backend, int error);
/* The next sends fail with -error. */
void net_peer_fail_sends(struct net_backend *backend, int error);

#endif
