// SPDX-License-Identifier: Apache-2.0
/*
 * Entry state. Linux 64-bit protocol: long mode, paging on with the first GiB
 * mapped one to one, flat code and data segments under the selectors 0x10 and
 * 0x18, interrupts off, RSI = zero page. PVH: 32-bit protected mode, paging
 * off, flat segments, EBX = start info.
 */
#include "arch/x86_64/regs.h"

#include <linux/kvm.h>

#include "arch/x86_64/layout.h"
#include "arch/x86_64/msr.h"
#include "base/cleanup.h"
#include "kvm/ioctl.h"
#include "kvm/vcpu.h"

#define CR0_PE	 (1ull << 0)
#define CR0_ET	 (1ull << 4)
#define CR0_PG	 (1ull << 31)
#define CR4_PAE	 (1ull << 5)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)

#define PTE_PRESENT_WRITABLE 0x03ull
#define PTE_HUGE	     0x80ull
#define PTES_PER_PAGE	     512
#define PD_ENTRY_SIZE	     (2ull << 20)

/* Index of a descriptor; a selector is 8 times that. Linux wants code and data where they are. */
enum regs_gdt { GDT_NULL, GDT_TSS, GDT_CODE, GDT_DATA, GDT_ENTRIES };

_Static_assert(ARCH_GDT_GPA + GDT_ENTRIES * 8 <= ARCH_IDT_GPA, "the descriptor table ends where the next table starts");
_Static_assert(PTES_PER_PAGE *PD_ENTRY_SIZE == KERNEL_IDENTITY_MAP_SIZE, "one page directory maps it all");

static struct kvm_segment regs_segment(enum regs_gdt index, bool long_mode)
{
	struct kvm_segment s = { .selector = (uint16_t)(index * 8), .limit = 0xffffffff, .present = 1, .s = 1, .g = 1 };

	switch (index) {
	case GDT_NULL:
		return (struct kvm_segment){ .unusable = 1 };
	case GDT_TSS:
		s.type = 11; /* busy TSS, as the hardware wants it */
		s.limit = 0x67;
		s.s = 0;
		s.g = 0;
		break;
	case GDT_CODE:
		s.type = 11; /* execute, read, accessed */
		s.l = long_mode;
		s.db = !long_mode;
		break;
	case GDT_DATA:
		s.type = 3; /* read, write, accessed */
		s.db = 1;
		break;
	case GDT_ENTRIES:
		break;
	}
	return s;
}

/* The 8 bytes in memory that describe a segment (Intel SDM volume 3, 3.4.5). */
static uint64_t regs_descriptor(const struct kvm_segment *s)
{
	uint64_t limit = s->g ? s->limit >> 12 : s->limit;

	if (s->unusable)
		return 0;
	return (limit & 0xffff) | (s->base & 0xffffff) << 16 | (uint64_t)s->type << 40 | (uint64_t)s->s << 44 |
	       (uint64_t)s->dpl << 45 | (uint64_t)s->present << 47 | (limit >> 16 & 0xf) << 48 | (uint64_t)s->l << 53 |
	       (uint64_t)s->db << 54 | (uint64_t)s->g << 55 | (s->base >> 24 & 0xff) << 56;
}

int regs_write_tables(struct guest_mem *mem, const struct kernel_image *image, struct err *e)
{
	uint64_t pml4 = ARCH_PDPT_GPA | PTE_PRESENT_WRITABLE, pdpt = ARCH_PD_GPA | PTE_PRESENT_WRITABLE;
	uint64_t gdt[GDT_ENTRIES], pd[PTES_PER_PAGE], idt = 0;
	bool ok;

	for (unsigned int i = 0; i < GDT_ENTRIES; i++) {
		struct kvm_segment s = regs_segment(i, image->protocol == KERNEL_LINUX64);

		gdt[i] = regs_descriptor(&s);
	}
	ok = mem_write(mem, ARCH_GDT_GPA, gdt, sizeof(gdt)) && mem_write(mem, ARCH_IDT_GPA, &idt, sizeof(idt));
	if (image->protocol == KERNEL_LINUX64) {
		for (unsigned int i = 0; i < PTES_PER_PAGE; i++)
			pd[i] = i * PD_ENTRY_SIZE | PTE_PRESENT_WRITABLE | PTE_HUGE;
		ok = ok && mem_write(mem, ARCH_PML4_GPA, &pml4, sizeof(pml4)) &&
		     mem_write(mem, ARCH_PDPT_GPA, &pdpt, sizeof(pdpt)) && mem_write(mem, ARCH_PD_GPA, pd, sizeof(pd));
	}
	return ok ? 0 : err_set(e, ENOMEM, "this machine has too little RAM for the kernel's page tables");
}

static int regs_set_boot_msrs(struct vcpu *vcpu, struct err *e)
{
	static const struct kvm_msr_entry boot_msrs[] = {
		{ .index = 0x174 },	 /* SYSENTER_CS */
		{ .index = 0x175 },	 /* SYSENTER_ESP */
		{ .index = 0x176 },	 /* SYSENTER_EIP */
		{ .index = 0xc0000081 }, /* STAR */
		{ .index = 0xc0000083 }, /* CSTAR */
		{ .index = 0xc0000102 }, /* KERNEL_GS_BASE */
		{ .index = 0xc0000084 }, /* SYSCALL_MASK */
		{ .index = 0xc0000082 }, /* LSTAR */
		{ .index = MSR_TSC },
		{ .index = 0x1a0, .data = 1 },	   /* MISC_ENABLE: fast strings */
		{ .index = 0x2ff, .data = 0x806 }, /* MTRRdefType: on, write-back */
	};

	return msr_set(vcpu, boot_msrs, ARRAY_SIZE(boot_msrs), e);
}

static int regs_set_fpu(struct vcpu *vcpu, struct err *e)
{
	struct kvm_fpu fpu = { .fcw = 0x37f, .mxcsr = 0x1f80 }; /* as after FNINIT and processor reset */
	int r = kvm_ioctl(vcpu->fd, KVM_SET_FPU, &fpu);

	return r < 0 ? err_errno(e, -r, "KVM refuses the FPU state of vCPU %u", vcpu->index) : 0;
}

/* LINT0 takes the 8259's interrupts, LINT1 is NMI: what the MP table says. */
static int regs_set_lint(struct vcpu *vcpu, struct err *e)
{
	enum { LVT_LINT0 = 0x350, LVT_LINT1 = 0x360, MODE_MASK = 0x700, MODE_NMI = 0x400, MODE_EXTINT = 0x700 };
	struct kvm_lapic_state lapic = { 0 };
	uint32_t *lint0, *lint1;
	int r;

	r = kvm_ioctl(vcpu->fd, KVM_GET_LAPIC, &lapic);
	if (r < 0)
		return err_errno(e, -r, "KVM does not give the local APIC of vCPU %u", vcpu->index);
	lint0 = (uint32_t *)(void *)&lapic.regs[LVT_LINT0];
	lint1 = (uint32_t *)(void *)&lapic.regs[LVT_LINT1];
	*lint0 = (*lint0 & ~(uint32_t)MODE_MASK) | MODE_EXTINT;
	*lint1 = (*lint1 & ~(uint32_t)MODE_MASK) | MODE_NMI;
	r = kvm_ioctl(vcpu->fd, KVM_SET_LAPIC, &lapic);
	return r < 0 ? err_errno(e, -r, "KVM refuses the local APIC of vCPU %u", vcpu->index) : 0;
}

int regs_set_common(struct vcpu *vcpu, struct err *e)
{
	int r;

	r = regs_set_boot_msrs(vcpu, e);
	if (r == 0)
		r = regs_set_fpu(vcpu, e);
	if (r == 0)
		r = regs_set_lint(vcpu, e);
	return r;
}

static int regs_set_sregs(struct vcpu *vcpu, bool long_mode, struct err *e)
{
	struct kvm_sregs sregs = { 0 };
	int r;

	r = kvm_ioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	if (r < 0)
		return err_errno(e, -r, "KVM does not give the system registers of vCPU %u", vcpu->index);
	sregs.cs = regs_segment(GDT_CODE, long_mode);
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = regs_segment(GDT_DATA, long_mode);
	sregs.tr = regs_segment(GDT_TSS, long_mode);
	sregs.gdt.base = ARCH_GDT_GPA;
	sregs.gdt.limit = GDT_ENTRIES * 8 - 1;
	sregs.idt.base = ARCH_IDT_GPA;
	sregs.idt.limit = 7;
	sregs.cr0 = CR0_PE | CR0_ET;
	sregs.cr4 = 0;
	sregs.efer = 0;
	if (long_mode) {
		sregs.cr0 |= CR0_PG;
		sregs.cr3 = ARCH_PML4_GPA;
		sregs.cr4 = CR4_PAE;
		sregs.efer = EFER_LME | EFER_LMA;
	}
	r = kvm_ioctl(vcpu->fd, KVM_SET_SREGS, &sregs);
	return r < 0 ? err_errno(e, -r, "KVM refuses the system registers of vCPU %u", vcpu->index) : 0;
}

int regs_set_entry(struct vcpu *vcpu, const struct kernel_image *image, struct err *e)
{
	struct kvm_regs regs = { .rip = image->entry, .rflags = 2 }; /* bit 1 is always set */
	int r;

	if (image->protocol == KERNEL_PVH) {
		regs.rbx = ARCH_PVH_START_INFO_GPA;
	} else {
		regs.rsi = ARCH_ZERO_PAGE_GPA;
		regs.rsp = regs.rbp = ARCH_BOOT_STACK_GPA;
	}
	r = regs_set_sregs(vcpu, image->protocol == KERNEL_LINUX64, e);
	if (r < 0)
		return r;
	r = kvm_ioctl(vcpu->fd, KVM_SET_REGS, &regs);
	return r < 0 ? err_errno(e, -r, "KVM refuses the registers of vCPU %u", vcpu->index) : 0;
}
