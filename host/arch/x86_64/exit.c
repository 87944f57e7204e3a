// SPDX-License-Identifier: Apache-2.0
/*
 * The guest exits that only this architecture has, and what a vCPU that leaves
 * the guest does beside.
 *
 * On the vCPU's thread; as in kvm/exit.c, struct kvm_run holds still.
 */
#include "arch/x86_64/exit.h"

#include <linux/kvm.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "bus/bus.h"
#include "kvm/ioctl.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"

/* A string instruction moves count items through the same port in one exit. */
static enum exit_verdict exit_pio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	uint64_t start_ns = clock_now_ns();

	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (run->io.direction == KVM_EXIT_IO_OUT) {
			metric_inc(vcpu, exit_io_out);
			(void)bus_write(vcpu->vm->bus, BUS_PIO, run->io.port, data, run->io.size);
		} else {
			metric_inc(vcpu, exit_io_in);
			(void)bus_read(vcpu->vm->bus, BUS_PIO, run->io.port, data, run->io.size);
		}
	}
	if (run->io.direction == KVM_EXIT_IO_OUT)
		metric_time(vcpu, exit_io_out_agg, (clock_now_ns() - start_ns) / 1000);
	else
		metric_time(vcpu, exit_io_in_agg, (clock_now_ns() - start_ns) / 1000);
	return EXIT_CONTINUE;
}

enum exit_verdict exit_handle_x86(struct vcpu *vcpu)
{
	switch (vcpu->run->exit_reason) {
	case KVM_EXIT_IO:
		return exit_pio(vcpu);
	case KVM_EXIT_SHUTDOWN:
		/* How a crash of the guest's kernel ends; one that reboots on purpose asks the keyboard controller. */
		log_error("vCPU %u: the guest has crashed: a triple fault", vcpu->index);
		return EXIT_FAILED;
	default:
		return EXIT_UNKNOWN;
	}
}

void exit_tell_kvmclock(struct vcpu *vcpu)
{
	int r = kvm_ioctl_n(vcpu->fd, KVM_KVMCLOCK_CTRL, 0);

	if (r < 0 && r != -EINVAL) { /* EINVAL: the guest does not use kvmclock */
		metric_inc(vcpu, kvmclock_ctrl_fails);
		log_debug("vCPU %u: KVM_KVMCLOCK_CTRL: %s", vcpu->index, strerror(-r));
	}
}
