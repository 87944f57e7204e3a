// SPDX-License-Identifier: Apache-2.0
/*
 * Memory of a queue that a page-fault handler may still have. Whoever uses a
 * queue holds its device's lock, so it must not wait for a page. virtq_pop() asks
 * here before it touches one: rings, tables, then the buffers of a chain, as far
 * as the device will touch those. So a chain that a device has got can be used
 * without waiting, whatever the handler does; one that is not populated yet is no
 * chain yet, and the doorbell rings once it is.
 *
 * What a hostile driver names costs it time of its own device: its pages are
 * had one after the other by a thread that does nothing else.
 */
#include <linux/virtio_ring.h>

#include "mem/pages.h"
#include "virtio/queue.h"

#define GATE_TRAILER 6u /* flags, index, and the other side's event index */

/* A look. While the last job is under way nothing can be added to it; when it is done there is another look. */
struct gate_look {
	struct virtq *q;
	bool populated, adds;
};

static struct gate_look gate_begin(struct virtq *q)
{
	struct virtq_gate *gate = q->gate;
	struct gate_look look = { .q = q, .adds = !atomic_load(&gate->job.pending), .populated = true };

	if (look.adds) {
		gate->job.work = MEM_POPULATE;
		gate->job.ranges = gate->wanted;
		gate->job.num = 0;
	}
	return look;
}

static void gate_needs(struct gate_look *look, gpa_t gpa, uint64_t len)
{
	struct virtq *q = look->q;

	if (look->adds)
		look->populated &= mem_is_populated_or_wanted(q->mem, gpa, len, &q->gate->job, VIRTQ_MAX_WANTED);
	else
		look->populated &= mem_is_populated(q->mem, gpa, len);
}

static bool gate_end(const struct gate_look *look)
{
	struct virtq *q = look->q;

	if (look->populated)
		return true;
	q->lacks = true;
	if (look->adds && q->gate->job.done) /* else it is virtq_prepare()'s, which waits for it itself */
		mem_job_submit(q->mem, &q->gate->job);
	return false;
}

bool virtq_gate_rings(struct virtq *q)
{
	struct gate_look look;

	if (!q->gate || q->rings_populated)
		return true;
	look = gate_begin(q);
	gate_needs(&look, q->desc, (uint64_t)q->size * sizeof(struct vring_desc));
	gate_needs(&look, q->avail, GATE_TRAILER + (uint64_t)q->size * sizeof(uint16_t));
	gate_needs(&look, q->used, GATE_TRAILER + (uint64_t)q->size * sizeof(struct vring_used_elem));
	q->rings_populated = gate_end(&look);
	return q->rings_populated;
}

bool virtq_gate_table(struct virtq *q, gpa_t gpa, uint64_t len)
{
	struct gate_look look;

	if (!q->gate)
		return true;
	look = gate_begin(q);
	gate_needs(&look, gpa, len);
	return gate_end(&look);
}

/* The first max bytes of a part of a chain. */
static void gate_needs_part(struct gate_look *look, const struct virtq_seg *seg, unsigned int num, uint64_t max)
{
	for (unsigned int i = 0; i < num && max > 0; i++) {
		uint64_t len = seg[i].len < max ? seg[i].len : max;

		gate_needs(look, seg[i].gpa, len);
		max -= len;
	}
}

bool virtq_gate_chain(struct virtq *q, const struct virtq_chain *chain)
{
	struct gate_look look;

	if (!q->gate)
		return true;
	look = gate_begin(q);
	gate_needs_part(&look, chain->seg, chain->num_readable, q->max_read);
	gate_needs_part(&look, chain->seg + chain->num_readable, chain->num_writable, q->max_written);
	return gate_end(&look);
}

/* Waits until what the gate lacks is populated. */
static int prepare_wanted(const struct virtq *q, const struct mem_job *job)
{
	int r = 0;

	for (unsigned int i = 0; i < job->num && r == 0; i++) {
		r = mem_prepare(q->mem, job->ranges[i].gpa, job->ranges[i].len);
		if (r == 0)
			mem_note_populated(q->mem, job->ranges[i].gpa, job->ranges[i].len);
	}
	return r;
}

/* The queue is looked at as it will be, by the same function: what is populated then is what is needed then. */
int virtq_prepare(const struct virtq *q, bool buffers)
{
	struct virtq_gate gate = { .job = { .work = MEM_POPULATE } };
	struct virtq copy = *q;
	struct virtq_chain chain;
	unsigned int chains = 0;
	int r = 0;

	copy.gate = &gate;
	copy.rings_populated = false;
	if (!q->ready)
		return 0;
	while (r == 0 && !virtq_gate_rings(&copy))
		r = prepare_wanted(q, &gate.job);
	while (r == 0 && buffers && chains < q->size) {
		if (virtq_pop(&copy, &chain) > 0)
			chains++;
		else if (copy.lacks)
			r = prepare_wanted(q, &gate.job);
		else
			return 0;
	}
	return r;
}
