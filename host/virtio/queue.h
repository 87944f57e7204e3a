/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split virtqueue, device side (virtio 1.2, section 2.7). Everything in the
 * ring comes from a hostile guest: an index is bounded before it is used, each
 * descriptor is copied once and the copy is validated, chains are bounded.
 *
 * Two kinds of bad input: a ring that breaks the rules (a loop, an index out
 * of range, a readable descriptor behind a writable one, a table outside
 * memory) makes virtq_pop() fail with -EINVAL, and the device needs a reset. A
 * chain whose *buffers* lie outside guest memory is returned; virtq_chain_ok()
 * tells, and the device decides.
 *
 * Acquire and release ordering towards the driver lives in queue.c only.
 */
#ifndef VIRTIO_QUEUE_H
#define VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "mem/populated.h"
#include "mem/mem.h"
#include "mem/place.h"

struct dec;
struct enc;

#define VIRTQ_MAX_SIZE 256

#define VIRTQ_MAX_WANTED 32 /* ranges that are had at a time */

/*
 * Of a queue whose memory may be with a page-fault handler. virtq_pop() touches nothing that it would have to wait for: what is
 * missing is had by somebody else (mem/populated.h), and job.done is called; the chain is there for the next virtq_pop(). The
 * transport has it, and withdraws the job.
 */
struct virtq_gate {
	struct mem_job job;
	struct mem_range wanted[VIRTQ_MAX_WANTED];
};

struct virtq {
	struct guest_mem *mem;
	struct virtq_gate *gate; /* borrowed; NULL: nobody waits for memory, or whoever uses the queue may */
	/* What the device touches of the two parts of a chain at most, from their start on, in bytes; the gate has that. */
	uint64_t max_read, max_written;
	uint16_t max_size; /* what the device offers, a power of two <= VIRTQ_MAX_SIZE */

	/* What the driver set through the transport; free to change until enabled. */
	uint16_t size;
	gpa_t desc;
	gpa_t avail; /* driver area */
	gpa_t used;  /* device area */

	struct mem_place desc_place, avail_place, used_place; /* where those are; while it is ready */

	bool ready;
	bool indirect;	     /* VIRTIO_F_INDIRECT_DESC was negotiated */
	bool event_idx;	     /* VIRTIO_F_EVENT_IDX was negotiated */
	uint16_t next_avail; /* free running, as the ring's own indices */
	uint16_t next_used;
	uint16_t notified_used; /* next_used at the last virtq_need_irq() */
	uint16_t staged;	/* entries of the used ring from next_used on that the driver does not see yet */
	bool rings_populated;	/* the gate has had them */
	bool lacks;		/* the last virtq_pop() found no chain because memory is missing */
};

struct virtq_seg {
	gpa_t gpa;
	uint32_t len;
};

/* A chain of buffers, flattened: first the device-readable segments, then the device-writable ones. */
struct virtq_chain {
	uint16_t head;
	uint16_t left; /* chains that are available behind it */
	unsigned int num_readable;
	unsigned int num_writable;
	uint64_t readable_len; /* bytes, sum of the segments */
	uint64_t writable_len;
	struct virtq_seg seg[VIRTQ_MAX_SIZE];
};

void virtq_init(struct virtq *q, struct guest_mem *mem, uint16_t max_size);
/* As after virtq_init(), but for gate, max_read and max_written. */
void virtq_reset(struct virtq *q);
/* The driver sets QueueReady (or a snapshot says it did): checks size, alignment and that the rings lie in memory. -EINVAL. */
int virtq_enable(struct virtq *q, uint64_t features) must_check;

/* Takes the next available chain: 1 with *chain filled, 0 when there is none (or the gate lacks memory), -EINVAL when the ring is broken. */
int virtq_pop(struct virtq *q, struct virtq_chain *chain) must_check;
/*
 * The same for a device that does nothing else before the driver notifies: when there is none it asks for that
 * (virtq_enable_notify()) and looks once more.
 */
int virtq_pop_or_wait(struct virtq *q, struct virtq_chain *chain) must_check;
/* Puts the chain that was popped last back, so that the next pop returns it again. */
void virtq_unpop(struct virtq *q);
/* Gives a chain back to the driver; len = bytes written into its writable part. */
void virtq_push(struct virtq *q, uint16_t head, uint32_t len);
/* The same in two steps, for several that the driver must see at once: none of what is staged before it is published. */
void virtq_stage(struct virtq *q, uint16_t head, uint32_t len);
void virtq_publish(struct virtq *q);
/* After a batch of pushes: must the driver be interrupted? (flags or event index) */
bool virtq_need_irq(struct virtq *q);
/*
 * Asks the driver to notify of the next buffer. Without event_idx it always does. With it a device calls this when
 * virtq_pop() gave 0 and then looks once more: what came in between was not notified.
 */
void virtq_enable_notify(struct virtq *q);
/*
 * For whoever waits for the driver without the device's lock: what virtq_look() saw with it. False: the queue cannot be used.
 * A look stays good whatever becomes of the queue, since guest memory stays where it is; it says only that it is worth to look again.
 */
struct virtq_look {
	const uint16_t *avail_idx; /* in guest memory */
	uint16_t seen;		   /* in the ring's byte order */
};
bool virtq_look(const struct virtq *q, struct virtq_look *look) must_check;
static inline bool virtq_has_more(const struct virtq_look *look)
{
	return __atomic_load_n(look->avail_idx, __ATOMIC_RELAXED) != look->seen;
}
/* The number of chains that are available now; the driver is asked to notify of the next that comes beyond them. */
uint16_t virtq_watch_available(struct virtq *q);

/* Do all segments lie in guest memory (zero-length ones included)? */
bool virtq_chain_ok(const struct virtq *q, const struct virtq_chain *chain);
/* Copies from the readable / to the writable part, starting offset bytes into it; false and nothing done if that part is too short or outside memory. */
bool virtq_chain_read(const struct virtq *q, const struct virtq_chain *chain, uint64_t offset, void *dst, uint64_t len);
bool virtq_chain_write(const struct virtq *q, const struct virtq_chain *chain, uint64_t offset, const void *src,
		       uint64_t len);

/*
 * The host's view of [offset, offset + len) of one part, in order and without empty pieces: the number of entries of iov
 * (VIRTQ_MAX_SIZE of them) that are filled in. -EFAULT, and nothing may be used, if the part is too short or outside memory.
 * The guest may change the bytes at any time.
 *
 * Of the readable part, for system calls that read what an iovec describes, as writev(2): nobody writes through it.
 */
int virtq_chain_source(const struct virtq *q, const struct virtq_chain *chain, uint64_t offset, uint64_t len,
		       struct iovec *iov) must_check;
/* Of the writable part: leases (mem/mem.h), which virtq_release() gives back, with the same entries. */
int virtq_chain_lease(const struct virtq *q, const struct virtq_chain *chain, uint64_t offset, uint64_t len,
		      struct iovec *iov) must_check;
void virtq_release(const struct virtq *q, const struct iovec *iov, int num);
/* The address of the byte at offset of the writable part; false if the part is too short or the byte outside memory. */
bool virtq_chain_writable_at(const struct virtq *q, const struct virtq_chain *chain, uint64_t offset,
			     gpa_t *gpa) must_check;

void virtq_save(const struct virtq *q, struct enc *enc);
/* features: what the driver had negotiated; errors go to dec, the queue's map. */
void virtq_load(struct virtq *q, uint64_t features, struct dec *dec);

/*
 * Has the memory of the rings, and of the buffers that are available, where a page-fault handler may still have it, and waits for it.
 * While the driver is stopped and the device does nothing; changes nothing. -errno of the handler.
 */
int virtq_prepare(const struct virtq *q, bool buffers) must_check;

/* queue_gate.c: for queue.c, whether the gate lets it touch that. If not, what is missing is being had, and q->lacks. */
bool virtq_gate_rings(struct virtq *q);
bool virtq_gate_table(struct virtq *q, gpa_t gpa, uint64_t len);
bool virtq_gate_chain(struct virtq *q, const struct virtq_chain *chain);

#endif
