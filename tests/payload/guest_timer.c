// SPDX-License-Identifier: Apache-2.0
/* Arms the local APIC's timer once, by a TSC deadline, and waits for its request, without a handler. */
#include "guest.h"

#define LAPIC_SPURIOUS	   ((volatile uint32_t *)0xFEE000F0)
#define LAPIC_REQUESTS	   ((volatile uint32_t *)0xFEE00220) /* vectors 0x40 to 0x5f */
#define LAPIC_LVT_TIMER	   ((volatile uint32_t *)0xFEE00320)
#define LAPIC_ENABLE	   0x1ff
#define TIMER_TSC_DEADLINE 0x40000
#define TIMER_VECTOR	   0x40
#define MSR_TSC_DEADLINE   0x6e0
#define TIMER_DELAY	   (1u << 30) /* a fraction of a second on any processor */

void guest_main(const uint8_t *zero_page)
{
	uint32_t low, high;
	uint64_t deadline;

	(void)zero_page;
	guest_map_mmio();
	*LAPIC_SPURIOUS = LAPIC_ENABLE;
	*LAPIC_LVT_TIMER = TIMER_TSC_DEADLINE | TIMER_VECTOR;
	__asm__ volatile("mfence; rdtsc" : "=a"(low), "=d"(high));
	deadline = ((uint64_t)high << 32 | low) + TIMER_DELAY;
	__asm__ volatile("wrmsr" ::"c"(MSR_TSC_DEADLINE), "a"((uint32_t)deadline), "d"((uint32_t)(deadline >> 32)));
	guest_print("armed\n");
	while ((*LAPIC_REQUESTS & 1) == 0)
		__asm__ volatile("pause");
	guest_print("timer\n");
	guest_reset();
}
