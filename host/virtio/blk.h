/* SPDX-License-Identifier: Apache-2.0 */
/* Block device over a raw file or host block device (virtio 1.2, section 5.2). */
#ifndef VIRTIO_BLK_H
#define VIRTIO_BLK_H

#include "base/err.h"
#include "base/metrics.h"
#include "bus/platform.h"
#include "config/config.h"
#include "virtio/virtio.h"

/* Of each drive; "block" adds them up. remaining_reqs_count: each time one is taken, how many more are in the ring. */
#define BLOCK_METRICS(M)                        \
	M(block, activate_fails)                \
	M(block, cfg_fails)                     \
	M(block, no_avail_buffer)               \
	M(block, event_fails)                   \
	M(block, execute_fails)                 \
	M(block, invalid_reqs_count)            \
	M(block, flush_count)                   \
	M(block, queue_event_count)             \
	M(block, rate_limiter_event_count)      \
	M(block, update_count)                  \
	M(block, update_fails)                  \
	M(block, read_bytes)                    \
	M(block, write_bytes)                   \
	M(block, read_count)                    \
	M(block, write_count)                   \
	M(block, rate_limiter_throttled_events) \
	M(block, io_engine_throttled_events)    \
	M(block, remaining_reqs_count)
#define BLOCK_TIMES(T) T(block, read_agg) T(block, write_agg)
METRICS_DECLARE_TIMED(block, BLOCK_METRICS, BLOCK_TIMES)

/* Opens the file. The caller owns *vdev until virtio_mmio_new() takes it. */
int blk_new(const struct drive_config *config, struct platform *p, struct virtio_dev **vdev, struct err *e) must_check;

/*
 * PATCH /drives: a new backing file (path, or NULL to keep it; the guest is told of the new capacity) and new limits (buckets
 * that are present replace; update->rate_limiter). All or nothing. Loop thread; takes the device's lock, but not while it opens the file.
 */
int blk_update(struct virtio_dev *vdev, const struct drive_update *update, struct err *e) must_check;

#endif
