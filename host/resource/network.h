/* SPDX-License-Identifier: Apache-2.0 */
/* What a load changes about network interfaces. */
#ifndef RESOURCE_NETWORK_H
#define RESOURCE_NETWORK_H

#include "base/err.h"
#include "config/config.h"
#include "config/json_fields.h"

/* An item of network_overrides. */
extern const struct field_table network_override_table;

/* field_custom_fn for a struct network_overrides: an array of objects. */
int network_overrides_decode(json_t *value, void *at, const char *name, struct err *e) must_check;

/* Gives the interfaces of a snapshot's configuration their other taps. On error *config is half-changed. */
int network_override(struct vm_config *config, const struct network_overrides *overrides, struct err *e) must_check;

#endif
