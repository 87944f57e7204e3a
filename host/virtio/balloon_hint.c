// SPDX-License-Identifier: Apache-2.0
/*
 * Free page hinting (virtio 1.2, section 5.5.6.5): the host begins a run, by an
 * id in the configuration space; the guest repeats the id in its queue, names
 * pages that are free, and keeps them until the host says DONE.
 *
 * Pages go back only while both have the same id: what is named in an older run
 * is the guest's again, and in use. So a run ends under the device's lock, when no
 * turn is under way and before the guest is told, and at a pause, since a clone
 * knows nothing of it.
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
#define HINT_STOP_MS   5000u

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
	b->hint.stops = false;
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

/* False: there is more of it than this turn may do. A command may end the run, of which all is given back by then. */
static bool hint_serve(struct balloon *b, const struct virtq *q, const struct virtq_chain *chain)
{
	const struct balloon_hinting *h = &b->hint.cmd;
	uint32_t cmd;

	if (chain->readable_len && b->turn.job.num > 0)
		return false;
	if (chain->readable_len) {
		if (chain->readable_len != sizeof(cmd) || !virtq_chain_read(q, chain, 0, &cmd, sizeof(cmd))) {
			b->turn.fails++;
			balloon_turn_add_head(b, chain->head);
			return true;
		}
		if (!b->hinting.seg && !b->hinting.done) /* else it was taken when the chain was begun */
			hint_take_command(b, le32toh(cmd));
	}
	if (hint_is_running(b) && !b->hint.stops && h->has_guest_cmd && h->guest_cmd == h->host_cmd)
		return balloon_turn_add(b, chain, &b->hinting);
	b->hinting = (struct balloon_cursor){ 0 };
	balloon_turn_add_head(b, chain->head);
	return true;
}

int balloon_hint(struct balloon *b, struct virtq *q, unsigned int index)
{
	struct virtq_chain chain;
	int r = 0;

	if (!balloon_turn_begin(b, BALLOON_HINTING, index))
		return 0;
	for (unsigned int i = 0; i < VIRTQ_MAX_SIZE; i++) {
		r = virtq_pop(q, &chain);
		if (r <= 0)
			break;
		if (!hint_serve(b, q, &chain)) {
			virtq_unpop(q);
			break;
		}
		metric_inc(balloon, free_page_hint_count);
	}
	b->turn.more = r > 0;
	balloon_turn_end(b);
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
		b->hint.stops = false;
		virtio_notify_config(vdev);
	}
	virtio_unlock(vdev);
	return r;
}

static int hint_begin_stop(struct virtio_dev *vdev, struct err *e)
{
	int r;

	virtio_lock(vdev);
	r = hint_check_driver(vdev, e);
	if (!r)
		balloon_from_vdev(vdev)->hint.stops = true;
	virtio_unlock(vdev);
	return r;
}

/* The guest takes its pages back when it is told: what is being given back is over by then. Beside the loop. */
int balloon_stop_hinting(struct virtio_dev *vdev, struct err *e)
{
	struct balloon *b = balloon_from_vdev(vdev);
	int r = hint_check(vdev, e);

	if (!r)
		r = hint_begin_stop(vdev, e);
	if (r)
		return r;
	if (!virtio_settle(vdev, HINT_STOP_MS))
		return err_set(e, ETIMEDOUT,
			       "Balloon: pages that the guest has hinted at have not been given back in %u ms: hinting "
			       "has not ended",
			       HINT_STOP_MS);
	virtio_lock(vdev);
	b->hint.cmd.host_cmd = VIRTIO_BALLOON_CMD_ID_DONE;
	b->hint.stops = false;
	virtio_notify_config(vdev);
	virtio_unlock(vdev);
	return 0;
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
