// SPDX-License-Identifier: Apache-2.0
/* How far a loaded guest's clocks are moved: by what KVM says, and no TSC beyond its end. KVM is this file's ioctl(2). */
#include "arch/x86_64/clock.h"

#include <errno.h>
#include <linux/kvm.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include <cmocka.h>

#include "arch/arch.h"
#include "base/clock.h"
#include "kvm/vm.h"

#define SECOND 1000000000ull

/* As Linux' kvm_vm_ioctl_set_clock() does it. */
static struct {
	uint64_t now_real_ns;
	uint64_t clock_ns;
	unsigned int flags; /* of the last KVM_SET_CLOCK */
	int cap;
	bool tells_realtime, refuses, mute;
	unsigned int num_set;
} kvm;

static int fake_set_clock(const struct kvm_clock_data *data)
{
	if (kvm.refuses)
		return -1;
	kvm.num_set++;
	kvm.flags = data->flags;
	kvm.clock_ns = data->clock;
	if (data->flags & KVM_CLOCK_REALTIME && kvm.now_real_ns > data->realtime)
		kvm.clock_ns += kvm.now_real_ns - data->realtime;
	return 0;
}

static int fake_get_clock(struct kvm_clock_data *data)
{
	if (kvm.mute)
		return -1;
	data->clock = kvm.clock_ns;
	data->flags = kvm.tells_realtime ? KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC : 0;
	data->realtime = 77; /* means nothing without the flag */
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	(void)fd;
	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	errno = EIO;
	switch (request) {
	case KVM_SET_CLOCK:
		return fake_set_clock(arg);
	case KVM_GET_CLOCK:
		return fake_get_clock(arg);
	case KVM_CHECK_EXTENSION:
		return kvm.cap;
	default:
		return -1;
	}
}

static const struct vm vm;

static int reset(void **state)
{
	(void)state;
	memset(&kvm, 0, sizeof(kvm));
	kvm.now_real_ns = 1000 * SECOND;
	kvm.cap = KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC;
	kvm.tells_realtime = true;
	return 0;
}

static void without_the_request_no_clock_moves(void **state)
{
	const struct clock_pair pair = { .clock_ns = 5 * SECOND, .has_realtime = true, .realtime_ns = 1 };
	uint64_t before = clock_now_ns();
	struct arch_clock clock;
	struct err e;

	(void)state;
	kvm.cap = 0; /* nothing more than an old KVM has is asked for */
	kvm.mute = true;
	assert_int_equal(clock_set(&vm, &pair, false, &clock, &e), 0);
	assert_int_equal(kvm.flags, 0);
	assert_int_equal(kvm.clock_ns, 5 * SECOND);
	assert_int_equal(clock.moved_ns, 0);
	assert_in_range(clock.at_ns, before, clock_now_ns());
}

static void the_tsc_follows_what_kvm_made_of_its_clock(void **state)
{
	static const struct {
		uint64_t saved_real_ns, moved_ns;
	} rows[] = {
		{ 980 * SECOND, 20 * SECOND },
		{ 1000 * SECOND, 0 },
		{ 1000 * SECOND - 1, 1 },
		{ 1001 * SECOND, 0 }, /* the host's wall clock has been set back */
		{ INT64_MAX, 0 },
		{ 0, 1000 * SECOND },
	};
	struct arch_clock clock;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct clock_pair pair = { .clock_ns = INT64_MAX,
						 .has_realtime = true,
						 .realtime_ns = rows[i].saved_real_ns };

		assert_int_equal(clock_set(&vm, &pair, true, &clock, &e), 0);
		assert_int_equal(kvm.flags, KVM_CLOCK_REALTIME);
		assert_int_equal(kvm.clock_ns, INT64_MAX + rows[i].moved_ns);
		assert_int_equal(clock.moved_ns, rows[i].moved_ns);
	}
}

static void a_clock_that_cannot_be_moved_is_not_set(void **state)
{
	struct clock_pair pair = { .clock_ns = 5 };
	struct arch_clock clock;
	struct err e;

	(void)state;
	assert_int_equal(clock_set(&vm, &pair, true, &clock, &e), -EINVAL);
	assert_non_null(strstr(e.text, "the snapshot has no wall-clock time"));
	pair.has_realtime = true;
	kvm.cap = KVM_CLOCK_TSC_STABLE;
	assert_int_equal(clock_set(&vm, &pair, true, &clock, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "Linux 5.16 or later"));
	assert_int_equal(kvm.num_set, 0);
}

static void what_kvm_refuses_is_an_error(void **state)
{
	struct clock_pair pair = { .has_realtime = true };
	struct arch_clock clock;
	struct err e;

	(void)state;
	kvm.refuses = true;
	assert_int_equal(clock_set(&vm, &pair, true, &clock, &e), -EIO);
	kvm.refuses = false;
	kvm.mute = true;
	assert_int_equal(clock_set(&vm, &pair, true, &clock, &e), -EIO);
	assert_int_equal(clock_get(&vm, &pair, &e), -EIO);
}

static void a_wall_clock_that_kvm_does_not_read_is_read_beside_it(void **state)
{
	struct clock_pair pair;
	struct err e;
	time_t before;

	(void)state;
	kvm.clock_ns = 9;
	assert_int_equal(clock_get(&vm, &pair, &e), 0);
	assert_true(pair.has_realtime && pair.realtime_ns == 77 && pair.clock_ns == 9);
	kvm.tells_realtime = false;
	before = time(NULL);
	assert_int_equal(clock_get(&vm, &pair, &e), 0);
	assert_true(pair.has_realtime);
	assert_in_range(pair.realtime_ns / SECOND, before, time(NULL) + 1);
}

/* A row: the clocks were moved by moved_ns, since_ns before the TSC is set. */
static void a_tsc_moves_by_its_own_frequency_and_not_beyond_its_end(void **state)
{
	static const struct {
		uint64_t moved_ns, since_ns;
		uint32_t khz;
		uint64_t before, after; /* the same: refused */
	} rows[] = {
		{ 20 * SECOND, 0, 2000000, 5, 40000000005 },
		{ 20 * SECOND, 0, 3000000, 5, 60000000005 },
		{ 20 * SECOND, 2 * SECOND, 2000000, 5, 44000000005 },
		{ 0, 3, 1000000, 5, 8 },
		{ 1500000, 0, 3, 0, 4 }, /* 3 ticks a millisecond, whole ones */
		{ 999999, 0, 1, 0, 0 },
		{ 0, 0, INT32_MAX, UINT64_MAX, UINT64_MAX },
		{ 1800000000 * SECOND, 0, 5000000, 1000, 9000000000000001000 }, /* since 1970, at 5 GHz */
		{ 1, 0, 1000000, UINT64_MAX - 1, UINT64_MAX },
		/* refused */
		{ 2, 0, 1000000, UINT64_MAX - 1, UINT64_MAX - 1 },
		{ 1800000000 * SECOND, 0, INT32_MAX, 1000, 1000 },
		{ UINT64_MAX, 0, INT32_MAX, 0, 0 },
		{ UINT64_MAX, 1, 1, 7, 7 },
		{ INT64_MAX, 0, 5000000, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct arch_clock clock = { .moved_ns = rows[i].moved_ns, .at_ns = SECOND };
		uint64_t tsc = rows[i].before;
		int r = clock_move_tsc(&clock, rows[i].khz, SECOND + rows[i].since_ns, &tsc);

		if (tsc != rows[i].after || r != (i < 9 ? 0 : -ERANGE))
			fail_msg("row %zu: %d, %llu", i, r, (unsigned long long)tsc);
	}
}

/* CLOCK_MONOTONIC does not go back; if it were to, the TSC would not follow it. */
static void a_moment_before_the_clock_was_set_moves_nothing(void **state)
{
	const struct arch_clock clock = { .moved_ns = 10, .at_ns = SECOND };
	uint64_t tsc = 5;

	(void)state;
	assert_int_equal(clock_move_tsc(&clock, 1000000, 0, &tsc), 0);
	assert_int_equal(tsc, 15);
}

/* KVM gives processors one offset if their values are what is due, however long it takes from one to the next. */
static void values_that_are_set_at_different_moments_keep_their_distance(void **state)
{
	const struct arch_clock clock = { .moved_ns = 20 * SECOND, .at_ns = SECOND };
	uint64_t first = 1000, second = 4000;

	(void)state;
	assert_int_equal(clock_move_tsc(&clock, 2500000, SECOND, &first), 0);
	assert_int_equal(clock_move_tsc(&clock, 2500000, 8 * SECOND, &second), 0);
	assert_int_equal(second - first, 3000 + 7ull * 2500000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(without_the_request_no_clock_moves, reset),
		cmocka_unit_test_setup(the_tsc_follows_what_kvm_made_of_its_clock, reset),
		cmocka_unit_test_setup(a_clock_that_cannot_be_moved_is_not_set, reset),
		cmocka_unit_test_setup(what_kvm_refuses_is_an_error, reset),
		cmocka_unit_test_setup(a_wall_clock_that_kvm_does_not_read_is_read_beside_it, reset),
		cmocka_unit_test(a_tsc_moves_by_its_own_frequency_and_not_beyond_its_end),
		cmocka_unit_test(a_moment_before_the_clock_was_set_moves_nothing),
		cmocka_unit_test(values_that_are_set_at_different_moments_keep_their_distance),
	};

	return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
