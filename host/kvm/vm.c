// SPDX-License-Identifier: Apache-2.0
/*
 * The virtual machine as KVM sees it: memory slots, eventfds for interrupts and doorbells, and the vCPUs as one group.
 *
 * Loop thread, but for vm_report_exit().
 */
#include "kvm/vm.h"

#include <linux/kvm.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "kvm/ioctl.h"
#include "kvm/shell.h"
#include "kvm/vcpu.h"
#include "mem/track.h"

static int vm_check_vcpus(const struct vm *vm, struct err *e)
{
	int max_vcpus = kvm_ioctl_n(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);

	if (max_vcpus > 0 && vm->num_vcpus > (unsigned int)max_vcpus)
		return err_set(e, EINVAL, "%u vCPUs are too many: KVM of this host allows %d", vm->num_vcpus,
			       max_vcpus);
	return 0;
}

/* mem_guest_log.collect. KVM forgets what it has told. */
static int vm_collect_dirty(void *ctx, unsigned int region, uint64_t *bitmap)
{
	struct vm *vm = ctx;
	size_t words = mem_bitmap_len(&vm->mem->regions[region]);
	_cleanup_free_ uint64_t *dirty = calloc(words, sizeof(*dirty));
	struct kvm_dirty_log log = { .slot = region, .dirty_bitmap = dirty };
	int r = dirty ? kvm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log) : -ENOMEM;

	for (size_t i = 0; i < words && r == 0; i++)
		bitmap[i] |= dirty[i];
	return r;
}

static int vm_set_memory(struct vm *vm, bool log_dirty_pages, struct err *e)
{
	int max_slots = kvm_ioctl_n(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);

	if (max_slots < (int)vm->mem->num_regions)
		return err_set(e, ENOTSUP, "KVM of this host allows %d memory slots; %u are needed", max_slots,
			       vm->mem->num_regions);
	for (unsigned int i = 0; i < vm->mem->num_regions; i++) {
		const struct mem_region *region = &vm->mem->regions[i];
		struct kvm_userspace_memory_region slot = {
			.slot = i,
			.flags = log_dirty_pages ? KVM_MEM_LOG_DIRTY_PAGES : 0,
			.guest_phys_addr = region->gpa,
			.memory_size = region->size,
			.userspace_addr = (uint64_t)(uintptr_t)region->host,
		};
		int r = kvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot);

		if (r < 0)
			return err_errno(e, -r, "KVM refuses %llu MiB of guest memory at address 0x%llx",
					 slot.memory_size >> 20, slot.guest_phys_addr);
	}
	if (log_dirty_pages)
		mem_set_guest_log(vm->mem, &(struct mem_guest_log){ .collect = vm_collect_dirty, .ctx = vm });
	return 0;
}

static int vm_create_vcpus(struct vm *vm, struct err *e)
{
	int r = 0;

	vm->vcpus = calloc(vm->num_vcpus, sizeof(*vm->vcpus));
	if (!vm->vcpus)
		return err_errno(e, ENOMEM, "cannot create %u vCPUs", vm->num_vcpus);
	for (unsigned int i = 0; i < vm->num_vcpus && r == 0; i++)
		r = vcpu_init(&vm->vcpus[i], vm, i, e);
	for (unsigned int i = 0; i < vm->num_vcpus && r == 0; i++)
		r = vcpu_start_thread(&vm->vcpus[i], e);
	return r;
}

int vm_new(const struct vm_setup *setup, struct bus *bus, struct guest_mem *mem,
	   void (*on_exit)(void *ctx, enum vm_exit why), void *on_exit_ctx, struct vm **vm_out, struct err *e)
{
	struct vm_shell *shell = setup->shell;
	struct vm *vm;
	int r = shell ? 0 : vm_shell_new(setup->arch, &shell, e);

	if (r < 0)
		return r;
	vm = calloc(1, sizeof(*vm));
	if (!vm) {
		vm_shell_free(shell);
		return err_errno(e, ENOMEM, "cannot create a virtual machine");
	}
	*vm = (struct vm){
		.kvm_fd = shell->kvm_fd,
		.fd = shell->fd,
		.run_size = shell->run_size,
		.arch = shell->arch,
		.arch_ops = setup->arch,
		.bus = bus,
		.mem = mem,
		.num_vcpus = setup->num_vcpus,
		.smt = setup->smt,
		.has_pmu = setup->pmu,
		.config = setup->config,
		.on_exit = on_exit,
		.on_exit_ctx = on_exit_ctx,
		.exit_told = ATOMIC_FLAG_INIT,
	};
	free(shell);
	r = vm_check_vcpus(vm, e);
	/*
	 * Memory first. KVM waits until nobody looks at the old memory slots any more (SRCU), which nobody does yet; the
	 * controllers' registers begin such a wait of the slow kind, and who comes after them has to sit it out: 4 to 8 ms.
	 */
	if (r == 0)
		r = vm_set_memory(vm, setup->log_dirty_pages, e);
	if (r == 0)
		r = vm->arch_ops->vm_init(vm, e);
	if (r == 0)
		r = vm_create_vcpus(vm, e);
	if (r < 0) {
		vm_free(vm);
		return r;
	}
	vm->config = NULL;
	*vm_out = vm;
	return 0;
}

void vm_free(struct vm *vm)
{
	if (!vm)
		return;
	for (unsigned int i = 0; vm->vcpus && i < vm->num_vcpus; i++)
		vcpu_fini(&vm->vcpus[i]);
	free(vm->vcpus);
	free(vm->arch);
	close(vm->fd);
	close(vm->kvm_fd);
	free(vm);
}

static void vm_want(struct vm *vm, enum vcpu_state state)
{
	for (unsigned int i = 0; i < vm->num_vcpus; i++)
		vcpu_want(&vm->vcpus[i], state);
}

void vm_run(struct vm *vm)
{
	vm_want(vm, VCPU_RUNNING);
}

int vm_pause(struct vm *vm, uint64_t timeout_ns, struct err *e)
{
	uint64_t deadline_ns = clock_now_ns() + timeout_ns;

	vm_want(vm, VCPU_PAUSED);
	for (unsigned int i = 0; i < vm->num_vcpus; i++)
		if (!vcpu_wait(&vm->vcpus[i], deadline_ns))
			return err_set(
				e, ETIMEDOUT,
				"vCPU %u does not stop: its thread waits for a disk or a server that does not answer",
				i);
	return 0;
}

void vm_report_exit(struct vm *vm, enum vm_exit why)
{
	if (!atomic_flag_test_and_set(&vm->exit_told))
		vm->on_exit(vm->on_exit_ctx, why);
}

int vm_irqfd(struct vm *vm, uint32_t gsi, int fd, struct err *e)
{
	struct kvm_irqfd irqfd = { .fd = (uint32_t)fd, .gsi = gsi };
	int r = kvm_ioctl(vm->fd, KVM_IRQFD, &irqfd);

	return r < 0 ? err_errno(e, -r, "KVM cannot connect interrupt %u", gsi) : 0;
}

int vm_ioeventfd(struct vm *vm, gpa_t addr, uint32_t value, int fd, bool add, struct err *e)
{
	struct kvm_ioeventfd ioeventfd = {
		.datamatch = value,
		.addr = addr,
		.len = sizeof(value),
		.fd = fd,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH | (add ? 0u : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};
	int r = kvm_ioctl(vm->fd, KVM_IOEVENTFD, &ioeventfd);

	return r < 0 ? err_errno(e, -r, "KVM cannot %s the doorbell at address 0x%llx", add ? "add" : "remove",
				 (unsigned long long)addr)
		     : 0;
}
