/* SPDX-License-Identifier: Apache-2.0 */
/* The few instructions that C does not have, for guests without an operating system. */
#ifndef PAYLOAD_GUEST_H
#define PAYLOAD_GUEST_H

#include <stddef.h>
#include <stdint.h>

#include "ports.h"

static inline void guest_outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}

static inline void guest_outl(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port));
}

static inline uint32_t guest_inl(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline void guest_outs(uint16_t port, const uint8_t *bytes, size_t n)
{
	__asm__ volatile("rep outsb" : "+S"(bytes), "+c"(n) : "d"(port) : "memory");
}

static inline void guest_ins(uint16_t port, uint8_t *bytes, size_t n)
{
	__asm__ volatile("rep insb" : "+D"(bytes), "+c"(n) : "d"(port) : "memory");
}

static inline void guest_print(const char *text)
{
	while (*text != '\0')
		guest_outb(PAYLOAD_CONSOLE_PORT, (uint8_t)*text++);
}

/* No interrupt table, and an exception: the processor shuts down. */
static inline void guest_triple_fault(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) none = { 0, 0 };

	__asm__ volatile("lidt %0; int3" ::"m"(none));
}

static inline void guest_reset(void)
{
	guest_outb(PAYLOAD_RESET_PORT, PAYLOAD_RESET_VALUE);
}

/* Maps the GiB below 4 GiB, where devices and interrupt controllers are: the boot protocol maps the first one only. */
void guest_map_mmio(void);

/* Entered by start64.S with the zero page's address. */
void guest_main(const uint8_t *zero_page);

#endif
