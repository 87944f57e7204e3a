// SPDX-License-Identifier: Apache-2.0
#include "fake_kvm.h"

#include <errno.h>
#include <net/if.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <linux/if_tun.h>
#include <linux/kvm.h>

#include "base/cleanup.h"

#define RUN_SIZE (3 * 4096)

static const uint32_t fake_msrs[] = { 0x10, 0x1b, 0x174, 0x277, 0xc0000080 };

static int fake_new_fd(void)
{
	int fd = memfd_create("fake-kvm", MFD_CLOEXEC);

	if (fd >= 0 && ftruncate(fd, RUN_SIZE) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

int fake_kvm_open(void)
{
	return fake_new_fd();
}

static int fake_fail(int error)
{
	errno = error;
	return -1;
}

/* A guest that does nothing. The thread looks whether it should stop. */
static int fake_run(void)
{
	static const struct timespec time = { .tv_nsec = 200000 };

	nanosleep(&time, NULL);
	return fake_fail(EINTR);
}

static int fake_list_msrs(struct kvm_msr_list *list)
{
	uint32_t room = list->nmsrs;

	list->nmsrs = ARRAY_SIZE(fake_msrs);
	if (room < ARRAY_SIZE(fake_msrs))
		return fake_fail(E2BIG);
	memcpy(list->indices, fake_msrs, sizeof(fake_msrs));
	return 0;
}

static int fake_get_cpuid(struct kvm_cpuid2 *cpuid)
{
	static const struct kvm_cpuid_entry2 entries[] = {
		{ .function = 0, .eax = 1, .ebx = 0x756e6547, .ecx = 0x6c65746e, .edx = 0x49656e69 },
		{ .function = 1, .eax = 0x306c3 },
	};

	if (cpuid->nent < ARRAY_SIZE(entries))
		return fake_fail(E2BIG);
	cpuid->nent = ARRAY_SIZE(entries);
	memcpy(cpuid->entries, entries, sizeof(entries));
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

/* Requests whose argument is a number. */
static int fake_simple_ioctl(unsigned long request, unsigned long arg)
{
	switch (request) {
	case KVM_GET_API_VERSION:
		return KVM_API_VERSION;
	case KVM_CHECK_EXTENSION:
		return arg == KVM_CAP_XSAVE2 ? 4096 : 0x7fffffff;
	case KVM_GET_VCPU_MMAP_SIZE:
		return RUN_SIZE;
	case KVM_CREATE_VM:
	case KVM_CREATE_VCPU:
		return fake_new_fd();
	case KVM_RUN:
		return fake_run();
	case KVM_GET_TSC_KHZ:
		return 2000000;
	default:
		return 0;
	}
}

int fake_kvm_ioctl(unsigned long request, void *arg)
{
	switch (request) {
	case KVM_GET_MSR_INDEX_LIST:
		return fake_list_msrs(arg);
	case KVM_GET_MSRS:
		return (int)((struct kvm_msrs *)arg)->nmsrs; /* the caller has zeroed their values */
	case KVM_SET_MSRS:
		return (int)((struct kvm_msrs *)arg)->nmsrs;
	case KVM_GET_SUPPORTED_CPUID:
	case KVM_GET_CPUID2:
		return fake_get_cpuid(arg);
	case KVM_SET_CPUID2:
		return fake_take(arg, sizeof(struct kvm_cpuid2) +
					      ((struct kvm_cpuid2 *)arg)->nent * sizeof(struct kvm_cpuid_entry2));
	case TUNSETIFF:
		return fake_take(arg, sizeof(struct ifreq));
	case TUNGETIFF:
		((struct ifreq *)arg)->ifr_flags |= IFF_PERSIST;
		return 0;
	case TUNSETOFFLOAD:
		return 0;
	case KVM_GET_XSAVE2:
		memset(arg, 0, 4096);
		return 0;
	}
	if (!(_IOC_DIR(request) & (_IOC_READ | _IOC_WRITE)))
		return fake_simple_ioctl(request, (unsigned long)arg);
	if (_IOC_DIR(request) == _IOC_READ)
		memset(arg, 0, _IOC_SIZE(request));
	return fake_take(arg, _IOC_SIZE(request));
}
