// SPDX-License-Identifier: Apache-2.0
/*
 * Does this host have what a snapshot's guest was given? A feature that is
 * missing would become an invalid opcode, or a register that KVM refuses, at
 * some later time; so it is named before anything runs.
 *
 * Intel SDM volume 2 "CPUID"; AMD APM volume 3 appendix E; Linux Documentation/virt/kvm/x86/cpuid.rst.
 */
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>

#include "arch/x86_64/cpuid_list.h"
#include "base/cleanup.h"
#include "base/names.h"

/* A register of features. names: one a bit, from bit 0 on, as in /proc/cpuinfo; "-" for one without a name. */
struct check_reg {
	uint32_t function, index;
	enum cpuid_reg reg;
	uint32_t ignored; /* bits that say what the guest has switched on, or what it has not */
	const char *names;
};

static const struct check_reg check_regs[] = {
	{ 0x1, 0, CPUID_ECX, 1u << 27 /* OSXSAVE */ | 1u << 31 /* hypervisor */,
	  "sse3 pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm - pcid dca sse4_1 "
	  "sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave osxsave avx f16c rdrand hypervisor" },
	{ 0x1, 0, CPUID_EDX, 1u << 28 /* HTT: of the topology */,
	  "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - ds acpi mmx fxsr sse "
	  "sse2 ss ht tm ia64 pbe" },
	{ 0x6, 0, CPUID_EAX, ~(1u << 2), "- - arat" },
	{ 0x7, 0, CPUID_EBX, 1u << 6 | 1u << 13 /* something is not kept */,
	  "fsgsbase tsc_adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm cqm - mpx rdt_a avx512f avx512dq rdseed "
	  "adx smap avx512ifma - clflushopt clwb intel_pt avx512pf avx512er avx512cd sha_ni avx512bw avx512vl" },
	{ 0x7, 0, CPUID_ECX, 1u << 4 /* OSPKE */ | 0x1fu << 17 /* a number */,
	  "prefetchwt1 avx512vbmi umip pku ospke waitpkg avx512_vbmi2 shstk gfni vaes vpclmulqdq avx512_vnni "
	  "avx512_bitalg tme avx512_vpopcntdq - la57 - - - - - rdpid keylocker bus_lock_detect cldemote - movdiri "
	  "movdir64b enqcmd sgx_lc pks" },
	{ 0x7, 0, CPUID_EDX, 0,
	  "- - avx512_4vnniw avx512_4fmaps fsrm uintr - - avx512_vp2intersect - md_clear - - - serialize - tsxldtrk - "
	  "pconfig arch_lbr ibt - amx_bf16 avx512_fp16 amx_tile amx_int8 ibrs stibp flush_l1d arch_capabilities "
	  "core_capabilities ssbd" },
	{ 0x7, 1, CPUID_EAX, 0,
	  "sha512 sm3 sm4 - avx_vnni avx512_bf16 - cmpccxadd - - fzrm fsrs fsrc - - - - fred lkgs wrmsrns - amx_fp16 "
	  "hreset avx_ifma - - lam msrlist - - - -" },
	{ 0x7, 1, CPUID_EDX, 0,
	  "- - - - avx_vnni_int8 avx_ne_convert - - amx_complex - avx_vnni_int16 - - - prefetchi" },
	{ 0x7, 2, CPUID_EDX, 0, "intel_psfd ipred_ctrl rrsba_ctrl ddpd_u bhi_ctrl mcdt_no" },
	{ 0xd, 0, CPUID_EAX, 0,
	  "xcr0.x87 xcr0.sse xcr0.avx xcr0.bndregs xcr0.bndcsr xcr0.opmask xcr0.zmm_hi256 xcr0.hi16_zmm - xcr0.pkru - "
	  "- "
	  "- - - - - xcr0.tilecfg xcr0.tiledata" },
	{ 0xd, 0, CPUID_EDX, 0, "" },
	{ 0xd, 1, CPUID_EAX, 0, "xsaveopt xsavec xgetbv1 xsaves xfd" },
	{ 0xd, 1, CPUID_ECX, 0, "- - - - - - - - xss.pt - - xss.cet_user xss.cet_kernel" },
	{ 0x14, 0, CPUID_EBX, 0, "" },
	{ 0x40000001, 0, CPUID_EAX, 0,
	  "kvm_clocksource kvm_nop_io_delay kvm_mmu_op kvm_clocksource2 kvm_async_pf kvm_steal_time kvm_pv_eoi "
	  "kvm_pv_unhalt - kvm_pv_tlb_flush kvm_async_pf_vmexit kvm_pv_send_ipi kvm_poll_control kvm_pv_sched_yield "
	  "kvm_async_pf_int kvm_msi_ext_dest_id kvm_hc_map_gpa_range kvm_migration_control - - - - - - "
	  "kvm_clocksource_stable" },
	{ 0x80000001, 0, CPUID_ECX, 0,
	  "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop skinit wdt - lwp "
	  "fma4 tce - nodeid_msr - tbm topoext perfctr_core perfctr_nb - bpext ptsc perfctr_llc mwaitx addr_mask_ext "
	  "-" },
	{ 0x80000001, 0, CPUID_EDX, 0,
	  "fpu vme de pse tsc msr pae mce cx8 apic - syscall mtrr pge mca cmov pat pse36 - mp nx - mmxext mmx fxsr "
	  "fxsr_opt pdpe1gb rdtscp - lm 3dnowext 3dnow" },
	{ 0x80000007, 0, CPUID_EDX, ~(1u << 8), "- - - - - - - - invariant_tsc" },
	{ 0x80000008, 0, CPUID_EBX, 0,
	  "clzero irperf xsaveerptr - rdpru - - - - wbnoinvd - - amd_ibpb - amd_ibrs amd_stibp - amd_stibp_always_on - "
	  "- - - - amd_ppin amd_ssbd virt_ssbd amd_ssb_no - amd_psfd" },
	{ 0x80000021, 0, CPUID_EAX, 0,
	  "no_nested_data_bp - lfence_rdtsc - - - null_sel_clr_base - autoibrs no_smm_ctl_msr" },
};

static const uint32_t check_nested[][2] = {
	{ 0x1, 1u << 5 },	 /* VMX, in ECX */
	{ 0x80000001, 1u << 2 }, /* SVM, in ECX */
};

/* The word of a list at a position; false if it has none. */
static bool check_word(const char *list, unsigned int position, char *word, size_t size)
{
	size_t len;

	while (position-- > 0) {
		list += strcspn(list, " ");
		list += *list == ' ';
	}
	len = strcspn(list, " ");
	if (len == 0 || len >= size || *list == '-')
		return false;
	memcpy(word, list, len);
	word[len] = '\0';
	return true;
}

static void check_add(struct names *names, const struct check_reg *reg, unsigned int bit)
{
	static const char regs[][4] = { "EAX", "EBX", "ECX", "EDX" };
	char name[64];

	if (!check_word(reg->names, bit, name, sizeof(name)))
		snprintf(name, sizeof(name), "bit %u of CPUID 0x%x.%u %s", bit, reg->function, reg->index,
			 regs[reg->reg]);
	names_add(names, "%s", name);
}

/* why: the rest of a sentence that begins with "this host lacks features". */
static int check_features(const struct kvm_cpuid2 *guest, const struct kvm_cpuid2 *supported,
			  const struct kvm_cpuid2 *offered, const char *why, const char *advice, struct err *e)
{
	struct names names = { .len = 0 };
	char more[32] = "";

	for (size_t i = 0; i < ARRAY_SIZE(check_regs); i++) {
		const struct check_reg *r = &check_regs[i];
		uint32_t host = cpuid_reg(supported, r->function, r->index, r->reg) |
				cpuid_reg(offered, r->function, r->index, r->reg);
		uint32_t missing = cpuid_reg(guest, r->function, r->index, r->reg) & ~host & ~r->ignored;

		for (unsigned int bit = 0; bit < 32; bit++)
			if (missing & 1u << bit)
				check_add(&names, r, bit);
	}
	if (names.len == 0)
		return 0;
	if (names.left_off > 0)
		snprintf(more, sizeof(more), " and %u more", names.left_off);
	return err_set(e, ENOTSUP, "this host (its processor or its KVM) lacks features that %s: %s%s; %s", why,
		       names.text, more, advice);
}

static void check_vendor(const struct kvm_cpuid2 *cpuid, char vendor[13])
{
	const uint32_t words[3] = { cpuid_reg(cpuid, 0, 0, CPUID_EBX), cpuid_reg(cpuid, 0, 0, CPUID_EDX),
				    cpuid_reg(cpuid, 0, 0, CPUID_ECX) };

	memcpy(vendor, words, sizeof(words));
	for (int i = 0; i < 12; i++)
		if (vendor[i] < ' ' || vendor[i] > '~')
			vendor[i] = '?';
	vendor[12] = '\0';
}

int cpuid_check(const struct kvm_cpuid2 *guest, const struct kvm_cpuid2 *supported, const struct kvm_cpuid2 *offered,
		struct err *e)
{
	uint32_t guest_bits = cpuid_reg(guest, 0x80000008, 0, CPUID_EAX) & 0xff;
	uint32_t host_bits = cpuid_reg(supported, 0x80000008, 0, CPUID_EAX) & 0xff;
	char guest_vendor[13], host_vendor[13];

	for (size_t i = 0; i < ARRAY_SIZE(check_nested); i++)
		if (cpuid_reg(guest, check_nested[i][0], 0, CPUID_ECX) & check_nested[i][1])
			return err_set(e, EINVAL, "the snapshot's guest has %s: nested guests are not supported",
				       i == 0 ? "vmx" : "svm");
	check_vendor(guest, guest_vendor);
	check_vendor(supported, host_vendor);
	if (strcmp(guest_vendor, host_vendor) != 0)
		return err_set(
			e, ENOTSUP,
			"the snapshot was made on a processor of %s, this host's is of %s: a running system is set "
			"up for the one that it has found",
			guest_vendor, host_vendor);
	if (guest_bits > host_bits)
		return err_set(e, ENOTSUP,
			       "the snapshot's guest was given physical addresses of %u bits, this host's have %u",
			       guest_bits, host_bits);
	return check_features(guest, supported, offered, "the snapshot's guest was given",
			      "a host that has them can load it, and a machine that was started with a CPU template "
			      "without them can be loaded here",
			      e);
}

int cpuid_check_template(const struct kvm_cpuid2 *guest, const struct kvm_cpuid2 *supported,
			 const struct kvm_cpuid2 *offered, struct err *e)
{
	return check_features(guest, supported, offered, "the CPU template promises",
			      "x leaves a bit as the host has it", e);
}
