// SPDX-License-Identifier: Apache-2.0
#include "snapshot/runs.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fdio.h"
#include "snapshot/format.h"

#define RUNS_CHUNK (256u * 1024)

void runs_fini(struct runs *runs)
{
	free(runs->list);
	*runs = (struct runs){ .list = NULL };
}

int runs_add(struct runs *runs, uint64_t offset, uint64_t len)
{
	struct mem_run *last = runs->num > 0 ? &runs->list[runs->num - 1] : NULL;

	if (last && last->offset + last->len == offset) {
		last->len += len;
		return 0;
	}
	if (!runs->list || runs->num == runs->room) {
		size_t room = runs->room > 0 ? 2 * runs->room : 64;
		struct mem_run *list = reallocarray(runs->list, room, sizeof(*list));

		if (!list)
			return -ENOMEM;
		runs->list = list;
		runs->room = room;
	}
	runs->list[runs->num++] = (struct mem_run){ .offset = offset, .len = len };
	return 0;
}

int runs_of_file(struct runs *runs, int fd, uint64_t size)
{
	uint64_t offset = 0;

	while (offset < size) {
		off_t data = lseek(fd, (off_t)offset, SEEK_DATA), hole;
		uint64_t start, end;
		int r;

		if (data < 0 && errno == ENXIO)
			return 0;		 /* a hole up to the end */
		if (data < 0 && errno == EINVAL) /* a block device has none */
			return runs_add(runs, offset, size - offset);
		if (data < 0)
			return -errno;
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		start = (uint64_t)data / MEM_PAGE_SIZE * MEM_PAGE_SIZE;
		end = ((uint64_t)hole + MEM_PAGE_SIZE - 1) / MEM_PAGE_SIZE * MEM_PAGE_SIZE;
		if (start < offset)
			start = offset;
		if (end > size)
			end = size;
		if (start >= end)
			return 0;
		r = runs_add(runs, start, end - start);
		if (r < 0)
			return r;
		offset = end;
	}
	return 0;
}

int runs_union(struct runs *runs, const struct runs *a, const struct runs *b)
{
	size_t i = 0, j = 0;
	uint64_t done = 0;

	while (i < a->num || j < b->num) {
		bool first = j == b->num || (i < a->num && a->list[i].offset <= b->list[j].offset);
		const struct mem_run *next = first ? &a->list[i++] : &b->list[j++];
		uint64_t start = next->offset > done ? next->offset : done, end = next->offset + next->len;
		int r = 0;

		if (start < end)
			r = runs_add(runs, start, end - start);
		if (r < 0)
			return r;
		if (end > done)
			done = end;
	}
	return 0;
}

bool runs_are_equal(const struct runs *a, const struct runs *b)
{
	size_t i = 0;

	if (a->num != b->num)
		return false;
	while (i < a->num && a->list[i].offset == b->list[i].offset && a->list[i].len == b->list[i].len)
		i++;
	return i == a->num;
}

int runs_digest(const struct runs *runs, struct snapshot_checksum *digest)
{
	_cleanup_free_ __le64 *numbers = calloc(2 * runs->num + 1, sizeof(*numbers));

	if (!numbers)
		return -ENOMEM;
	for (size_t i = 0; i < runs->num; i++) {
		numbers[2 * i] = htole64(runs->list[i].offset);
		numbers[2 * i + 1] = htole64(runs->list[i].len);
	}
	snapshot_checksum_of(numbers, 2 * runs->num * sizeof(*numbers), digest);
	return 0;
}

static int runs_copy_by_hand(int from, int to, uint64_t offset, uint64_t len)
{
	_cleanup_free_ uint8_t *buffer = malloc(RUNS_CHUNK);
	int r = buffer ? 0 : -ENOMEM;

	while (len > 0 && r == 0) {
		size_t n = len < RUNS_CHUNK ? (size_t)len : RUNS_CHUNK;

		r = fd_pread_all(from, buffer, n, (off_t)offset);
		if (r == 0)
			r = fd_pwrite_all(to, buffer, n, (off_t)offset);
		offset += n;
		len -= n;
	}
	return r;
}

/* What the kernel does not copy, for whatever reason, is copied by hand: if it was an error, it comes again. */
static int runs_copy_one(int from, int to, uint64_t offset, uint64_t len)
{
	while (len > 0) {
		off_t in = (off_t)offset, out = (off_t)offset;
		ssize_t n = copy_file_range(from, &in, to, &out, (size_t)len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return runs_copy_by_hand(from, to, offset, len);
}

int runs_copy(const struct runs *runs, int from, int to)
{
	int r = 0;

	for (size_t i = 0; i < runs->num && r == 0; i++)
		r = runs_copy_one(from, to, runs->list[i].offset, runs->list[i].len);
	return r;
}
