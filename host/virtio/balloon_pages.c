// SPDX-License-Identifier: Apache-2.0
/*
 * Pages that go back: the balloon's own (sections 5.5.6.1 and 5.5.6.2 of virtio
 * 1.2), and free ones that the guest reports (5.5.6.7).
 *
 * A page is given back before its buffer is: until then the guest does not use
 * it. Which pages it names is its affair. It may name those that it needs, its
 * queues among them, or one of them for ever: they are zero then, and a turn's
 * work is bounded, whatever they are. What is no memory is counted, and logged.
 */
#include <endian.h>

#include "base/log.h"
#include "mem/pages.h"
#include "virtio/balloon_internal.h"

static void pfn_swap(uint32_t *a, uint32_t *b)
{
	uint32_t t = *a;

	*a = *b;
	*b = t;
}

/* Makes a heap of pfns[0..num), the greatest in front, of which only the entry at root is out of place. */
static void pfn_sift(uint32_t *pfns, size_t root, size_t num)
{
	for (size_t child; (child = 2 * root + 1) < num; root = child) {
		if (child + 1 < num && pfns[child + 1] > pfns[child])
			child++;
		if (pfns[root] >= pfns[child])
			return;
		pfn_swap(&pfns[root], &pfns[child]);
	}
}

/* Heapsort: as fast whatever the guest's order is. qsort(3) asks for memory, and the kernel how much there is. */
static void pfn_sort(uint32_t *pfns, size_t num)
{
	for (size_t root = num / 2; root-- > 0;)
		pfn_sift(pfns, root, num);
	for (size_t end = num; end > 1; end--) {
		pfn_swap(&pfns[0], &pfns[end - 1]);
		pfn_sift(pfns, 0, end - 1);
	}
}

/* Ranges instead of pages: a system call each. */
static void balloon_add_pfns(struct balloon *b, uint32_t *pfns, unsigned int num)
{
	struct mem_job *job = &b->turn.job;

	pfn_sort(pfns, num);
	for (unsigned int i = 0, next; i < num; i = next) {
		for (next = i + 1; next < num && pfns[next] - pfns[next - 1] <= 1; next++)
			;
		job->ranges[job->num++] = (struct mem_range){
			.gpa = (gpa_t)pfns[i] * MEM_PAGE_SIZE,
			.len = (pfns[next - 1] - pfns[i] + 1ull) * MEM_PAGE_SIZE,
		};
	}
}

/*
 * The page frame numbers of a chain, from the cursor on, as far as there is room: how many, and *all says whether the chain has no
 * more. One that makes no sense has none.
 */
static unsigned int balloon_read_pfns(struct balloon *b, const struct virtq *q, const struct virtq_chain *chain,
				      uint32_t *pfns, unsigned int room, bool *all)
{
	uint64_t total = chain->readable_len / sizeof(*pfns), left;
	unsigned int num;

	*all = true;
	if (chain->num_writable || chain->readable_len % sizeof(*pfns) || chain->readable_len > BALLOON_MAX_LIST ||
	    !virtq_chain_ok(q, chain)) {
		metric_inc(balloon, event_fails);
		log_warn("balloon: a buffer with %llu bytes of page numbers and room for %llu: ignored",
			 (unsigned long long)chain->readable_len, (unsigned long long)chain->writable_len);
		return 0;
	}
	left = total > b->inflate.done ? total - b->inflate.done : 0;
	*all = left <= room;
	num = *all ? (unsigned int)left : room;
	if (!virtq_chain_read(q, chain, b->inflate.done * sizeof(*pfns), pfns, num * sizeof(*pfns))) {
		*all = true;
		return 0;
	}
	for (unsigned int i = 0; i < num; i++)
		pfns[i] = le32toh(pfns[i]);
	return num;
}

int balloon_inflate(struct balloon *b, struct virtq *q, unsigned int index)
{
	struct virtq_chain chain;
	unsigned int num = 0;
	bool all = true;
	int r = 0;

	metric_inc(balloon, inflate_count);
	if (!balloon_turn_begin(b, BALLOON_INFLATE, index))
		return 0;
	while (all && num < BALLOON_TURN_RANGES && b->turn.num_chains < VIRTQ_MAX_SIZE) {
		unsigned int got;

		r = virtq_pop(q, &chain);
		if (r <= 0)
			break;
		got = balloon_read_pfns(b, q, &chain, b->pfns + num, BALLOON_TURN_RANGES - num, &all);
		num += got;
		if (all) {
			balloon_turn_add_head(b, chain.head);
			b->inflate.done = 0;
		} else {
			virtq_unpop(q);
			b->inflate.done += got;
		}
	}
	b->turn.more = r > 0;
	balloon_add_pfns(b, b->pfns, num);
	balloon_turn_end(b);
	return r < 0 ? r : 0;
}

/* What the guest takes back is there: nothing is to be done but to say so. */
int balloon_deflate(struct balloon *b, struct virtq *q, unsigned int index)
{
	struct virtq_chain chain;
	int r = 0;

	metric_inc(balloon, deflate_count);
	for (unsigned int i = 0; i < VIRTQ_MAX_SIZE; i++) {
		r = virtq_pop(q, &chain);
		if (r <= 0)
			break;
		virtq_push(q, chain.head, 0);
	}
	virtio_notify_used(&b->vdev, q);
	if (r > 0)
		virtio_kick(&b->vdev, index);
	return r < 0 ? r : 0;
}

int balloon_report(struct balloon *b, struct virtq *q, unsigned int index)
{
	struct virtq_chain chain;
	int r = 0;

	if (!balloon_turn_begin(b, BALLOON_REPORTING, index))
		return 0;
	for (unsigned int i = 0; i < VIRTQ_MAX_SIZE; i++) {
		r = virtq_pop(q, &chain);
		if (r <= 0)
			break;
		if (!balloon_turn_add(b, &chain, &b->reporting)) {
			virtq_unpop(q);
			break;
		}
		metric_inc(balloon, free_page_report_count);
	}
	b->turn.more = r > 0;
	balloon_turn_end(b);
	return r < 0 ? r : 0;
}

void balloon_count_pages(struct balloon *b)
{
	const struct balloon_turn *t = &b->turn;
	uint64_t fails = t->job.fails + t->fails;

	switch (t->role) {
	case BALLOON_REPORTING:
		metric_add(balloon, free_page_report_freed, t->job.freed);
		metric_add(balloon, free_page_report_fails, fails);
		break;
	case BALLOON_HINTING:
		metric_add(balloon, free_page_hint_freed, t->job.freed);
		metric_add(balloon, free_page_hint_fails, fails);
		break;
	default:
		metric_add(balloon, event_fails, fails);
		break;
	}
	if (fails)
		log_warn("balloon: %llu ranges of pages that the guest does not need are not all memory that can be "
			 "given back",
			 (unsigned long long)fails);
}
