/* SPDX-License-Identifier: (GPL-2.0-or-later OR Apache-2.0) */
/*
 * Entropy leak reporting of the virtio entropy device: what host and guest
 * agree on. The rules are in docs/leak-protocol.md; in short:
 *
 *  - A buffer in a leak queue with device-writable descriptors only is
 *    fill-on-leak: the device fills it with random bytes.
 *  - A buffer with device-readable descriptors followed by device-writable
 *    ones of the same total length is copy-on-leak: the device copies.
 *  - The device carries out what the active leak queue holds at a leak event,
 *    before any guest instruction runs again, and swaps the two queues.
 *  - A buffer made available in the queue that was signalled last is used at
 *    once. So is one in the active queue if an event found nothing there: this
 *    is how a driver that came too late learns of the event.
 *
 * Compiled by the monitor, by the guest kernel and by tests.
 */
#ifndef ABI_VIRTIO_RNG_LEAK_H
#define ABI_VIRTIO_RNG_LEAK_H

/* Feature bit: the device reports entropy leaks through two leak queues. */
#define VIRTIO_RNG_F_LEAK 0

/*
 * Another one, which means nothing without it: the configuration space says how many leaks
 * no driver was told of, a little-endian 32-bit number at this offset. It starts anywhere.
 */
#define VIRTIO_RNG_F_LEAK_COUNT	     1
#define VIRTIO_RNG_CONFIG_UNREPORTED 0

/*
 * One more: the driver says which event it has handled. It reads the number of the last one
 * that was carried out, and writes it back once the kernel's generator has been reseeded with
 * what the device gave then or later. Little-endian 32-bit numbers at these offsets.
 */
#define VIRTIO_RNG_F_LEAK_HANDLED    2
#define VIRTIO_RNG_CONFIG_GENERATION 4
#define VIRTIO_RNG_CONFIG_HANDLED    8

/* Virtqueue numbers. The leak queues exist only if VIRTIO_RNG_F_LEAK was negotiated. */
enum virtio_rng_queue {
	VIRTIO_RNG_REQUESTQ = 0,
	VIRTIO_RNG_LEAKQ1 = 1,
	VIRTIO_RNG_LEAKQ2 = 2,
	VIRTIO_RNG_NUM_QUEUES = 3,
};

#endif /* ABI_VIRTIO_RNG_LEAK_H */
