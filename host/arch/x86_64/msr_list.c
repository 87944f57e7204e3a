// SPDX-License-Identifier: Apache-2.0
/*
 * Which MSRs are part of a machine's state: all that KVM lists, less the
 * exceptions below, each with its reason; and those that KVM has but does not
 * list. A register that belongs to a feature is state only if the guest was
 * given the feature: KVM refuses the others sooner or later.
 */
#include "arch/x86_64/msr.h"

#include <stdbool.h>

#include "arch/x86_64/cpuid_list.h"
#include "base/cleanup.h"

#define MSR_MAX_BITS 9

/* A feature bit; function 0: none. */
struct msr_bit {
	uint32_t function, index;
	enum cpuid_reg reg;
	unsigned int bit;
};

/* The register is there if the guest has any of these. */
struct msr_feature {
	uint32_t first, last;
	struct msr_bit any_of[MSR_MAX_BITS];
};

#define LEAF_1_ECX(n)                \
	{                            \
		0x1, 0, CPUID_ECX, n \
	}
#define LEAF_7_EBX(n)                \
	{                            \
		0x7, 0, CPUID_EBX, n \
	}
#define LEAF_7_ECX(n)                \
	{                            \
		0x7, 0, CPUID_ECX, n \
	}
#define LEAF_7_EDX(n)                \
	{                            \
		0x7, 0, CPUID_EDX, n \
	}
#define LEAF_7_1_EAX(n)              \
	{                            \
		0x7, 1, CPUID_EAX, n \
	}
#define LEAF_D_1_EAX(n)              \
	{                            \
		0xd, 1, CPUID_EAX, n \
	}
#define LEAF_KVM_EAX(n)                     \
	{                                   \
		0x40000001, 0, CPUID_EAX, n \
	}
#define LEAF_AMD1_ECX(n)                    \
	{                                   \
		0x80000001, 0, CPUID_ECX, n \
	}
#define LEAF_AMD1_EDX(n)                    \
	{                                   \
		0x80000001, 0, CPUID_EDX, n \
	}
#define LEAF_AMD8_EBX(n)                    \
	{                                   \
		0x80000008, 0, CPUID_EBX, n \
	}

static const struct msr_feature msr_features[] = {
	{ 0x11, 0x12, { LEAF_KVM_EAX(0) } }, /* kvmclock, old numbers */
	{ 0x3b, 0x3b, { LEAF_7_EBX(1) } },   /* TSC_ADJUST */
	{ 0x48,
	  0x48,
	  { LEAF_7_EDX(26), LEAF_7_EDX(27), LEAF_7_EDX(31), LEAF_AMD8_EBX(14), LEAF_AMD8_EBX(15),
	    LEAF_AMD8_EBX(24) } },			     /* SPEC_CTRL: IBRS, STIBP, SSBD */
	{ 0xe1, 0xe1, { LEAF_7_ECX(5) } },		     /* UMWAIT_CONTROL */
	{ 0x10a, 0x10a, { LEAF_7_EDX(29) } },		     /* ARCH_CAPABILITIES */
	{ 0x122, 0x122, { LEAF_7_EDX(29) } },		     /* TSX_CTRL */
	{ 0x1c4, 0x1c5, { LEAF_D_1_EAX(4) } },		     /* XFD, XFD_ERR */
	{ 0x1cc, 0x1d4, { LEAF_7_1_EAX(17) } },		     /* FRED */
	{ 0x570, 0x58f, { LEAF_7_EBX(25) } },		     /* processor trace */
	{ 0x6a0, 0x6a2, { LEAF_7_ECX(7), LEAF_7_EDX(20) } }, /* U_CET, S_CET */
	{ 0x6a4, 0x6a8, { LEAF_7_ECX(7) } },		     /* shadow-stack pointers of the rings, interrupt table */
	{ MSR_TSC_DEADLINE, MSR_TSC_DEADLINE, { LEAF_1_ECX(24) } },
	{ 0xd90, 0xd90, { LEAF_7_EBX(14) } },  /* BNDCFGS */
	{ 0xda0, 0xda0, { LEAF_D_1_EAX(3) } }, /* XSS */
	{ MSR_KVM_WALL_CLOCK_NEW, MSR_KVM_SYSTEM_TIME_NEW, { LEAF_KVM_EAX(3) } },
	{ 0x4b564d02, 0x4b564d02, { LEAF_KVM_EAX(4) } },		   /* asynchronous page faults */
	{ 0x4b564d03, 0x4b564d03, { LEAF_KVM_EAX(5) } },		   /* steal time */
	{ 0x4b564d04, 0x4b564d04, { LEAF_KVM_EAX(6) } },		   /* end of interrupt */
	{ 0x4b564d05, 0x4b564d05, { LEAF_KVM_EAX(12) } },		   /* polling */
	{ 0x4b564d06, 0x4b564d07, { LEAF_KVM_EAX(14) } },		   /* asynchronous page faults by interrupt */
	{ 0x4b564d08, 0x4b564d08, { LEAF_KVM_EAX(17) } },		   /* migration control */
	{ 0xc0000103, 0xc0000103, { LEAF_AMD1_EDX(27), LEAF_7_ECX(22) } }, /* TSC_AUX: RDTSCP, RDPID */
	{ 0xc0010140, 0xc0010141, { LEAF_AMD1_ECX(9) } },		   /* OSVW */
	{ 0xc001011f, 0xc001011f, { LEAF_AMD8_EBX(25) } },		   /* VIRT_SPEC_CTRL */
	{ 0xc0010200, 0xc001020b, { LEAF_AMD1_ECX(23) } }, /* performance counters of the core: only old snapshots */
	{ 0xc0000300, 0xc0000303, { { 0x80000022, 0, CPUID_EAX, 0 } } }, /* their common control: only old snapshots */
};

/* What is not saved, and why a guest does not miss it. */
static const struct {
	uint32_t first, last;
	const char *why;
} msr_exceptions[] = {
	{ 0x3a, 0x3a, "FEATURE_CONTROL locks VMX, SMX and SGX, which no guest has" },
	{ 0x49, 0x49, "PRED_CMD is a command" },
	{ 0x10b, 0x10b, "FLUSH_CMD is a command" },
	{ 0x8c, 0x8f, "SGX is not offered" },
	{ 0xc1, 0xc8, "no counters of Intel are offered (leaf 0xA)" },
	{ 0x186, 0x18d, "as above" },
	{ 0x309, 0x30c, "as above" },
	{ 0x345, 0x345, "as above: PDCM" },
	{ 0x38d, 0x390, "as above" },
	{ 0x3f1, 0x3f2, "as above: PEBS" },
	{ 0x4c1, 0x4c8, "as above" },
	{ 0x600, 0x600, "as above: DS_AREA" },
	{ 0x14ce, 0x14cf, "ARCH_LBR is not offered" },
	{ 0x480, 0x493, "VMX is not offered" },
	{ 0x800, 0xbff, "x2APIC: the local APIC's state has it" },
	{ 0x40000000, 0x400001ff, "Hyper-V's interface is not offered" },
	{ 0xc0000104, 0xc0000104, "TSC_RATIO is for nested guests; SVM is not offered" },
	{ 0xc0010114, 0xc0010114, "VM_CR: SVM is not offered" },
	{ 0xc0010117, 0xc0010117, "VM_HSAVE_PA: SVM is not offered" },
};

/* The counters that AMD's processors have without a feature bit: there unless KVM could take them away. */
static const uint32_t msr_amd_counters[2] = { 0xc0010000, 0xc0010007 };

const struct msr_range msr_unlisted[] = {
	{ 0x200, 0x20f },	    /* variable MTRRs */
	{ 0x250, 0x250 },	    /* fixed MTRRs */
	{ 0x258, 0x259 },	    /* fixed MTRRs */
	{ 0x268, 0x26f },	    /* fixed MTRRs */
	{ 0x277, 0x277 },	    /* PAT */
	{ 0x2ff, 0x2ff },	    /* MTRRdefType */
	{ 0x400, 0x47f },	    /* machine-check banks */
	{ 0xc0010140, 0xc0010141 }, /* OSVW */
	{ 0xc0011029, 0xc0011029 }, /* DE_CFG */
};
const size_t msr_num_unlisted = ARRAY_SIZE(msr_unlisted);

static bool msr_feature_given(const struct msr_feature *f, const struct kvm_cpuid2 *cpuid)
{
	for (size_t i = 0; i < MSR_MAX_BITS && f->any_of[i].function != 0; i++) {
		const struct msr_bit *b = &f->any_of[i];

		if (cpuid_reg(cpuid, b->function, b->index, b->reg) & 1u << b->bit)
			return true;
	}
	return false;
}

bool msr_is_state(const struct kvm_cpuid2 *cpuid, bool has_pmu, uint32_t index)
{
	for (size_t i = 0; i < ARRAY_SIZE(msr_exceptions); i++)
		if (index >= msr_exceptions[i].first && index <= msr_exceptions[i].last)
			return false;
	if (index >= msr_amd_counters[0] && index <= msr_amd_counters[1])
		return has_pmu;
	for (size_t i = 0; i < ARRAY_SIZE(msr_features); i++)
		if (index >= msr_features[i].first && index <= msr_features[i].last)
			return msr_feature_given(&msr_features[i], cpuid);
	return true;
}
