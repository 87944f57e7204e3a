/* SPDX-License-Identifier: Apache-2.0 */
/* A whole configuration: its life, and its form as JSON. All of it by the list of resources. */
#ifndef RESOURCE_VM_CONFIG_H
#define RESOURCE_VM_CONFIG_H

#include <jansson.h>

#include "base/err.h"
#include "config/config.h"

void vm_config_init(struct vm_config *config); /* the defaults: 1 vCPU, 128 MiB */
/* Frees what it owns and zeroes it; accepts a zeroed one. */
void vm_config_fini(struct vm_config *config);

/* What belongs to the process and not to a snapshot (where the console goes) is moved; what *to has of it is replaced. */
void vm_config_move_own(struct vm_config *to, struct vm_config *from);
/* All but that goes back to the defaults. */
void vm_config_reset(struct vm_config *config);

/* The shape of the config file and of GET /vm/config. A new reference; NULL only when out of memory. */
json_t *vm_config_to_json(const struct vm_config *config);

/*
 * What a snapshot of v1.0 stores, as text; newer ones have a map (resource/state.h). Every limit is checked: a snapshot is
 * hostile. *config need not be initialised and is written only by a success; then the caller owns what is in it.
 */
int vm_config_from_text(const char *text, size_t len, struct vm_config *config, struct err *e) must_check;

#endif
