/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a guest learns its host's time: a VMClock page, or a PTP clock of the hypervisor's. What they say is not believed
 * because they say it. Reasons are constant strings that end a sentence.
 */
#ifndef CLI_TIME_SOURCE_H
#define CLI_TIME_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

struct vmclock_page;

#define TIME_NS_PER_S INT64_C(1000000000)

/* One look at a source, between two looks at CLOCK_REALTIME; all in nanoseconds since 1970. */
struct time_sample {
	int64_t before, source, after;
};

/* NULL, and the time that the page tells when the TSC is `tsc`; or why it tells none that can be used. */
const char *time_of_vmclock(const struct vmclock_page *page, uint64_t tsc, int64_t *ns);

/* How far the source is ahead of CLOCK_REALTIME, by the middle of the two looks. NULL, or why it is not believed. */
const char *time_judge(const struct time_sample *sample, int64_t *offset_ns);

/*
 * Opens path, which is of either kind, or without one this machine's first source that tells the time. NULL and the sample with the
 * shortest time between its two looks, of some; or why there is none, with *name what it is about. *missing: no source is there.
 */
const char *time_source_read(const char *path, char name[64], struct time_sample *sample, bool *missing);

#endif /* CLI_TIME_SOURCE_H */
