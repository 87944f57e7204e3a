/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest is answered: metadata, tokens, refusals. Knows nothing of connections. */
#ifndef MMDS_ANSWER_H
#define MMDS_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "mmds/http.h"
#include "mmds/store.h"
#include "mmds/token.h"

struct mmds_site {
	const struct mmds_store *store; /* borrowed */
	struct mmds_tokens tokens;
	enum mmds_version version;
	bool imds_compat; /* IMDS format, whatever the guest accepts */
};

/* The bytes of the answer at now_ns (CLOCK_MONOTONIC), *len of them, which the caller free()s; NULL when out of memory. */
char *mmds_answer(struct mmds_site *site, const struct mmds_request *request, uint64_t now_ns, size_t *len);

#endif
