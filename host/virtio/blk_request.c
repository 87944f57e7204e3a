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
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metrics.h"
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

/* Where the data is. IN and OUT transfer all there is, GET_ID its 20 bytes, FLUSH none. */
static int blk_request_find_data(const struct blk *blk, const struct virtq_chain *chain, struct blk_request *req)
{
	uint64_t room = chain->writable_len - 1; /* without the status */

	switch (req->type) {
	case VIRTIO_BLK_T_OUT:
		req->len = chain->readable_len - sizeof(struct blk_header);
		req->num_iov = virtq_chain_iov(blk_queue(blk), chain, VIRTQ_READABLE, sizeof(struct blk_header),
					       req->len, req->iov);
		break;
	case VIRTIO_BLK_T_IN:
		req->len = room;
		req->num_iov = virtq_chain_iov(blk_queue(blk), chain, VIRTQ_WRITABLE, 0, req->len, req->iov);
		break;
	case VIRTIO_BLK_T_GET_ID:
		req->len = VIRTIO_BLK_ID_BYTES;
		if (room < VIRTIO_BLK_ID_BYTES)
			return -EINVAL;
		req->num_iov = virtq_chain_iov(blk_queue(blk), chain, VIRTQ_WRITABLE, 0, req->len, req->iov);
		break;
	default:
		req->len = 0;
		req->num_iov = 0;
	}
	return req->num_iov < 0 ? -EINVAL : 0;
}

static bool blk_request_in_range(const struct blk *blk, const struct blk_request *req)
{
	return req->len % BLK_SECTOR_SIZE == 0 && req->len <= BLK_MAX_REQUEST && req->sector <= blk->file.sectors &&
	       req->len / BLK_SECTOR_SIZE <= blk->file.sectors - req->sector;
}

/* The status of a request that will not be executed, or VIRTIO_BLK_S_OK. */
static int blk_request_check(const struct blk *blk, const struct virtq_chain *chain, struct blk_request *req)
{
	bool transfer = req->type == VIRTIO_BLK_T_IN || req->type == VIRTIO_BLK_T_OUT;

	if (!transfer && req->type != VIRTIO_BLK_T_GET_ID &&
	    !(req->type == VIRTIO_BLK_T_FLUSH && blk_flush_negotiated(blk)))
		return VIRTIO_BLK_S_UNSUPP;
	if (blk_request_find_data(blk, chain, req) || (transfer && !blk_request_in_range(blk, req))) {
		log_warn("drive %s: a request of type %u for %llu bytes at sector %llu of %llu is refused",
			 blk->drive_id, req->type, (unsigned long long)req->len, (unsigned long long)req->sector,
			 (unsigned long long)blk->file.sectors);
		return VIRTIO_BLK_S_IOERR;
	}
	if (req->type == VIRTIO_BLK_T_OUT && blk->read_only)
		return VIRTIO_BLK_S_IOERR;
	return VIRTIO_BLK_S_OK;
}

int blk_request_parse(const struct blk *blk, const struct virtq_chain *chain, struct blk_request *req)
{
	struct blk_header header;
	int status;

	req->head = chain->head;
	if (chain->writable_len == 0 ||
	    virtq_chain_iov(blk_queue(blk), chain, VIRTQ_WRITABLE, chain->writable_len - 1, 1, req->iov) < 0) {
		metric_inc(block, invalid_reqs_count);
		log_warn("drive %s: a request has no room for its status: nothing done", blk->drive_id);
		return -EINVAL;
	}
	req->status = req->iov[0].iov_base;
	req->type = 0;
	req->sector = 0;
	req->len = 0;
	req->num_iov = 0;
	status = VIRTIO_BLK_S_IOERR;
	if (virtq_chain_read(blk_queue(blk), chain, 0, &header, sizeof(header))) {
		req->type = le32toh(header.type);
		req->sector = le64toh(header.sector);
		status = blk_request_check(blk, chain, req);
	}
	if (status != VIRTIO_BLK_S_OK)
		metric_inc(block, invalid_reqs_count);
	return status;
}

/* Drops n bytes from the front. */
static void blk_iov_advance(struct iovec **iov, int *num, size_t n)
{
	while (*num && n >= (*iov)->iov_len) {
		n -= (*iov)->iov_len;
		(*iov)++;
		(*num)--;
	}
	if (n) {
		(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + n;
		(*iov)->iov_len -= n;
	}
}

/* Transfers everything or fails; *done bytes were transferred in any case. A file that ends early has shrunk. */
static int blk_transfer(const struct blk *blk, struct blk_request *req, uint64_t *done)
{
	off_t offset = (off_t)(req->sector * BLK_SECTOR_SIZE);
	struct iovec *iov = req->iov;
	int num = req->num_iov;

	for (*done = 0; *done < req->len;) {
		ssize_t n = req->type == VIRTIO_BLK_T_IN ? preadv(blk->file.fd, iov, num, offset)
							 : pwritev(blk->file.fd, iov, num, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		*done += (uint64_t)n;
		offset += n;
		blk_iov_advance(&iov, &num, (size_t)n);
	}
	return 0;
}

static int blk_read(const struct blk *blk, struct blk_request *req, uint32_t *written)
{
	uint64_t done;
	int r = blk_transfer(blk, req, &done);

	*written = (uint32_t)done;
	metric_inc(block, read_count);
	metric_add(block, read_bytes, done);
	return r;
}

/*
 * The kernel reports data that it could not write to one fdatasync() only. If that was the monitor's own, the guest's
 * next one fails in its stead: else the guest would never learn that what it wrote is gone.
 */
static int blk_flush_for_guest(struct blk *blk)
{
	int r = fdatasync(blk->file.fd) ? -errno : 0;

	if (!r && blk->flush_failed)
		r = -EIO;
	blk->flush_failed = false;
	return r;
}

/* Section 5.2.6.2: a driver that cannot flush expects a finished write to be on the disk. */
static int blk_write(struct blk *blk, struct blk_request *req)
{
	uint64_t done;
	int r = blk_transfer(blk, req, &done);

	metric_inc(block, write_count);
	metric_add(block, write_bytes, done);
	if (!r && blk->writeback && !blk_flush_negotiated(blk))
		r = blk_flush_for_guest(blk);
	return r;
}

static int blk_flush(struct blk *blk)
{
	metric_inc(block, flush_count);
	return blk_flush_for_guest(blk);
}

static void blk_get_id(const struct blk *blk, const struct blk_request *req, uint32_t *written)
{
	const char *from = blk->file.id;

	for (int i = 0; i < req->num_iov; i++) {
		memcpy(req->iov[i].iov_base, from, req->iov[i].iov_len);
		from += req->iov[i].iov_len;
	}
	*written = VIRTIO_BLK_ID_BYTES;
}

int blk_request_execute(struct blk *blk, struct blk_request *req, uint32_t *written)
{
	int r = 0;

	*written = 0;
	switch (req->type) {
	case VIRTIO_BLK_T_IN:
		r = blk_read(blk, req, written);
		break;
	case VIRTIO_BLK_T_OUT:
		r = blk_write(blk, req);
		break;
	case VIRTIO_BLK_T_FLUSH:
		r = blk_flush(blk);
		break;
	case VIRTIO_BLK_T_GET_ID:
		blk_get_id(blk, req, written);
		break;
	}
	if (!r)
		return VIRTIO_BLK_S_OK;
	metric_inc(block, execute_fails);
	log_error("drive %s: a request of type %u for %llu bytes at sector %llu fails: %s", blk->drive_id, req->type,
		  (unsigned long long)req->len, (unsigned long long)req->sector,
		  r == -ENODATA ? "the file ends before" : strerror(-r));
	return VIRTIO_BLK_S_IOERR;
}

void blk_request_complete(struct blk *blk, const struct blk_request *req, int status, uint32_t written)
{
	__atomic_store_n(req->status, (uint8_t)status, __ATOMIC_RELAXED); /* virtq_push() orders it before the index */
	virtq_push(&blk->vdev.queues[0], req->head, written + 1);
}
