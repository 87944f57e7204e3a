// SPDX-License-Identifier: Apache-2.0
/*
 * A guest with state in every device, which tells how it is when it is asked: each byte on its console is answered by
 * one line. The machine: a drive, a second one that it leaves alone, the entropy device, two processors of which it
 * uses one. tests/snapshots/make takes its snapshot.
 */
#include "guest.h"
#include "virtio.h"

#include <linux/virtio_blk.h>

#define BLOCK_WINDOW   0xC0001000ull
#define ENTROPY_WINDOW 0xC0003000ull
#define FEATURE_LEAK   1ull

#define SERIAL_LSR  (PAYLOAD_CONSOLE_PORT + 5)
#define SERIAL_DATA 0x01

/* Registers that no other instruction changes. */
#define STATE_XMM7	   0x0123456789abcdefull
#define STATE_DR0	   0x12345678ull
#define STATE_GS_BASE	   0x7fff12345000ull
#define CR4_OSFXSR	   (1ull << 9)
#define MSR_KERNEL_GS_BASE 0xC0000102
#define MSR_KVM_CLOCK	   0x4b564d01
#define KVM_CLOCK_GPA	   (VIRTIO_DATA + 0x8000)

#define LEAK_LEN 32

static struct virtio_device block = { .base = BLOCK_WINDOW, .num_queues = 1, .number = 1, .is_block = true };
static struct virtio_device entropy = { .base = ENTROPY_WINDOW, .num_queues = 3 };
static uint16_t block_requests, entropy_requests;

static inline uint8_t guest_inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static uint64_t state_read_msr(uint32_t index)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
	return (uint64_t)high << 32 | low;
}

static void state_write_msr(uint32_t index, uint64_t value)
{
	__asm__ volatile("wrmsr" ::"c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

static void state_set_registers(void)
{
	__asm__ volatile("mov %%cr4, %%rax; or %0, %%rax; mov %%rax, %%cr4" ::"r"(CR4_OSFXSR) : "rax");
	__asm__ volatile("movq %0, %%xmm7" ::"r"(STATE_XMM7));
	__asm__ volatile("mov %0, %%dr0" ::"r"(STATE_DR0));
	state_write_msr(MSR_KERNEL_GS_BASE, STATE_GS_BASE);
	state_write_msr(MSR_KVM_CLOCK, KVM_CLOCK_GPA | 1);
}

static bool state_registers_ok(void)
{
	uint64_t xmm7, dr0;

	__asm__ volatile("movq %%xmm7, %0" : "=r"(xmm7));
	__asm__ volatile("mov %%dr0, %0" : "=r"(dr0));
	return xmm7 == STATE_XMM7 && dr0 == STATE_DR0 && state_read_msr(MSR_KERNEL_GS_BASE) == STATE_GS_BASE &&
	       state_read_msr(MSR_KVM_CLOCK) == (KVM_CLOCK_GPA | 1);
}

static bool state_read_disk(void)
{
	volatile struct virtio_blk_outhdr *header = (void *)VIRTIO_DATA;
	volatile uint8_t *sector = (void *)(VIRTIO_DATA + 0x1000), *status = (void *)(VIRTIO_DATA + 0x2000);

	header->type = VIRTIO_BLK_T_IN;
	header->sector = 1;
	*status = 0xff;
	sector[0] = 0;
	virtio_set_desc(&block.rings[0], 0, VIRTIO_DATA, sizeof(*header), VRING_DESC_F_NEXT, 1);
	virtio_set_desc(&block.rings[0], 1, VIRTIO_DATA + 0x1000, 512, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2);
	virtio_set_desc(&block.rings[0], 2, VIRTIO_DATA + 0x2000, 1, VRING_DESC_F_WRITE, 0);
	virtio_publish(&block.rings[0], 0);
	virtio_kick(&block, 0);
	return virtio_wait_used(&block, 0, ++block_requests) && *status == 0 && sector[0] == 'S' && sector[511] == 'E';
}

static bool state_read_entropy(void)
{
	volatile uint64_t *bytes = (void *)(VIRTIO_DATA + 0x3000);

	bytes[0] = bytes[1] = 0;
	virtio_set_desc(&entropy.rings[0], 0, VIRTIO_DATA + 0x3000, 16, VRING_DESC_F_WRITE, 0);
	virtio_publish(&entropy.rings[0], 0);
	virtio_kick(&entropy, 0);
	return virtio_wait_used(&entropy, 0, ++entropy_requests) && (bytes[0] | bytes[1]) != 0;
}

static volatile uint64_t *state_leak_bytes(unsigned int q)
{
	return (void *)(VIRTIO_DATA + 0x4000 + q * 0x1000);
}

static void state_wait_for_leak(unsigned int q)
{
	*state_leak_bytes(q) = 0;
	virtio_set_desc(&entropy.rings[q], 0, VIRTIO_DATA + 0x4000 + q * 0x1000, LEAK_LEN, VRING_DESC_F_WRITE, 0);
	virtio_publish(&entropy.rings[q], 0);
	virtio_kick(&entropy, q);
}

static void state_print_leak(unsigned int q)
{
	char digit[2] = { (char)('0' + entropy.rings[q].used[1] % 10), 0 };

	guest_print(digit);
	guest_print(*state_leak_bytes(q) != 0 ? "+ " : "- ");
}

static void state_answer(uint8_t asked)
{
	char what[2] = { (char)asked, 0 };

	guest_print(what);
	guest_print(": leaks ");
	state_print_leak(1);
	state_print_leak(2);
	guest_print(state_registers_ok() ? "registers ok, " : "registers BAD, ");
	guest_print(state_read_disk() ? "disk ok, " : "disk BAD, ");
	guest_print(state_read_entropy() ? "entropy ok\n" : "entropy BAD\n");
}

void guest_main(const uint8_t *zero_page)
{
	(void)zero_page;
	guest_map_mmio();
	state_set_registers();
	if (!virtio_start(&block, 0) || !virtio_start(&entropy, FEATURE_LEAK))
		guest_print("a device does not start\n");
	state_wait_for_leak(1);
	state_wait_for_leak(2);
	guest_print("ready\n");
	for (;;) {
		if (guest_inb(SERIAL_LSR) & SERIAL_DATA)
			state_answer(guest_inb(PAYLOAD_CONSOLE_PORT));
	}
}
