// SPDX-License-Identifier: Apache-2.0
/*
 * The balloon (virtio 1.2, section 5.5): the device, its configuration space,
 * which of its queues is which, its state.
 *
 * Queues that only exist with a feature have fixed numbers in section 5.5.2.
 * Linux' driver on MMIO, and Firecracker with it, lets those that there are
 * follow each other. Both kinds of driver are served: once the driver is ready,
 * a queue beyond the last of the short row says that it keeps the numbers.
 *
 * VIRTIO_BALLOON_F_MUST_TELL_HOST is not offered: nothing is done with a page
 * after its buffer was given back, so that the guest may take it when it likes.
 *
 * Loop thread with the device's lock held, but for reset and config access (any thread).
 */
#include "virtio/balloon.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>

#include "base/cleanup.h"
#include "state/codec.h"
#include "state/table.h"
#include "virtio/balloon_internal.h"

METRICS_DEFINE(balloon, BALLOON_METRICS, false)

#define BALLOON_QUEUE_SIZE    256
#define BALLOON_PAGES_PER_MIB ((1u << 20) / MEM_PAGE_SIZE)

/* The features of the queues from BALLOON_STATS on. */
static const unsigned int balloon_features[] = { VIRTIO_BALLOON_F_STATS_VQ, VIRTIO_BALLOON_F_FREE_PAGE_HINT,
						 VIRTIO_BALLOON_F_REPORTING };

static bool balloon_has_role(const struct virtio_dev *vdev, unsigned int role)
{
	return role < BALLOON_STATS || virtio_has(vdev, balloon_features[role - BALLOON_STATS]);
}

/* How many queues there are with the features that are negotiated. */
static unsigned int balloon_num_queues(const struct virtio_dev *vdev)
{
	unsigned int num = 0;

	for (unsigned int role = 0; role < BALLOON_NUM_QUEUES; role++)
		num += balloon_has_role(vdev, role);
	return num;
}

static bool balloon_has_queue(const struct virtio_dev *vdev, unsigned int q)
{
	return q < balloon_num_queues(vdev) || balloon_has_role(vdev, q);
}

static enum balloon_role balloon_role(const struct balloon *b, unsigned int q)
{
	if (b->numbered)
		return balloon_has_role(&b->vdev, q) ? (enum balloon_role)q : BALLOON_NO_ROLE;
	for (unsigned int role = 0; role < BALLOON_NUM_QUEUES; role++) {
		if (balloon_has_role(&b->vdev, role) && q-- == 0)
			return (enum balloon_role)role;
	}
	return BALLOON_NO_ROLE;
}

struct virtq *balloon_queue(struct balloon *b, enum balloon_role role)
{
	for (unsigned int q = 0; q < BALLOON_NUM_QUEUES; q++) {
		if (balloon_role(b, q) == role && virtio_may_use(&b->vdev, q))
			return &b->vdev.queues[q];
	}
	return NULL;
}

static void balloon_activate(struct virtio_dev *vdev)
{
	struct balloon *b = balloon_from_vdev(vdev);

	b->numbered = false;
	for (unsigned int q = balloon_num_queues(vdev); q < BALLOON_NUM_QUEUES; q++)
		b->numbered |= vdev->queues[q].ready;
	/* Linux gives us its buffer of statistics, and says so, before it is ready. */
	for (unsigned int q = 0; q < BALLOON_NUM_QUEUES; q++)
		virtio_kick(vdev, q);
}

/* What is read of the buffers of a queue; nothing is written. Pages that the guest does not need are named, not touched. */
static const uint64_t balloon_reads[BALLOON_NUM_QUEUES] = {
	[BALLOON_INFLATE] = BALLOON_MAX_LIST,
	[BALLOON_STATS] = BALLOON_MAX_STATS,
	[BALLOON_HINTING] = sizeof(uint32_t),
};

static int balloon_notify(struct virtio_dev *vdev, unsigned int index)
{
	struct balloon *b = balloon_from_vdev(vdev);
	enum balloon_role role = balloon_role(b, index);
	struct virtq *q = &vdev->queues[index];

	q->max_read = role < BALLOON_NUM_QUEUES ? balloon_reads[role] : 0;
	q->max_written = 0;
	switch (role) {
	case BALLOON_INFLATE:
		return balloon_inflate(b, q, index);
	case BALLOON_DEFLATE:
		return balloon_deflate(b, q, index);
	case BALLOON_STATS:
		return balloon_stats(b, q);
	case BALLOON_HINTING:
		return balloon_hint(b, q, index);
	case BALLOON_REPORTING:
		return balloon_report(b, q, index);
	case BALLOON_NUM_QUEUES:
	case BALLOON_NO_ROLE:
		break;
	}
	return 0;
}

/* Section 5.5.4; poison_val would follow, if VIRTIO_BALLOON_F_PAGE_POISON were offered. */
struct balloon_space {
	uint32_t num_pages;
	uint32_t actual; /* the driver's */
	uint32_t free_page_hint_cmd_id;
};

static void balloon_config_read(struct virtio_dev *vdev, uint64_t offset, void *data, unsigned int len)
{
	const struct balloon *b = balloon_from_vdev(vdev);
	const struct balloon_space space = {
		.num_pages = htole32(b->num_pages),
		.actual = htole32(b->actual),
		.free_page_hint_cmd_id = htole32(b->hint.cmd.host_cmd),
	};

	memset(data, 0, len);
	if (offset >= sizeof(space))
		return;
	if (len > sizeof(space) - offset)
		len = (unsigned int)(sizeof(space) - offset);
	memcpy(data, (const uint8_t *)&space + offset, len);
}

static void balloon_config_write(struct virtio_dev *vdev, uint64_t offset, const void *data, unsigned int len)
{
	struct balloon *b = balloon_from_vdev(vdev);
	uint32_t actual = htole32(b->actual);
	const size_t at = offsetof(struct balloon_space, actual);

	for (unsigned int i = 0; i < len; i++) {
		if (offset + i >= at && offset + i < at + sizeof(actual))
			((uint8_t *)&actual)[offset + i - at] = ((const uint8_t *)data)[i];
	}
	b->actual = le32toh(actual);
}

static void balloon_reset(struct virtio_dev *vdev)
{
	struct balloon *b = balloon_from_vdev(vdev);

	b->actual = 0;
	b->numbered = false;
	b->inflate = b->reporting = (struct balloon_cursor){ 0 };
	b->stats.known = 0;
	b->stats.have_buffer = b->stats.due = false;
	balloon_reset_hinting(b);
}

static void balloon_pause(struct virtio_dev *vdev)
{
	balloon_stats_pause(balloon_from_vdev(vdev));
}

/* Whoever drove the device of the snapshot may be gone, and a run of hints with it: the driver looks at what is wanted now. */
static void balloon_resume(struct virtio_dev *vdev)
{
	struct balloon *b = balloon_from_vdev(vdev);
	bool changed = balloon_end_hinting(b);

	if (changed || b->was_loaded)
		virtio_notify_config(vdev);
	b->was_loaded = false;
}

struct balloon_state {
	uint32_t actual;
	uint32_t hint_last;
	bool has_guest_cmd;
	uint32_t guest_cmd;
	uint32_t stats_known;
	uint64_t stats[BALLOON_NUM_STATS];
};

#define BALLOON_STAT_FIELD(tag, name, meaning)                                        \
	{ .key = #name,                                                               \
	  .type = STATE_UINT,                                                         \
	  .offset = offsetof(struct balloon_state, stats) + (tag) * sizeof(uint64_t), \
	  .size = sizeof(uint64_t),                                                   \
	  .most = UINT64_MAX },
static const struct state_field balloon_fields[] = { STATE_UINT_FIELD(struct balloon_state, actual, 0, UINT32_MAX),
						     STATE_UINT_FIELD(struct balloon_state, hint_last, 0, UINT32_MAX),
						     STATE_BOOL_FIELD(struct balloon_state, has_guest_cmd),
						     STATE_UINT_FIELD(struct balloon_state, guest_cmd, 0, UINT32_MAX),
						     STATE_UINT_FIELD(struct balloon_state, stats_known, 0,
								      (1u << BALLOON_NUM_STATS) - 1),
						     BALLOON_STATS(BALLOON_STAT_FIELD) };
static const struct state_table balloon_table = STATE_TABLE(balloon_fields);

/* How much is asked for, and how often statistics are, is in the configuration; a run of hints ends here. */
static void balloon_save(struct virtio_dev *vdev, struct enc *enc)
{
	const struct balloon *b = balloon_from_vdev(vdev);
	struct balloon_state state = {
		.actual = b->actual,
		.hint_last = b->hint.last,
		.has_guest_cmd = b->hint.cmd.has_guest_cmd,
		.guest_cmd = b->hint.cmd.guest_cmd,
		.stats_known = b->stats.known,
	};

	memcpy(state.stats, b->stats.values, sizeof(state.stats));
	state_save(&balloon_table, &state, enc);
}

static void balloon_load(struct virtio_dev *vdev, struct dec *dec)
{
	struct balloon *b = balloon_from_vdev(vdev);
	struct balloon_state state;

	state_load(&balloon_table, &state, dec);
	b->actual = state.actual;
	b->hint.last = state.hint_last;
	b->hint.cmd = (struct balloon_hinting){ .host_cmd = VIRTIO_BALLOON_CMD_ID_DONE,
						.has_guest_cmd = state.has_guest_cmd,
						.guest_cmd = state.guest_cmd };
	b->stats.known = state.stats_known;
	memcpy(b->stats.values, state.stats, sizeof(state.stats));
	b->was_loaded = true;
}

static void balloon_free(struct virtio_dev *vdev)
{
	struct balloon *b = balloon_from_vdev(vdev);

	balloon_stats_fini(b);
	balloon_turn_fini(b);
	virtio_dev_fini(vdev);
	free(b);
}

static const struct virtio_ops balloon_ops = {
	.type = "balloon",
	.device_id = VIRTIO_ID_BALLOON,
	.num_queues = BALLOON_NUM_QUEUES,
	.has_queue = balloon_has_queue,
	.activate = balloon_activate,
	.notify = balloon_notify,
	.config_read = balloon_config_read,
	.config_write = balloon_config_write,
	.reset = balloon_reset,
	.settle = balloon_settle,
	.pause = balloon_pause,
	.resume = balloon_resume,
	.save = balloon_save,
	.load = balloon_load,
	.free = balloon_free,
};

static uint64_t balloon_offered(const struct balloon_config *config)
{
	return (uint64_t)(config->stats_polling_interval_s > 0) << VIRTIO_BALLOON_F_STATS_VQ |
	       (uint64_t)config->deflate_on_oom << VIRTIO_BALLOON_F_DEFLATE_ON_OOM |
	       (uint64_t)config->free_page_hinting << VIRTIO_BALLOON_F_FREE_PAGE_HINT |
	       (uint64_t)config->free_page_reporting << VIRTIO_BALLOON_F_REPORTING;
}

int balloon_new(const struct balloon_config *config, struct platform *p, struct virtio_dev **vdev, struct err *e)
{
	struct balloon *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return err_set(e, ENOMEM, "balloon: out of memory");
	r = virtio_dev_init(&b->vdev, &balloon_ops, p, balloon_offered(config), BALLOON_QUEUE_SIZE);
	if (r) {
		free(b);
		return err_errno(e, -r, "balloon: cannot be created");
	}
	b->mem = p->mem;
	b->num_pages = config->amount_mib * BALLOON_PAGES_PER_MIB;
	r = balloon_turn_init(b);
	if (!r)
		r = balloon_stats_init(b, config->stats_polling_interval_s);
	if (r) {
		balloon_free(&b->vdev);
		return err_errno(e, -r, "balloon: cannot be created");
	}
	*vdev = &b->vdev;
	return 0;
}

int balloon_set_size(struct virtio_dev *vdev, uint32_t amount_mib, struct err *e)
{
	struct balloon *b = balloon_from_vdev(vdev);
	uint64_t size_mib = b->mem->size >> 20;
	int r = 0;

	if (amount_mib > size_mib)
		return err_set(e, EINVAL,
			       "Balloon: field \"amount_mib\": %u is not allowed: the machine has %llu MiB of memory",
			       amount_mib, (unsigned long long)size_mib);
	virtio_lock(vdev);
	if (vdev->driver_ok) {
		b->num_pages = amount_mib * BALLOON_PAGES_PER_MIB;
		virtio_notify_config(vdev);
	} else {
		r = err_set(e, EINVAL, "Balloon: Device not activated yet.");
	}
	virtio_unlock(vdev);
	return r;
}
