// SPDX-License-Identifier: Apache-2.0
/*
 * How a loaded guest's clocks go on. There is one time by which they move, and it is kvmclock's: KVM is given the pair that it
 * gave at the save, moves kvmclock on, and is asked by how much. The TSCs follow that, not a difference of wall clocks of our
 * own making, because
 *
 * - Linux takes one of the two as its clock and watches it by the other (clocksource watchdog): moved by different times, the
 *   better one is thrown away as unstable;
 * - the wall clock may be set between two looks at it: KVM's look is the only one;
 * - that no clock goes back, if the host's has been set back, is decided in one place, and that is KVM's.
 *
 * It is also what Linux' documentation asks for (Documentation/virt/kvm/devices/vcpu.rst, KVM_VCPU_TSC_OFFSET).
 *
 * A guest's TSC is set by MSR, not by KVM_VCPU_TSC_OFFSET: Linux before 5.16 has nothing else; a timer's deadline, set
 * behind it, fires at once if the TSC has been moved beyond it; and KVM gives processors whose values are less than a second from
 * what is due the very same offset, so that they cannot drift apart. "Due" counts the time since the first processor's write:
 * each value is moved on by the time since the clock was set, however long a load takes between two processors.
 */
#include "arch/x86_64/clock.h"

#include <errno.h>
#include <linux/kvm.h>

#include "arch/arch.h"
#include "base/clock.h"
#include "base/log.h"
#include "kvm/ioctl.h"
#include "kvm/vm.h"

#define CLOCK_NS_PER_MS 1000000u

static int clock_read(const struct vm *vm, struct kvm_clock_data *data, struct err *e)
{
	int r;

	*data = (struct kvm_clock_data){ 0 };
	r = kvm_ioctl(vm->fd, KVM_GET_CLOCK, data);
	return r < 0 ? err_errno(e, -r, "KVM does not give the guest's clock") : 0;
}

static uint64_t clock_wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec < 0 ? 0 : (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/*
 * KVM does not look at the wall clock where the host's own clock is not the TSC, and before a vCPU has run. Two looks, one
 * behind the other, are some microseconds apart, and that is all that the guest's clock is off by.
 */
int clock_get(const struct vm *vm, struct clock_pair *pair, struct err *e)
{
	struct kvm_clock_data data;
	int r = clock_read(vm, &data, e);

	if (r < 0)
		return r;
	pair->clock_ns = data.clock;
	pair->has_realtime = true;
	pair->realtime_ns = data.flags & KVM_CLOCK_REALTIME ? data.realtime : clock_wall_ns();
	return 0;
}

/* Can the clock be moved on at all? */
static int clock_check_realtime(const struct vm *vm, const struct clock_pair *pair, struct err *e)
{
	int flags;

	if (!pair->has_realtime)
		return err_set(
			e, EINVAL,
			"clock_realtime was requested, but the snapshot has no wall-clock time: the host that made "
			"it could not read it together with the guest's clock");
	flags = kvm_ioctl_n(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_ADJUST_CLOCK);
	if (flags < 0 || !(flags & KVM_CLOCK_REALTIME))
		return err_set(e, ENOTSUP,
			       "clock_realtime was requested, but this host's KVM lacks KVM_CLOCK_REALTIME: Linux "
			       "5.16 or later is needed");
	return 0;
}

static void clock_log(const struct clock_pair *pair, uint64_t moved_ns)
{
	uint64_t now_s = clock_wall_ns() / 1000000000, saved_s = pair->realtime_ns / 1000000000;

	if (now_s < saved_s)
		log_warn("clock_realtime: the snapshot was made %llu s later than it is now by this host's wall clock: "
			 "the "
			 "guest's clocks are not moved back, they go on from the moment of the snapshot",
			 (unsigned long long)(saved_s - now_s));
	else
		log_info("clock_realtime: the guest's clocks, kvmclock and TSC, are moved on by the time since the "
			 "snapshot, %llu ms",
			 (unsigned long long)(moved_ns / CLOCK_NS_PER_MS));
}

int clock_set(const struct vm *vm, const struct clock_pair *pair, bool realtime, struct arch_clock *clock,
	      struct err *e)
{
	struct kvm_clock_data data = { .clock = pair->clock_ns };
	int r = realtime ? clock_check_realtime(vm, pair, e) : 0;

	if (r < 0)
		return r;
	if (realtime) {
		data.flags = KVM_CLOCK_REALTIME;
		data.realtime = pair->realtime_ns;
	}
	*clock = (struct arch_clock){ .at_ns = clock_now_ns() };
	r = kvm_ioctl(vm->fd, KVM_SET_CLOCK, &data);
	if (r < 0)
		return err_errno(e, -r, "KVM refuses the state \"clock_ns\"");
	if (!realtime)
		return 0;
	clock->at_ns = clock_now_ns();
	r = clock_read(vm, &data, e);
	if (r < 0)
		return r;
	clock->moved_ns = data.clock > pair->clock_ns ? data.clock - pair->clock_ns : 0;
	clock_log(pair, clock->moved_ns);
	return 0;
}

int clock_move_tsc(const struct arch_clock *clock, uint32_t khz, uint64_t now_ns, uint64_t *tsc)
{
	uint64_t ns, ticks, moved;

	if (__builtin_add_overflow(clock->moved_ns, now_ns > clock->at_ns ? now_ns - clock->at_ns : 0, &ns) ||
	    __builtin_mul_overflow(ns / CLOCK_NS_PER_MS, khz, &ticks) ||
	    __builtin_add_overflow(ticks, ns % CLOCK_NS_PER_MS * khz / CLOCK_NS_PER_MS, &ticks) ||
	    __builtin_add_overflow(*tsc, ticks, &moved))
		return -ERANGE;
	*tsc = moved;
	return 0;
}
