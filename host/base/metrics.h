/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters, written as one JSON object a line (keys as Firecracker's where it
 * has the metric; ours for leak events). Counters are the difference since the
 * line before; values marked STORE are absolute. Written at start, every 60 s,
 * on FlushMetrics and at exit. Any thread may count.
 *
 * METRICS(COUNT, STORE) is the one list: group, name.
 */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define METRICS(COUNT, STORE)                                                                      \
	STORE(api_server, process_startup_time_us)                                                 \
	STORE(api_server, process_startup_time_cpu_us)                                             \
	COUNT(block, activate_fails)                                                               \
	COUNT(block, cfg_fails)                                                                    \
	COUNT(block, no_avail_buffer)                                                              \
	COUNT(block, event_fails)                                                                  \
	COUNT(block, execute_fails)                                                                \
	COUNT(block, invalid_reqs_count)                                                           \
	COUNT(block, flush_count)                                                                  \
	COUNT(block, queue_event_count)                                                            \
	COUNT(block, rate_limiter_event_count)                                                     \
	COUNT(block, update_count)                                                                 \
	COUNT(block, update_fails)                                                                 \
	COUNT(block, read_bytes)                                                                   \
	COUNT(block, write_bytes)                                                                  \
	COUNT(block, read_count)                                                                   \
	COUNT(block, write_count)                                                                  \
	COUNT(block, rate_limiter_throttled_events)                                                \
	COUNT(deprecated_api, deprecated_http_api_calls)                                           \
	COUNT(entropy, activate_fails)                                                             \
	COUNT(entropy, entropy_event_fails)                                                        \
	COUNT(entropy, entropy_event_count)                                                        \
	COUNT(entropy, entropy_bytes)                                                              \
	COUNT(entropy, host_rng_fails)                                                             \
	COUNT(entropy, entropy_rate_limiter_throttled)                                             \
	COUNT(entropy, rate_limiter_event_count)                                                   \
	COUNT(entropy, leak_event_count) /* leak events that found the feature negotiated */       \
	COUNT(entropy, leak_late_count)	 /* of these: the active leak queue was empty */           \
	COUNT(entropy, leak_fill_count)	 /* fill-on-leak requests carried out */                   \
	COUNT(entropy, leak_fill_bytes)                                                            \
	COUNT(entropy, leak_copy_count) /* copy-on-leak requests carried out */                    \
	COUNT(entropy, leak_copy_bytes)                                                            \
	COUNT(entropy, leak_signalled_count) /* of both: used at once, from the signalled queue */ \
	COUNT(entropy, leak_refused_count)   /* requests used with length 0 */                     \
	COUNT(get_api_requests, instance_info_count)                                               \
	COUNT(get_api_requests, machine_cfg_count)                                                 \
	COUNT(get_api_requests, vmm_version_count)                                                 \
	COUNT(i8042, error_count)                                                                  \
	COUNT(i8042, missed_read_count)                                                            \
	COUNT(i8042, missed_write_count)                                                           \
	COUNT(i8042, read_count)                                                                   \
	COUNT(i8042, reset_count)                                                                  \
	COUNT(i8042, write_count)                                                                  \
	STORE(latencies_us, full_create_snapshot)                                                  \
	STORE(latencies_us, load_snapshot)                                                         \
	STORE(latencies_us, pause_vm)                                                              \
	STORE(latencies_us, resume_vm)                                                             \
	STORE(latencies_us, leak_event)                                                            \
	COUNT(logger, missed_metrics_count)                                                        \
	COUNT(logger, metrics_fails)                                                               \
	COUNT(logger, missed_log_count)                                                            \
	COUNT(logger, rate_limited_log_count)                                                      \
	COUNT(put_api_requests, actions_count)                                                     \
	COUNT(put_api_requests, actions_fails)                                                     \
	COUNT(put_api_requests, boot_source_count)                                                 \
	COUNT(put_api_requests, boot_source_fails)                                                 \
	COUNT(put_api_requests, drive_count)                                                       \
	COUNT(put_api_requests, drive_fails)                                                       \
	COUNT(put_api_requests, logger_count)                                                      \
	COUNT(put_api_requests, logger_fails)                                                      \
	COUNT(put_api_requests, machine_cfg_count)                                                 \
	COUNT(put_api_requests, machine_cfg_fails)                                                 \
	COUNT(put_api_requests, metrics_count)                                                     \
	COUNT(put_api_requests, metrics_fails)                                                     \
	COUNT(put_api_requests, serial_count)                                                      \
	COUNT(put_api_requests, serial_fails)                                                      \
	COUNT(patch_api_requests, drive_count)                                                     \
	COUNT(patch_api_requests, drive_fails)                                                     \
	COUNT(patch_api_requests, machine_cfg_count)                                               \
	COUNT(patch_api_requests, machine_cfg_fails)                                               \
	COUNT(seccomp, num_faults)                                                                 \
	COUNT(signals, sigbus)                                                                     \
	COUNT(signals, sighup)                                                                     \
	COUNT(signals, sigill)                                                                     \
	COUNT(signals, sigpipe)                                                                    \
	COUNT(signals, sigsegv)                                                                    \
	COUNT(signals, sigxcpu)                                                                    \
	COUNT(signals, sigxfsz)                                                                    \
	COUNT(uart, error_count)                                                                   \
	COUNT(uart, flush_count)                                                                   \
	COUNT(uart, missed_read_count)                                                             \
	COUNT(uart, missed_write_count)                                                            \
	COUNT(uart, read_count)                                                                    \
	COUNT(uart, write_count)                                                                   \
	COUNT(uart, rate_limiter_dropped_bytes)                                                    \
	COUNT(vcpu, exit_io_in)                                                                    \
	COUNT(vcpu, exit_io_out)                                                                   \
	COUNT(vcpu, exit_mmio_read)                                                                \
	COUNT(vcpu, exit_mmio_write)                                                               \
	COUNT(vcpu, failures)                                                                      \
	COUNT(vcpu, kvmclock_ctrl_fails)                                                           \
	COUNT(virtio, needs_reset_count)                                                           \
	COUNT(vmgenid, update_count)

#define METRIC_FIELD_(group, name) _Atomic uint64_t group##_##name;
struct metrics {
	METRICS(METRIC_FIELD_, METRIC_FIELD_)
};
#undef METRIC_FIELD_

extern struct metrics metrics;

/* metric_inc(entropy, leak_event_count); metric_add(entropy, entropy_bytes, n); metric_set(latencies_us, pause_vm, us) */
#define metric_add(group, name, n) ((void)atomic_fetch_add_explicit(&metrics.group##_##name, (n), memory_order_relaxed))
#define metric_inc(group, name)	   metric_add(group, name, 1)
#define metric_set(group, name, v) atomic_store_explicit(&metrics.group##_##name, (v), memory_order_relaxed)

/*
 * Opens the metrics file or FIFO; fails with EEXIST if it was set before. id is put into each line if not NULL.
 * properties_json is an already serialised JSON object (or NULL), put under "properties". Both are copied.
 */
int metrics_open(const char *path, const char *id, const char *properties_json, struct err *e) must_check;
bool metrics_is_open(void);

/*
 * Writes one line; 0 also when no file is set. Waits 50 ms at most: what is not written by then may still be, and if the line
 * before is not, this one is dropped and counted. -errno with a sentence: the line is lost, its counts come with the next.
 */
int metrics_flush(struct err *e);

/* As metrics_flush(), as well as it can be done from the handler of a fatal signal. */
void metrics_flush_crash(void);

#endif
