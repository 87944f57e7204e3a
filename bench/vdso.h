/* SPDX-License-Identifier: Apache-2.0 */
/*
 * getrandom() of the vDSO, called as a C library does that knows of it (glibc
 * 2.41), for guests whose own does not: Linux 6.11 and later, x86-64.
 */
#ifndef BENCH_VDSO_H
#define BENCH_VDSO_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct vdso_getrandom;

/* NULL, with errno ENOSYS, if this kernel's vDSO has no getrandom(); or ENOMEM. One for each thread, never freed. */
struct vdso_getrandom *vdso_getrandom_new(void);

/* As getrandom(2), but errors are returned: -errno. */
ssize_t vdso_getrandom(struct vdso_getrandom *v, void *to, size_t len, unsigned int flags);

/* Whether the vDSO has ever made bytes itself: it keeps a key for that. What it asked the kernel for leaves no trace. */
bool vdso_getrandom_has_key(const struct vdso_getrandom *v);

#endif /* BENCH_VDSO_H */
