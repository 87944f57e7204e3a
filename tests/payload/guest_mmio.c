// SPDX-License-Identifier: Apache-2.0
/* One more entry in the page tables that the monitor made (host/arch/x86_64/layout.h says where). */
#include "guest.h"

#define PAGE_PRESENT_WRITABLE 0x03ull
#define PAGE_UNCACHED	      0x10ull
#define PAGE_HUGE	      0x80ull
#define GUEST_PDPT	      0xA000ull
#define GUEST_MMIO_GIB	      3ull

static uint64_t guest_mmio_pd[512] __attribute__((aligned(4096)));

void guest_map_mmio(void)
{
	volatile uint64_t *pdpt = (volatile uint64_t *)GUEST_PDPT;

	for (uint64_t i = 0; i < 512; i++)
		guest_mmio_pd[i] = GUEST_MMIO_GIB << 30 | i << 21 | PAGE_PRESENT_WRITABLE | PAGE_UNCACHED | PAGE_HUGE;
	pdpt[GUEST_MMIO_GIB] = (uintptr_t)guest_mmio_pd | PAGE_PRESENT_WRITABLE;
	__asm__ volatile("mov %%cr3, %%rax; mov %%rax, %%cr3" ::: "rax", "memory");
}
