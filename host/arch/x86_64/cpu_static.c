// SPDX-License-Identifier: Apache-2.0
/*
 * Firecracker's static templates, by name: they make the processors that they
 * are for look like those of EC2's instance types. It has deprecated them in
 * favour of custom ones, and so have we; here for configurations that name one.
 * What they change is taken from Firecracker's documentation and sources (1.17).
 */
#include "arch/x86_64/cpu_template.h"
#include "base/cleanup.h"

#define ARCH_CAPABILITIES 0x10a

#define EAX CPUID_EAX
#define EBX CPUID_EBX
#define ECX CPUID_ECX
#define EDX CPUID_EDX

#define HASWELL	  0x000306f2u /* what T2's guests take the processor for */
#define IVYBRIDGE 0x000306e4u
#define SIGNATURE 0x0fff3fffu /* family, model, stepping */
#define BIT(n)	  (1u << (n))

/* T2: no AVX-512 and nothing newer than Haswell; MCE, MTRR and ERMS for certain. */
#define T2_COMMON                                                                                   \
	{ 0x1, 0, EAX, SIGNATURE, HASWELL }, { 0x1, 0, ECX, 0x0004cdfc, 0 },                        \
		{ 0x1, 0, EDX, 0xe8641080, BIT(7) | BIT(12) }, { 0x7, 0, EBX, 0xffefda14, BIT(9) }, \
		{ 0x7, 0, ECX, 0x40415f5e, 0 }, { 0x7, 0, EDX, 0x0000011c, 0 },                     \
		{ 0xd, 0, EAX, 0x000002f8, 0 }, /* no MPX, AVX-512, PKRU */                         \
	{                                                                                           \
		0xd, 1, EAX, 0x0000000e, 0                                                          \
	} /* no XSAVEC, XGETBV, XSAVES */

static const struct cpu_leaf_rule c3_leaves[] = {
	{ 0x1, 0, EAX, SIGNATURE, IVYBRIDGE },
	{ 0x1, 0, ECX, 0x0040dd3c, 0 },
	{ 0x1, 0, EDX, 0xa8641080, BIT(7) | BIT(12) },
	{ 0x7, 0, EBX, 0xffafdd3c, 0 },
	{ 0x7, 0, ECX, 0x4041481e, 0 },
	{ 0x7, 0, EDX, 0x0000000c, 0 },
	{ 0xd, 0, EAX, 0x000002f8, 0 },
	{ 0xd, 1, EAX, 0x0000000e, 0 },
	{ 0x80000001, 0, ECX, BIT(5) | BIT(8), 0 },
	{ 0x80000001, 0, EDX, BIT(26), 0 },
};

/* Of T2 and T2S. */
static const struct cpu_leaf_rule t2_leaves[] = {
	T2_COMMON,
	{ 0x80000001, 0, ECX, BIT(8) | BIT(29), 0 },
	{ 0x80000001, 0, EDX, BIT(26), 0 },
	{ 0x80000008, 0, EBX, BIT(9), 0 },
};

/* T2CL and T2A give the same instructions on Intel's and AMD's processors. */
static const struct cpu_leaf_rule t2cl_leaves[] = {
	T2_COMMON,
	{ 0x80000001, 0, ECX, BIT(6) | BIT(7) | BIT(8) | BIT(29), 0 },
	{ 0x80000001, 0, EDX, 0x07c00000, 0 },
	{ 0x80000008, 0, EBX, BIT(9), 0 },
};

static const struct cpu_leaf_rule t2a_leaves[] = {
	T2_COMMON,
	{ 0x80000001, 0, ECX, BIT(6) | BIT(7) | BIT(8) | BIT(29), 0 },
	{ 0x80000001, 0, EDX, 0x07c00000, 0 },
	{ 0x80000008, 0, EBX, BIT(0) | BIT(2) | BIT(9) | BIT(18) | BIT(19), BIT(18) | BIT(19) },
};

/* T2S: the guest protects itself as the more vulnerable of the two processors needs it. */
static const struct cpu_msr_rule t2s_msrs[] = { { ARCH_CAPABILITIES, UINT64_MAX, 0xc4c } };
/* T2CL: mitigations as they are, the rest hidden. */
static const struct cpu_msr_rule t2cl_msrs[] = { { ARCH_CAPABILITIES, 0xfffffffff2f51e00, 0 } };

#define SKYLAKE	    0x00050654u
#define CASCADELAKE 0x00050657u
#define ICELAKE	    0x000606a6u
#define MILAN	    0x00a00f11u

#define INTEL	  "GenuineIntel"
#define LEAVES(x) .leaves = (x), .num_leaves = ARRAY_SIZE(x)
#define MSRS(x)	  .msrs = (x), .num_msrs = ARRAY_SIZE(x)
#define ALL_THREE                             \
	"Skylake, Cascade Lake and Ice Lake", \
	{                                     \
		SKYLAKE, CASCADELAKE, ICELAKE \
	}

static const struct cpu_static_template cpu_static_templates[] = {
	[CPU_TEMPLATE_C3] = { "C3", INTEL, ALL_THREE, LEAVES(c3_leaves) },
	[CPU_TEMPLATE_T2] = { "T2", INTEL, ALL_THREE, LEAVES(t2_leaves) },
	[CPU_TEMPLATE_T2S] = { "T2S",
			       INTEL,
			       "Skylake and Cascade Lake",
			       { SKYLAKE, CASCADELAKE },
			       LEAVES(t2_leaves),
			       MSRS(t2s_msrs) },
	[CPU_TEMPLATE_T2CL] = { "T2CL",
				INTEL,
				"Cascade Lake and Ice Lake",
				{ CASCADELAKE, ICELAKE },
				LEAVES(t2cl_leaves),
				MSRS(t2cl_msrs) },
	[CPU_TEMPLATE_T2A] = { "T2A", "AuthenticAMD", "Milan", { MILAN }, LEAVES(t2a_leaves) },
};

const struct cpu_static_template *cpu_static_template(enum cpu_template which)
{
	return &cpu_static_templates[which];
}
