// SPDX-License-Identifier: Apache-2.0
/*
 * Free page hinting (virtio 1.2, section 5.5.6.5): the host begins a run, by an
 * id in the configuration space; the guest repeats the id in its queue, names
 * pages that are free, and keeps them until the host says DONE.
 *
 * Pages go back only while both have the same id: what is named in an older run
 * is the guest's again, and in use. So a run ends under the device's lock, before
 * the guest is told, and at a pause, since a clone knows nothing of it.
 *
 * A guest that runs out of memory may take pages back by itself while they are
 * on their way here, and loses what it has written by then: the specification's
 * weakness, and why Firecracker calls this a developer preview.
 */
#include <endian.h>

#include <linux/virtio_balloon.h>

#include "base/log.h"
#include "virtio/balloon_internal.h"

#define HINT_FIRST_RUN 2u /* what is below are commands */

static bool hint_is_running(const struct balloon *b)
{
	return b->hint.cmd.host_cmd >= HINT_FIRST_RUN;
}

bool balloon_end_hinting(struct balloon *b)
{
	if (!hint_is_running(b))
		return false;
	b->hint.cmd.host_cmd = VIRTIO_BALLOON_CMD_ID_DONE;
	return true;
}

void balloon_reset_hinting(struct balloon *b)
{
	(void)balloon_end_hinting(b);
	b->hint.cmd.has_guest_cmd = false;
	b->hint.cmd.guest_cmd = 0;
	b->hinting = (struct balloon_cursor){ 0 };
}

/* The guest says which run it is in, or that it has come to its end. */
static void hint_take_command(struct balloon *b, uint32_t cmd)
{
	struct balloon_hinting *h = &b->hint.cmd;
	bool ends = cmd == VIRTIO_BALLOON_CMD_ID_STOP && hint_is_running(b) && h->has_guest_cmd &&
		    h->guest_cmd == h->host_cmd;

	h->has_guest_cmd = true;
	h->guest_cmd = cmd;
	if (!ends || !b->hint.acknowledge_on_stop)
		return;
	(void)balloon_end_hinting(b);
	virtio_notify_config(&b->vdev);
}

struct hint_turn {
	uint64_t bytes_left, freed, fails;
};

/* False: there is more of it than this turn may do. */
static bool hint_serve(struct balloon *b, const struct virtq *q, const struct virtq_chain *chain,
		       struct hint_turn *turn)
{
	const struct balloon_hinting *h = &b->hint.cmd;
	uint32_t cmd;

	if (chain->readable_len) {
		if (chain->readable_len != sizeof(cmd) || !virtq_chain_read(q, chain, 0, &cmd, sizeof(cmd))) {
			turn->fails++;
			return true;
		}
		if (!b->hinting.seg && !b->hinting.done) /* else it was taken when the chain was begun */
			hint_take_command(b, le32toh(cmd));
	}
	if (hint_is_running(b) && h->has_guest_cmd && h->guest_cmd == h->host_cmd)
		return balloon_free_ranges(b, chain, &b->hinting, &turn->bytes_left, &turn->freed, &turn->fails);
	b->hinting = (struct balloon_cursor){ 0 };
	return true;
}

int balloon_hint(struct balloon *b, struct virtq *q, unsigned int index)
{
	struct hint_turn turn = { .bytes_left = BALLOON_TURN_BYTES };
	struct virtq_chain chain;
	int r = 0;

	for (unsigned int i = 0; i < VIRTQ_MAX_SIZE; i++) {
		r = virtq_pop(q, &chain);
		if (r <= 0)
			break;
		if (!hint_serve(b, q, &chain, &turn)) {
			virtq_unpop(q);
			break;
		}
		metric_inc(balloon, free_page_hint_count);
		virtq_push(q, chain.head, 0);
	}
	metric_add(balloon, free_page_hint_freed, turn.freed);
	metric_add(balloon, free_page_hint_fails, turn.fails);
	if (turn.fails)
		log_warn("balloon: %llu hints make no sense, or are not all memory that can be given back",
			 (unsigned long long)turn.fails);
	virtio_notify_used(&b->vdev, q);
	if (r > 0)
		virtio_kick(&b->vdev, index);
	return r < 0 ? r : 0;
}

static int hint_check(const struct virtio_dev *vdev, struct err *e)
{
	if (vdev->offered >> VIRTIO_BALLOON_F_FREE_PAGE_HINT & 1)
		return 0;
	return err_set(e, EINVAL, "Balloon: Attempting to use hinting when not enabled");
}

/* With the lock held. */
static int hint_check_driver(const struct virtio_dev *vdev, struct err *e)
{
	if (!vdev->driver_ok)
		return err_set(e, EINVAL, "Balloon: Device not activated yet.");
	if (!virtio_has(vdev, VIRTIO_BALLOON_F_FREE_PAGE_HINT))
		return err_set(e, EINVAL, "Balloon: the guest's driver has no free page hinting");
	return 0;
}

int balloon_start_hinting(struct virtio_dev *vdev, bool acknowledge_on_stop, struct err *e)
{
	struct balloon *b = balloon_from_vdev(vdev);
	int r = hint_check(vdev, e);

	if (r)
		return r;
	virtio_lock(vdev);
	r = hint_check_driver(vdev, e);
	if (!r) {
		b->hint.last = b->hint.last >= HINT_FIRST_RUN && b->hint.last < UINT32_MAX ? b->hint.last + 1
											   : HINT_FIRST_RUN;
		b->hint.cmd.host_cmd = b->hint.last;
		b->hint.acknowledge_on_stop = acknowledge_on_stop;
		virtio_notify_config(vdev);
	}
	virtio_unlock(vdev);
	return r;
}

int balloon_stop_hinting(struct virtio_dev *vdev, struct err *e)
{
	int r = hint_check(vdev, e);

	if (r)
		return r;
	virtio_lock(vdev);
	r = hint_check_driver(vdev, e);
	if (!r) {
		balloon_from_vdev(vdev)->hint.cmd.host_cmd = VIRTIO_BALLOON_CMD_ID_DONE;
		virtio_notify_config(vdev);
	}
	virtio_unlock(vdev);
	return r;
}

int balloon_get_hinting(struct virtio_dev *vdev, struct balloon_hinting *hinting, struct err *e)
{
	int r = hint_check(vdev, e);

	if (r)
		return r;
	virtio_lock(vdev);
	*hinting = balloon_from_vdev(vdev)->hint.cmd;
	virtio_unlock(vdev);
	return 0;
}
