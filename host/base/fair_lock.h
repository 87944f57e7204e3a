/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mutex that goes to whoever has waited longest. A plain one goes to whoever comes first: with eight vCPUs in a loop at one
 * register, the loop thread waited 133 ms for it. (A mutex with priority inheritance is fair, too, but its system calls are
 * ones that a sandbox should not have.)
 */
#ifndef BASE_FAIR_LOCK_H
#define BASE_FAIR_LOCK_H

#include <pthread.h>

#define FAIR_LOCK_QUEUES 8 /* waiters beyond so many are woken in vain now and then */

struct fair_lock {
	pthread_mutex_t mutex; /* guards the two numbers; never held for longer than it takes to change them */
	unsigned int next;     /* the ticket of whoever comes next */
	unsigned int serving;  /* the ticket of whoever has the lock, or may have it */
	pthread_cond_t turn[FAIR_LOCK_QUEUES]; /* of ticket t: number t modulo this */
};

void fair_lock_init(struct fair_lock *lock);
void fair_lock_fini(struct fair_lock *lock);
/* Not recursive. Unlocking is for the thread that has locked. */
void fair_lock_lock(struct fair_lock *lock);
void fair_lock_unlock(struct fair_lock *lock);

#endif
