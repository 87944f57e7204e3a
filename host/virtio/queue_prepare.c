// SPDX-License-Identifier: Apache-2.0
/*
 * Having the memory that a queue's next requests are in, where a page-fault
 * handler may still have it. The driver is stopped, and the device quiet: what
 * the queue has does not change meanwhile. What a hostile driver has put there
 * costs it a bounded number of pages.
 */
#include <endian.h>
#include <linux/virtio_ring.h>

#include "mem/pages.h"
#include "virtio/queue.h"

#define PREPARE_MAX_BYTES (4u << 20) /* of buffers: more than a leak event writes (virtio/rng.h) */
#define PREPARE_TRAILER	  6u	     /* flags, index, and the other side's event index */

static int prepare_rings(const struct virtq *q)
{
	int r = mem_prepare(q->mem, q->desc, (uint64_t)q->size * sizeof(struct vring_desc));

	if (r == 0)
		r = mem_prepare(q->mem, q->avail, PREPARE_TRAILER + (uint64_t)q->size * sizeof(uint16_t));
	if (r == 0)
		r = mem_prepare(q->mem, q->used, PREPARE_TRAILER + (uint64_t)q->size * sizeof(struct vring_used_elem));
	return r;
}

/* Tables of descriptors that descriptors point to. */
static int prepare_tables(const struct virtq *q)
{
	struct vring_desc desc;
	int r = 0;

	for (unsigned int i = 0; i < q->size && r == 0; i++) {
		if (!mem_read(q->mem, q->desc + i * sizeof(desc), &desc, sizeof(desc)))
			continue;
		if (le16toh(desc.flags) & VRING_DESC_F_INDIRECT && le32toh(desc.len) <= VIRTQ_MAX_SIZE * sizeof(desc))
			r = mem_prepare(q->mem, le64toh(desc.addr), le32toh(desc.len));
	}
	return r;
}

static int prepare_buffers(const struct virtq *q)
{
	struct virtq copy = *q; /* it is only looked at what is there */
	struct virtq_chain chain;
	uint64_t left = PREPARE_MAX_BYTES;
	int r = 0;

	for (unsigned int n = 0; n < q->size && r == 0 && virtq_pop(&copy, &chain) > 0; n++) {
		for (unsigned int i = 0; i < chain.num_readable + chain.num_writable && r == 0; i++) {
			if (chain.seg[i].len > left)
				return 0;
			left -= chain.seg[i].len;
			r = mem_prepare(q->mem, chain.seg[i].gpa, chain.seg[i].len);
		}
	}
	return r;
}

int virtq_prepare(const struct virtq *q, bool buffers)
{
	int r = q->ready ? prepare_rings(q) : 0;

	if (r < 0 || !q->ready || !buffers)
		return r;
	r = prepare_tables(q);
	return r < 0 ? r : prepare_buffers(q);
}
