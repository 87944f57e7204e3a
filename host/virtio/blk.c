// SPDX-License-Identifier: Apache-2.0
/*
 * The block device (virtio 1.2, section 5.2): one queue over a raw file or a
 * block device of the host. Its way through the device is in blk_queue.c,
 * what a request does in blk_request.c.
 *
 * With the device's lock held. Machine's loop, but for config access and reset
 * (any thread).
 */
#include "virtio/blk.h"

#include <endian.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "state/limiter.h"
#include "state/table.h"
#include "virtio/blk_internal.h"

METRICS_DEFINE_TIMED(block, BLOCK_METRICS, BLOCK_TIMES, false)

#define BLK_EXCHANGE_MS 2000 /* how long an exchange of the file waits for requests in flight */

/* What is read beyond it (secure erase, zones) needs features that are not offered. */
#define BLK_CONFIG_LEN offsetof(struct virtio_blk_config, max_secure_erase_sectors)

_Static_assert(BLK_CONFIG_LEN == 60, "layout of the specification, section 5.2.4");

/* As Firecracker's, so that a guest finds the same /dev/disk/by-id names. */
static void blk_file_set_id(struct blk_file *file, const struct stat *st)
{
	char text[64];

	snprintf(text, sizeof(text), "%llu%llu%llu", (unsigned long long)st->st_dev, (unsigned long long)st->st_rdev,
		 (unsigned long long)st->st_ino);
	memset(file->id, 0, sizeof(file->id));
	memcpy(file->id, text, strnlen(text, sizeof(file->id)));
}

/* O_NONBLOCK keeps open() from waiting for a FIFO's other end; it means nothing to the files that are accepted. */
static int blk_file_open(struct blk_file *file, const char *drive_id, const char *path, bool read_only, struct err *e)
{
	_cleanup_close_ int fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	off_t size;

	if (fd < 0)
		return err_errno(e, errno, "drive %s: cannot open \"%s\" for %s", drive_id, path,
				 read_only ? "reading" : "reading and writing");
	if (fstat(fd, &st))
		return err_errno(e, errno, "drive %s: cannot look at \"%s\"", drive_id, path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(e, EINVAL, "drive %s: \"%s\" is neither a regular file nor a block device", drive_id,
			       path);
	size = lseek(fd, 0, SEEK_END);
	if (size < 0 || fcntl(fd, F_SETFL, 0) < 0)
		return err_errno(e, errno, "drive %s: cannot use \"%s\"", drive_id, path);
	if (size % BLK_SECTOR_SIZE)
		log_warn("drive %s: the last %u bytes of \"%s\" are no whole sector of %u bytes: the guest does not "
			 "see them",
			 drive_id, (unsigned int)(size % BLK_SECTOR_SIZE), path, BLK_SECTOR_SIZE);
	file->sectors = (uint64_t)size / BLK_SECTOR_SIZE;
	blk_file_set_id(file, &st);
	file->fd = take_fd(&fd);
	return 0;
}

static void blk_activate(struct virtio_dev *vdev)
{
	struct blk *blk = blk_from_vdev(vdev);

	if (blk->capacity_changed)
		virtio_notify_config(vdev);
	blk->capacity_changed = false;
}

static void blk_config_read(struct virtio_dev *vdev, uint64_t offset, void *data, unsigned int len)
{
	struct virtio_blk_config config = {
		.capacity = htole64(blk_from_vdev(vdev)->file.sectors),
		.size_max = htole32(BLK_SIZE_MAX),
		.seg_max = htole32(BLK_SEG_MAX),
		.max_discard_sectors = htole32(BLK_MAX_RANGE_SECTORS),
		.max_discard_seg = htole32(1),
		.discard_sector_alignment = htole32(BLK_DISCARD_ALIGNMENT),
		.max_write_zeroes_sectors = htole32(BLK_MAX_RANGE_SECTORS),
		.max_write_zeroes_seg = htole32(1),
		.write_zeroes_may_unmap = 1,
	};

	memset(data, 0, len);
	if (offset >= BLK_CONFIG_LEN)
		return;
	if (len > BLK_CONFIG_LEN - offset)
		len = (unsigned int)(BLK_CONFIG_LEN - offset);
	memcpy(data, (const uint8_t *)&config + offset, len);
}

static void blk_pause(struct virtio_dev *vdev)
{
	throttle_pause(&blk_from_vdev(vdev)->throttle);
}

/* A flush that no guest has asked for. */
static int blk_flush_own(struct blk *blk, const char *why, struct err *e)
{
	if (!blk->writeback || blk->read_only || !fdatasync(blk->file.fd))
		return 0;
	blk->flush_failed = true;
	metric_inc_of(blk->counters, execute_fails);
	return err_errno(e, errno, "drive %s: what the guest has written could not be flushed %s", blk->drive_id, why);
}

/*
 * What the guest believes to be on the disk must be there for as long as the snapshot is. After a failure the kernel may
 * have dropped the data, and would call the next flush a success: a clone would not learn of it, so there is none before
 * the guest knows.
 */
static int blk_flush(struct virtio_dev *vdev, struct err *e)
{
	struct blk *blk = blk_from_vdev(vdev);

	if (blk->flush_failed)
		return err_set(e, EIO,
			       "drive %s: an earlier flush failed and the guest does not know yet: resume it, its next "
			       "flush tells it, then there can be a snapshot",
			       blk->drive_id);
	return blk_flush_own(blk, "for the snapshot", e);
}

struct blk_state {
	uint64_t sectors;
	struct rate_limiter_state rate_limiter;
};

static const struct state_field blk_fields[] = {
	STATE_UINT_FIELD(struct blk_state, sectors, 0, UINT64_MAX),
	STATE_MAP_FIELD(struct blk_state, rate_limiter, &limiter_state_table),
};
static const struct state_table blk_table = STATE_TABLE(blk_fields);

static void blk_save(struct virtio_dev *vdev, struct enc *enc)
{
	struct blk *blk = blk_from_vdev(vdev);
	struct blk_state state;

	state.sectors = blk->file.sectors;
	throttle_get(&blk->throttle, &state.rate_limiter);
	state_save(&blk_table, &state, enc);
}

static void blk_load(struct virtio_dev *vdev, struct dec *dec)
{
	struct blk *blk = blk_from_vdev(vdev);
	struct blk_state state;

	state_load(&blk_table, &state, dec);
	throttle_load(&blk->throttle, &state.rate_limiter, dec);
	if (state.sectors == blk->file.sectors)
		return;
	log_warn("drive %s: it has %llu sectors now and had %llu when the snapshot was taken; the guest is told",
		 blk->drive_id, (unsigned long long)blk->file.sectors, (unsigned long long)state.sectors);
	blk->capacity_changed = true;
}

static void blk_free(struct virtio_dev *vdev)
{
	struct blk *blk = blk_from_vdev(vdev);

	throttle_fini(&blk->throttle);
	loop_remove(blk->done_source);
	/* A request that does not end, of a disk that does not answer, keeps what it works with until the process ends. */
	if (blk->engine && !blk->engine->ops->free(blk->engine)) {
		log_warn("drive %s: %u requests have not ended", blk->drive_id, blk->in_flight);
		return;
	}
	virtio_dev_fini(vdev);
	cleanup_close(&blk->file.fd);
	cleanup_close(&blk->idle_fd);
	if (blk->pool)
		munmap(blk->pool, BLK_ENGINE_MAX_REQUESTS * sizeof(*blk->pool));
	free(blk->drive_id);
	metrics_one_free(blk->metrics);
	free(blk);
}

static const struct virtio_ops blk_ops = {
	.type = "block",
	.device_id = VIRTIO_ID_BLOCK,
	.num_queues = 1,
	.own_thread = true,
	.activate = blk_activate,
	.notify = blk_notify,
	.work = blk_work,
	.config_read = blk_config_read,
	.reset = blk_reset,
	.settle = blk_settle,
	.pause = blk_pause,
	.flush = blk_flush,
	.save = blk_save,
	.load = blk_load,
	.free = blk_free,
};

static uint64_t blk_features(const struct drive_config *config)
{
	uint64_t offered = 1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX |
			   1ull << VIRTIO_BLK_F_SIZE_MAX | 1ull << VIRTIO_BLK_F_SEG_MAX;

	if (config->is_read_only)
		offered |= 1ull << VIRTIO_BLK_F_RO;
	else
		offered |= 1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES;
	if (config->cache_type == CACHE_WRITEBACK)
		offered |= 1ull << VIRTIO_BLK_F_FLUSH;
	return offered;
}

static int blk_init_engine(struct blk *blk, const struct drive_config *config, struct err *e)
{
	void *pool;
	int r;

	/* A mebibyte. Memory of its own, not malloc's: what is never used is never touched. */
	pool = mmap(NULL, BLK_ENGINE_MAX_REQUESTS * sizeof(*blk->pool), PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pool == MAP_FAILED)
		return err_set(e, ENOMEM, "drive %s: out of memory", config->drive_id);
	blk->pool = pool;
	if (config->io_engine == IO_ENGINE_ASYNC)
		r = blk_uring_new(config->drive_id, &blk->engine, e);
	else
		r = blk_sync_new(config->drive_id, &blk->engine, e);
	if (r || blk->engine->done_fd < 0)
		return r;
	blk->done_source = loop_add(blk->vdev.loop, blk->engine->done_fd, EPOLLIN, blk_on_done, blk);
	if (!blk->done_source)
		return err_errno(e, errno, "drive %s: cannot watch its I/O", config->drive_id);
	return 0;
}

static int blk_init(struct blk *blk, const struct drive_config *config, struct err *e)
{
	int r;

	blk->read_only = config->is_read_only;
	blk->writeback = config->cache_type == CACHE_WRITEBACK;
	r = blk_file_open(&blk->file, config->drive_id, config->path_on_host, blk->read_only, e);
	if (r)
		return r;
	blk->drive_id = strdup(config->drive_id);
	if (!blk->drive_id)
		return err_set(e, ENOMEM, "drive %s: out of memory", config->drive_id);
	r = metrics_one_new(&block_metrics_section, config->drive_id, &blk->metrics);
	if (r)
		return err_errno(e, -r, "drive %s: cannot be counted for", config->drive_id);
	blk->counters = blk->metrics->counters;
	r = throttle_init(&blk->throttle, &blk->vdev, &config->rate_limiter,
			  &blk->counters->rate_limiter_throttled_events, &blk->counters->rate_limiter_event_count);
	if (r)
		return err_errno(e, -r, "drive %s: cannot create a timer", config->drive_id);
	blk->idle_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (blk->idle_fd < 0)
		return err_errno(e, errno, "drive %s: cannot create an eventfd", config->drive_id);
	return blk_init_engine(blk, config, e);
}

int blk_new(const struct drive_config *config, struct platform *p, struct virtio_dev **vdev, struct err *e)
{
	struct blk *blk;
	int r;

	blk = calloc(1, sizeof(*blk));
	if (!blk)
		return err_set(e, ENOMEM, "drive %s: out of memory", config->drive_id);
	blk->file.fd = -1;
	blk->idle_fd = -1;
	r = virtio_dev_init(&blk->vdev, &blk_ops, p, blk_features(config), BLK_QUEUE_SIZE);
	if (r) {
		free(blk);
		return err_errno(e, -r, "drive %s: cannot be created", config->drive_id);
	}
	r = blk_init(blk, config, e);
	if (r) {
		blk_free(&blk->vdev);
		return r;
	}
	*vdev = &blk->vdev;
	return 0;
}

/* While it holds, requests stay in the ring. */
static void blk_hold(struct blk *blk, bool hold)
{
	virtio_lock(&blk->vdev);
	blk->held = hold;
	if (!hold)
		virtio_kick(&blk->vdev, 0);
	virtio_unlock(&blk->vdev);
}

/* What is in flight ends, and is in the old file for good. */
static int blk_leave_file(struct blk *blk, struct err *e)
{
	if (!virtio_settle(&blk->vdev, BLK_EXCHANGE_MS))
		return err_set(e, EBUSY, "drive %s: requests have not ended in %u ms: it keeps its file", blk->drive_id,
			       BLK_EXCHANGE_MS);
	return blk_flush_own(blk, "to the file that is to be replaced", e);
}

/* The old file gets what was written to it, or stays. */
static int blk_exchange_file(struct blk *blk, const char *path, struct err *e)
{
	struct blk_file file = { .fd = -1 }, before = blk->file;
	int r = blk_file_open(&file, blk->drive_id, path, blk->read_only, e);

	if (r)
		return r;
	blk_hold(blk, true);
	r = blk_leave_file(blk, e);
	if (!r) {
		virtio_lock(&blk->vdev);
		blk->file = file;
		virtio_notify_config(&blk->vdev);
		virtio_unlock(&blk->vdev);
	}
	blk_hold(blk, false);
	cleanup_close(r ? &file.fd : &before.fd);
	return r;
}

int blk_update(struct virtio_dev *vdev, const struct drive_update *update, struct err *e)
{
	struct blk *blk = blk_from_vdev(vdev);
	int r;

	metric_inc_of(blk->counters, update_count);
	if (update->path_on_host) {
		r = blk_exchange_file(blk, update->path_on_host, e);
		if (r) {
			metric_inc_of(blk->counters, update_fails);
			return r;
		}
	}
	virtio_lock(vdev);
	throttle_set(&blk->throttle, update->has_bandwidth ? &update->rate_limiter.bandwidth : NULL,
		     update->has_ops ? &update->rate_limiter.ops : NULL);
	virtio_unlock(vdev);
	return 0;
}
