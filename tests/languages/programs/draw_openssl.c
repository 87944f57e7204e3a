// SPDX-License-Identifier: Apache-2.0
/*
 * Draws by OpenSSL's functions, and makes keys by them. The adapter is the
 * provider, by OPENSSL_CONF, and not seen here.
 *
 * Usage: draw-openssl COUNTER
 */
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

#include "draw_sources.h"

static void by_rand_bytes(uint8_t bytes[DRAW_LEN])
{
	if (RAND_bytes(bytes, DRAW_LEN) != 1)
		draw_failed("RAND_bytes()");
}

static void by_rand_priv_bytes(uint8_t bytes[DRAW_LEN])
{
	if (RAND_priv_bytes(bytes, DRAW_LEN) != 1)
		draw_failed("RAND_priv_bytes()");
}

/* The first half of an Ed25519 public key. */
static void by_keygen(uint8_t bytes[DRAW_LEN])
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	uint8_t public[2 * DRAW_LEN];
	size_t len = sizeof(public);

	if (!key || EVP_PKEY_get_raw_public_key(key, public, &len) != 1 || len != sizeof(public))
		draw_failed("EVP_PKEY_Q_keygen()");
	memcpy(bytes, public, DRAW_LEN);
	EVP_PKEY_free(key);
}

int main(int argc, char **argv)
{
	static const struct draw_source sources[] = {
		{ "RAND_bytes", by_rand_bytes },
		{ "RAND_priv_bytes", by_rand_priv_bytes },
		{ "EVP_PKEY_Q_keygen", by_keygen },
	};

	return draw_sources(argc, argv, sources, sizeof(sources) / sizeof(sources[0]));
}
