/* SPDX-License-Identifier: Apache-2.0 */
/* The entropy device (virtio 1.2, section 5.4) with leak queues (docs/leak-protocol.md). */
#ifndef VIRTIO_RNG_H
#define VIRTIO_RNG_H

#include "base/err.h"
#include "base/metrics.h"
#include "bus/platform.h"
#include "config/config.h"
#include "virtio/virtio.h"

/* Of the entropy device. */
#define ENTROPY_METRICS(M)                                                                     \
	M(entropy, activate_fails)                                                             \
	M(entropy, entropy_event_fails)                                                        \
	M(entropy, entropy_event_count)                                                        \
	M(entropy, entropy_bytes)                                                              \
	M(entropy, host_rng_fails)                                                             \
	M(entropy, entropy_rate_limiter_throttled)                                             \
	M(entropy, rate_limiter_event_count)                                                   \
	M(entropy, leak_event_count) /* leak events that found the feature negotiated */       \
	M(entropy, leak_late_count)  /* of these: the active leak queue was empty */           \
	M(entropy, leak_fill_count)  /* fill-on-leak requests carried out */                   \
	M(entropy, leak_fill_bytes)                                                            \
	M(entropy, leak_copy_count) /* copy-on-leak requests carried out */                    \
	M(entropy, leak_copy_bytes)                                                            \
	M(entropy, leak_signalled_count) /* of both: used at once, from the signalled queue */ \
	M(entropy, leak_refused_count)	 /* requests used with length 0 */                     \
	M(entropy, leak_handled_count)	 /* times that the guest has said that it has reseeded */
METRICS_DECLARE(entropy, ENTROPY_METRICS)

/* At most this many bytes are delivered for one request; the driver may offer more room (the specification allows less). */
#define RNG_MAX_REQUEST (64u * 1024)
/* A leak request longer than this is refused (used with length 0): bounds what a hostile guest can make an event cost. */
#define RNG_MAX_LEAK_REQUEST (1024u * 1024)
/*
 * What a leak event writes in one queue at most, a fill and a copy of the longest; requests beyond that are refused. As much
 * is free of the rate limiter after each event.
 */
#define RNG_MAX_LEAK_EVENT (2 * RNG_MAX_LEAK_REQUEST)

/* The caller owns *vdev until virtio_mmio_new() takes it. */
int rng_new(const struct entropy_config *config, struct platform *p, struct virtio_dev **vdev,
	    struct err *e) must_check;

#endif
