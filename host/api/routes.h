/* SPDX-License-Identifier: Apache-2.0 */
/* From a request to an action and its answer; knows method, path and body, and nothing of HTTP. */
#ifndef API_ROUTES_H
#define API_ROUTES_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/err.h"
#include "vmm/vmm.h"

/* It waits for files: api_route_result() has the rest when vmm_set_on_idle() tells. Or it has to wait for another that does: again then. */
#define API_LATER 1
#define API_WAIT  2

/* What its body says is the guest's, and nothing for a log: metadata. */
bool api_route_is_secret(const char *method, const char *target);

/*
 * Carries out one request. target is as the client wrote it ("/drives/rootfs"); body may be NULL if len is 0.
 * 0: *reply is the answer to a GET (a new reference), or NULL. Otherwise -errno and the sentence for the client. In either case
 * *deprecated says whether the body had a field that clients should not use any more.
 */
int api_route_request(struct vmm *vmm, const char *method, const char *target, const char *body, size_t len,
		      json_t **reply, bool *deprecated, struct err *e) must_check;
/* As api_route_request(), of the one that returned API_LATER. */
int api_route_result(struct vmm *vmm, json_t **reply, struct err *e) must_check;

#endif
