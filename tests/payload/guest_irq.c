// SPDX-License-Identifier: Apache-2.0
/*
 * Waits for an interrupt that a device raises through an eventfd, without a
 * handler: the request shows in the local APIC. Then rings a doorbell.
 */
#include "guest.h"

#define IOAPIC_SELECT	   ((volatile uint32_t *)0xFEC00000)
#define IOAPIC_DATA	   ((volatile uint32_t *)0xFEC00010)
#define IOAPIC_REDIRECTION 0x10
#define LAPIC_SPURIOUS	   ((volatile uint32_t *)0xFEE000F0)
#define LAPIC_REQUESTS	   ((volatile uint32_t *)0xFEE00220) /* vectors 0x40 to 0x5f */
#define LAPIC_ENABLE	   0x1ff
#define IRQ_VECTOR	   0x40

void guest_main(const uint8_t *zero_page)
{
	volatile uint32_t *doorbell = (volatile uint32_t *)PAYLOAD_DOORBELL_GPA;

	(void)zero_page;
	guest_map_mmio();
	*LAPIC_SPURIOUS = LAPIC_ENABLE;
	*IOAPIC_SELECT = IOAPIC_REDIRECTION + 2 * PAYLOAD_GSI + 1;
	*IOAPIC_DATA = 0; /* to the processor with APIC id 0 */
	*IOAPIC_SELECT = IOAPIC_REDIRECTION + 2 * PAYLOAD_GSI;
	*IOAPIC_DATA = IRQ_VECTOR; /* fixed, edge, high, open */
	guest_print("ready\n");
	while ((*LAPIC_REQUESTS & 1) == 0)
		__asm__ volatile("pause");
	guest_print("interrupt\n");
	*doorbell = PAYLOAD_DOORBELL_VALUE;
	*doorbell = PAYLOAD_DOORBELL_VALUE + 1; /* another queue's: must not ring */
	guest_reset();
}
