// SPDX-License-Identifier: Apache-2.0
/*
 * What a guest sees of its processor: what KVM can give on this host, with the
 * topology of this machine (one socket, one thread a core) and a few features
 * that depend on the host's set-up rather than on the guest switched to one value.
 *
 * Intel SDM volume 2 "CPUID"; AMD APM volume 3 appendix E.
 */
#include <cpuid.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/x86_64/cpuid_list.h"
#include "kvm/ioctl.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"

/* Bits of an APIC id that tell cores apart: enough for 32. */
#define CPUID_CORE_SHIFT 5
#define BIT(n)		 (1u << (n))

enum cpuid_topology_level { TOPOLOGY_INVALID, TOPOLOGY_SMT, TOPOLOGY_CORE };

struct cpuid_context {
	struct kvm_cpuid2 *cpuid;
	uint32_t apic_id;
	uint32_t num_vcpus;
	uint32_t num_ids; /* num_vcpus rounded up to a power of two */
	bool intel;
	bool amd;
	bool tsc_deadline;
};

const struct kvm_cpuid_entry2 *cpuid_find(const struct kvm_cpuid2 *cpuid, uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function == function && cpuid->entries[i].index == index)
			return &cpuid->entries[i];
	}
	return NULL;
}

static void cpuid_fix_leaf_1(const struct cpuid_context *c, struct kvm_cpuid_entry2 *entry)
{
	entry->ebx = (entry->ebx & 0xff) | 8u << 8 /* CLFLUSH: 64 bytes */ | c->num_ids << 16 | c->apic_id << 24;
	entry->ecx &= ~(BIT(5) /* VMX */ | BIT(15) /* PDCM */);
	entry->ecx |= BIT(31); /* hypervisor */
	if (c->tsc_deadline)
		entry->ecx |= BIT(24);
	entry->edx &= ~BIT(28); /* HTT */
	if (c->num_vcpus > 1)
		entry->edx |= BIT(28);
}

/* Deterministic cache parameters, Intel: only the last level is shared. */
static void cpuid_fix_leaf_4(const struct cpuid_context *c, struct kvm_cpuid_entry2 *entry)
{
	uint32_t level = entry->eax >> 5 & 7;

	if ((entry->eax & 0x1f) == 0) /* no more caches */
		return;
	entry->eax &= 0x3fff;
	entry->eax |= (c->num_ids - 1) << 26 | (level >= 3 ? c->num_ids - 1 : 0) << 14;
}

static void cpuid_fix_leaf_7(const struct cpuid_context *c, struct kvm_cpuid_entry2 *entry)
{
	if (entry->index != 0)
		return;
	if (c->intel) {
		entry->ebx |= BIT(6) |
			      BIT(13); /* FPU data and code pointers are not kept: safe to say on any processor */
		entry->ecx &= ~BIT(5); /* WAITPKG */
	} else {
		entry->edx &= ~BIT(29); /* ARCH_CAPABILITIES, an MSR that only KVM gives on these processors */
	}
}

/* Cache topology, AMD. */
static void cpuid_fix_leaf_8000001d(const struct cpuid_context *c, struct kvm_cpuid_entry2 *entry)
{
	uint32_t level = entry->eax >> 5 & 7;

	if ((entry->eax & 0x1f) == 0)
		return;
	entry->eax = (entry->eax & 0x3fff) | (level >= 3 ? c->num_vcpus - 1 : 0) << 14;
}

static void cpuid_fix_amd(const struct cpuid_context *c, struct kvm_cpuid_entry2 *entry)
{
	switch (entry->function) {
	case 0x80000008:
		entry->ecx = (entry->ecx & ~0xf0ffu) | CPUID_CORE_SHIFT << 12 | (c->num_vcpus - 1);
		break;
	case 0x8000001d:
		cpuid_fix_leaf_8000001d(c, entry);
		break;
	case 0x8000001e:
		entry->eax = c->apic_id;
		entry->ebx = c->apic_id; /* core id, one thread each */
		entry->ecx = 0;		 /* one node */
		break;
	}
}

static void cpuid_fix_entry(const struct cpuid_context *c, struct kvm_cpuid_entry2 *entry)
{
	switch (entry->function) {
	case 0x1:
		cpuid_fix_leaf_1(c, entry);
		break;
	case 0x4:
		if (c->intel)
			cpuid_fix_leaf_4(c, entry);
		break;
	case 0x6:
		entry->eax &= ~BIT(1); /* turbo */
		entry->ecx &= ~BIT(3); /* energy/performance bias */
		break;
	case 0x7:
		cpuid_fix_leaf_7(c, entry);
		break;
	case 0xa: /* performance counters: not part of a machine that moves */
		entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
		break;
	case 0x80000001:
		entry->ecx &= ~BIT(2); /* SVM: snapshots do not carry the state of a nested guest */
		break;
	case 0x80000005:
	case 0x80000006: /* cache and TLB sizes: harmless, and older KVM leaves them empty */
		__cpuid(entry->function, entry->eax, entry->ebx, entry->ecx, entry->edx);
		break;
	}
	if (c->amd)
		cpuid_fix_amd(c, entry);
}

/* Leaf 0xB (and 0x1F, which has the same form): subleaf 0 is the thread, 1 the core, 2 ends the list. */
static int cpuid_set_topology(const struct cpuid_context *c, uint32_t leaf, uint32_t max_entries)
{
	struct kvm_cpuid2 *cpuid = c->cpuid;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function != leaf)
			cpuid->entries[kept++] = cpuid->entries[i];
	}
	if (kept + 3 > max_entries)
		return -E2BIG;
	for (uint32_t sub = 0; sub < 3; sub++) {
		struct kvm_cpuid_entry2 *entry = &cpuid->entries[kept++];

		*entry = (struct kvm_cpuid_entry2){ .function = leaf,
						    .index = sub,
						    .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
						    .ecx = sub,
						    .edx = c->apic_id };
		if (sub == 0) {
			entry->ebx = 1;
			entry->ecx |= TOPOLOGY_SMT << 8;
		} else if (sub == 1) {
			entry->eax = CPUID_CORE_SHIFT;
			entry->ebx = c->num_vcpus;
			entry->ecx |= TOPOLOGY_CORE << 8;
		}
	}
	cpuid->nent = kept;
	return 0;
}

static int cpuid_build(struct cpuid_context *c)
{
	const struct kvm_cpuid_entry2 *leaf0 = cpuid_find(c->cpuid, 0, 0);
	uint32_t max_leaf = leaf0 == NULL ? 0 : leaf0->eax;
	int r = 0;

	c->intel = cpuid_is_vendor(c->cpuid, "GenuineIntel");
	c->amd = cpuid_is_vendor(c->cpuid, "AuthenticAMD") || cpuid_is_vendor(c->cpuid, "HygonGenuine");
	for (c->num_ids = 1; c->num_ids < c->num_vcpus;)
		c->num_ids <<= 1;
	for (uint32_t i = 0; i < c->cpuid->nent; i++)
		cpuid_fix_entry(c, &c->cpuid->entries[i]);
	if (max_leaf >= 0xb)
		r = cpuid_set_topology(c, 0xb, CPUID_MAX_ENTRIES);
	if (r == 0 && c->intel && max_leaf >= 0x1f)
		r = cpuid_set_topology(c, 0x1f, CPUID_MAX_ENTRIES);
	return r;
}

bool cpuid_is_vendor(const struct kvm_cpuid2 *cpuid, const char vendor[12])
{
	const struct kvm_cpuid_entry2 *leaf0 = cpuid_find(cpuid, 0, 0);
	uint32_t words[3];

	if (leaf0 == NULL)
		return false;
	words[0] = leaf0->ebx;
	words[1] = leaf0->edx;
	words[2] = leaf0->ecx;
	return memcmp(words, vendor, sizeof(words)) == 0;
}

int cpuid_read_supported(struct vm *vm, struct err *e)
{
	union cpuid_list *list = calloc(1, sizeof(*list));
	int r;

	vm->arch = list;
	if (list == NULL)
		return err_errno(e, ENOMEM, "cannot read the processor features");
	list->cpuid.nent = CPUID_MAX_ENTRIES;
	r = kvm_ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, list);
	return r < 0 ? err_errno(e, -r, "KVM does not give the processor features") : 0;
}

const struct kvm_cpuid2 *cpuid_get_supported(const struct vm *vm)
{
	const union cpuid_list *list = vm->arch;

	return &list->cpuid;
}

int cpuid_apply(struct vcpu *vcpu, unsigned int num_vcpus, struct err *e)
{
	union cpuid_list list = *(const union cpuid_list *)vcpu->vm->arch;
	struct cpuid_context c = { .cpuid = &list.cpuid, .apic_id = vcpu->index, .num_vcpus = num_vcpus };
	int r;

	c.tsc_deadline = kvm_ioctl_n(vcpu->vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	r = cpuid_build(&c);
	if (r == 0)
		r = kvm_ioctl(vcpu->fd, KVM_SET_CPUID2, &list);
	return r < 0 ? err_errno(e, -r, "KVM refuses the processor features of vCPU %u", vcpu->index) : 0;
}
