// SPDX-License-Identifier: Apache-2.0
/*
 * Requests of the block device (virtio 1.2, section 5.2.6): a header of 16
 * readable bytes, data, and a status byte, the last writable one. How they are
 * cut into descriptors is the driver's affair.
 *
 * blk_request_parse() judges everything that comes from the guest; what it lets
 * through lies in guest memory and inside the disk. Data moves between the file
 * and guest memory without a copy; memory that the host cannot access any more
 * makes the system call fail with EFAULT, which is an I/O error to the guest.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <linux/falloc.h>

#include "base/clock.h"
#include "base/log.h"
#include "virtio/blk.h"
#include "virtio/blk_internal.h"

/* Section 5.2.6: the header, all little endian. */
struct blk_header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

_Static_assert(sizeof(struct blk_header) == 16, "a request's header is 16 bytes");

static const struct virtq *blk_queue(const struct blk *blk)
{
	return &blk->vdev.queues[0];
}

static bool blk_flush_negotiated(const struct blk *blk)
{
	return virtio_has(&blk->vdev, VIRTIO_BLK_F_FLUSH);
}

static bool blk_request_is_transfer(const struct blk_request *req)
{
	return req->type == VIRTIO_BLK_T_IN || req->type == VIRTIO_BLK_T_OUT;
}

static bool blk_request_is_range(const struct blk_request *req)
{
	return req->type == VIRTIO_BLK_T_DISCARD || req->type == VIRTIO_BLK_T_WRITE_ZEROES;
}

/* Does the driver know of this kind of request, by what it has negotiated? */
static bool blk_request_is_supported(const struct blk *blk, const struct blk_request *req)
{
	switch (req->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
	case VIRTIO_BLK_T_GET_ID:
		return true;
	case VIRTIO_BLK_T_FLUSH:
		return blk_flush_negotiated(blk);
	case VIRTIO_BLK_T_DISCARD:
		return virtio_has(&blk->vdev, VIRTIO_BLK_F_DISCARD);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return virtio_has(&blk->vdev, VIRTIO_BLK_F_WRITE_ZEROES);
	default:
		return false;
	}
}

/* Where the data is. IN and OUT transfer all there is, GET_ID its 20 bytes, the others none. */
static int blk_request_find_data(const struct blk *blk, const struct virtq_chain *chain, struct blk_request *req)
{
	uint64_t room = chain->writable_len - 1; /* without the status */

	switch (req->type) {
	case VIRTIO_BLK_T_OUT:
		req->len = chain->readable_len - sizeof(struct blk_header);
		req->num_iov = virtq_chain_source(blk_queue(blk), chain, sizeof(struct blk_header), req->len, req->iov);
		break;
	case VIRTIO_BLK_T_IN:
		req->len = room;
		req->num_iov = virtq_chain_lease(blk_queue(blk), chain, 0, req->len, req->iov);
		req->leased = true;
		break;
	case VIRTIO_BLK_T_GET_ID:
		req->len = VIRTIO_BLK_ID_BYTES;
		if (room < VIRTIO_BLK_ID_BYTES)
			return -EINVAL;
		req->num_iov = virtq_chain_lease(blk_queue(blk), chain, 0, req->len, req->iov);
		req->leased = true;
		break;
	}
	return req->num_iov < 0 ? -EINVAL : 0;
}

static bool blk_request_in_range(const struct blk *blk, const struct blk_request *req)
{
	uint64_t bytes = req->len + req->range_len; /* one of them is 0 */

	return req->len % BLK_SECTOR_SIZE == 0 && req->len <= BLK_MAX_REQUEST && req->sector <= blk->file.sectors &&
	       bytes / BLK_SECTOR_SIZE <= blk->file.sectors - req->sector;
}

/*
 * Section 5.2.6.2: a discard or write-zeroes has segments of its own in its data; we take one (max_*_seg). Flags that mean
 * nothing, and "unmap" with a discard, are for a later version of the specification.
 */
static int blk_request_read_range(const struct blk *blk, const struct virtq_chain *chain, struct blk_request *req)
{
	struct virtio_blk_discard_write_zeroes range;
	uint32_t sectors, flags;

	if (chain->readable_len != sizeof(struct blk_header) + sizeof(range) ||
	    !virtq_chain_read(blk_queue(blk), chain, sizeof(struct blk_header), &range, sizeof(range)))
		return VIRTIO_BLK_S_IOERR;
	sectors = le32toh(range.num_sectors);
	flags = le32toh(range.flags);
	if (flags & ~(req->type == VIRTIO_BLK_T_WRITE_ZEROES ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0u))
		return VIRTIO_BLK_S_UNSUPP;
	req->sector = le64toh(range.sector);
	req->range_len = (uint64_t)sectors * BLK_SECTOR_SIZE;
	req->mode = FALLOC_FL_KEEP_SIZE |
		    (req->type == VIRTIO_BLK_T_DISCARD || flags ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
	return sectors == 0 || sectors > BLK_MAX_RANGE_SECTORS ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}

/* The status of a request that will not be carried out, or VIRTIO_BLK_S_OK. */
static int blk_request_check(const struct blk *blk, const struct virtq_chain *chain, struct blk_request *req)
{
	int status = VIRTIO_BLK_S_OK;

	if (!blk_request_is_supported(blk, req))
		return VIRTIO_BLK_S_UNSUPP;
	if (blk_request_is_range(req))
		status = blk_request_read_range(blk, chain, req);
	else if (blk_request_find_data(blk, chain, req))
		status = VIRTIO_BLK_S_IOERR;
	if (status == VIRTIO_BLK_S_OK && req->type != VIRTIO_BLK_T_FLUSH && req->type != VIRTIO_BLK_T_GET_ID &&
	    !blk_request_in_range(blk, req))
		status = VIRTIO_BLK_S_IOERR;
	if (status == VIRTIO_BLK_S_IOERR)
		log_warn("drive %s: a request of type %u for %llu bytes at sector %llu of %llu is refused",
			 blk->drive_id, req->type, (unsigned long long)(req->len + req->range_len),
			 (unsigned long long)req->sector, (unsigned long long)blk->file.sectors);
	else if (blk->read_only && (req->type == VIRTIO_BLK_T_OUT || blk_request_is_range(req)))
		status = VIRTIO_BLK_S_IOERR;
	return status;
}

int blk_request_parse(const struct blk *blk, const struct virtq_chain *chain, struct blk_request *req)
{
	struct blk_header header;
	int status;

	req->head = chain->head;
	if (chain->writable_len == 0 ||
	    !virtq_chain_writable_at(blk_queue(blk), chain, chain->writable_len - 1, &req->status)) {
		metric_inc_of(blk->counters, invalid_reqs_count);
		log_warn("drive %s: a request has no room for its status: nothing done", blk->drive_id);
		return -EINVAL;
	}
	req->type = 0;
	req->sector = 0;
	req->len = 0;
	req->range_len = 0;
	req->leased = false;
	req->num_iov = 0;
	req->cut = 0;
	req->done = 0;
	req->result = 0;
	status = VIRTIO_BLK_S_IOERR;
	if (virtq_chain_read(blk_queue(blk), chain, 0, &header, sizeof(header))) {
		req->type = le32toh(header.type);
		req->sector = le64toh(header.sector);
		status = blk_request_check(blk, chain, req);
	}
	if (status != VIRTIO_BLK_S_OK) {
		metric_inc_of(blk->counters, invalid_reqs_count);
		blk_request_release(blk, req);
	}
	return status;
}

bool blk_request_needs_file(const struct blk_request *req)
{
	return req->type != VIRTIO_BLK_T_GET_ID && !(blk_request_is_transfer(req) && !req->len);
}

void blk_request_get_id(const struct blk *blk, struct blk_request *req)
{
	const char *from = blk->file.id;

	for (int i = 0; i < req->num_iov; i++) {
		memcpy(req->iov[i].iov_base, from, req->iov[i].iov_len);
		from += req->iov[i].iov_len;
	}
	req->done = VIRTIO_BLK_ID_BYTES;
}

/* Section 5.2.6.2: a driver that cannot flush expects a finished write to be on the disk. */
void blk_request_begin(const struct blk *blk, struct blk_request *req)
{
	req->fd = blk->file.fd;
	req->asked_for = false;
	req->sync = blk->writeback && !blk_flush_negotiated(blk);
	req->offset = req->sector * BLK_SECTOR_SIZE;
	req->at = req->iov;
	req->num_left = req->num_iov;
	switch (req->type) {
	case VIRTIO_BLK_T_IN:
		req->op = BLK_IO_READ;
		break;
	case VIRTIO_BLK_T_OUT:
		req->op = BLK_IO_WRITE;
		break;
	case VIRTIO_BLK_T_FLUSH:
		req->op = BLK_IO_SYNC;
		break;
	default:
		req->op = BLK_IO_ALLOCATE;
		break;
	}
}

/*
 * The kernel reports data that it could not write to one fdatasync() only. If that was the monitor's own, the guest's
 * next one fails in its stead: else the guest would never learn that what it wrote is gone.
 */
static int blk_request_result(struct blk *blk, const struct blk_request *req)
{
	int r = req->result;

	if (req->type != VIRTIO_BLK_T_FLUSH && !(req->type == VIRTIO_BLK_T_OUT && req->sync && req->op == BLK_IO_SYNC))
		return r;
	if (!r && blk->flush_failed)
		r = -EIO;
	blk->flush_failed = false;
	return r;
}

static void blk_request_count(const struct blk *blk, const struct blk_request *req)
{
	uint64_t us = (req->ended_ns - req->begun_ns) / 1000;

	switch (req->type) {
	case VIRTIO_BLK_T_IN:
		metric_time_of(blk->counters, read_agg, us);
		metric_inc_of(blk->counters, read_count);
		metric_add_of(blk->counters, read_bytes, req->done);
		break;
	case VIRTIO_BLK_T_OUT:
		metric_time_of(blk->counters, write_agg, us);
		metric_inc_of(blk->counters, write_count);
		metric_add_of(blk->counters, write_bytes, req->done);
		break;
	case VIRTIO_BLK_T_FLUSH:
		metric_inc_of(blk->counters, flush_count);
		break;
	}
}

int blk_request_status(struct blk *blk, const struct blk_request *req)
{
	int r = blk_request_result(blk, req);

	blk_request_count(blk, req);
	if (!r)
		return VIRTIO_BLK_S_OK;
	/* A file system without holes or zeroed ranges: the guest writes zeros itself, and asks no more. */
	if (req->op == BLK_IO_ALLOCATE && r == -EOPNOTSUPP)
		return VIRTIO_BLK_S_UNSUPP;
	metric_inc_of(blk->counters, execute_fails);
	log_error("drive %s: a request of type %u for %llu bytes at sector %llu fails: %s", blk->drive_id, req->type,
		  (unsigned long long)(req->len + req->range_len), (unsigned long long)req->sector,
		  r == -ENODATA ? "the file ends before" : strerror(-r));
	return VIRTIO_BLK_S_IOERR;
}

void blk_request_release(const struct blk *blk, struct blk_request *req)
{
	if (!req->leased)
		return;
	req->leased = false;
	blk_io_uncut(req);
	virtq_release(blk_queue(blk), req->iov, req->num_iov);
}

void blk_request_complete(struct blk *blk, struct blk_request *req, int status)
{
	bool reads = req->type == VIRTIO_BLK_T_IN || req->type == VIRTIO_BLK_T_GET_ID;
	uint8_t byte = (uint8_t)status;

	blk_request_release(blk, req);
	/* virtq_publish() orders it before the index; that it is memory was checked. */
	(void)!mem_write(blk_queue(blk)->mem, req->status, &byte, sizeof(byte));
	virtq_stage(&blk->vdev.queues[0], req->head, (reads ? (uint32_t)req->done : 0) + 1);
}
