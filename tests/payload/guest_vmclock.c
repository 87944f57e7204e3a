// SPDX-License-Identifier: Apache-2.0
/*
 * Looks at the VMClock page and at a buffer in a leak queue all the time: an event changes both between two of its
 * instructions, or it says so. Each event gets an interrupt. Prints a line for each.
 *
 * No handler: the interrupt shows in the local APIC, each time by another vector.
 */
#include "guest.h"
#include "virtio.h"
#include "vmclock_page.h"

#define ENTROPY_WINDOW 0xC0001000ull
#define FEATURE_LEAK   1ull
#define VMCLOCK_GPA    0xDE000ull
#define VMCLOCK_GSI    22

#define IOAPIC_SELECT	   ((volatile uint32_t *)0xFEC00000)
#define IOAPIC_DATA	   ((volatile uint32_t *)0xFEC00010)
#define IOAPIC_REDIRECTION 0x10
#define LAPIC_SPURIOUS	   ((volatile uint32_t *)0xFEE000F0)
#define LAPIC_ENABLE	   0x1ff
#define FIRST_VECTOR	   0x40
#define INTERRUPT_LOOKS	   10000000u

static struct virtio_device entropy = { .base = ENTROPY_WINDOW, .num_queues = 3 };
static volatile struct vmclock_page *const page = (void *)VMCLOCK_GPA;

static volatile uint64_t *leak_word(unsigned int q)
{
	return (void *)(VIRTIO_DATA + q * 0x1000);
}

/* Into the queue that the next event empties. */
static void arm(unsigned int q)
{
	*leak_word(q) = 0;
	virtio_set_desc(&entropy.rings[q], 0, VIRTIO_DATA + q * 0x1000, 8, VRING_DESC_F_WRITE, 0);
	virtio_publish(&entropy.rings[q], 0);
	virtio_kick(&entropy, q);
}

static void expect_interrupt(uint32_t vector)
{
	*IOAPIC_SELECT = IOAPIC_REDIRECTION + 2 * VMCLOCK_GSI + 1;
	*IOAPIC_DATA = 0; /* to the processor with APIC id 0 */
	*IOAPIC_SELECT = IOAPIC_REDIRECTION + 2 * VMCLOCK_GSI;
	*IOAPIC_DATA = vector; /* fixed, edge, high, open */
}

static bool interrupted(uint32_t vector)
{
	volatile uint32_t *requests = (void *)(0xFEE00200ull + vector / 32 * 0x10);

	return *requests & 1u << vector % 32;
}

static void print_number(uint64_t n)
{
	char digit[2] = { (char)('0' + n % 10), 0 };

	if (n >= 10)
		print_number(n / 10);
	guest_print(digit);
}

/* The words before and after the other: whichever is read second must not be older than the one that is read first. */
static const char *wait_for_event(unsigned int q, uint64_t old)
{
	for (;;) {
		bool leaked = *leak_word(q) != 0;
		bool counted = page->vm_generation_counter != old;

		if (leaked || counted)
			return leaked && !counted   ? ", AFTER the leak queue"
			       : *leak_word(q) != 0 ? ", with the leak queue"
						    : ", BEFORE the leak queue";
	}
}

static bool wait_for_interrupt(uint32_t vector)
{
	for (unsigned int looks = 0; looks < INTERRUPT_LOOKS; looks++) {
		if (interrupted(vector))
			return true;
	}
	return false;
}

/* Ready for the next event before it says what this one was. */
static uint64_t next_event(uint32_t n, uint64_t old)
{
	const char *order = wait_for_event(1 + n % 2, old);
	uint64_t generation = page->vm_generation_counter, marker = page->disruption_marker, seq = page->seq_count;
	bool came = wait_for_interrupt(FIRST_VECTOR + n % 128);

	expect_interrupt(FIRST_VECTOR + (n + 1) % 128);
	arm(1 + (n + 1) % 2);
	guest_print("generation ");
	print_number(generation);
	guest_print(" marker ");
	print_number(marker);
	guest_print(" seq ");
	print_number(seq);
	guest_print(order);
	guest_print(came ? ", interrupt\n" : ", NO interrupt\n");
	return generation;
}

void guest_main(const uint8_t *zero_page)
{
	uint64_t generation;
	bool ok = page->magic == VMCLOCK_MAGIC && page->size == VMCLOCK_PAGE_SIZE && page->version == VMCLOCK_VERSION &&
		  page->flags == (VMCLOCK_FLAG_VM_GEN_COUNTER_PRESENT | VMCLOCK_FLAG_NOTIFICATION_PRESENT) &&
		  page->counter_id == VMCLOCK_COUNTER_INVALID && page->clock_status == VMCLOCK_STATUS_UNKNOWN;

	(void)zero_page;
	guest_map_mmio();
	*LAPIC_SPURIOUS = LAPIC_ENABLE;
	ok = virtio_start(&entropy, FEATURE_LEAK) && ok;
	expect_interrupt(FIRST_VECTOR);
	generation = page->vm_generation_counter;
	arm(1);
	guest_print(ok ? "ready\n" : "page or entropy device BAD\n");
	for (uint32_t n = 0;; n++)
		generation = next_event(n, generation);
}
