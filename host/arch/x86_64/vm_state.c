// SPDX-License-Identifier: Apache-2.0
/*
 * What belongs to the machine rather than to a vCPU, to and from a map of a
 * snapshot. KVM's structures are byte strings as in <asm/kvm.h>.
 */
#include <linux/kvm.h>
#include <string.h>
#include <time.h>

#include "arch/arch.h"
#include "arch/x86_64/cpuid_list.h"
#include "arch/x86_64/irq_routing.h"
#include "arch/x86_64/msr.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "kvm/ioctl.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"
#include "state/codec.h"
#include "state/table.h"

#define VM_NUM_IRQCHIPS 3

struct vm_state {
	struct kvm_pit_state2 pit;
	uint64_t clock_ns;    /* the guest's kvmclock */
	bool has_realtime;    /* could the host read its wall clock together with it? */
	uint64_t realtime_ns; /* CLOCK_REALTIME at that moment; 0 without has_realtime */
	uint8_t pic_master[sizeof(((struct kvm_irqchip *)NULL)->chip)];
	uint8_t pic_slave[sizeof(((struct kvm_irqchip *)NULL)->chip)];
	uint8_t ioapic[sizeof(((struct kvm_irqchip *)NULL)->chip)];
};

static const struct state_field vm_fields[] = {
	STATE_BYTES_FIELD(struct vm_state, pit),	 STATE_UINT_FIELD(struct vm_state, clock_ns, 0, INT64_MAX),
	STATE_BOOL_FIELD(struct vm_state, has_realtime), STATE_UINT_FIELD(struct vm_state, realtime_ns, 0, INT64_MAX),
	STATE_BYTES_FIELD(struct vm_state, pic_master),	 STATE_BYTES_FIELD(struct vm_state, pic_slave),
	STATE_BYTES_FIELD(struct vm_state, ioapic),
};
static const struct state_table vm_table = STATE_TABLE(vm_fields);

struct vm_irqchip {
	uint32_t id;
	const char *key;
	uint8_t *chip;
};

static void vm_irqchips(struct vm_state *state, struct vm_irqchip chips[VM_NUM_IRQCHIPS])
{
	chips[0] = (struct vm_irqchip){ KVM_IRQCHIP_PIC_MASTER, "pic_master", state->pic_master };
	chips[1] = (struct vm_irqchip){ KVM_IRQCHIP_PIC_SLAVE, "pic_slave", state->pic_slave };
	chips[2] = (struct vm_irqchip){ KVM_IRQCHIP_IOAPIC, "ioapic", state->ioapic };
}

static int vm_get_irqchips(struct vm *vm, struct vm_state *state, struct err *e)
{
	struct vm_irqchip chips[VM_NUM_IRQCHIPS];

	vm_irqchips(state, chips);
	for (size_t i = 0; i < VM_NUM_IRQCHIPS; i++) {
		struct kvm_irqchip chip = { .chip_id = chips[i].id };
		int r = kvm_ioctl(vm->fd, KVM_GET_IRQCHIP, &chip);

		if (r < 0)
			return err_errno(e, -r, "KVM does not give the state \"%s\"", chips[i].key);
		memcpy(chips[i].chip, &chip.chip, sizeof(chip.chip));
	}
	return 0;
}

static int vm_set_irqchips(struct vm *vm, struct vm_state *state, struct err *e)
{
	struct vm_irqchip chips[VM_NUM_IRQCHIPS];

	vm_irqchips(state, chips);
	for (size_t i = 0; i < VM_NUM_IRQCHIPS; i++) {
		struct kvm_irqchip chip = { .chip_id = chips[i].id };
		int r;

		memcpy(&chip.chip, chips[i].chip, sizeof(chip.chip));
		irq_quiet_pic(&chip);
		r = kvm_ioctl(vm->fd, KVM_SET_IRQCHIP, &chip);
		if (r < 0)
			return err_errno(e, -r, "KVM refuses the state \"%s\"", chips[i].key);
	}
	return 0;
}

static int vm_get_clock(struct vm *vm, struct vm_state *state, struct err *e)
{
	struct kvm_clock_data clock = { 0 };
	int r = kvm_ioctl(vm->fd, KVM_GET_CLOCK, &clock);

	if (r < 0)
		return err_errno(e, -r, "KVM does not give the guest's clock");
	state->clock_ns = clock.clock;
	state->has_realtime = (clock.flags & KVM_CLOCK_REALTIME) != 0;
	state->realtime_ns = state->has_realtime ? clock.realtime : 0;
	return 0;
}

static int vm_set_clock(struct vm *vm, const struct vm_state *state, bool clock_realtime, struct err *e)
{
	struct kvm_clock_data clock = { .clock = state->clock_ns };
	int r, flags;

	if (clock_realtime && !state->has_realtime)
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
		clock.realtime = state->realtime_ns;
	}
	r = kvm_ioctl(vm->fd, KVM_SET_CLOCK, &clock);
	return r < 0 ? err_errno(e, -r, "KVM refuses the state \"clock_ns\"") : 0;
}

static uint64_t vm_read_msr(const struct vm *vm, uint32_t index)
{
	union {
		struct kvm_msrs msrs;
		uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
	} request = { .room = { 0 } };

	request.msrs.nmsrs = 1;
	request.msrs.entries[0].index = index;
	return kvm_ioctl(vm->vcpus[0].fd, KVM_GET_MSRS, &request) == 1 ? request.msrs.entries[0].data : 0;
}

/*
 * KVM moves kvmclock on; whether that moves the guest's time is the guest's choice. Linux takes the TSC where it is
 * invariant, kvmclock elsewhere (arch/x86/kernel/kvmclock.c: kvmclock_init()).
 */
static void vm_log_clock(const struct vm *vm, const struct vm_state *state)
{
	bool uses_kvmclock = (vm_read_msr(vm, MSR_KVM_SYSTEM_TIME_NEW) | vm_read_msr(vm, MSR_KVM_SYSTEM_TIME)) & 1;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	log_info("clock_realtime: the guest's kvmclock is moved on by the time since the snapshot, %lld s",
		 (long long)now.tv_sec - (long long)(state->realtime_ns / 1000000000));
	if (!uses_kvmclock)
		log_warn(
			"clock_realtime: nothing moves: this guest has not set up kvmclock, its clock goes on from the "
			"moment of the snapshot");
	else if (cpuid_reg(cpuid_get_supported(vm), 0x80000007, 0, CPUID_EDX) & 1u << 8)
		log_warn("clock_realtime: nothing moves if the guest's clock source is the TSC, Linux's choice on this "
			 "processor (invariant TSC): its clock goes on from the moment of the snapshot");
}

int arch_vm_save(struct vm *vm, struct enc *enc, struct err *e)
{
	struct vm_state state = { .clock_ns = 0 };
	int r;

	r = kvm_ioctl(vm->fd, KVM_GET_PIT2, &state.pit);
	if (r < 0)
		return err_errno(e, -r, "KVM does not give the state \"pit\"");
	r = vm_get_clock(vm, &state, e);
	if (r == 0)
		r = vm_get_irqchips(vm, &state, e);
	if (r == 0)
		state_save(&vm_table, &state, enc);
	return r;
}

int arch_vm_load(struct vm *vm, struct dec *dec, bool clock_realtime, struct err *e)
{
	struct vm_state state;
	int r;

	state_load(&vm_table, &state, dec);
	r = dec_error(dec, e);
	if (r < 0)
		return r;
	r = kvm_ioctl(vm->fd, KVM_SET_PIT2, &state.pit);
	if (r < 0)
		return err_errno(e, -r, "KVM refuses the state \"pit\"");
	r = vm_set_clock(vm, &state, clock_realtime, e);
	if (r < 0)
		return r;
	if (clock_realtime)
		vm_log_clock(vm, &state);
	r = vm_set_irqchips(vm, &state, e);
	return r < 0 ? r : irq_route_as_loaded(vm, e);
}
