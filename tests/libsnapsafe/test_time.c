// SPDX-License-Identifier: Apache-2.0
/* What `snapsafe clock` believes, and what it makes of that: pages as a host may write them, looks as they may fall. */
#include "time_source.h"

#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "vmclock_page.h"

#define NOW_S 1800000000u /* 2027 */

/* 2^64 / 10^9, times 2^20: the period at 1 GHz, with 20 bits of a shift. */
#define PERIOD_1GHZ ((uint64_t)(((unsigned __int128)1 << 84) / 1000000000))

/* A host's that tells the time by a TSC of 1 GHz: NOW_S and a half when it was 5000. */
static struct vmclock_page good(void)
{
	return (struct vmclock_page){
		.magic = htole32(VMCLOCK_MAGIC),
		.size = htole32(VMCLOCK_PAGE_SIZE),
		.version = htole16(VMCLOCK_VERSION),
		.counter_id = VMCLOCK_COUNTER_X86_TSC,
		.time_type = VMCLOCK_TIME_UTC,
		.seq_count = htole32(4),
		.clock_status = VMCLOCK_STATUS_SYNCHRONIZED,
		.counter_period_shift = 20,
		.counter_value = htole64(5000),
		.counter_period_frac_sec = htole64(PERIOD_1GHZ),
		.time_sec = htole64(NOW_S),
		.time_frac_sec = htole64(1ull << 63),
	};
}

static void expect_ns(uint64_t tsc, int64_t ns)
{
	struct vmclock_page page = good();
	int64_t told = -1;

	assert_null(time_of_vmclock(&page, tsc, &told));
	if (llabs(told - ns) > 1)
		fail_msg("at %llu: %lld, not %lld", (unsigned long long)tsc, (long long)told, (long long)ns);
}

static void a_page_tells_the_time_by_its_counter(void **state)
{
	const int64_t then = NOW_S * TIME_NS_PER_S + TIME_NS_PER_S / 2;

	(void)state;
	expect_ns(5000, then);
	expect_ns(5000 + 1000, then + 1000);
	expect_ns(5000 + 700000000, then + 700000000); /* over the second */
	expect_ns(5000 + 86400 * 1000000000ull, then + 86400 * TIME_NS_PER_S);
}

static void expect_refused(const struct vmclock_page *page, const char *text)
{
	int64_t ns = 7;
	const char *why = time_of_vmclock(page, 6000, &ns);

	if (!why || !strstr(why, text))
		fail_msg("'%s', not '%s'", why ? why : "believed", text);
	assert_int_equal(ns, 7);
}

#define REFUSED(text, ...)                            \
	do {                                          \
		struct vmclock_page refused = good(); \
                                                      \
		refused.__VA_ARGS__;                  \
		expect_refused(&refused, text);       \
	} while (0)

static void a_page_that_does_not_know_is_not_believed(void **state)
{
	(void)state;
	REFUSED("no VMClock page", magic = 0);
	REFUSED("no VMClock page", version = htole16(2));
	REFUSED("no VMClock page", size = htole32(64));
	REFUSED("does not tell the time", counter_id = VMCLOCK_COUNTER_INVALID); /* our own device's */
	REFUSED("that this processor does not have", counter_id = 0);
	REFUSED("another time than UTC", time_type = 1);
	REFUSED("another time than UTC", time_type = 2);
	for (unsigned int status = 0; status < 256; status++)
		if (status != VMCLOCK_STATUS_SYNCHRONIZED && status != VMCLOCK_STATUS_FREERUNNING)
			REFUSED("not right", clock_status = (uint8_t)status);
}

static void a_page_of_nonsense_is_not_believed(void **state)
{
	struct vmclock_page page = good();
	int64_t ns;

	(void)state;
	REFUSED("impossible frequency", counter_period_frac_sec = 0);
	REFUSED("impossible frequency", counter_period_shift = 64);
	REFUSED("impossible frequency", counter_period_shift = 255);
	REFUSED("ahead of this processor's", counter_value = htole64(6001));
	REFUSED("cannot be right", time_sec = htole64(UINT64_MAX));
	REFUSED("cannot be right", time_sec = htole64(INT64_MAX));
	page.flags = htole64(VMCLOCK_FLAG_TIME_MAXERROR_VALID);
	page.time_maxerror_nanosec = htole64(1000000000);
	assert_null(time_of_vmclock(&page, 6000, &ns));
	page.time_maxerror_nanosec = htole64(1000000001);
	expect_refused(&page, "more than a second");
	/* The greatest numbers that there are overflow nothing. */
	page = good();
	page.counter_period_frac_sec = page.time_frac_sec = htole64(UINT64_MAX);
	page.counter_period_shift = 0;
	page.counter_value = 0;
	assert_non_null(time_of_vmclock(&page, UINT64_MAX, &ns));
	page.counter_period_shift = 63;
	assert_null(time_of_vmclock(&page, 6000, &ns));
}

static void a_time_of_another_age_is_not_believed(void **state)
{
	static const struct {
		int64_t source_s;
		bool believed;
	} rows[] = { { -1, false },
		     { 0, false },
		     { 1577836799, false },
		     { 1577836800, true },
		     { 7258118399, true },
		     { 7258118400, false },
		     { INT64_MAX / TIME_NS_PER_S, false } };
	int64_t offset;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct time_sample sample = { .before = NOW_S * TIME_NS_PER_S,
						    .source = rows[i].source_s * TIME_NS_PER_S,
						    .after = NOW_S * TIME_NS_PER_S };

		if (!time_judge(&sample, &offset) != rows[i].believed)
			fail_msg("%lld", (long long)rows[i].source_s);
	}
}

static void the_offset_is_from_the_middle_of_two_looks_that_are_near(void **state)
{
	struct time_sample sample = { .before = NOW_S * TIME_NS_PER_S,
				      .source = NOW_S * TIME_NS_PER_S + 2000,
				      .after = NOW_S * TIME_NS_PER_S + 1000 };
	int64_t offset;

	(void)state;
	assert_null(time_judge(&sample, &offset));
	assert_int_equal(offset, 1500);
	sample.source -= 20 * TIME_NS_PER_S;
	assert_null(time_judge(&sample, &offset));
	assert_int_equal(offset, 1500 - 20 * TIME_NS_PER_S);
	sample.after = sample.before + TIME_NS_PER_S;
	assert_non_null(strstr(time_judge(&sample, &offset), "too long"));
	sample.after = sample.before - 1; /* somebody has set CLOCK_REALTIME in between */
	assert_non_null(strstr(time_judge(&sample, &offset), "was set meanwhile"));
}

/* A page in a file: what is odd stays odd. */
static void a_page_that_never_stands_still_is_given_up(void **state)
{
	char path[] = "/tmp/snapsafe-time-XXXXXX", name[64];
	struct vmclock_page page = good();
	struct time_sample sample;
	int fd = mkstemp(path);
	bool missing;

	(void)state;
	assert_true(fd >= 0);
	page.counter_value = 0;
	assert_int_equal(pwrite(fd, &page, sizeof(page), 0), sizeof(page));
	assert_null(time_source_read(path, name, &sample, &missing));
	assert_true(sample.source > NOW_S * TIME_NS_PER_S && sample.before <= sample.after);
	page.seq_count = htole32(5);
	assert_int_equal(pwrite(fd, &page, sizeof(page), 0), sizeof(page));
	assert_string_equal(time_source_read(path, name, &sample, &missing), "is being changed all the time");
	assert_int_equal(ftruncate(fd, sizeof(page) - 1), 0);
	assert_string_equal(time_source_read(path, name, &sample, &missing), "is no VMClock page");
	assert_false(missing);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_page_tells_the_time_by_its_counter),
		cmocka_unit_test(a_page_that_does_not_know_is_not_believed),
		cmocka_unit_test(a_page_of_nonsense_is_not_believed),
		cmocka_unit_test(a_time_of_another_age_is_not_believed),
		cmocka_unit_test(the_offset_is_from_the_middle_of_two_looks_that_are_near),
		cmocka_unit_test(a_page_that_never_stands_still_is_given_up),
	};

	return cmocka_run_group_tests_name("time", tests, NULL, NULL);
}
