// SPDX-License-Identifier: Apache-2.0
/*
 * Draws by OpenSSL's functions, and makes keys by them. The adapter is the
 * provider, by OPENSSL_CONF, and not seen here.
 *
 * Usage: draw-openssl COUNTER
 *
 * See README.md.
 */
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "counter.h"

#define WARM  20
#define DRAWS 32
#define LEN   16

struct draw {
	uint8_t bytes[LEN];
	uint8_t private[LEN];
	uint8_t key[LEN];
};

static void die(const char *what)
{
	fprintf(stderr, "draw-openssl: %s failed\n", what);
	exit(EXIT_FAILURE);
}

/* The first half of an Ed25519 public key. */
static void make_key(uint8_t *to)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	uint8_t public[2 * LEN];
	size_t len = sizeof(public);

	if (!key || EVP_PKEY_get_raw_public_key(key, public, &len) != 1 || len != sizeof(public))
		die("EVP_PKEY_Q_keygen()");
	memcpy(to, public, LEN);
	EVP_PKEY_free(key);
}

static void draw(struct draw *d)
{
	if (RAND_bytes(d->bytes, LEN) != 1)
		die("RAND_bytes()");
	if (RAND_priv_bytes(d->private, LEN) != 1)
		die("RAND_priv_bytes()");
	make_key(d->key);
}

int main(int argc, char **argv)
{
	static struct draw draws[DRAWS];
	const volatile uint64_t *counter;
	uint64_t before;

	if (argc != 2) {
		fputs("Usage: draw-openssl COUNTER\n", stderr);
		return 2;
	}
	counter = counter_map(argv[1]);
	if (!counter)
		die(argv[1]);
	before = *counter;
	for (int i = 0; i < WARM; i++)
		draw(&draws[0]);
	puts("READY");
	fflush(stdout);
	while (*counter == before)
		draw(&draws[0]);
	for (int i = 0; i < DRAWS; i++)
		draw(&draws[i]);
	for (int i = 0; i < DRAWS; i++) {
		print_bytes("value RAND_bytes", draws[i].bytes, LEN);
		print_bytes("value RAND_priv_bytes", draws[i].private, LEN);
		print_bytes("value EVP_PKEY_Q_keygen", draws[i].key, LEN);
	}
	puts("DONE");
	return EXIT_SUCCESS;
}
