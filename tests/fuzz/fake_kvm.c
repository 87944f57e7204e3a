// SPDX-License-Identifier: Apache-2.0
#include "fake_kvm.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86_64/cpuid_list.h"
#include "base/cleanup.h"
#include "fuzz.h"
#include "kvm/shell.h"

#define FAKE_FD (-100) /* nothing else has it */

int __wrap_ioctl(int fd, unsigned long request, ...);
int __real_ioctl(int fd, unsigned long request, ...);

static int fake_list_msrs(struct kvm_msr_list *list)
{
	static const uint32_t msrs[] = { 0x10, 0x1b, 0x174, 0x277, 0xc0000080 };

	fuzz_expect(list->nmsrs >= ARRAY_SIZE(msrs));
	list->nmsrs = ARRAY_SIZE(msrs);
	memcpy(list->indices, msrs, sizeof(msrs));
	return 0;
}

/* Reads all that it is given, so that a sanitizer sees what is not there. */
static int fake_take(const void *data, size_t len)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum ^= ((const uint8_t *)data)[i];
	__asm__ volatile("" ::"r"(sum));
	return 0;
}

static int fake_take_msrs(const struct kvm_msrs *msrs)
{
	fake_take(msrs->entries, msrs->nmsrs * sizeof(msrs->entries[0]));
	/* A real one refuses, too: it tells by taking fewer. */
	for (uint32_t i = 0; i < msrs->nmsrs; i++) {
		if (msrs->entries[i].data == 0xbad)
			return (int)i;
	}
	return (int)msrs->nmsrs;
}

static int fake_get_cpuid(struct kvm_cpuid2 *cpuid)
{
	fuzz_expect(cpuid->nent >= 1);
	cpuid->nent = 1;
	cpuid->entries[0] =
		(struct kvm_cpuid_entry2){ .eax = 1, .ebx = 0x756e6547, .ecx = 0x6c65746e, .edx = 0x49656e69 };
	return 0;
}

static int fake_get_msrs(struct kvm_msrs *msrs)
{
	for (uint32_t i = 0; i < msrs->nmsrs; i++)
		msrs->entries[i].data = i;
	return (int)msrs->nmsrs;
}

static int fake_ioctl(unsigned long request, void *arg)
{
	switch (request) {
	case KVM_CHECK_EXTENSION:
		return (unsigned long)arg == KVM_CAP_XSAVE2 ? 4096 : 0x7fffffff;
	case KVM_GET_TSC_KHZ:
		return 2000000;
	case KVM_SET_TSC_KHZ:
		return 0;
	case KVM_GET_MSR_INDEX_LIST:
		return fake_list_msrs(arg);
	case KVM_GET_MSRS:
		return fake_get_msrs(arg);
	case KVM_SET_MSRS:
		return fake_take_msrs(arg);
	case KVM_GET_CPUID2:
	case KVM_GET_SUPPORTED_CPUID:
		return fake_get_cpuid(arg);
	case KVM_SET_CPUID2:
		return fake_take(arg, sizeof(struct kvm_cpuid2) +
					      ((struct kvm_cpuid2 *)arg)->nent * sizeof(struct kvm_cpuid_entry2));
	case KVM_SET_XSAVE:
		return fake_take(arg, 4096);
	}
	if (!arg)
		return 0;
	if (_IOC_DIR(request) & _IOC_READ)
		memset(arg, 0, _IOC_SIZE(request));
	return fake_take(arg, _IOC_SIZE(request));
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	return fd == FAKE_FD ? fake_ioctl(request, arg) : __real_ioctl(fd, request, arg);
}

void fake_kvm_init(struct fake_kvm *kvm)
{
	struct vm_shell shell = { .kvm_fd = FAKE_FD, .fd = FAKE_FD };
	struct err e;

	*kvm = (struct fake_kvm){
		.vm = { .kvm_fd = FAKE_FD, .fd = FAKE_FD, .num_vcpus = ARRAY_SIZE(kvm->vcpus), .vcpus = kvm->vcpus },
	};
	for (unsigned int i = 0; i < ARRAY_SIZE(kvm->vcpus); i++)
		kvm->vcpus[i] = (struct vcpu){ .vm = &kvm->vm, .index = i, .fd = FAKE_FD };
	fuzz_expect(cpuid_read_supported(&shell, &e) == 0);
	kvm->vm.arch = shell.arch;
}

void fake_kvm_fini(struct fake_kvm *kvm)
{
	free(kvm->vm.arch);
}
