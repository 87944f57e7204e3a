/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls that tests replace, and the points at which tests break in.
 */
#ifndef LIB_SYS_H
#define LIB_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Fills buf from getrandom(2). 0 or -errno; never a thread cancellation point. */
int sns_sys_getrandom(void *buf, size_t len);

/*
 * Whether the C library's getrandom() is a call of the vDSO, without a system
 * call. Looks through the vDSO: ask once.
 */
bool sns_sys_has_vdso_getrandom(void);

/* The same by the C library's function, for where it is one of the vDSO. 0 or -errno. */
int sns_sys_vdso_getrandom(void *buf, size_t len);

/* Seconds since the machine started, to a few milliseconds. No system call where the kernel has a vDSO. */
uint64_t sns_sys_now_s(void);

/*
 * Private zeroed memory that a forked child finds zeroed again, and that core
 * dumps leave out. NULL if the kernel cannot promise that. munmap() frees it.
 */
void *sns_sys_map_wiped(size_t len);

/*
 * The same for secrets: never written to swap. Where the kernel has
 * MAP_DROPPABLE, it takes pages back when it needs memory: each page may turn to
 * zeros at any instruction. Elsewhere pages are locked, if the process may.
 */
void *sns_sys_map_secret(size_t len);

/* Where a leak or a fork can hurt; in the order in which they are passed. */
enum sns_point {
	SNS_POINT_SEED,	  /* the kernel's bytes are here, the key is not made */
	SNS_POINT_REFILL, /* a new block is about to be made */
	SNS_POINT_COPY,	  /* the generation was checked, bytes are about to be copied */
	SNS_POINT_CHECK,  /* bytes were copied, the second check comes next */
	SNS_POINT_DIRECT, /* the same, on the way without a buffer */
};

#ifdef SNAPSAFE_TESTING
extern void (*sns_test_hook)(enum sns_point point);

static inline void sns_point(enum sns_point point)
{
	if (sns_test_hook)
		sns_test_hook(point);
}
#else
static inline void sns_point(enum sns_point point)
{
	(void)point;
}
#endif

#endif /* LIB_SYS_H */
