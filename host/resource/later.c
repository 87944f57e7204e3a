// SPDX-License-Identifier: Apache-2.0
/*
 * What Firecracker has and we do not yet. It is refused by name, so that a
 * client learns more than "no such path", and its sections are in GET
 * /vm/config for clients that expect the keys. Single fields that are missing
 * are FIELD_LATER in the table where they belong. What their devices would
 * count is in the metrics, as zeros.
 */
#include "resource/resource.h"

#define PMEM_METRICS(M)                        \
	M(pmem, activate_fails)                \
	M(pmem, cfg_fails)                     \
	M(pmem, event_fails)                   \
	M(pmem, queue_event_count)             \
	M(pmem, rate_limiter_throttled_events) \
	M(pmem, rate_limiter_event_count)
METRICS_DECLARE(pmem, PMEM_METRICS)
METRICS_DEFINE(pmem, PMEM_METRICS, false)

#define MEMORY_HOTPLUG_METRICS(M)               \
	M(memory_hotplug, activate_fails)       \
	M(memory_hotplug, queue_event_fails)    \
	M(memory_hotplug, queue_event_count)    \
	M(memory_hotplug, plug_count)           \
	M(memory_hotplug, plug_bytes)           \
	M(memory_hotplug, plug_fails)           \
	M(memory_hotplug, unplug_count)         \
	M(memory_hotplug, unplug_bytes)         \
	M(memory_hotplug, unplug_fails)         \
	M(memory_hotplug, unplug_discard_fails) \
	M(memory_hotplug, state_count)          \
	M(memory_hotplug, state_fails)          \
	M(memory_hotplug, unplug_all_count)     \
	M(memory_hotplug, unplug_all_fails)
#define MEMORY_HOTPLUG_TIMES(T)       \
	T(memory_hotplug, plug_agg)   \
	T(memory_hotplug, unplug_agg) \
	T(memory_hotplug, state_agg)  \
	T(memory_hotplug, unplug_all_agg)
METRICS_DECLARE_TIMED(memory_hotplug, MEMORY_HOTPLUG_METRICS, MEMORY_HOTPLUG_TIMES)
METRICS_DEFINE_TIMED(memory_hotplug, MEMORY_HOTPLUG_METRICS, MEMORY_HOTPLUG_TIMES, false)

REQUEST_COUNTERS(pmem_put_counters, "put", "pmem");
REQUEST_COUNTERS(pmem_patch_counters, "patch", "pmem");
REQUEST_COUNTER(hotplug_get_counters, "get", "hotplug_memory");
REQUEST_COUNTERS(hotplug_put_counters, "put", "hotplug_memory");
REQUEST_COUNTERS(hotplug_patch_counters, "patch", "hotplug_memory");

const struct resource_later resources_later[] = {
	{ .why = "drives cannot be unplugged", .endpoints = { "DELETE drives/{id}" } },
	{ .why = "network interfaces cannot be unplugged", .endpoints = { "DELETE network-interfaces/{id}" } },
	{ .section = "pmem",
	  .is_list = true,
	  .why = "there is no pmem device",
	  .endpoints = { "PUT pmem/{id}", "PATCH pmem/{id}", "DELETE pmem/{id}" },
	  .metrics = &pmem_metrics_section,
	  .put = &pmem_put_counters,
	  .patch = &pmem_patch_counters },
	{ .section = "memory-hotplug",
	  .why = "memory cannot be plugged",
	  .endpoints = { "GET hotplug/memory", "PUT hotplug/memory", "PATCH hotplug/memory" },
	  .metrics = &memory_hotplug_metrics_section,
	  .get = &hotplug_get_counters,
	  .put = &hotplug_put_counters,
	  .patch = &hotplug_patch_counters },
	{ 0 },
};
