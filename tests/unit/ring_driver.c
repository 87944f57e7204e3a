// SPDX-License-Identifier: Apache-2.0
/* Rings are accessed with sequentially consistent atomics: tests may run driver and device in two threads. */
#include "ring_driver.h"

#include <assert.h>
#include <string.h>

#include <linux/virtio_ring.h>

#include "guest_ram.h"

static uint16_t *ring_u16(const struct ring_driver *ring, gpa_t gpa)
{
	uint16_t *p = guest_ram(ring->mem, gpa, sizeof(*p));

	assert(p);
	return p;
}

static void ring_store(const struct ring_driver *ring, gpa_t gpa, uint16_t value)
{
	__atomic_store_n(ring_u16(ring, gpa), value, __ATOMIC_SEQ_CST);
}

static uint16_t ring_load(const struct ring_driver *ring, gpa_t gpa)
{
	return __atomic_load_n(ring_u16(ring, gpa), __ATOMIC_SEQ_CST);
}

void ring_init(struct ring_driver *ring, const struct guest_mem *mem, gpa_t base, uint16_t size)
{
	void *host = guest_ram(mem, base, RING_MEMORY_SIZE);

	assert(host && size <= RING_MAX_SIZE);
	memset(host, 0, RING_MEMORY_SIZE);
	*ring = (struct ring_driver){
		.mem = mem,
		.size = size,
		.desc = base,
		.avail = base + 0x1000,
		.used = base + 0x2000,
	};
}

void ring_start_at(struct ring_driver *ring, uint16_t idx)
{
	ring->avail_idx = idx;
	ring->last_used = idx;
	ring_store(ring, ring->avail + 2, idx);
	ring_store(ring, ring->used + 2, idx);
}

void ring_set_desc(const struct guest_mem *mem, gpa_t table, unsigned int index, gpa_t gpa, uint32_t len,
		   uint16_t flags, uint16_t next)
{
	struct vring_desc desc = { .addr = gpa, .len = len, .flags = flags, .next = next };
	bool ok = guest_write(mem, table + index * sizeof(desc), &desc, sizeof(desc));

	assert(ok);
	(void)ok;
}

void ring_publish(struct ring_driver *ring, uint16_t head)
{
	ring_store(ring, ring->avail + 4 + 2u * (ring->avail_idx % ring->size), head);
	ring_set_avail_idx(ring, (uint16_t)(ring->avail_idx + 1));
}

void ring_set_avail_idx(struct ring_driver *ring, uint16_t idx)
{
	ring->avail_idx = idx;
	ring_store(ring, ring->avail + 2, idx);
}

void ring_set_avail_flags(struct ring_driver *ring, uint16_t flags)
{
	ring_store(ring, ring->avail, flags);
}

void ring_set_used_event(struct ring_driver *ring, uint16_t idx)
{
	ring_store(ring, ring->avail + 4 + 2u * ring->size, idx);
}

uint16_t ring_avail_event(const struct ring_driver *ring)
{
	return ring_load(ring, ring->used + 4 + 8u * ring->size);
}

uint16_t ring_add(struct ring_driver *ring, const struct ring_buf *out, unsigned int num_out, const struct ring_buf *in,
		  unsigned int num_in)
{
	unsigned int num = num_out + num_in;
	uint16_t head = ring->next_desc;

	assert(num >= 1 && num <= ring->size);
	for (unsigned int i = 0; i < num; i++) {
		const struct ring_buf *buf = i < num_out ? &out[i] : &in[i - num_out];
		uint16_t flags = (i < num_out ? 0 : VRING_DESC_F_WRITE) | (i + 1 < num ? VRING_DESC_F_NEXT : 0);
		uint16_t next = (uint16_t)((ring->next_desc + 1) % ring->size);

		ring_set_desc(ring->mem, ring->desc, ring->next_desc, buf->gpa, buf->len, flags, next);
		ring->next_desc = next;
	}
	ring_publish(ring, head);
	return head;
}

uint16_t ring_add_indirect(struct ring_driver *ring, gpa_t table, const struct ring_buf *out, unsigned int num_out,
			   const struct ring_buf *in, unsigned int num_in)
{
	unsigned int num = num_out + num_in;
	uint16_t head = ring->next_desc;

	for (unsigned int i = 0; i < num; i++) {
		const struct ring_buf *buf = i < num_out ? &out[i] : &in[i - num_out];
		uint16_t flags = (i < num_out ? 0 : VRING_DESC_F_WRITE) | (i + 1 < num ? VRING_DESC_F_NEXT : 0);

		ring_set_desc(ring->mem, table, i, buf->gpa, buf->len, flags, (uint16_t)(i + 1));
	}
	ring_set_desc(ring->mem, ring->desc, head, table, num * (uint32_t)sizeof(struct vring_desc),
		      VRING_DESC_F_INDIRECT, 0);
	ring->next_desc = (uint16_t)((head + 1) % ring->size);
	ring_publish(ring, head);
	return head;
}

uint16_t ring_used_idx(const struct ring_driver *ring)
{
	return ring_load(ring, ring->used + 2);
}

bool ring_get_used(struct ring_driver *ring, struct ring_used *used)
{
	gpa_t entry = ring->used + 4 + 8u * (ring->last_used % ring->size);
	bool ok;

	if (ring_used_idx(ring) == ring->last_used)
		return false;
	ok = mem_read(ring->mem, entry, used, sizeof(*used));
	assert(ok);
	(void)ok;
	ring->last_used++;
	return true;
}
