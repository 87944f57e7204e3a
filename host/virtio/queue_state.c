// SPDX-License-Identifier: Apache-2.0
/* A queue in a snapshot. What stands there is as hostile as what a driver writes into the transport's registers. */
#include "state/codec.h"
#include "state/table.h"
#include "virtio/queue.h"

struct virtq_state {
	bool ready;
	uint16_t size;
	gpa_t desc, avail, used;
	uint16_t next_avail, next_used, notified_used;
};

static const struct state_field virtq_fields[] = {
	STATE_BOOL_FIELD(struct virtq_state, ready),
	STATE_UINT_FIELD(struct virtq_state, size, 0, VIRTQ_MAX_SIZE),
	STATE_UINT_FIELD(struct virtq_state, desc, 0, UINT64_MAX),
	STATE_UINT_FIELD(struct virtq_state, avail, 0, UINT64_MAX),
	STATE_UINT_FIELD(struct virtq_state, used, 0, UINT64_MAX),
	STATE_UINT_FIELD(struct virtq_state, next_avail, 0, UINT16_MAX),
	STATE_UINT_FIELD(struct virtq_state, next_used, 0, UINT16_MAX),
	STATE_UINT_FIELD(struct virtq_state, notified_used, 0, UINT16_MAX),
};
static const struct state_table virtq_table = STATE_TABLE(virtq_fields);

void virtq_save(const struct virtq *q, struct enc *enc)
{
	const struct virtq_state state = {
		.ready = q->ready,
		.size = q->size,
		.desc = q->desc,
		.avail = q->avail,
		.used = q->used,
		.next_avail = q->next_avail,
		.next_used = q->next_used,
		.notified_used = q->notified_used,
	};

	state_save(&virtq_table, &state, enc);
}

static void virtq_set(struct virtq *q, uint64_t features, const struct virtq_state *state, struct dec *dec)
{
	virtq_reset(q);
	if (state->size > q->max_size) {
		dec_fail(dec, "size is %u, 0 to %u are allowed", state->size, q->max_size);
		return;
	}
	q->size = state->size;
	q->desc = state->desc;
	q->avail = state->avail;
	q->used = state->used;
	if (!state->ready)
		return;
	if (virtq_enable(q, features)) {
		dec_fail(dec,
			 "a queue of %u entries with its rings at %#llx, %#llx and %#llx is not valid: the size must "
			 "be a power of two, the rings aligned and in guest memory",
			 q->size, (unsigned long long)q->desc, (unsigned long long)q->avail,
			 (unsigned long long)q->used);
		return;
	}
	/* What the device had taken and not yet given back is at most what the ring holds. */
	if ((uint16_t)(state->next_avail - state->next_used) > q->size) {
		q->ready = false;
		dec_fail(dec, "next_avail %u is not within %u entries of next_used %u", state->next_avail, q->size,
			 state->next_used);
		return;
	}
	q->next_avail = state->next_avail;
	q->next_used = state->next_used;
	q->notified_used = state->notified_used;
}

void virtq_load(struct virtq *q, uint64_t features, struct dec *dec)
{
	struct virtq_state state;

	state_load(&virtq_table, &state, dec);
	virtq_set(q, features, &state, dec);
}
