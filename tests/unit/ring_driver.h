/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's side of a split virtqueue (virtio 1.2, section 2.7), as small as
 * a test wants it: a well-behaved one, and the means to misbehave. Descriptors
 * are taken round and round; a test gives the device time to use them.
 * Knows nothing of the device's code; what must hold is asserted.
 */
#ifndef RING_DRIVER_H
#define RING_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "mem/mem.h"

#define RING_MAX_SIZE	 256
#define RING_MEMORY_SIZE 0x3000u /* bytes from the base address that a ring of any size uses */

struct ring_driver {
	const struct guest_mem *mem;
	uint16_t size;
	gpa_t desc, avail, used;
	uint16_t avail_idx; /* free running, as published */
	uint16_t last_used; /* free running, what ring_get_used() has seen */
	uint16_t next_desc; /* where the next chain starts */
};

struct ring_buf {
	gpa_t gpa;
	uint32_t len;
};

struct ring_used {
	uint32_t id;
	uint32_t len;
};

/* Lays the three rings out from base (a multiple of 4096) and zeroes them. */
void ring_init(struct ring_driver *ring, const struct guest_mem *mem, gpa_t base, uint16_t size);

/* A chain of num_out readable and then num_in writable buffers, made available. Gives its head. */
uint16_t ring_add(struct ring_driver *ring, const struct ring_buf *out, unsigned int num_out, const struct ring_buf *in,
		  unsigned int num_in);
/* The same in an indirect table at table, which takes one descriptor of the ring. */
uint16_t ring_add_indirect(struct ring_driver *ring, gpa_t table, const struct ring_buf *out, unsigned int num_out,
			   const struct ring_buf *in, unsigned int num_in);

/* Takes the next used buffer; false if there is none. */
bool ring_get_used(struct ring_driver *ring, struct ring_used *used);
uint16_t ring_used_idx(const struct ring_driver *ring);

/* Raw access. */
void ring_set_desc(const struct guest_mem *mem, gpa_t table, unsigned int index, gpa_t gpa, uint32_t len,
		   uint16_t flags, uint16_t next);
void ring_publish(struct ring_driver *ring, uint16_t head);
void ring_set_avail_idx(struct ring_driver *ring, uint16_t idx);
void ring_set_avail_flags(struct ring_driver *ring, uint16_t flags);
void ring_set_used_event(struct ring_driver *ring, uint16_t idx);
uint16_t ring_avail_event(const struct ring_driver *ring);
/* Both sides' indices start at idx; the device's struct virtq is the test's affair. */
void ring_start_at(struct ring_driver *ring, uint16_t idx);

#endif
