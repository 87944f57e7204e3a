/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef RNG_RESEED_H
#define RNG_RESEED_H

#include <linux/types.h>

bool rng_reseed_is_on(void);
int rng_reseed_now(void);
int rng_reseed_quietly(void);

#endif /* RNG_RESEED_H */
