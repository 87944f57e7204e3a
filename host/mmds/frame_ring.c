// SPDX-License-Identifier: Apache-2.0
#include "mmds/frame_ring.h"

#include <stdlib.h>
#include <string.h>

#define LENGTH_SIZE sizeof(uint16_t)

_Static_assert(FRAME_MAX <= UINT16_MAX, "a length is 16 bits");

int frame_ring_init(struct frame_ring *ring)
{
	*ring = (struct frame_ring){ .bytes = malloc(FRAME_RING_SIZE) };
	if (!ring->bytes)
		return -ENOMEM;
	pthread_mutex_init(&ring->lock, NULL);
	return 0;
}

void frame_ring_fini(struct frame_ring *ring)
{
	if (ring->bytes)
		pthread_mutex_destroy(&ring->lock);
	free(ring->bytes);
	ring->bytes = NULL;
}

static void ring_put(struct frame_ring *ring, const void *src, size_t len)
{
	size_t at = (ring->first + ring->used) % FRAME_RING_SIZE;
	size_t n = len < FRAME_RING_SIZE - at ? len : FRAME_RING_SIZE - at;

	memcpy(ring->bytes + at, src, n);
	memcpy(ring->bytes, (const uint8_t *)src + n, len - n);
	ring->used += len;
}

static void ring_get(struct frame_ring *ring, void *dst, size_t len)
{
	size_t n = len < FRAME_RING_SIZE - ring->first ? len : FRAME_RING_SIZE - ring->first;

	memcpy(dst, ring->bytes + ring->first, n);
	memcpy((uint8_t *)dst + n, ring->bytes, len - n);
	ring->first = (ring->first + len) % FRAME_RING_SIZE;
	ring->used -= len;
}

static size_t iov_len(const struct iovec *iov, int num)
{
	size_t len = 0;

	for (int i = 0; i < num; i++)
		len += iov[i].iov_len;
	return len;
}

bool frame_ring_push(struct frame_ring *ring, const struct iovec *iov, int num, size_t skip, bool *was_empty)
{
	size_t len = iov_len(iov, num);
	uint16_t length;
	bool fits;

	if (len <= skip || len - skip > FRAME_MAX)
		return false;
	length = (uint16_t)(len - skip);
	pthread_mutex_lock(&ring->lock);
	*was_empty = !ring->used;
	fits = LENGTH_SIZE + length <= FRAME_RING_SIZE - ring->used;
	if (fits)
		ring_put(ring, &length, LENGTH_SIZE);
	for (int i = 0; i < num && fits; i++) {
		size_t before = skip < iov[i].iov_len ? skip : iov[i].iov_len;

		ring_put(ring, (const uint8_t *)iov[i].iov_base + before, iov[i].iov_len - before);
		skip -= before;
	}
	pthread_mutex_unlock(&ring->lock);
	return fits;
}

size_t frame_ring_pop(struct frame_ring *ring, uint8_t *frame)
{
	uint16_t length = 0;

	pthread_mutex_lock(&ring->lock);
	if (ring->used) {
		ring_get(ring, &length, LENGTH_SIZE);
		ring_get(ring, frame, length);
	}
	pthread_mutex_unlock(&ring->lock);
	return length;
}
