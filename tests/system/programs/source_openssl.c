// SPDX-License-Identifier: Apache-2.0
/* A program of OpenSSL's that knows nothing of snapshots: openssl.cnf decides whether it is safe. */
#include "source.h"

#include <openssl/rand.h>

int source_init(void)
{
	return 0;
}

int source_draw(void *buf, size_t len)
{
	return RAND_bytes(buf, (int)len) == 1 ? 0 : -1;
}
