/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lock that knows its process: what another thread of the parent held when
 * this process was forked is nobody's here. The first thread that wants it takes
 * it over by one exchange, so any number of threads of a child may come at once.
 */
#ifndef LIB_LOCK_H
#define LIB_LOCK_H

#include <stdatomic.h>
#include <stdint.h>

/* Twice the number of the holder's process, plus 1 if somebody may be asleep; 0: free. */
struct sns_lock {
	_Atomic uint32_t word;
};

/* Sleeps while another thread of this process holds it. Not signal-safe, not recursive. */
void sns_lock(struct sns_lock *lock);
void sns_unlock(struct sns_lock *lock);

#endif /* LIB_LOCK_H */
