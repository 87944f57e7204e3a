// SPDX-License-Identifier: Apache-2.0
/*
 * What a guest sees of its processor: what KVM can give on this host, with the
 * topology of this machine (one socket, one or two threads a core), without
 * what a snapshot does not carry, and a few features that depend on the host's
 * set-up rather than on the guest switched to one value. No call to KVM: tests
 * do it for processors that nobody here has.
 *
 * Intel SDM volume 2 "CPUID"; AMD APM volume 3 appendix E.
 */
#include <cpuid.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stddef.h>

#include "arch/x86_64/cpuid_list.h"

/* Bits of an APIC id below the package: enough for 32 vCPUs. */
#define CPUID_PACKAGE_SHIFT 5
#define BIT(n)		    (1u << (n))

enum cpuid_topology_level { TOPOLOGY_INVALID, TOPOLOGY_SMT, TOPOLOGY_CORE };

struct cpuid_context {
	struct kvm_cpuid2 *cpuid;
	uint32_t apic_id;
	uint32_t num_vcpus;
	uint32_t num_ids; /* num_vcpus rounded up to a power of two */
	uint32_t threads; /* a core: 1 or 2 */
	bool intel;
	bool amd;
	bool tsc_deadline;
};

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

/* Deterministic cache parameters, Intel: the last level is shared by all, the others by the threads of a core. */
static void cpuid_fix_leaf_4(const struct cpuid_context *c, struct kvm_cpuid_entry2 *entry)
{
	uint32_t level = entry->eax >> 5 & 7;

	if ((entry->eax & 0x1f) == 0) /* no more caches */
		return;
	entry->eax &= 0x3fff;
	entry->eax |= (c->num_ids / c->threads - 1) << 26 | ((level >= 3 ? c->num_ids : c->threads) - 1) << 14;
}

static void cpuid_fix_leaf_7(const struct cpuid_context *c, struct kvm_cpuid_entry2 *entry)
{
	if (entry->index != 0)
		return;
	entry->ebx &= ~BIT(2);	/* SGX: a snapshot has no enclave memory */
	entry->ecx &= ~BIT(30); /* SGX_LC */
	entry->edx &= ~BIT(19); /* ARCH_LBR: part of the performance counters */
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
	entry->eax = (entry->eax & 0x3fff) | ((level >= 3 ? c->num_vcpus : c->threads) - 1) << 14;
}

static void cpuid_fix_amd(const struct cpuid_context *c, struct kvm_cpuid_entry2 *entry)
{
	switch (entry->function) {
	case 0x80000008:
		entry->ecx = (entry->ecx & ~0xf0ffu) | CPUID_PACKAGE_SHIFT << 12 | (c->num_vcpus - 1);
		break;
	case 0x8000001d:
		cpuid_fix_leaf_8000001d(c, entry);
		break;
	case 0x8000001e:
		entry->eax = c->apic_id;
		entry->ebx = (c->threads - 1) << 8 | c->apic_id / c->threads; /* of this core */
		entry->ecx = 0;						      /* one node */
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
	case 0xa:	 /* performance counters: not part of a machine that moves */
	case 0x12:	 /* SGX */
	case 0x1c:	 /* last branch records */
	case 0x23:	 /* performance counters */
	case 0x8000000a: /* SVM */
	case 0x80000022: /* performance counters */
		entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
		break;
	case 0x80000001:
		entry->ecx &= ~(BIT(2) /* SVM: snapshots do not carry the state of a nested guest */ | BIT(23) |
				BIT(24) | BIT(28) /* performance counters: core, north bridge, last-level cache */);
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
			entry->eax = c->threads - 1; /* bits of the APIC id */
			entry->ebx = c->threads;
			entry->ecx |= TOPOLOGY_SMT << 8;
		} else if (sub == 1) {
			entry->eax = CPUID_PACKAGE_SHIFT;
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
	uint32_t max_leaf = leaf0 ? leaf0->eax : 0;
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

int cpuid_fix(struct kvm_cpuid2 *cpuid, const struct cpuid_place *place)
{
	struct cpuid_context c = {
		.cpuid = cpuid,
		.apic_id = place->index,
		.num_vcpus = place->num_vcpus,
		.threads = place->smt && place->num_vcpus > 1 ? 2 : 1,
		.tsc_deadline = place->tsc_deadline,
	};

	return cpuid_build(&c);
}
