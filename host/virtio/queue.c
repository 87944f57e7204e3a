// SPDX-License-Identifier: Apache-2.0
/*
 * Split virtqueue, device side (virtio 1.2, section 2.7).
 *
 * Theory of operation. The driver owns the descriptor table and the available
 * ring, the device the used ring; all three lie in guest memory, and the guest
 * may change all three at any time. virtq_enable() has found where they lie in
 * memory, which never changes, so that their addresses need no check later.
 * What stands in them is loaded once and the copy is judged:
 *
 *  - the available index may be ahead of ours by the queue's size at most;
 *  - a descriptor number is below its table's length;
 *  - a chain has as many buffers as the queue has entries at most, which also
 *    ends every loop; one indirect table can end it, and none inside that;
 *  - readable buffers stand before writable ones.
 *
 * All indices run freely over 16 bits; sizes are powers of two, so that the
 * slot is the index modulo the size across the wrap.
 *
 * Called with the device's lock held; only the guest runs at the same time.
 */
#include "virtio/queue.h"

#include <endian.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

/* Sizes and offsets of section 2.7, all in bytes. */
#define DESC_LEN	 16u
#define DESC_ALIGN	 16u
#define AVAIL_ALIGN	 2u
#define USED_ALIGN	 4u
#define AVAIL_FLAGS	 0u
#define AVAIL_IDX	 2u
#define AVAIL_RING	 4u
#define AVAIL_ENTRY_LEN	 2u
#define USED_IDX	 2u
#define USED_RING	 4u
#define USED_ENTRY_LEN	 8u
#define RING_TRAILER_LEN 2u /* used_event or avail_event, behind the ring */

_Static_assert(sizeof(struct vring_desc) == DESC_LEN, "a descriptor is 16 bytes");
_Static_assert(sizeof(struct vring_used_elem) == USED_ENTRY_LEN, "an entry of the used ring is 8 bytes");

/* Where descriptors of a chain are looked up: the queue's own table or an indirect one. */
struct virtq_table {
	gpa_t gpa;
	uint32_t num;
	bool indirect;
};

static uint64_t virtq_avail_event_offset(const struct virtq *q)
{
	return USED_RING + (uint64_t)q->size * USED_ENTRY_LEN;
}

static uint64_t virtq_used_event_offset(const struct virtq *q)
{
	return AVAIL_RING + (uint64_t)q->size * AVAIL_ENTRY_LEN;
}

/* A 16-bit field of the available ring. */
static const uint16_t *virtq_avail_field(const struct virtq *q, uint64_t offset)
{
	return (const uint16_t *)(q->avail_place.host + offset);
}

static uint16_t virtq_load_avail(const struct virtq *q, uint64_t offset)
{
	return le16toh(__atomic_load_n(virtq_avail_field(q, offset), __ATOMIC_RELAXED));
}

/* Sizes are powers of two. */
static uint64_t virtq_slot(const struct virtq *q, uint16_t index)
{
	return index & (q->size - 1u);
}

void virtq_init(struct virtq *q, struct guest_mem *mem, uint16_t max_size)
{
	memset(q, 0, sizeof(*q));
	q->mem = mem;
	q->max_size = max_size;
	q->size = max_size;
	q->max_read = q->max_written = UINT64_MAX;
}

void virtq_reset(struct virtq *q)
{
	const struct virtq before = *q;

	virtq_init(q, before.mem, before.max_size);
	q->gate = before.gate;
	q->max_read = before.max_read;
	q->max_written = before.max_written;
}

int virtq_enable(struct virtq *q, uint64_t features)
{
	if (q->size == 0 || q->size > q->max_size || (q->size & (q->size - 1)))
		return -EINVAL;
	if (q->desc % DESC_ALIGN || q->avail % AVAIL_ALIGN || q->used % USED_ALIGN)
		return -EINVAL;
	if (!mem_find_place(q->mem, q->desc, (uint64_t)q->size * DESC_LEN, &q->desc_place) ||
	    !mem_find_place(q->mem, q->avail, virtq_used_event_offset(q) + RING_TRAILER_LEN, &q->avail_place) ||
	    !mem_find_place(q->mem, q->used, virtq_avail_event_offset(q) + RING_TRAILER_LEN, &q->used_place))
		return -EINVAL;

	q->indirect = features >> VIRTIO_RING_F_INDIRECT_DESC & 1;
	q->event_idx = features >> VIRTIO_RING_F_EVENT_IDX & 1;
	q->next_avail = 0;
	q->next_used = 0;
	q->notified_used = 0;
	q->staged = 0;
	q->rings_populated = false;
	q->ready = true;
	return 0;
}

/* Copies a descriptor, once, into host byte order. An indirect table need not be aligned. */
static int virtq_load_desc(const struct virtq *q, const struct virtq_table *table, uint32_t index,
			   struct vring_desc *desc)
{
	struct vring_desc raw;

	if (index >= table->num)
		return -EINVAL;
	if (!table->indirect)
		memcpy(&raw, q->desc_place.host + (uint64_t)index * DESC_LEN, sizeof(raw));
	else if (!mem_read(q->mem, table->gpa + (uint64_t)index * DESC_LEN, &raw, sizeof(raw)))
		return -EINVAL;
	desc->addr = le64toh(raw.addr);
	desc->len = le32toh(raw.len);
	desc->flags = le16toh(raw.flags);
	desc->next = le16toh(raw.next);
	return 0;
}

/* Section 2.7.5.3: the table's own descriptor ends the chain and its WRITE flag means nothing. */
static int virtq_enter_indirect(struct virtq *q, const struct vring_desc *desc, struct virtq_table *table)
{
	if (!q->indirect || table->indirect || desc->flags & VRING_DESC_F_NEXT)
		return -EINVAL;
	if (desc->len == 0 || desc->len % DESC_LEN || !mem_host(q->mem, desc->addr, desc->len))
		return -EINVAL;
	if (!virtq_gate_table(q, desc->addr, desc->len))
		return -EAGAIN;
	*table = (struct virtq_table){ .gpa = desc->addr, .num = desc->len / DESC_LEN, .indirect = true };
	return 0;
}

static int virtq_add_segment(const struct virtq *q, struct virtq_chain *chain, const struct vring_desc *desc)
{
	unsigned int num = chain->num_readable + chain->num_writable;

	if (num == q->size)
		return -EINVAL;
	chain->seg[num] = (struct virtq_seg){ .gpa = desc->addr, .len = desc->len };
	if (desc->flags & VRING_DESC_F_WRITE) {
		chain->num_writable++;
		chain->writable_len += desc->len;
		return 0;
	}
	if (chain->num_writable)
		return -EINVAL;
	chain->num_readable++;
	chain->readable_len += desc->len;
	return 0;
}

/* Each round adds a segment, of which there are q->size at most, or enters the only indirect table. -EAGAIN: the gate lacks it. */
static int virtq_walk(struct virtq *q, struct virtq_chain *chain)
{
	struct virtq_table table = { .gpa = q->desc, .num = q->size, .indirect = false };
	uint32_t index = chain->head;
	struct vring_desc desc;
	int r;

	for (;;) {
		if (virtq_load_desc(q, &table, index, &desc))
			return -EINVAL;
		if (desc.flags & VRING_DESC_F_INDIRECT) {
			r = virtq_enter_indirect(q, &desc, &table);
			if (r)
				return r;
			index = 0;
			continue;
		}
		if (virtq_add_segment(q, chain, &desc))
			return -EINVAL;
		if (!(desc.flags & VRING_DESC_F_NEXT))
			return 0;
		index = desc.next;
	}
}

int virtq_pop(struct virtq *q, struct virtq_chain *chain)
{
	uint16_t avail_idx;
	int r;

	q->lacks = false;
	if (!q->ready || !virtq_gate_rings(q))
		return 0;
	/* Acquire: what the driver wrote before it raised the index is visible from here on. */
	avail_idx = le16toh(__atomic_load_n(virtq_avail_field(q, AVAIL_IDX), __ATOMIC_ACQUIRE));
	if (avail_idx == q->next_avail)
		return 0;
	if ((uint16_t)(avail_idx - q->next_avail) > q->size)
		return -EINVAL;

	chain->head = virtq_load_avail(q, AVAIL_RING + virtq_slot(q, q->next_avail) * AVAIL_ENTRY_LEN);
	chain->num_readable = 0;
	chain->num_writable = 0;
	chain->readable_len = 0;
	chain->writable_len = 0;
	r = virtq_walk(q, chain);
	if (r)
		return r == -EAGAIN ? 0 : r;
	if (!virtq_gate_chain(q, chain))
		return 0;
	q->next_avail++;
	chain->left = (uint16_t)(avail_idx - q->next_avail);
	return 1;
}

void virtq_unpop(struct virtq *q)
{
	q->next_avail--;
}

void virtq_stage(struct virtq *q, uint16_t head, uint32_t len)
{
	const struct vring_used_elem entry = { .id = htole32(head), .len = htole32(len) };
	uint16_t at = q->next_used + q->staged;

	if (!q->ready)
		return;
	mem_place_write(&q->used_place, USED_RING + virtq_slot(q, at) * USED_ENTRY_LEN, &entry, sizeof(entry));
	q->staged++;
}

void virtq_publish(struct virtq *q)
{
	if (!q->ready || !q->staged)
		return;
	q->next_used += q->staged;
	q->staged = 0;
	/* Release: entries and the buffers' bytes are visible before the index that hands them over. */
	mem_place_store_le16(&q->used_place, USED_IDX, q->next_used);
}

void virtq_push(struct virtq *q, uint16_t head, uint32_t len)
{
	virtq_stage(q, head, len);
	virtq_publish(q);
}

bool virtq_need_irq(struct virtq *q)
{
	uint16_t old = q->notified_used;
	uint16_t event;

	if (!q->ready || old == q->next_used)
		return false;
	q->notified_used = q->next_used;
	/*
	 * The used index must be visible before we look at what the driver asks for. It does the opposite: asks, then looks
	 * at the used index once more. So at least one side sees the other.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!q->event_idx)
		return !(virtq_load_avail(q, AVAIL_FLAGS) & VRING_AVAIL_F_NO_INTERRUPT);
	event = virtq_load_avail(q, virtq_used_event_offset(q));
	/* Is event in [old, next_used), modulo 2^16? */
	return (uint16_t)(q->next_used - event - 1) < (uint16_t)(q->next_used - old);
}

void virtq_enable_notify(struct virtq *q)
{
	if (!q->ready || !q->event_idx || !virtq_gate_rings(q))
		return;
	mem_place_store_le16(&q->used_place, virtq_avail_event_offset(q), q->next_avail);
	/* The request must be visible before the last look at the available index; see virtq_need_irq(). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

uint16_t virtq_watch_available(struct virtq *q)
{
	uint16_t avail_idx;

	if (!q->ready || !virtq_gate_rings(q))
		return 0;
	avail_idx = virtq_load_avail(q, AVAIL_IDX);
	if (q->event_idx) {
		mem_place_store_le16(&q->used_place, virtq_avail_event_offset(q), avail_idx);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	}
	return (uint16_t)(avail_idx - q->next_avail);
}

/* With a gate only where the rings are known to be populated: whoever looks must not wait for a page. */
bool virtq_look(const struct virtq *q, struct virtq_look *look)
{
	if (!q->ready || (q->gate && !q->rings_populated))
		return false;
	look->avail_idx = virtq_avail_field(q, AVAIL_IDX);
	look->seen = htole16(q->next_avail);
	return true;
}

int virtq_pop_or_wait(struct virtq *q, struct virtq_chain *chain)
{
	int r = virtq_pop(q, chain);

	if (r)
		return r;
	virtq_enable_notify(q);
	return virtq_pop(q, chain);
}

bool virtq_chain_ok(const struct virtq *q, const struct virtq_chain *chain)
{
	for (unsigned int i = 0; i < chain->num_readable + chain->num_writable; i++) {
		const struct virtq_seg *seg = &chain->seg[i];

		/* An empty buffer has an address, too. */
		if (!mem_host(q->mem, seg->gpa, seg->len ? seg->len : 1))
			return false;
	}
	return true;
}

/* The two sides of a chain, as seen from the device. */
enum virtq_part { VIRTQ_READABLE, VIRTQ_WRITABLE };

/*
 * Cuts [offset, offset + len) of a part into pieces without empty ones, at most VIRTQ_MAX_SIZE: their number, or -EFAULT if
 * the part is too short. Whether they are memory is another question.
 */
static int virtq_chain_pieces(const struct virtq_chain *chain, enum virtq_part part, uint64_t offset, uint64_t len,
			      struct virtq_seg *pieces)
{
	const struct virtq_seg *seg = part == VIRTQ_READABLE ? chain->seg : chain->seg + chain->num_readable;
	uint64_t part_len = part == VIRTQ_READABLE ? chain->readable_len : chain->writable_len;
	int num = 0;

	if (offset > part_len || len > part_len - offset)
		return -EFAULT;
	for (; len; seg++) {
		uint64_t n = seg->len;

		if (offset >= n) {
			offset -= n;
			continue;
		}
		n -= offset;
		if (n > len)
			n = len;
		/* gpa + offset may wrap only if the segment itself does; then neither is memory. */
		if (seg->gpa + offset < seg->gpa)
			return -EFAULT;
		pieces[num++] = (struct virtq_seg){ .gpa = seg->gpa + offset, .len = (uint32_t)n };
		len -= n;
		offset = 0;
	}
	return num;
}

int virtq_chain_source(const struct virtq *q, const struct virtq_chain *chain, uint64_t offset, uint64_t len,
		       struct iovec *iov)
{
	struct virtq_seg pieces[VIRTQ_MAX_SIZE];
	int num = virtq_chain_pieces(chain, VIRTQ_READABLE, offset, len, pieces);

	for (int i = 0; i < num; i++) {
		iov[i] = mem_source_iov(q->mem, pieces[i].gpa, pieces[i].len);
		if (!iov[i].iov_base)
			return -EFAULT;
	}
	return num;
}

int virtq_chain_lease(const struct virtq *q, const struct virtq_chain *chain, uint64_t offset, uint64_t len,
		      struct iovec *iov)
{
	struct virtq_seg pieces[VIRTQ_MAX_SIZE];
	int num = virtq_chain_pieces(chain, VIRTQ_WRITABLE, offset, len, pieces);

	for (int i = 0; i < num; i++) {
		iov[i].iov_base = mem_lease_write(q->mem, pieces[i].gpa, pieces[i].len);
		iov[i].iov_len = pieces[i].len;
		if (!iov[i].iov_base) {
			virtq_release(q, iov, i);
			return -EFAULT;
		}
	}
	return num;
}

void virtq_release(const struct virtq *q, const struct iovec *iov, int num)
{
	for (int i = 0; i < num; i++)
		mem_release_write(q->mem, iov[i].iov_base, iov[i].iov_len);
}

bool virtq_chain_writable_at(const struct virtq *q, const struct virtq_chain *chain, uint64_t offset, gpa_t *gpa)
{
	struct virtq_seg piece;

	if (virtq_chain_pieces(chain, VIRTQ_WRITABLE, offset, 1, &piece) != 1 || !mem_host(q->mem, piece.gpa, 1))
		return false;
	*gpa = piece.gpa;
	return true;
}

bool virtq_chain_read(const struct virtq *q, const struct virtq_chain *chain, uint64_t offset, void *dst, uint64_t len)
{
	struct iovec iov[VIRTQ_MAX_SIZE];
	int num = virtq_chain_source(q, chain, offset, len, iov);
	uint8_t *to = dst;

	for (int i = 0; i < num; i++) {
		memcpy(to, iov[i].iov_base, iov[i].iov_len);
		to += iov[i].iov_len;
	}
	return num >= 0;
}

bool virtq_chain_write(const struct virtq *q, const struct virtq_chain *chain, uint64_t offset, const void *src,
		       uint64_t len)
{
	struct iovec iov[VIRTQ_MAX_SIZE];
	int num = virtq_chain_lease(q, chain, offset, len, iov);
	const uint8_t *from = src;

	for (int i = 0; i < num; i++) {
		memcpy(iov[i].iov_base, from, iov[i].iov_len);
		from += iov[i].iov_len;
	}
	virtq_release(q, iov, num);
	return num >= 0;
}
