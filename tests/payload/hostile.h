/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hostile guests have in common: chance, descriptors that are anything, rings that are broken in one known way, and the
 * frame of rounds. The command line has "seed=N rounds=N"; the same seed is the same attack.
 */
#ifndef PAYLOAD_HOSTILE_H
#define PAYLOAD_HOSTILE_H

#include "virtio.h"

#define STATUS_NEEDS_RESET 0x40
#define HOSTILE_FEATURES   (1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX)
#define HOSTILE_CHAIN_MAX  6u /* buffers */
#define HOSTILE_CHAINS	   (VIRTIO_QUEUE_SIZE / HOSTILE_CHAIN_MAX)

uint64_t hostile_random(void);
unsigned int hostile_below(unsigned int n);
/* No device may ever be told to write where this guest itself lies. */
uint64_t hostile_address(void);
uint32_t hostile_length(void);
void hostile_desc(struct vring_desc *at);
/* A chain of some buffers from descriptor head on, made available. */
void hostile_chain(struct virtio_ring *ring, unsigned int head);
/* What was typed on the console, or 0. */
uint8_t hostile_typed(void);

/* Rings that break a rule of virtio 1.2, section 2.7: the device must say that it needs a reset. False: it does not. */
bool attack_by_broken_ring(struct virtio_device *dev, unsigned int q);
/* Any register, also those that do not exist, in any width, in any order. */
void attack_window(uint64_t window);

struct hostile {
	const char *(*round)(void); /* NULL, or what went wrong */
	const unsigned int *num_needs_reset, *num_used;
	bool waits; /* after the verdict, until "q" is typed */
};

/*
 * As many rounds as the command line says, or until "q" is typed. Says when half of them are over. The last line on the console
 * is the verdict. Then the machine is reset.
 */
void hostile_run(const uint8_t *zero_page, const struct hostile *h);

#endif
