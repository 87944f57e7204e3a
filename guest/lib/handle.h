/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A handle, and how functions find the default one.
 */
#ifndef LIB_HANDLE_H
#define LIB_HANDLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "pool.h"
#include "snapsafe.h"
#include "source.h"
#include "watch.h"

struct snapsafe {
	struct sns_source source;
	uint32_t number;	 /* no other handle of this process ever had it */
	_Atomic int error;	 /* ABSENT: why */
	struct sns_watch *watch; /* &own_watch; all default handles share one */
	struct sns_watch own_watch;
	struct sns_pool pool;
	bool vdso;	  /* getrandom() is a call of the vDSO: the pool has no slots */
	const char *path; /* behind this struct, or "" */
};

extern _Atomic(struct snapsafe *) sns_default; /* never NULL */

/* False: leaks go unnoticed. */
static inline bool sns_handle_is_good(struct snapsafe *s)
{
	if (__builtin_expect(s->source.kind == SNS_SOURCE_PAGE, 1))
		return sns_source_is_watched(&s->source);
	return s->source.kind != SNS_SOURCE_NONE && !atomic_load_explicit(&s->source.lost, memory_order_relaxed);
}

/* The handle that a function of the library was called for. */
static inline struct snapsafe *sns_handle(struct snapsafe *s)
{
	return s ? s : atomic_load_explicit(&sns_default, memory_order_acquire);
}

static inline enum snapsafe_state sns_handle_state(struct snapsafe *s)
{
	if (s->source.kind == SNS_SOURCE_NONE)
		return SNAPSAFE_ABSENT;
	if (sns_handle_is_good(s))
		return SNAPSAFE_ACTIVE;
	return s->source.kind == SNS_SOURCE_PAGE ? SNAPSAFE_UNWATCHED : SNAPSAFE_LOST;
}

#endif /* LIB_HANDLE_H */
