/* SPDX-License-Identifier: (GPL-2.0-or-later OR Apache-2.0) */
/*
 * The counter page: what a program finds when it maps vm_gen_counter of an
 * entropy device (/sys/virtio-rng/virtio_rng.N/) or the driver's /dev/sysgenid.
 * Written by the device and the guest driver, read by everybody.
 *
 * generation, unwatched and reseeded are native words of the kernel (unsigned
 * long), each with eight bytes of room: a 32-bit kernel leaves the upper half
 * zero. All machines that have the driver are little endian, so the number at
 * the field is right for every reader, and its first four bytes are the counter
 * as readers of SysGenID know it.
 *
 *  - generation moves with every leak, written by the device before the next
 *    instruction of the guest runs. Compare it for equality only: it may wrap.
 *  - unwatched is 1 while nobody reports leaks (no driver, no device, a device
 *    that broke the rules): generation stands still then, whatever happens.
 *  - magic and version are there before the page can be mapped and stay.
 *    They promise what follows, and that the page stays readable for as long
 *    as it is mapped: no SIGBUS, whatever becomes of the device.
 *  - reseeded is the generation for which the kernel's random number generator
 *    has taken a new key. While it differs from generation, getrandom(2) may
 *    give the same bytes in each machine that was made from one snapshot.
 *  - identity is random and belongs to one life of a machine: machines from one
 *    snapshot have equal generations and different identities. The device fills
 *    it by a fill-on-leak request that is armed before the request that moves
 *    generation, in the same queue: who sees the new generation sees the new
 *    identity. The driver puts a first value there when it starts. All zeros:
 *    there is none yet. It is public, and no part of it is, or is derived from,
 *    the seed of the kernel's generator.
 *
 * One leak is armed at a time. A machine that is copied again before its driver
 * has answered the last leak (it had microseconds to milliseconds to run in)
 * has nothing armed: generation and identity stay what they were, in every copy
 * of it, until the driver arms again; then both change, before it does anything
 * else. In that gap the copies cannot be told apart by this page.
 *
 * In sysfs, beside vm_gen_counter, `identity` has the same as 32 lower-case
 * hexadecimal digits and a newline (all zeros as long as there is none).
 */
#ifndef ABI_SNAPSAFE_PAGE_H
#define ABI_SNAPSAFE_PAGE_H

#include <linux/types.h>

#define SNAPSAFE_PAGE_MAGIC	   0x50534e53 /* "SNSP" */
#define SNAPSAFE_PAGE_VERSION	   1
#define SNAPSAFE_PAGE_IDENTITY_LEN 16

/* 64 bytes at the start of the page: one cache line. Later versions only add. */
struct snapsafe_page {
	__u64 generation;
	__u64 unwatched;
	__u32 magic;
	__u32 version; /* at least SNAPSAFE_PAGE_VERSION */
	__u64 reseeded;
	__u8 identity[SNAPSAFE_PAGE_IDENTITY_LEN]; /* aligned to 32 */
	__u8 reserved[16];			   /* zero */
};

#define SNAPSAFE_PAGE_ASSERT(field, offset) \
	_Static_assert(__builtin_offsetof(struct snapsafe_page, field) == (offset), #field " has moved")

SNAPSAFE_PAGE_ASSERT(generation, 0);
SNAPSAFE_PAGE_ASSERT(unwatched, 8);
SNAPSAFE_PAGE_ASSERT(magic, 16);
SNAPSAFE_PAGE_ASSERT(version, 20);
SNAPSAFE_PAGE_ASSERT(reseeded, 24);
SNAPSAFE_PAGE_ASSERT(identity, 32);
SNAPSAFE_PAGE_ASSERT(reserved, 48);
_Static_assert(sizeof(struct snapsafe_page) == 64, "snapsafe_page has 64 bytes");

#endif /* ABI_SNAPSAFE_PAGE_H */
