/* SPDX-License-Identifier: Apache-2.0 */
/* Rate limiters in a snapshot. */
#ifndef STATE_LIMITER_H
#define STATE_LIMITER_H

#include <stdint.h>

#include "base/rate_limiter.h"
#include "state/table.h"

/* Of struct rate_limiter_state: a member of a device's own state. */
extern const struct state_table limiter_state_table;

/*
 * Takes over what was loaded; a budget beyond its bucket is an error, so that a hostile snapshot gains nothing but its own
 * limits. dec is the map that the limiter was in.
 */
void limiter_load(struct rate_limiter *rl, const struct rate_limiter_state *state, struct dec *dec, uint64_t now_ns);

#endif
