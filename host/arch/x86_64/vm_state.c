// SPDX-License-Identifier: Apache-2.0
/*
 * What belongs to the machine rather than to a vCPU, to and from a map of a
 * snapshot. KVM's structures are byte strings as in <asm/kvm.h>.
 */
#include <linux/kvm.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/x86_64/clock.h"
#include "arch/x86_64/irq_routing.h"
#include "base/cleanup.h"
#include "kvm/ioctl.h"
#include "kvm/vm.h"
#include "state/codec.h"
#include "state/table.h"

#define VM_NUM_IRQCHIPS 3

struct vm_state {
	struct kvm_pit_state2 pit;
	uint64_t clock_ns; /* this one and the next two: struct clock_pair */
	bool has_realtime;
	uint64_t realtime_ns;
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

int arch_vm_save(struct vm *vm, struct enc *enc, struct err *e)
{
	struct vm_state state = { .clock_ns = 0 };
	struct clock_pair pair;
	int r;

	r = kvm_ioctl(vm->fd, KVM_GET_PIT2, &state.pit);
	if (r < 0)
		return err_errno(e, -r, "KVM does not give the state \"pit\"");
	r = clock_get(vm, &pair, e);
	if (r == 0)
		r = vm_get_irqchips(vm, &state, e);
	if (r < 0)
		return r;
	state.clock_ns = pair.clock_ns;
	state.has_realtime = pair.has_realtime;
	state.realtime_ns = pair.realtime_ns;
	state_save(&vm_table, &state, enc);
	return 0;
}

int arch_clock_load(struct vm *vm, struct dec *dec, bool clock_realtime, struct arch_clock *clock, struct err *e)
{
	struct clock_pair pair;
	struct vm_state state;
	int r;

	state_load_part(&vm_table, &state, dec);
	r = dec_error(dec, e);
	if (r < 0)
		return r;
	pair = (struct clock_pair){
		.clock_ns = state.clock_ns,
		.has_realtime = state.has_realtime,
		.realtime_ns = state.realtime_ns,
	};
	return clock_set(vm, &pair, clock_realtime, clock, e);
}

int arch_vm_load(struct vm *vm, struct dec *dec, struct err *e)
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
	r = vm_set_irqchips(vm, &state, e);
	return r < 0 ? r : irq_route_as_loaded(vm, e);
}
