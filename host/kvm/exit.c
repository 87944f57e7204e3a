// SPDX-License-Identifier: Apache-2.0
/*
 * Guest exits: an access to an address that is not memory goes to the bus, an
 * exit that not every architecture has goes to arch/, everything else ends the
 * machine.
 *
 * On the vCPU's thread. struct kvm_run is written by the kernel only, and not
 * while we look at it: its fields need no copies. The addresses and data in it
 * are the guest's choice; the bus and the devices check them.
 */
#include "kvm/exit.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"

METRICS_DEFINE_TIMED(vcpu, VCPU_METRICS, VCPU_TIMES, false)

/* Devices are promised natural sizes; an access across a page's end reaches us in pieces of any size. */
static bool exit_is_natural_size(uint32_t len)
{
	return len == 1 || len == 2 || len == 4 || len == 8;
}

static enum exit_verdict exit_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	struct bus *bus = vcpu->vm->bus;
	uint64_t start_ns = clock_now_ns();

	if (run->mmio.is_write) {
		metric_inc(vcpu, exit_mmio_write);
		if (exit_is_natural_size(run->mmio.len))
			(void)bus_write(bus, BUS_MMIO, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
		metric_time(vcpu, exit_mmio_write_agg, (clock_now_ns() - start_ns) / 1000);
		return EXIT_CONTINUE;
	}
	metric_inc(vcpu, exit_mmio_read);
	memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
	if (exit_is_natural_size(run->mmio.len))
		(void)bus_read(bus, BUS_MMIO, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
	metric_time(vcpu, exit_mmio_read_agg, (clock_now_ns() - start_ns) / 1000);
	return EXIT_CONTINUE;
}

static enum exit_verdict exit_system_event(struct vcpu *vcpu)
{
	uint32_t type = vcpu->run->system_event.type;

	if (type == KVM_SYSTEM_EVENT_SHUTDOWN || type == KVM_SYSTEM_EVENT_RESET) {
		log_info("vCPU %u: the guest asked for a %s", vcpu->index,
			 type == KVM_SYSTEM_EVENT_RESET ? "reset" : "shutdown");
		return EXIT_RESET;
	}
	log_error("vCPU %u: the guest stopped with system event %" PRIu32, vcpu->index, type);
	return EXIT_FAILED;
}

static enum exit_verdict exit_internal_error(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint32_t n = run->internal.ndata;
	uint64_t first = n > 0 ? run->internal.data[0] : 0, second = n > 1 ? run->internal.data[1] : 0;

	log_error("vCPU %u: KVM stopped with internal error %" PRIu32 "%s (data 0x%" PRIx64 " 0x%" PRIx64 ")",
		  vcpu->index, run->internal.suberror,
		  run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION ? ", an instruction that it cannot emulate"
									 : "",
		  first, second);
	return EXIT_FAILED;
}

static enum exit_verdict exit_arch(struct vcpu *vcpu)
{
	enum exit_verdict verdict = vcpu->vm->arch_ops->handle_exit(vcpu);

	if (verdict != EXIT_UNKNOWN)
		return verdict;
	log_error("vCPU %u: KVM stopped for a reason that this program does not know: %" PRIu32 "", vcpu->index,
		  vcpu->run->exit_reason);
	return EXIT_FAILED;
}

enum exit_verdict exit_handle(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	switch (run->exit_reason) {
	case KVM_EXIT_MMIO:
		return exit_mmio(vcpu);
	case KVM_EXIT_INTR:
		return EXIT_CONTINUE;
	case KVM_EXIT_SYSTEM_EVENT:
		return exit_system_event(vcpu);
	case KVM_EXIT_INTERNAL_ERROR:
		return exit_internal_error(vcpu);
	case KVM_EXIT_FAIL_ENTRY:
		log_error("vCPU %u: the processor refused to enter the guest: hardware reason 0x%llx on CPU %u",
			  vcpu->index, run->fail_entry.hardware_entry_failure_reason, run->fail_entry.cpu);
		return EXIT_FAILED;
	default:
		return exit_arch(vcpu);
	}
}
