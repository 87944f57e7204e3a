/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of PUT /snapshot/create (struct snapshot_create_config) and PUT /snapshot/load. */
#ifndef VMM_SNAPSHOT_REQUEST_H
#define VMM_SNAPSHOT_REQUEST_H

#include "base/err.h"
#include "config/config.h"
#include "config/json_fields.h"

extern const struct field_table snapshot_create_table;
int snapshot_create_check(const void *body, struct err *e);

/* Of a field "reseed_timeout_ms". Longer than a minute nobody should keep others waiting. */
#define RESEED_TIMEOUT          \
	.min = 1, .max = 60000, \
	.help = "Succeed once the guest has reseeded; if it has not in so many ms, pause it and fail."

extern const struct field_table snapshot_load_table;
int snapshot_load_check(const void *body, struct err *e);
/* What a checked body asks for; part of it. */
struct snapshot_load_config *snapshot_load_request_config(void *body);

#endif
