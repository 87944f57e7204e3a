// SPDX-License-Identifier: Apache-2.0
/* Processor features for processors that nobody here has: lists as data, no KVM. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arch/x86_64/cpuid_list.h"
#include "arch/x86_64/msr.h"
#include "base/cleanup.h"

#define BIT(n) (1u << (n))

static void put(union cpuid_list *list, uint32_t function, uint32_t index, uint32_t eax, uint32_t ebx, uint32_t ecx,
		uint32_t edx)
{
	assert_true(list->cpuid.nent < CPUID_MAX_ENTRIES);
	list->cpuid.entries[list->cpuid.nent++] = (struct kvm_cpuid_entry2){
		.function = function, .index = index, .eax = eax, .ebx = ebx, .ecx = ecx, .edx = edx
	};
}

/* Everything that there can be: all bits of all feature registers. */
static void all_features(union cpuid_list *list, bool intel)
{
	memset(list, 0, sizeof(*list));
	if (intel)
		put(list, 0x0, 0, 0x23, 0x756e6547, 0x6c65746e, 0x49656e69);
	else
		put(list, 0x0, 0, 0x10, 0x68747541, 0x444d4163, 0x69746e65);
	put(list, 0x1, 0, 0, 0xaabbccdd, UINT32_MAX, UINT32_MAX);
	put(list, 0x4, 0, 0xfc004121, 0x01c0003f, 0x3f, 0); /* level 1, data */
	put(list, 0x4, 1, 0xfc004122, 0x01c0003f, 0x3f, 0); /* level 1, code */
	put(list, 0x4, 2, 0xfc004143, 0x01c0003f, 0x3ff, 0);
	put(list, 0x4, 3, 0xfc03c163, 0x03c0003f, 0x7fff, 0);
	put(list, 0x4, 4, 0, 0, 0, 0);
	put(list, 0x6, 0, UINT32_MAX, 0, UINT32_MAX, 0);
	put(list, 0x7, 0, 2, UINT32_MAX, UINT32_MAX, UINT32_MAX);
	put(list, 0x7, 1, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX);
	put(list, 0xa, 0, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX);
	put(list, 0xb, 0, 1, 2, 0x100, 77);
	put(list, 0xb, 1, 4, 16, 0x201, 77);
	put(list, 0xd, 0, UINT32_MAX, 0x2b00, 0x2b00, 0);
	put(list, 0xd, 1, UINT32_MAX, 0x2b00, UINT32_MAX, 0);
	put(list, 0x12, 0, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX);
	put(list, 0x1c, 0, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX);
	put(list, 0x1f, 0, 1, 2, 0x100, 77);
	put(list, 0x23, 0, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX);
	put(list, 0x40000001, 0, UINT32_MAX, 0, 0, 0);
	put(list, 0x80000001, 0, 0, 0, UINT32_MAX, UINT32_MAX);
	put(list, 0x80000007, 0, 0, 0, 0, BIT(8));
	put(list, 0x80000008, 0, 0x3030, UINT32_MAX, 0x7077, 0);
	put(list, 0x8000000a, 0, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX);
	put(list, 0x8000001d, 0, 0xfc004121, 0x01c0003f, 0x3f, 0);
	put(list, 0x8000001d, 3, 0xfc03c163, 0x03c0003f, 0x7fff, 0);
	put(list, 0x8000001d, 4, 0, 0, 0, 0);
	put(list, 0x8000001e, 0, 77, 0x0133, 0x0303, 0);
	put(list, 0x80000022, 0, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX);
}

static void given(union cpuid_list *list, bool intel, uint32_t index, uint32_t num_vcpus, bool smt)
{
	const struct cpuid_place place = { .index = index, .num_vcpus = num_vcpus, .smt = smt, .tsc_deadline = true };

	all_features(list, intel);
	assert_int_equal(cpuid_fix(&list->cpuid, &place), 0);
}

static uint32_t reg(const union cpuid_list *list, uint32_t function, uint32_t index, enum cpuid_reg which)
{
	return cpuid_reg(&list->cpuid, function, index, which);
}

/* Topology. A row: vCPUs, smt, and what follows from them. */
static const struct topology {
	uint32_t num_vcpus;
	bool smt;
	uint32_t threads; /* a core */
	uint32_t thread_bits;
	uint32_t num_ids; /* vCPUs, to the next power of two */
} topologies[] = {
	{ 1, false, 1, 0, 1 },	{ 1, true, 1, 0, 1 },	{ 2, false, 1, 0, 2 },	 { 2, true, 2, 1, 2 },
	{ 3, false, 1, 0, 4 },	{ 6, true, 2, 1, 8 },	{ 7, false, 1, 0, 8 },	 { 16, true, 2, 1, 16 },
	{ 30, true, 2, 1, 32 }, { 32, true, 2, 1, 32 }, { 32, false, 1, 0, 32 },
};

static void check_leaf_b(const union cpuid_list *list, uint32_t leaf, const struct topology *t, uint32_t id)
{
	assert_int_equal(reg(list, leaf, 0, CPUID_EAX), t->thread_bits);
	assert_int_equal(reg(list, leaf, 0, CPUID_EBX), t->threads);
	assert_int_equal(reg(list, leaf, 0, CPUID_ECX), 0x100);
	assert_int_equal(reg(list, leaf, 1, CPUID_EAX), 5);
	assert_int_equal(reg(list, leaf, 1, CPUID_EBX), t->num_vcpus);
	assert_int_equal(reg(list, leaf, 1, CPUID_ECX), 0x201);
	assert_int_equal(reg(list, leaf, 2, CPUID_ECX), 2);
	assert_int_equal(reg(list, leaf, 2, CPUID_EBX), 0);
	for (uint32_t sub = 0; sub < 3; sub++)
		assert_int_equal(reg(list, leaf, sub, CPUID_EDX), id);
}

static void check_leaf_1(const union cpuid_list *list, const struct topology *t, uint32_t id)
{
	assert_int_equal(reg(list, 1, 0, CPUID_EBX) >> 24, id);
	assert_int_equal(reg(list, 1, 0, CPUID_EBX) >> 16 & 0xff, t->num_ids);
	assert_int_equal(reg(list, 1, 0, CPUID_EBX) & 0xff, 0xdd);
	assert_int_equal(!!(reg(list, 1, 0, CPUID_EDX) & BIT(28)), t->num_vcpus > 1);
}

static void intel_topology_says_threads_and_cores(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(topologies); i++) {
		const struct topology *t = &topologies[i];

		for (uint32_t id = 0; id < t->num_vcpus; id++) {
			union cpuid_list list;

			given(&list, true, id, t->num_vcpus, t->smt);
			check_leaf_1(&list, t, id);
			check_leaf_b(&list, 0xb, t, id);
			check_leaf_b(&list, 0x1f, t, id);
			for (uint32_t sub = 0; sub < 4; sub++) {
				uint32_t eax = reg(&list, 4, sub, CPUID_EAX);

				assert_int_equal(eax >> 26, t->num_ids / t->threads - 1); /* cores */
				assert_int_equal(eax >> 14 & 0xfff, (sub == 3 ? t->num_ids : t->threads) - 1);
			}
			assert_int_equal(reg(&list, 4, 4, CPUID_EAX), 0);
		}
	}
}

static void amd_topology_says_threads_and_cores(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(topologies); i++) {
		const struct topology *t = &topologies[i];

		for (uint32_t id = 0; id < t->num_vcpus; id++) {
			union cpuid_list list;

			given(&list, false, id, t->num_vcpus, t->smt);
			check_leaf_1(&list, t, id);
			check_leaf_b(&list, 0xb, t, id);
			assert_int_equal(reg(&list, 0x8000001d, 0, CPUID_EAX) >> 14 & 0xfff, t->threads - 1);
			assert_int_equal(reg(&list, 0x8000001d, 3, CPUID_EAX) >> 14 & 0xfff, t->num_vcpus - 1);
			assert_int_equal(reg(&list, 0x8000001e, 0, CPUID_EAX), id);
			assert_int_equal(reg(&list, 0x8000001e, 0, CPUID_EBX), (t->threads - 1) << 8 | id / t->threads);
			assert_int_equal(reg(&list, 0x8000001e, 0, CPUID_ECX), 0);
			assert_int_equal(reg(&list, 0x80000008, 0, CPUID_ECX) & 0xff, t->num_vcpus - 1);
		}
	}
}

/* Features with state: where the state is. A feature that is not listed here has no state beyond what every processor has. */
enum place { IN_MSRS, IN_XSAVE, IN_SREGS, IN_SSP, HIDDEN };

static const struct stateful {
	const char *name;
	uint32_t function, index;
	enum cpuid_reg reg;
	unsigned int bit;
	enum place place;
	uint32_t msrs[12]; /* IN_MSRS, IN_SSP */
} stateful[] = {
	{ "VMX", 0x1, 0, CPUID_ECX, 5, HIDDEN, { 0 } },
	{ "PDCM", 0x1, 0, CPUID_ECX, 15, HIDDEN, { 0 } },
	{ "TSC deadline", 0x1, 0, CPUID_ECX, 24, IN_MSRS, { 0x6e0 } },
	{ "XSAVE", 0x1, 0, CPUID_ECX, 26, IN_XSAVE, { 0 } },
	{ "x2APIC", 0x1, 0, CPUID_ECX, 21, IN_SREGS, { 0 } },
	{ "TSC", 0x1, 0, CPUID_EDX, 4, IN_MSRS, { 0x10 } },
	{ "MCE, MCA", 0x1, 0, CPUID_EDX, 14, IN_MSRS, { 0x179, 0x17a, 0x17b, 0x400, 0x47f } },
	{ "APIC", 0x1, 0, CPUID_EDX, 9, IN_MSRS, { 0x1b } },
	{ "SEP", 0x1, 0, CPUID_EDX, 11, IN_MSRS, { 0x174, 0x175, 0x176 } },
	{ "MTRR", 0x1, 0, CPUID_EDX, 12, IN_MSRS, { 0x200, 0x20f, 0x250, 0x258, 0x259, 0x268, 0x26f, 0x2ff } },
	{ "PAT", 0x1, 0, CPUID_EDX, 16, IN_MSRS, { 0x277 } },
	{ "TSC_ADJUST", 0x7, 0, CPUID_EBX, 1, IN_MSRS, { 0x3b } },
	{ "SGX", 0x7, 0, CPUID_EBX, 2, HIDDEN, { 0 } },
	{ "MPX", 0x7, 0, CPUID_EBX, 14, IN_MSRS, { 0xd90 } },
	{ "processor trace", 0x7, 0, CPUID_EBX, 25, IN_MSRS, { 0x570, 0x571, 0x572, 0x580, 0x587 } },
	{ "AVX-512", 0x7, 0, CPUID_EBX, 16, IN_XSAVE, { 0 } },
	{ "PKU", 0x7, 0, CPUID_ECX, 3, IN_XSAVE, { 0 } },
	{ "CET shadow stacks", 0x7, 0, CPUID_ECX, 7, IN_SSP, { 0x6a0, 0x6a2, 0x6a4, 0x6a5, 0x6a6, 0x6a7, 0x6a8 } },
	{ "SGX_LC", 0x7, 0, CPUID_ECX, 30, HIDDEN, { 0 } },
	{ "ARCH_LBR", 0x7, 0, CPUID_EDX, 19, HIDDEN, { 0 } },
	{ "CET branch tracking", 0x7, 0, CPUID_EDX, 20, IN_MSRS, { 0x6a0, 0x6a2 } },
	{ "AMX", 0x7, 0, CPUID_EDX, 24, IN_XSAVE, { 0 } },
	{ "SPEC_CTRL", 0x7, 0, CPUID_EDX, 26, IN_MSRS, { 0x48 } },
	{ "STIBP", 0x7, 0, CPUID_EDX, 27, IN_MSRS, { 0x48 } },
	{ "SSBD", 0x7, 0, CPUID_EDX, 31, IN_MSRS, { 0x48 } },
	{ "FRED", 0x7, 1, CPUID_EAX, 17, IN_MSRS, { 0x1cc, 0x1cd, 0x1ce, 0x1cf, 0x1d0, 0x1d1, 0x1d2, 0x1d3, 0x1d4 } },
	{ "XSAVES", 0xd, 1, CPUID_EAX, 3, IN_MSRS, { 0xda0 } },
	{ "XFD", 0xd, 1, CPUID_EAX, 4, IN_MSRS, { 0x1c4, 0x1c5 } },
	{ "kvmclock, old", 0x40000001, 0, CPUID_EAX, 0, IN_MSRS, { 0x11, 0x12 } },
	{ "kvmclock", 0x40000001, 0, CPUID_EAX, 3, IN_MSRS, { 0x4b564d00, 0x4b564d01 } },
	{ "asynchronous page faults", 0x40000001, 0, CPUID_EAX, 4, IN_MSRS, { 0x4b564d02 } },
	{ "steal time", 0x40000001, 0, CPUID_EAX, 5, IN_MSRS, { 0x4b564d03 } },
	{ "PV EOI", 0x40000001, 0, CPUID_EAX, 6, IN_MSRS, { 0x4b564d04 } },
	{ "PV polling", 0x40000001, 0, CPUID_EAX, 12, IN_MSRS, { 0x4b564d05 } },
	{ "page faults by interrupt", 0x40000001, 0, CPUID_EAX, 14, IN_MSRS, { 0x4b564d06, 0x4b564d07 } },
	{ "migration control", 0x40000001, 0, CPUID_EAX, 17, IN_MSRS, { 0x4b564d08 } },
	{ "SVM", 0x80000001, 0, CPUID_ECX, 2, HIDDEN, { 0 } },
	{ "OSVW", 0x80000001, 0, CPUID_ECX, 9, IN_MSRS, { 0xc0010140, 0xc0010141 } },
	{ "counters of the core", 0x80000001, 0, CPUID_ECX, 23, HIDDEN, { 0 } },
	{ "counters of the north bridge", 0x80000001, 0, CPUID_ECX, 24, HIDDEN, { 0 } },
	{ "counters of the cache", 0x80000001, 0, CPUID_ECX, 28, HIDDEN, { 0 } },
	{ "SYSCALL", 0x80000001, 0, CPUID_EDX, 11, IN_MSRS, { 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084 } },
	{ "NX, LM", 0x80000001, 0, CPUID_EDX, 20, IN_MSRS, { 0xc0000080, 0xc0000100, 0xc0000101, 0xc0000102 } },
	{ "RDTSCP", 0x80000001, 0, CPUID_EDX, 27, IN_MSRS, { 0xc0000103 } },
	{ "IBRS, AMD", 0x80000008, 0, CPUID_EBX, 14, IN_MSRS, { 0x48 } },
	{ "STIBP, AMD", 0x80000008, 0, CPUID_EBX, 15, IN_MSRS, { 0x48 } },
	{ "SSBD, AMD", 0x80000008, 0, CPUID_EBX, 24, IN_MSRS, { 0x48 } },
	{ "VIRT_SSBD", 0x80000008, 0, CPUID_EBX, 25, IN_MSRS, { 0xc001011f } },
	{ "counters, version 2", 0x80000022, 0, CPUID_EAX, 0, HIDDEN, { 0 } },
	{ "counters, Intel", 0xa, 0, CPUID_EAX, 0, HIDDEN, { 0 } },
	{ "counters, Intel's extension", 0x23, 0, CPUID_EAX, 0, HIDDEN, { 0 } },
	{ "SGX leaf", 0x12, 0, CPUID_EAX, 0, HIDDEN, { 0 } },
	{ "last branch records", 0x1c, 0, CPUID_EAX, 0, HIDDEN, { 0 } },
	{ "SVM leaf", 0x8000000a, 0, CPUID_EDX, 0, HIDDEN, { 0 } },
};

static void what_is_offered_is_saved_and_the_rest_is_hidden(void **state)
{
	(void)state;
	for (unsigned int intel = 0; intel < 2; intel++) {
		union cpuid_list list;

		given(&list, intel, 0, 2, false);
		for (size_t i = 0; i < ARRAY_SIZE(stateful); i++) {
			const struct stateful *s = &stateful[i];
			bool offered = reg(&list, s->function, s->index, s->reg) & BIT(s->bit);

			if (offered != (s->place != HIDDEN))
				fail_msg("%s is %s", s->name, offered ? "offered, and not saved" : "not offered");
			for (size_t k = 0; s->msrs[k]; k++)
				if (!msr_is_state(&list.cpuid, false, s->msrs[k]))
					fail_msg("%s: MSR 0x%x is not saved", s->name, s->msrs[k]);
		}
	}
}

/* An MSR that only this feature needs is no state without it: a newer KVM refuses it. */
static void without_its_feature_a_register_is_no_state(void **state)
{
	static const struct {
		uint32_t msr, function, index;
		enum cpuid_reg reg;
		uint32_t bits;
	} rows[] = {
		{ 0x10a, 7, 0, CPUID_EDX, BIT(29) },
		{ 0x122, 7, 0, CPUID_EDX, BIT(29) },
		{ 0x3b, 7, 0, CPUID_EBX, BIT(1) },
		{ 0x6a5, 7, 0, CPUID_ECX, BIT(7) },
		{ 0xda0, 0xd, 1, CPUID_EAX, BIT(3) },
		{ 0x1c4, 0xd, 1, CPUID_EAX, BIT(4) },
		{ 0x12, 0x40000001, 0, CPUID_EAX, BIT(0) },
		{ 0x4b564d01, 0x40000001, 0, CPUID_EAX, BIT(3) },
		{ 0xc001011f, 0x80000008, 0, CPUID_EBX, BIT(25) },
		{ 0x6e0, 0x1, 0, CPUID_ECX, BIT(24) },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		union cpuid_list list;

		all_features(&list, true);
		assert_true(msr_is_state(&list.cpuid, false, rows[i].msr));
		for (uint32_t k = 0; k < list.cpuid.nent; k++) {
			struct kvm_cpuid_entry2 *entry = &list.cpuid.entries[k];
			uint32_t *regs[] = { &entry->eax, &entry->ebx, &entry->ecx, &entry->edx };

			if (entry->function == rows[i].function && entry->index == rows[i].index)
				*regs[rows[i].reg] &= ~rows[i].bits;
		}
		if (msr_is_state(&list.cpuid, false, rows[i].msr))
			fail_msg("MSR 0x%x is saved without its feature", rows[i].msr);
	}
}

static void arch_capabilities_of_amd_are_hidden_and_not_saved(void **state)
{
	union cpuid_list list;

	(void)state;
	given(&list, false, 0, 1, false);
	assert_false(reg(&list, 7, 0, CPUID_EDX) & BIT(29));
	assert_false(msr_is_state(&list.cpuid, false, 0x10a));
	given(&list, true, 0, 1, false);
	assert_true(msr_is_state(&list.cpuid, false, 0x10a));
}

static void registers_of_what_no_guest_has_are_no_state(void **state)
{
	static const uint32_t msrs[] = { 0x3a,	 0x49,	     0x10b,	 0x480,	     0x491,	0xc1, 0x186,
					 0x345,	 0x38f,	     0x3f1,	 0x600,	     0x800,	0x8c, 0x40000000,
					 0x14ce, 0xc0000104, 0xc0010117, 0xc0010000, 0xc0010007 };
	union cpuid_list list;

	(void)state;
	all_features(&list, true);
	for (size_t i = 0; i < ARRAY_SIZE(msrs); i++)
		if (msr_is_state(&list.cpuid, false, msrs[i]))
			fail_msg("MSR 0x%x is saved", msrs[i]);
	assert_true(msr_is_state(&list.cpuid, true, 0xc0010000));  /* the KVM of before Linux 5.18 */
	assert_true(msr_is_state(&list.cpuid, false, 0x7fffffff)); /* what KVM will list one day */
}

/* Does a guest with these features load on that host? */
static int check(const union cpuid_list *guest, const union cpuid_list *host, struct err *e)
{
	return cpuid_check(&guest->cpuid, &host->cpuid, &host->cpuid, e);
}

static void set_reg(union cpuid_list *list, uint32_t function, uint32_t index, enum cpuid_reg which, uint32_t value)
{
	for (uint32_t k = 0; k < list->cpuid.nent; k++) {
		struct kvm_cpuid_entry2 *entry = &list->cpuid.entries[k];
		uint32_t *regs[] = { &entry->eax, &entry->ebx, &entry->ecx, &entry->edx };

		if (entry->function == function && entry->index == index)
			*regs[which] = value;
	}
}

static void a_missing_feature_is_named(void **state)
{
	static const struct {
		uint32_t function, index;
		enum cpuid_reg reg;
		uint32_t missing;
		const char *names;
	} rows[] = {
		{ 7, 0, CPUID_EBX, BIT(16) | BIT(31), ": avx512f, avx512vl;" },
		{ 7, 0, CPUID_ECX, BIT(7) | BIT(16), ": shstk, la57;" },
		{ 7, 0, CPUID_EDX, BIT(24), ": amx_tile;" },
		{ 1, 0, CPUID_ECX, BIT(0) | BIT(30), ": sse3, rdrand;" },
		{ 1, 0, CPUID_EDX, BIT(26), ": sse2;" },
		{ 0xd, 0, CPUID_EAX, BIT(2) | BIT(18) | BIT(30),
		  ": xcr0.avx, xcr0.tiledata, bit 30 of CPUID 0xd.0 EAX;" },
		{ 0xd, 1, CPUID_EAX, BIT(3), ": xsaves;" },
		{ 0x40000001, 0, CPUID_EAX, BIT(3), ": kvm_clocksource2;" },
		{ 0x80000001, 0, CPUID_EDX, BIT(27), ": rdtscp;" },
		{ 0x80000001, 0, CPUID_ECX, BIT(6), ": sse4a;" },
		{ 0x80000007, 0, CPUID_EDX, BIT(8), ": invariant_tsc;" },
		{ 0x80000008, 0, CPUID_EBX, BIT(25), ": virt_ssbd;" },
	};
	union cpuid_list guest, host;
	struct err e;

	(void)state;
	given(&guest, true, 0, 2, false);
	given(&host, true, 0, 2, false);
	assert_int_equal(check(&guest, &host, &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint32_t value = reg(&guest, rows[i].function, rows[i].index, rows[i].reg);

		given(&host, true, 0, 2, false);
		set_reg(&host, rows[i].function, rows[i].index, rows[i].reg, value & ~rows[i].missing);
		assert_int_equal(check(&guest, &host, &e), -ENOTSUP);
		if (!strstr(e.text, rows[i].names))
			fail_msg("expected \"%s\" in: %s", rows[i].names, e.text);
		/* A guest that was not given them does not miss them. */
		assert_int_equal(check(&host, &guest, &e), 0);
	}
}

static void many_missing_features_are_counted(void **state)
{
	union cpuid_list guest, host;
	struct err e;

	(void)state;
	given(&guest, true, 0, 1, false);
	memset(&host, 0, sizeof(host));
	put(&host, 0x0, 0, 1, 0x756e6547, 0x6c65746e, 0x49656e69);
	put(&host, 0x80000008, 0, 0x3030, 0, 0, 0);
	assert_int_equal(check(&guest, &host, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, " more; a host that has them"));
	assert_null(strstr(e.text, "..."));
}

static void nested_virtualisation_another_vendor_and_wider_addresses_are_refused(void **state)
{
	union cpuid_list guest, host;
	struct err e;

	(void)state;
	all_features(&host, true);
	given(&guest, true, 0, 1, false);
	set_reg(&guest, 1, 0, CPUID_ECX, reg(&guest, 1, 0, CPUID_ECX) | BIT(5));
	assert_int_equal(check(&guest, &host, &e), -EINVAL);
	assert_non_null(strstr(e.text, "has vmx"));

	all_features(&host, false);
	given(&guest, false, 0, 1, false);
	set_reg(&guest, 0x80000001, 0, CPUID_ECX, reg(&guest, 0x80000001, 0, CPUID_ECX) | BIT(2));
	assert_int_equal(check(&guest, &host, &e), -EINVAL);
	assert_non_null(strstr(e.text, "has svm"));

	given(&guest, true, 0, 1, false);
	assert_int_equal(check(&guest, &host, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "of GenuineIntel, this host's is of AuthenticAMD"));

	given(&guest, false, 0, 1, false);
	set_reg(&guest, 0x80000008, 0, CPUID_EAX, 0x3934);
	assert_int_equal(check(&guest, &host, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "physical addresses of 52 bits, this host's have 48"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(intel_topology_says_threads_and_cores),
		cmocka_unit_test(amd_topology_says_threads_and_cores),
		cmocka_unit_test(what_is_offered_is_saved_and_the_rest_is_hidden),
		cmocka_unit_test(without_its_feature_a_register_is_no_state),
		cmocka_unit_test(arch_capabilities_of_amd_are_hidden_and_not_saved),
		cmocka_unit_test(registers_of_what_no_guest_has_are_no_state),
		cmocka_unit_test(a_missing_feature_is_named),
		cmocka_unit_test(many_missing_features_are_counted),
		cmocka_unit_test(nested_virtualisation_another_vendor_and_wider_addresses_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
