// SPDX-License-Identifier: Apache-2.0
/*
 * What a request asks of its file, one system call after the other: a transfer
 * that came out short goes on, a write of a driver that cannot flush is followed
 * by a flush. The engines share this; it knows the request and nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/syscalls.h"
#include "virtio/blk_internal.h"

void blk_io_uncut(struct blk_request *req)
{
	if (!req->cut)
		return;
	req->at->iov_base = (uint8_t *)req->at->iov_base - req->cut;
	req->at->iov_len += req->cut;
	req->cut = 0;
}

/* Drops n bytes from the front. */
static void io_advance(struct blk_request *req, size_t n)
{
	n += req->cut;
	blk_io_uncut(req);
	while (req->num_left && n >= req->at->iov_len) {
		n -= req->at->iov_len;
		req->at++;
		req->num_left--;
	}
	if (n) {
		req->at->iov_base = (uint8_t *)req->at->iov_base + n;
		req->at->iov_len -= n;
		req->cut = n;
	}
}

/* A file that ends early has shrunk. */
static bool io_transferred(struct blk_request *req, size_t n)
{
	if (n == 0) {
		req->result = -ENODATA;
		return false;
	}
	req->done += n;
	req->offset += n;
	io_advance(req, n);
	return req->done < req->len;
}

bool blk_io_goes_on(struct blk_request *req)
{
	if (req->result == -EINTR || req->result == -EAGAIN)
		return true;
	if (req->result < 0)
		return false;
	if (req->op == BLK_IO_READ || req->op == BLK_IO_WRITE) {
		if (io_transferred(req, (size_t)req->result))
			return true;
		if (req->result < 0)
			return false;
	}
	if (req->op == BLK_IO_WRITE && req->sync) {
		req->op = BLK_IO_SYNC;
		return true;
	}
	req->result = 0;
	return false;
}

static ssize_t io_call(const struct blk_request *req)
{
	switch (req->op) {
	case BLK_IO_READ:
		return preadv(req->fd, req->at, req->num_left, (off_t)req->offset);
	case BLK_IO_WRITE:
		return pwritev(req->fd, req->at, req->num_left, (off_t)req->offset);
	case BLK_IO_SYNC:
		return fdatasync(req->fd);
	case BLK_IO_ALLOCATE:
		return fallocate(req->fd, req->mode, (off_t)req->offset, (off_t)req->range_len);
	}
	return 0;
}

void blk_io_run(struct blk_request *req)
{
	ssize_t n = io_call(req);

	req->result = n < 0 ? -errno : (int)n;
}

int blk_io_run_cached(struct blk_request *req)
{
	ssize_t n = sys_preadv2(req->fd, req->at, req->num_left, (off_t)req->offset, RWF_NOWAIT);

	if (n < 0)
		return errno == EOPNOTSUPP ? -EOPNOTSUPP : -EAGAIN; /* whoever waits learns of other errors */
	req->result = (int)n;
	return 0;
}

void blk_io_ask_for(struct blk_request *req)
{
	if (!req->asked_for)
		(void)posix_fadvise(req->fd, (off_t)req->offset, (off_t)(req->len - req->done), POSIX_FADV_WILLNEED);
	req->asked_for = true;
}

void blk_io_run_batch(struct blk_list *todo, const atomic_bool *stop, struct blk_list *done)
{
	uint64_t start_ns = clock_now_ns();
	struct blk_request *req;

	for (unsigned int n = 0; n < BLK_IO_BATCH && !atomic_load(stop); n++) {
		req = blk_list_take(todo);
		if (!req)
			return;
		blk_io_run(req);
		req->ended_ns = clock_now_ns();
		blk_list_add(done, req);
		if (req->ended_ns - start_ns >= BLK_IO_HOLD_NS)
			return;
	}
}

int blk_wait_readable(int fd, int ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	(void)poll(&pfd, 1, ms);
	return ms;
}
