/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks of a guest: kvmclock, and the TSC that goes with it. docs/time.md says what each choice does to a guest. */
#ifndef ARCH_X86_64_CLOCK_H
#define ARCH_X86_64_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct arch_clock;
struct vm;

/* Two clocks, read at the same moment (KVM_GET_CLOCK). */
struct clock_pair {
	uint64_t clock_ns;    /* the guest's kvmclock */
	bool has_realtime;    /* false in snapshots of older versions, whose KVM did not read the wall clock as well */
	uint64_t realtime_ns; /* the host's CLOCK_REALTIME at that moment; 0 without has_realtime */
};

int clock_get(const struct vm *vm, struct clock_pair *pair, struct err *e) must_check;
/*
 * Sets kvmclock to what it was at the save or, if realtime, to that and the time that has passed since by the host's wall clock;
 * never to less. *clock: what the TSCs are to do. -EINVAL: the pair has no wall-clock time; -ENOTSUP: this KVM cannot.
 */
int clock_set(const struct vm *vm, const struct clock_pair *pair, bool realtime, struct arch_clock *clock,
	      struct err *e) must_check;

/*
 * *tsc: what it was at the save, of a guest that knows it by that frequency; afterwards what it is at now_ns (clock_now_ns()).
 * -ERANGE, and it is as before, if it would have to be moved on beyond its 64 bits.
 */
int clock_move_tsc(const struct arch_clock *clock, uint32_t khz, uint64_t now_ns, uint64_t *tsc) must_check;

#endif
