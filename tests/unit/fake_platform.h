/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine without KVM for device tests: guest memory in two regions with a
 * gap, which a device can write to by mem/ only (else the test ends by
 * SIGSEGV), a bus, a loop, interrupts that are counted and doorbells that ring
 * when the "guest" writes where they are. Devices that would have a thread of
 * their own have none (p.one_loop), unless a test says so before it makes them.
 */
#ifndef FAKE_PLATFORM_H
#define FAKE_PLATFORM_H

#include <stdbool.h>
#include <stdint.h>

#include "bus/bus.h"
#include "bus/platform.h"
#include "mem/mem.h"

#define FAKE_MEM_SIZE	 (16ull << 20) /* of the region at 0 */
#define FAKE_HIGH_GPA	 (1ull << 32)
#define FAKE_HIGH_SIZE	 (64ull << 10)
#define FAKE_MMIO_BASE	 0xd0000000ull
#define FAKE_FIRST_GSI	 5u
#define FAKE_MAX_DEVICES 8
#define FAKE_MAX_BELLS	 32

struct fake_platform {
	struct platform p; /* must be first */
	struct bus bus;
	struct guest_mem mem;
	unsigned int num_windows;
	gpa_t last_base; /* of the virtio device that was plugged in last */
	uint32_t last_gsi;
	unsigned int num_irqs;
	int irq_fds[FAKE_MAX_DEVICES]; /* owned duplicates */
	bool pins_masked; /* the guest is not ready: what is raised when a pin is open is counted in num_waiting */
	unsigned int num_waiting;
	unsigned int num_handled; /* times that the guest said that it had handled a leak */
	unsigned int num_bells;	  /* connected ones */
	struct fake_bell {
		gpa_t addr;
		uint32_t value;
		int fd; /* the device's; -1: free */
	} bells[FAKE_MAX_BELLS];
	/* The call after so many fails with -ENOSPC; -1: never. */
	int irqs_left, windows_left, bells_left;
};

void fake_platform_init(struct fake_platform *fp);
/*
 * Other memory with the same regions, which is taken over: for what gives pages back, which ours does not do (it is shared).
 * Devices could write to it.
 */
void fake_platform_set_mem(struct fake_platform *fp, const struct guest_mem *mem);
/* That, with zeroes, or with a memory file in which each byte is fill. */
void fake_platform_anonymous_mem(struct fake_platform *fp);
void fake_platform_file_mem(struct fake_platform *fp, uint8_t fill);
void fake_platform_fini(struct fake_platform *fp); /* checks that every doorbell and every lease was given back */

/* What a vCPU does: a doorbell takes the write, else the bus. */
void fake_write(struct fake_platform *fp, gpa_t addr, uint64_t value, unsigned int len);
uint64_t fake_read(struct fake_platform *fp, gpa_t addr, unsigned int len);

/* Edges on the line since the last call. */
unsigned int fake_irqs(struct fake_platform *fp, uint32_t gsi);

/* Runs the loop until what is ready now (and what that makes ready) is done; or for a time, for timers. */
void fake_run(struct fake_platform *fp);
void fake_run_ms(struct fake_platform *fp, unsigned int ms);

#endif
