// SPDX-License-Identifier: Apache-2.0
/* What the host must be able to do, and KVM_CREATE_VM. */
#include "kvm/shell.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "kvm/ioctl.h"
#include "kvm/vm.h"

static const struct kvm_cap shell_needed_caps[] = {
	{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
	{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP" },
	{ KVM_CAP_IRQFD, "KVM_CAP_IRQFD" },
	{ KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD" },
	{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
	{ KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE" },
};

static int shell_open_kvm(struct vm_shell *shell, struct err *e)
{
	int version;

	shell->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (shell->kvm_fd < 0 && (errno == ENOENT || errno == ENODEV || errno == ENXIO))
		return err_set(
			e, errno,
			"there is no usable /dev/kvm on this host: enable virtualisation in the firmware and load "
			"the module kvm_intel or kvm_amd");
	if (shell->kvm_fd < 0 && (errno == EACCES || errno == EPERM))
		return err_set(
			e, errno,
			"no permission to open /dev/kvm: add the user to the group that owns it (usually kvm), or "
			"give access with setfacl");
	if (shell->kvm_fd < 0)
		return err_errno(e, errno, "cannot open /dev/kvm");

	version = kvm_ioctl_n(shell->kvm_fd, KVM_GET_API_VERSION, 0);
	if (version < 0)
		return err_errno(e, -version, "/dev/kvm does not answer as KVM does");
	if (version != KVM_API_VERSION)
		return err_set(e, ENOTSUP, "KVM of this host has API version %d; %d is needed", version,
			       KVM_API_VERSION);
	return 0;
}

int kvm_check_caps(int fd, const struct kvm_cap *caps, size_t num, struct err *e)
{
	for (size_t i = 0; i < num; i++) {
		if (kvm_ioctl_n(fd, KVM_CHECK_EXTENSION, (unsigned long)caps[i].cap) <= 0)
			return err_set(e, ENOTSUP, "KVM of this host lacks %s: a newer kernel is needed", caps[i].name);
	}
	return 0;
}

static int shell_create(struct vm_shell *shell, struct err *e)
{
	int r;

	r = kvm_ioctl_n(shell->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (r < (int)sizeof(struct kvm_run))
		return err_errno(e, r < 0 ? -r : EPROTO, "KVM does not say how large a vCPU's run area is");
	shell->run_size = r;
	r = kvm_ioctl_n(shell->kvm_fd, KVM_CREATE_VM, 0);
	if (r < 0)
		return err_errno(e, -r, "KVM cannot create a virtual machine");
	shell->fd = r;
	return 0;
}

int vm_shell_new(const struct vm_arch_ops *arch, struct vm_shell **shell_out, struct err *e)
{
	struct vm_shell *shell = malloc(sizeof(*shell));
	int r;

	if (!shell)
		return err_errno(e, ENOMEM, "cannot create a virtual machine");
	*shell = (struct vm_shell){ .kvm_fd = -1, .fd = -1 };
	r = shell_open_kvm(shell, e);
	if (r == 0)
		r = kvm_check_caps(shell->kvm_fd, shell_needed_caps, ARRAY_SIZE(shell_needed_caps), e);
	if (r == 0)
		r = shell_create(shell, e);
	if (r == 0)
		r = arch->prepare(shell, e);
	if (r < 0) {
		vm_shell_free(shell);
		return r;
	}
	*shell_out = shell;
	return 0;
}

void vm_shell_free(struct vm_shell *shell)
{
	if (!shell)
		return;
	free(shell->arch);
	cleanup_close(&shell->fd);
	cleanup_close(&shell->kvm_fd);
	free(shell);
}
