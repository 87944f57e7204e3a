/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef RNG_RESEED_H
#define RNG_RESEED_H

int rng_reseed_now(void);

#endif /* RNG_RESEED_H */
