// SPDX-License-Identifier: Apache-2.0
/* What a VMClock page says of the time, and whether that makes sense. */
#include "time_source.h"

#include <endian.h>
#include <stddef.h>

#include "vmclock_page.h"

/* Between these two years a clock can be set by us; one that says something else has not been set itself. */
#define TIME_FIRST_S INT64_C(1577836800) /* 2020 */
#define TIME_END_S   INT64_C(7258118400) /* 2200 */

/* A source that may be off by more is none. */
#define TIME_MAX_ERROR_NS TIME_NS_PER_S

/* As long as the looks at CLOCK_REALTIME are apart, nobody knows when the source was looked at. */
#define TIME_MAX_WINDOW_NS (TIME_NS_PER_S / 2)

/* Does the page tell the time at all? TAI is left out: which sign its offset has is not agreed on. */
static const char *vmclock_check(const struct vmclock_page *page)
{
	if (le32toh(page->magic) != VMCLOCK_MAGIC || le16toh(page->version) != VMCLOCK_VERSION ||
	    le32toh(page->size) < sizeof(*page))
		return "is no VMClock page";
	if (page->counter_id == VMCLOCK_COUNTER_INVALID)
		return "does not tell the time";
	if (page->counter_id != VMCLOCK_COUNTER_X86_TSC)
		return "tells the time by a counter that this processor does not have";
	if (page->time_type != VMCLOCK_TIME_UTC)
		return "tells another time than UTC";
	if (page->clock_status != VMCLOCK_STATUS_SYNCHRONIZED && page->clock_status != VMCLOCK_STATUS_FREERUNNING)
		return "says itself that its time is not right";
	if (le64toh(page->flags) & VMCLOCK_FLAG_TIME_MAXERROR_VALID &&
	    le64toh(page->time_maxerror_nanosec) > (uint64_t)TIME_MAX_ERROR_NS)
		return "may be off by more than a second";
	if (page->counter_period_frac_sec == 0 || page->counter_period_shift > 63)
		return "has a counter with an impossible frequency";
	return NULL;
}

/* Fractions are in units of 2^-64 s. */
const char *time_of_vmclock(const struct vmclock_page *page, uint64_t tsc, int64_t *ns)
{
	uint64_t counter = le64toh(page->counter_value), s = le64toh(page->time_sec);
	const char *why = vmclock_check(page);
	unsigned __int128 passed;

	if (why)
		return why;
	if (tsc < counter)
		return "has a counter that is ahead of this processor's";
	passed = (unsigned __int128)(tsc - counter) * le64toh(page->counter_period_frac_sec) >>
		 page->counter_period_shift;
	if (passed >> 64 > (uint64_t)TIME_END_S || s >= (uint64_t)TIME_END_S)
		return "tells a time that cannot be right";
	passed += le64toh(page->time_frac_sec);
	*ns = (int64_t)(s + (uint64_t)(passed >> 64)) * TIME_NS_PER_S +
	      (int64_t)((unsigned __int128)(uint64_t)passed * (uint64_t)TIME_NS_PER_S >> 64);
	return NULL;
}

const char *time_judge(const struct time_sample *sample, int64_t *offset_ns)
{
	int64_t window = sample->after - sample->before;

	if (sample->source < TIME_FIRST_S * TIME_NS_PER_S || sample->source >= TIME_END_S * TIME_NS_PER_S)
		return "tells a time that cannot be right";
	if (window < 0 || window > TIME_MAX_WINDOW_NS)
		return "takes too long to be read, or CLOCK_REALTIME was set meanwhile";
	*offset_ns = sample->source - (sample->before + window / 2);
	return NULL;
}
