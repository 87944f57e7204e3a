// SPDX-License-Identifier: Apache-2.0
/*
 * A machine with the snapshot's processors and as much memory, which nothing is read into and no page of which is touched:
 * what KVM refuses of their state it would refuse at a load.
 */
#include <stdio.h>

#include "arch/arch.h"
#include "base/clock.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"
#include "snapshot/statefile.h"
#include "state/codec.h"
#include "tool/tool.h"

static void on_exit_of_vm(void *ctx, enum vm_exit why)
{
	(void)ctx;
	(void)why; /* it never runs */
}

static int check_vcpus(struct vm *vm, struct dec *state, struct err *e)
{
	const struct arch_clock clock = { .at_ns = clock_now_ns() };
	int r = 0;

	for (unsigned int i = 0; i < vm->num_vcpus && r == 0; i++) {
		r = arch_vcpu_load(&vm->vcpus[i], dec_item(state, "vcpus", i), &clock, e);
		if (r < 0)
			return err_wrap(e, r, "vcpus[%u]", i);
	}
	return r;
}

static int check_machine(struct dec *state, struct guest_mem *mem, unsigned int num_vcpus, struct err *e)
{
	const struct vm_setup setup = {
		.arch = &arch_vm_ops,
		.num_vcpus = num_vcpus,
		.pmu = arch_vcpu_state_has_pmu(dec_item(state, "vcpus", 0)),
	};
	struct bus bus;
	struct vm *vm;
	int r;

	bus_init(&bus);
	r = vm_new(&setup, &bus, mem, on_exit_of_vm, NULL, &vm, e);
	if (r < 0)
		return r;
	r = check_vcpus(vm, state, e);
	vm_free(vm);
	return r;
}

static int check_state(const struct statefile *file, struct err *e)
{
	size_t num_vcpus = dec_array(file->state, "vcpus", CONFIG_MAX_VCPUS);
	struct mem_layout layout;
	struct guest_mem mem;
	int r = dec_error(file->state, e);

	if (r < 0)
		return r;
	if (!num_vcpus)
		return err_set(e, EINVAL, "vcpus: there is none");
	arch_mem_layout(file->mark.mem_size, &layout);
	r = mem_init_anonymous(&mem, &layout, e);
	if (r < 0)
		return r;
	r = check_machine(file->state, &mem, (unsigned int)num_vcpus, e);
	mem_fini(&mem);
	return r;
}

int tool_check_host(const char *state_path, struct err *e)
{
	struct statefile file;
	int r = statefile_read(state_path, &file, e);

	if (r < 0)
		return r;
	r = check_state(&file, e);
	statefile_fini(&file);
	if (r < 0)
		return err_wrap(e, r, "%s", state_path);
	printf("%s: this host can run it\n", state_path);
	return 0;
}
