/* SPDX-License-Identifier: Apache-2.0 */
/* The REST API on a Unix socket: libmicrohttpd inside our own event loop. */
#ifndef API_SERVER_H
#define API_SERVER_H

#include <stddef.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "vmm/vmm.h"

/* Requests that a later version may refuse. */
#define DEPRECATED_API_METRICS(M) M(deprecated_api, deprecated_http_api_calls)
METRICS_DECLARE(deprecated_api, DEPRECATED_API_METRICS)

struct api_server;

#define API_DEFAULT_MAX_PAYLOAD 51200

/*
 * Binds path (a stale socket of a process that is gone is replaced, one that answers is refused) and serves requests from
 * loop. max_payload: bytes of a request body; more is answered with 400.
 */
int api_server_new(const char *path, size_t max_payload, struct vmm *vmm, struct loop *loop, struct api_server **server,
		   struct err *e) must_check;
/* Closes connections and removes the socket file, if it is still ours. NULL is fine. */
void api_server_free(struct api_server *server);

#endif
