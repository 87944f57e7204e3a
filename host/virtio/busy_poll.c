// SPDX-License-Identifier: Apache-2.0
#include "virtio/busy_poll.h"

#include "base/clock.h"
#include "base/thread.h"

#define BUSY_POLL_RELAX 8 /* between two looks: some 0.3 us, since each look may take the cache line from the driver */
#define BUSY_POLL_AWAY	3000u /* so many nanoseconds between two looks: somebody else had the processor meanwhile */

/* If what we wait for came while we were kept from our processor, the driver may be who had it: then it has waited for us. */
static bool busy_poll_look(const struct virtq_look *look)
{
	uint64_t now_ns, end_ns, last_ns;

	if (virtq_has_more(look))
		return true;
	now_ns = clock_now_ns();
	end_ns = now_ns + BUSY_POLL_NS;
	do {
		last_ns = now_ns;
		for (int i = 0; i < BUSY_POLL_RELAX; i++)
			thread_relax();
		now_ns = clock_now_ns();
		if (virtq_has_more(look))
			return now_ns - last_ns < BUSY_POLL_AWAY;
	} while (now_ns < end_ns);
	return false;
}

bool busy_poll(struct busy_poll *bp, const struct virtq_look *look)
{
	if (bp->left) {
		bp->left--;
		return false;
	}
	if (busy_poll_look(look)) {
		bp->skips = 0;
		return true;
	}
	if (bp->skips < BUSY_POLL_MAX_SKIPS)
		bp->skips = 2 * bp->skips + 1;
	bp->left = bp->skips;
	return false;
}
