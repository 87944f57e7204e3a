// SPDX-License-Identifier: Apache-2.0
#include "lock.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "process.h"

#define SOMEBODY_SLEEPS 1u

static void lock_sleep(struct sns_lock *lock, uint32_t value)
{
	int saved = errno;

	(void)syscall(SYS_futex, &lock->word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
	errno = saved;
}

static void lock_wake_one(struct sns_lock *lock)
{
	int saved = errno;

	(void)syscall(SYS_futex, &lock->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	errno = saved;
}

void sns_lock(struct sns_lock *lock)
{
	/* Never 0: a number is. The upper half is lost: who forks 2^31 times in a row is not helped. */
	uint32_t mine = (uint32_t)sns_process_number() << 1, want = mine;
	uint32_t seen = atomic_load_explicit(&lock->word, memory_order_relaxed);

	for (;;) {
		if ((seen & ~SOMEBODY_SLEEPS) != mine) {
			/* Free, or held by a thread that was left behind in another process. */
			if (atomic_compare_exchange_weak_explicit(&lock->word, &seen, want, memory_order_acquire,
								  memory_order_relaxed))
				return;
			continue;
		}
		/* Who has slept does not know who else does: it takes the lock with the flag. */
		want = mine | SOMEBODY_SLEEPS;
		if (seen == want || atomic_compare_exchange_weak_explicit(&lock->word, &seen, want,
									  memory_order_relaxed, memory_order_relaxed)) {
			lock_sleep(lock, want);
			seen = atomic_load_explicit(&lock->word, memory_order_relaxed);
		}
	}
}

void sns_unlock(struct sns_lock *lock)
{
	if (atomic_exchange_explicit(&lock->word, 0, memory_order_release) & SOMEBODY_SLEEPS)
		lock_wake_one(lock);
}
