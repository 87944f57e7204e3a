/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Session tokens: when a token expires, encrypted and authenticated with a key
 * that nobody but this machine's instance has. The key is drawn when the machine
 * is made, booted or restored: what the original gave out is worth nothing to a
 * clone, nor the other way round. Loop thread only.
 */
#ifndef MMDS_TOKEN_H
#define MMDS_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define MMDS_TOKEN_LEN 48    /* characters of base64 */
#define MMDS_TOKEN_MAX 70    /* longer ones are not looked at */
#define MMDS_TTL_MAX_S 21600 /* six hours; at least one second */
#define MMDS_TOKEN_KEY 32    /* bytes */

struct mmds_tokens {
	uint8_t key[MMDS_TOKEN_KEY];
	uint32_t issued; /* with this key */
};

/* Draws the key; -errno. */
int mmds_tokens_init(struct mmds_tokens *tokens) must_check;
void mmds_tokens_fini(struct mmds_tokens *tokens); /* forgets it */

/* A token that is valid until now_ns (CLOCK_MONOTONIC) is ttl_s seconds later. -errno: no random bytes. */
int mmds_token_make(struct mmds_tokens *tokens, uint32_t ttl_s, uint64_t now_ns,
		    char text[MMDS_TOKEN_LEN + 1]) must_check;
bool mmds_token_is_valid(const struct mmds_tokens *tokens, const char *text, uint64_t now_ns);

#endif
