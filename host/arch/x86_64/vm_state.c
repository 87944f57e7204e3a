// SPDX-License-Identifier: Apache-2.0
/*
 * What belongs to the machine rather than to a vCPU, to and from a map of a
 * snapshot. Keys:
 *   pit          struct kvm_pit_state2
 *   clock_ns     the guest's kvmclock, nanoseconds
 *   has_realtime whether the host could read its wall clock together with it
 *   realtime_ns  CLOCK_REALTIME at that moment; 0 without has_realtime
 *   pic_master, pic_slave, ioapic   union of struct kvm_irqchip
 */
#include <linux/kvm.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/x86_64/irq_routing.h"
#include "base/cleanup.h"
#include "base/codec.h"
#include "kvm/ioctl.h"
#include "kvm/vm.h"

static const struct {
	uint32_t id;
	const char *key;
} vm_irqchips[] = {
	{ KVM_IRQCHIP_PIC_MASTER, "pic_master" },
	{ KVM_IRQCHIP_PIC_SLAVE, "pic_slave" },
	{ KVM_IRQCHIP_IOAPIC, "ioapic" },
};

static int vm_save_clock(struct vm *vm, struct enc *enc, struct err *e)
{
	struct kvm_clock_data clock = { 0 };
	bool has_realtime;
	int r = kvm_ioctl(vm->fd, KVM_GET_CLOCK, &clock);

	if (r < 0)
		return err_errno(e, -r, "KVM does not give the guest's clock");
	has_realtime = (clock.flags & KVM_CLOCK_REALTIME) != 0;
	enc_u64(enc, "clock_ns", clock.clock);
	enc_bool(enc, "has_realtime", has_realtime);
	enc_u64(enc, "realtime_ns", has_realtime ? clock.realtime : 0);
	return 0;
}

static int vm_load_clock(struct vm *vm, struct dec *dec, bool clock_realtime, struct err *e)
{
	struct kvm_clock_data clock = { .clock = dec_u64(dec, "clock_ns", 0, INT64_MAX) };
	bool has_realtime = dec_bool(dec, "has_realtime");
	uint64_t realtime = dec_u64(dec, "realtime_ns", 0, INT64_MAX);
	int r = dec_error(dec, e), flags;

	if (r < 0)
		return r;
	if (clock_realtime && !has_realtime)
		return err_set(
			e, EINVAL,
			"clock_realtime was requested, but the snapshot has no wall-clock time: the host that made "
			"it could not read it together with the guest's clock");
	if (clock_realtime) {
		flags = kvm_ioctl_n(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_ADJUST_CLOCK);
		if (flags < 0 || !(flags & KVM_CLOCK_REALTIME))
			return err_set(
				e, ENOTSUP,
				"clock_realtime was requested, but this host's KVM lacks KVM_CLOCK_REALTIME: Linux "
				"5.16 or later is needed");
		clock.flags = KVM_CLOCK_REALTIME;
		clock.realtime = realtime;
	}
	r = kvm_ioctl(vm->fd, KVM_SET_CLOCK, &clock);
	return r < 0 ? err_errno(e, -r, "KVM refuses the state \"clock_ns\"") : 0;
}

int arch_vm_save(struct vm *vm, struct enc *enc, struct err *e)
{
	struct kvm_pit_state2 pit = { 0 };
	int r;

	r = kvm_ioctl(vm->fd, KVM_GET_PIT2, &pit);
	if (r < 0)
		return err_errno(e, -r, "KVM does not give the state \"pit\"");
	enc_bytes(enc, "pit", &pit, sizeof(pit));
	r = vm_save_clock(vm, enc, e);
	for (size_t i = 0; i < ARRAY_SIZE(vm_irqchips) && r == 0; i++) {
		struct kvm_irqchip chip = { .chip_id = vm_irqchips[i].id };

		r = kvm_ioctl(vm->fd, KVM_GET_IRQCHIP, &chip);
		if (r < 0)
			return err_errno(e, -r, "KVM does not give the state \"%s\"", vm_irqchips[i].key);
		enc_bytes(enc, vm_irqchips[i].key, &chip.chip, sizeof(chip.chip));
	}
	return r;
}

int arch_vm_load(struct vm *vm, struct dec *dec, bool clock_realtime, struct err *e)
{
	struct kvm_pit_state2 pit;
	int r;

	dec_bytes(dec, "pit", &pit, sizeof(pit));
	r = dec_error(dec, e);
	if (r < 0)
		return r;
	r = kvm_ioctl(vm->fd, KVM_SET_PIT2, &pit);
	if (r < 0)
		return err_errno(e, -r, "KVM refuses the state \"pit\"");
	r = vm_load_clock(vm, dec, clock_realtime, e);
	for (size_t i = 0; i < ARRAY_SIZE(vm_irqchips) && r == 0; i++) {
		struct kvm_irqchip chip = { .chip_id = vm_irqchips[i].id };

		dec_bytes(dec, vm_irqchips[i].key, &chip.chip, sizeof(chip.chip));
		r = dec_error(dec, e);
		if (r < 0)
			return r;
		irq_quiet_pic(&chip);
		r = kvm_ioctl(vm->fd, KVM_SET_IRQCHIP, &chip);
		if (r < 0)
			return err_errno(e, -r, "KVM refuses the state \"%s\"", vm_irqchips[i].key);
	}
	return irq_route_as_loaded(vm, e);
}
