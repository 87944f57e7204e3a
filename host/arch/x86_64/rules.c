// SPDX-License-Identifier: Apache-2.0
/*
 * System calls that this architecture needs beside those of sandbox/rules.c:
 * what KVM has for x86, and calls of the C library that newer architectures do
 * not have. Part of mkfilters, not of the monitor.
 */
#include <linux/kvm.h>

#include "base/cleanup.h"
#include "sandbox/rule_macros.h"

#define SLOW		"a reset while a disk is slow; a crash waits for its last lines to be written"
#define HOST_LACKS_XCRS "the testbed's processors have no XSAVE"

const struct rule arch_rules[] = {
	/* When a vCPU stops. */
	IOCTL(VCPU, KVM_KVMCLOCK_CTRL, NULL),

	/* Newer architectures have ppoll, epoll_pwait, readlinkat, renameat, unlinkat and getpgid alone. */
	CALL(LOOP | STREAM, poll, NULL),
	CALL(VCPU | IO | AHEAD, poll, SLOW),
	CALL(LOOP, readlink, NULL),
	CALL(LOOP, rename, NULL),
	CALL(LOOP, unlink, NULL),
	CALL(ALL, getpgrp, GLIBC),
	CALL(LOOP | IO, epoll_wait, GLIBC),
	CALL(LOOP | IO, epoll_pwait, NULL), /* epoll_wait(3) of musl, as the other three */
	CALL(LOOP, open, NULL),
	CALL(LOOP, stat, NULL),
	CALL(LOOP, lstat, NULL),

	/* KVM: a machine is built. */
	IOCTL(SETUP, KVM_GET_SUPPORTED_CPUID, NULL),
	IOCTL(SETUP, KVM_SET_IDENTITY_MAP_ADDR, NULL),
	IOCTL(SETUP, KVM_SET_TSS_ADDR, NULL),
	IOCTL(SETUP, KVM_CREATE_IRQCHIP, NULL),
	IOCTL(SETUP, KVM_SET_GSI_ROUTING, NULL),
	IOCTL(SETUP, KVM_CREATE_PIT2, NULL),
	IOCTL(SETUP, KVM_ENABLE_CAP,
	      "takes performance counters away, which the KVM of the testbed does not let one do"),
	IOCTL(SETUP, KVM_SET_ONE_REG, "the testbed's processors have no shadow stacks"),
	/* KVM: its state is set, for a boot or from a snapshot. */
	IOCTL(SETUP, KVM_SET_CPUID2, NULL),
	IOCTL(SETUP, KVM_SET_REGS, NULL),
	IOCTL(SETUP, KVM_SET_SREGS, NULL),
	IOCTL(SETUP, KVM_SET_FPU, NULL),
	IOCTL(SETUP, KVM_SET_XSAVE, NULL),
	IOCTL(SETUP, KVM_SET_XCRS, HOST_LACKS_XCRS),
	IOCTL(SETUP, KVM_SET_DEBUGREGS, NULL),
	IOCTL(SETUP, KVM_SET_LAPIC, NULL),
	IOCTL(SETUP, KVM_SET_MSRS, NULL),
	IOCTL(SETUP, KVM_SET_VCPU_EVENTS, NULL),
	IOCTL(SETUP, KVM_SET_MP_STATE, NULL),
	IOCTL(SETUP, KVM_SET_TSC_KHZ, NULL),
	IOCTL(SETUP, KVM_SET_IRQCHIP, NULL),
	IOCTL(SETUP, KVM_SET_PIT2, NULL),
	IOCTL(SETUP, KVM_SET_CLOCK, NULL),
	/* KVM: its state is read, for a snapshot. */
	IOCTL(LOOP, KVM_GET_MSR_INDEX_LIST, NULL),
	IOCTL(LOOP, KVM_GET_CPUID2, NULL),
	IOCTL(LOOP, KVM_GET_REGS, NULL),
	IOCTL(LOOP, KVM_GET_SREGS, NULL),
	IOCTL(LOOP, KVM_GET_XSAVE2, NULL),
	IOCTL(LOOP, KVM_GET_XSAVE, "instead of KVM_GET_XSAVE2 on Linux before 5.17"),
	IOCTL(LOOP, KVM_GET_XCRS, HOST_LACKS_XCRS),
	IOCTL(LOOP, KVM_GET_DEBUGREGS, NULL),
	IOCTL(LOOP, KVM_GET_LAPIC, NULL),
	IOCTL(LOOP, KVM_GET_MSRS, NULL),
	IOCTL(LOOP, KVM_GET_ONE_REG, "the testbed's processors have no shadow stacks"),
	IOCTL(LOOP, KVM_GET_VCPU_EVENTS, NULL),
	IOCTL(LOOP, KVM_GET_MP_STATE, NULL),
	IOCTL(LOOP, KVM_GET_TSC_KHZ, NULL),
	IOCTL(LOOP, KVM_GET_IRQCHIP, NULL),
	IOCTL(LOOP, KVM_GET_PIT2, NULL),
	IOCTL(LOOP, KVM_GET_CLOCK, NULL),
};

const size_t num_arch_rules = ARRAY_SIZE(arch_rules);
