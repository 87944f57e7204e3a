/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether programs find a generation counter in /dev/vmclock0.
 */
#ifndef RNG_VMCLOCK_H
#define RNG_VMCLOCK_H

#include <linux/types.h>

bool rng_vmclock_counts(void);

#endif /* RNG_VMCLOCK_H */
