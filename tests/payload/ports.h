/* SPDX-License-Identifier: Apache-2.0 */
/* What the bare-metal guests and the test that runs them agree on. */
#ifndef PAYLOAD_PORTS_H
#define PAYLOAD_PORTS_H

#define PAYLOAD_CONSOLE_PORT 0x3f8 /* write a byte: text */
#define PAYLOAD_RESET_PORT   0x64  /* write RESET_VALUE: the guest is done */
#define PAYLOAD_RESET_VALUE  0xfe

/*
 * Counters, on ports from PAYLOAD_PORT_BASE and in memory from PAYLOAD_MMIO_BASE alike. Both sides count: a written value
 * must be the one before plus 1, and a read one must be what the guest expects next.
 */
#define PAYLOAD_PORT_BASE 0x500
#define PAYLOAD_MMIO_BASE 0xC0001000ull
#define PAYLOAD_WRITE	  0x00 /* 32 bits, guest counts up */
#define PAYLOAD_READ	  0x04 /* 32 bits, device counts up */
#define PAYLOAD_MODIFY	  0x08 /* 32 bits: a write must be what was read before, plus 1 */
#define PAYLOAD_WRITE64	  0x10 /* 64 bits, guest counts up; memory only */
#define PAYLOAD_STRING	  0x18 /* bytes, both directions; ports only */
#define PAYLOAD_VERDICT	  0x1c /* 32 bits: number of the check that failed in the guest */
#define PAYLOAD_LEN	  0x20

/* An interrupt and a doorbell, by eventfd. */
#define PAYLOAD_GSI	       5
#define PAYLOAD_DOORBELL_GPA   0xC0002050ull
#define PAYLOAD_DOORBELL_VALUE 1

#endif
