/* SPDX-License-Identifier: Apache-2.0 */
/* Guest physical address map and interrupt numbers, x86_64; the same as Firecracker's where a guest can see it. */
#ifndef ARCH_X86_64_LAYOUT_H
#define ARCH_X86_64_LAYOUT_H

/* RAM below 3 GiB, a gap for MMIO up to 4 GiB, RAM again from there. */
#define ARCH_MMIO_GAP_START 0xC0000000ull
#define ARCH_MMIO_GAP_END   0x100000000ull
#define ARCH_MAX_MEM_MIB    (255ull * 1024) /* below the 64-bit MMIO hole */

#define ARCH_BOOT_TIMER_BASE	0xC0000000ull /* one page */
#define ARCH_VIRTIO_MMIO_BASE	0xC0001000ull /* one window a device, of this size */
#define ARCH_VIRTIO_MMIO_WINDOW 0x1000ull
#define ARCH_IOAPIC_BASE	0xFEC00000ull
#define ARCH_LAPIC_BASE		0xFEE00000ull
#define ARCH_TSS_BASE		0xFFFBD000ull /* three pages for KVM */

/* Low memory. */
#define ARCH_GDT_GPA		0x500ull
#define ARCH_IDT_GPA		0x520ull
#define ARCH_PVH_START_INFO_GPA 0x6000ull
#define ARCH_PVH_MODLIST_GPA	0x6040ull
#define ARCH_ZERO_PAGE_GPA	0x7000ull /* also the PVH memory map */
#define ARCH_BOOT_STACK_GPA	0x8FF0ull
#define ARCH_PML4_GPA		0x9000ull
#define ARCH_PDPT_GPA		0xA000ull
#define ARCH_PD_GPA		0xB000ull
#define ARCH_CMDLINE_GPA	0x20000ull
#define ARCH_CMDLINE_MAX	2048 /* bytes, NUL included */

/* Reserved for firmware tables: from the end of conventional memory to the BIOS area. */
#define ARCH_SYSTEM_START     0x9FC00ull
#define ARCH_SYSTEM_END	      0xE0000ull
#define ARCH_MPTABLE_GPA      0x9FC00ull
#define ARCH_ACPI_GPA	      0xA0000ull /* tables, up to ARCH_VMCLOCK_GPA */
#define ARCH_VMCLOCK_GPA      0xDE000ull /* a page, which programs of the guest may map */
#define ARCH_VMGENID_GPA      0xDF000ull /* a page of its own, 16 bytes used */
#define ARCH_RSDP_GPA	      0xE0000ull
#define ARCH_RESET_VECTOR_GPA 0xFFFF0ull /* what a kernel jumps to that asks the BIOS for a reset */
#define ARCH_HIMEM_START      0x100000ull

/* Ports and interrupts. */
#define ARCH_SERIAL_PORT 0x3F8
#define ARCH_SERIAL_GSI	 4u
#define ARCH_I8042_PORT	 0x60 /* to 0x64 */
#define ARCH_I8042_GSI	 1u
#define ARCH_GSI_FIRST	 5u /* virtio devices; vmclock and vmgenid have the last two */
#define ARCH_GSI_LAST	 23u
#define ARCH_MAX_VIRTIO	 40u /* 16 drives, 8 network devices, vsock, balloon, entropy, and room */

#endif
