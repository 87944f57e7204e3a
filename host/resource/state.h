/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's configuration in a state file: a map of sections, each by the table of fields that the API has for it. */
#ifndef RESOURCE_STATE_H
#define RESOURCE_STATE_H

#include "base/err.h"
#include "config/config.h"

struct dec;
struct enc;

/*
 * Writes the resources that are saved into the open map, a list as an array; a field that is not set is left out. What is
 * the process's (where the console goes) is not the snapshot's. -ENOMEM.
 */
int vm_config_save(const struct vm_config *config, struct enc *enc) must_check;

/*
 * Reads them; every value passes the checks that it would pass coming from the API: a snapshot is hostile. *config need not
 * be initialised and is written only by a success; then the caller owns what is in it.
 */
int vm_config_load(struct dec *dec, struct vm_config *config, struct err *e) must_check;

#endif
