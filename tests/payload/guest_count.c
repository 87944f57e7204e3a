// SPDX-License-Identifier: Apache-2.0
/*
 * Counts on ports and in MMIO for ever, in all ways in which an instruction can
 * reach a device: an access that the monitor loses, or lets happen twice, makes
 * one side's count differ from the other's.
 */
#include "guest.h"

#define STRING_LEN 7

/* Registers that no instruction of this program changes, each restored by another piece of the monitor. */
#define COUNT_XMM7	   0x0123456789abcdefull
#define COUNT_DR0	   0x12345678ull
#define COUNT_GS_BASE	   0x7fff12345000ull
#define CR4_OSFXSR	   (1ull << 9)
#define MSR_KERNEL_GS_BASE 0xC0000102

static void count_set_registers(void)
{
	__asm__ volatile("mov %%cr4, %%rax; or %0, %%rax; mov %%rax, %%cr4" ::"r"(CR4_OSFXSR) : "rax");
	__asm__ volatile("movq %0, %%xmm7" ::"r"(COUNT_XMM7));
	__asm__ volatile("mov %0, %%dr0" ::"r"(COUNT_DR0));
	__asm__ volatile("wrmsr" ::"c"(MSR_KERNEL_GS_BASE), "a"((uint32_t)COUNT_GS_BASE),
			 "d"((uint32_t)(COUNT_GS_BASE >> 32)));
}

static uint64_t count_read_msr(uint32_t index)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
	return (uint64_t)high << 32 | low;
}

static void count_expect(uint32_t got, uint32_t wanted, uint32_t check)
{
	if (got != wanted)
		guest_outl(PAYLOAD_PORT_BASE + PAYLOAD_VERDICT, check);
}

static volatile uint32_t *count_mmio(uint32_t offset)
{
	return (volatile uint32_t *)(PAYLOAD_MMIO_BASE + offset);
}

static void count_ports(uint32_t n)
{
	uint8_t bytes[STRING_LEN];

	guest_outl(PAYLOAD_PORT_BASE + PAYLOAD_WRITE, n);
	count_expect(guest_inl(PAYLOAD_PORT_BASE + PAYLOAD_READ), n, 1);
	for (uint32_t i = 0; i < STRING_LEN; i++)
		bytes[i] = (uint8_t)(n * STRING_LEN + i);
	guest_outs(PAYLOAD_PORT_BASE + PAYLOAD_STRING, bytes, STRING_LEN);
	guest_ins(PAYLOAD_PORT_BASE + PAYLOAD_STRING, bytes, STRING_LEN);
	for (uint32_t i = 0; i < STRING_LEN; i++)
		count_expect(bytes[i], (uint8_t)(n * STRING_LEN + i), 2);
}

static void count_memory(uint32_t n)
{
	uint64_t wide = (uint64_t)n << 32 | n;

	*count_mmio(PAYLOAD_WRITE) = n;
	count_expect(*count_mmio(PAYLOAD_READ), n, 3);
	__asm__ volatile("addl $1, %0" : "+m"(*count_mmio(PAYLOAD_MODIFY))); /* one instruction, two exits */
	__asm__ volatile("movq %1, %0" : "=m"(*count_mmio(PAYLOAD_WRITE64)) : "r"(wide));
}

static void count_registers(void)
{
	static uint64_t last_tsc;
	uint32_t low, high;
	uint64_t value;

	__asm__ volatile("movq %%xmm7, %0" : "=r"(value));
	count_expect(value == COUNT_XMM7, 1, 4);
	__asm__ volatile("mov %%dr0, %0" : "=r"(value));
	count_expect(value == COUNT_DR0, 1, 5);
	count_expect(count_read_msr(MSR_KERNEL_GS_BASE) == COUNT_GS_BASE, 1, 6);
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	value = (uint64_t)high << 32 | low;
	count_expect(value > last_tsc, 1, 7); /* time does not go back */
	last_tsc = value;
}

void guest_main(const uint8_t *zero_page)
{
	(void)zero_page;
	guest_map_mmio();
	count_set_registers();
	for (uint32_t n = 0;; n++) {
		count_ports(n);
		count_memory(n);
		count_registers();
	}
}
