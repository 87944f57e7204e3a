// SPDX-License-Identifier: Apache-2.0
/* Tickets: each comer draws a number and waits until it is served. The numbers run freely; only their difference counts. */
#include "base/fair_lock.h"

void fair_lock_init(struct fair_lock *lock)
{
	pthread_mutex_init(&lock->mutex, NULL);
	lock->next = 0;
	lock->serving = 0;
	for (unsigned int i = 0; i < FAIR_LOCK_QUEUES; i++)
		pthread_cond_init(&lock->turn[i], NULL);
}

void fair_lock_fini(struct fair_lock *lock)
{
	for (unsigned int i = 0; i < FAIR_LOCK_QUEUES; i++)
		pthread_cond_destroy(&lock->turn[i]);
	pthread_mutex_destroy(&lock->mutex);
}

void fair_lock_lock(struct fair_lock *lock)
{
	unsigned int ticket;

	pthread_mutex_lock(&lock->mutex);
	ticket = lock->next++;
	while (lock->serving != ticket)
		pthread_cond_wait(&lock->turn[ticket % FAIR_LOCK_QUEUES], &lock->mutex);
	pthread_mutex_unlock(&lock->mutex);
}

void fair_lock_unlock(struct fair_lock *lock)
{
	pthread_mutex_lock(&lock->mutex);
	lock->serving++;
	if (lock->serving != lock->next)
		pthread_cond_broadcast(&lock->turn[lock->serving % FAIR_LOCK_QUEUES]);
	pthread_mutex_unlock(&lock->mutex);
}
