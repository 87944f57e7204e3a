// SPDX-License-Identifier: Apache-2.0
/* As many programs do it: a key from the kernel at the start, and a cipher from then on. Not safe, which is the point. */
#include "source.h"

#include <sodium.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

static uint8_t key[crypto_stream_chacha20_KEYBYTES];
static _Atomic uint64_t requests;

int source_init(void)
{
	return getrandom(key, sizeof(key), 0) == sizeof(key) ? 0 : -1;
}

int source_draw(void *buf, size_t len)
{
	uint8_t nonce[crypto_stream_chacha20_NONCEBYTES];
	uint64_t request = atomic_fetch_add(&requests, 1);

	_Static_assert(sizeof(nonce) == sizeof(request), "a request is a nonce");
	memcpy(nonce, &request, sizeof(nonce));
	return crypto_stream_chacha20(buf, len, nonce, key);
}
