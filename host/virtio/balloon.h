/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory balloon (virtio 1.2, section 5.5): pages that the guest does not need go back to the host, and are zero when
 * they come again, on a machine that was restored, too.
 */
#ifndef VIRTIO_BALLOON_H
#define VIRTIO_BALLOON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/metrics.h"
#include "bus/platform.h"
#include "config/config.h"
#include "virtio/virtio.h"

/* _count of reports and hints: buffers; _freed: bytes. event_fails: buffers that make no sense, pages that are no memory. */
#define BALLOON_METRICS(M)                 \
	M(balloon, activate_fails)         \
	M(balloon, inflate_count)          \
	M(balloon, stats_updates_count)    \
	M(balloon, stats_update_fails)     \
	M(balloon, deflate_count)          \
	M(balloon, event_fails)            \
	M(balloon, free_page_report_count) \
	M(balloon, free_page_report_freed) \
	M(balloon, free_page_report_fails) \
	M(balloon, free_page_hint_count)   \
	M(balloon, free_page_hint_freed)   \
	M(balloon, free_page_hint_fails)
METRICS_DECLARE(balloon, BALLOON_METRICS)

/* S(tag, name, meaning): what a guest may tell, by section 5.5.6.4 and linux/virtio_balloon.h; the last six since Linux 6.12. */
#define BALLOON_STATS(S)                                                                       \
	S(0, swap_in, "Bytes that were swapped in.")                                           \
	S(1, swap_out, "Bytes that were swapped out.")                                         \
	S(2, major_faults, "Major page faults.")                                               \
	S(3, minor_faults, "Minor page faults.")                                               \
	S(4, free_memory, "Bytes that are not used for anything.")                             \
	S(5, total_memory, "Bytes of memory.")                                                 \
	S(6, available_memory, "Bytes that programs could get without swapping: an estimate.") \
	S(7, disk_caches, "Bytes that could be reclaimed at once: caches of files, mostly.")   \
	S(8, hugetlb_allocations, "Allocations of huge pages.")                                \
	S(9, hugetlb_failures, "Allocations of huge pages that failed.")                       \
	S(10, oom_kill, "Processes that were killed for want of memory.")                      \
	S(11, alloc_stall, "Allocations that had to reclaim memory first.")                    \
	S(12, async_scan, "Pages scanned in the background.")                                  \
	S(13, direct_scan, "Pages scanned by who allocates.")                                  \
	S(14, async_reclaim, "Pages reclaimed in the background.")                             \
	S(15, direct_reclaim, "Pages reclaimed by who allocates.")
#define BALLOON_NUM_STATS 16

/* What GET /balloon/statistics shows. */
struct balloon_statistics {
	uint32_t target_pages, actual_pages; /* of 4 KiB */
	uint32_t target_mib, actual_mib;
	struct {
		bool known; /* the guest has told */
		uint64_t value;
	} guest[BALLOON_NUM_STATS]; /* by tag */
};

/* What GET /balloon/hinting/status shows: command ids, section 5.5.6.5. */
struct balloon_hinting {
	uint32_t host_cmd;
	bool has_guest_cmd;
	uint32_t guest_cmd;
};

/* The caller owns *vdev until virtio_mmio_new() takes it. */
int balloon_new(const struct balloon_config *config, struct platform *p, struct virtio_dev **vdev,
		struct err *e) must_check;

/*
 * Any thread, without the device's lock. -EINVAL with a sentence if the value is not allowed, if the device was not made for
 * it, or (but for statistics) if the guest has no driver.
 */
int balloon_set_size(struct virtio_dev *vdev, uint32_t amount_mib, struct err *e) must_check;
int balloon_set_interval(struct virtio_dev *vdev, uint32_t seconds, struct err *e) must_check;
int balloon_start_hinting(struct virtio_dev *vdev, bool acknowledge_on_stop, struct err *e) must_check;
int balloon_stop_hinting(struct virtio_dev *vdev, struct err *e) must_check;
int balloon_get_statistics(struct virtio_dev *vdev, struct balloon_statistics *statistics, struct err *e) must_check;
int balloon_get_hinting(struct virtio_dev *vdev, struct balloon_hinting *hinting, struct err *e) must_check;

#endif
