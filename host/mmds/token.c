// SPDX-License-Identifier: Apache-2.0
/*
 * base64(nonce | encrypted expiry | tag), by ChaCha20-Poly1305 (RFC 8439) of
 * libsodium. The nonces are random, so a key is good for 2^32 tokens.
 */
#include "mmds/token.h"

#include <endian.h>
#include <string.h>

#include <sodium.h>

#include "base/rand.h"

#define NONCE_LEN crypto_aead_chacha20poly1305_IETF_NPUBBYTES
#define TAG_LEN	  crypto_aead_chacha20poly1305_IETF_ABYTES
#define RAW_LEN	  (NONCE_LEN + sizeof(uint64_t) + TAG_LEN)
#define VARIANT	  sodium_base64_VARIANT_ORIGINAL

_Static_assert(MMDS_TOKEN_KEY == crypto_aead_chacha20poly1305_IETF_KEYBYTES, "the cipher's key");
_Static_assert(MMDS_TOKEN_LEN + 1 == sodium_base64_ENCODED_LEN(RAW_LEN, VARIANT), "the text of RAW_LEN bytes");

int mmds_tokens_init(struct mmds_tokens *tokens)
{
	if (sodium_init() < 0)
		return -EIO;
	tokens->issued = 0;
	return rand_bytes(tokens->key, sizeof(tokens->key));
}

void mmds_tokens_fini(struct mmds_tokens *tokens)
{
	sodium_memzero(tokens, sizeof(*tokens));
}

int mmds_token_make(struct mmds_tokens *tokens, uint32_t ttl_s, uint64_t now_ns, char text[MMDS_TOKEN_LEN + 1])
{
	uint64_t expiry_ms = htole64(now_ns / 1000000 + ttl_s * 1000ull);
	uint8_t raw[RAW_LEN];
	int r = tokens->issued == UINT32_MAX ? mmds_tokens_init(tokens) : 0;

	if (!r)
		r = rand_bytes(raw, NONCE_LEN);
	if (r)
		return r;
	crypto_aead_chacha20poly1305_ietf_encrypt(raw + NONCE_LEN, NULL, (const uint8_t *)&expiry_ms, sizeof(expiry_ms),
						  NULL, 0, NULL, raw, tokens->key);
	tokens->issued++;
	sodium_bin2base64(text, MMDS_TOKEN_LEN + 1, raw, sizeof(raw), VARIANT);
	return 0;
}

bool mmds_token_is_valid(const struct mmds_tokens *tokens, const char *text, uint64_t now_ns)
{
	uint8_t raw[RAW_LEN];
	uint64_t expiry_ms;
	size_t len;

	if (strlen(text) != MMDS_TOKEN_LEN ||
	    sodium_base642bin(raw, sizeof(raw), text, MMDS_TOKEN_LEN, NULL, &len, NULL, VARIANT) || len != RAW_LEN)
		return false;
	if (crypto_aead_chacha20poly1305_ietf_decrypt((uint8_t *)&expiry_ms, NULL, NULL, raw + NONCE_LEN,
						      RAW_LEN - NONCE_LEN, NULL, 0, raw, tokens->key))
		return false;
	return now_ns / 1000000 < le64toh(expiry_ms);
}
