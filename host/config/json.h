/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON to config structs and back, by one table of fields a struct. Strict:
 * unknown keys, duplicate keys, wrong types and values out of range are
 * refused by name. null stands for an absent optional field.
 * The only user of jansson besides api/.
 */
#ifndef CONFIG_JSON_H
#define CONFIG_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/err.h"
#include "config/config.h"

/* Parses one JSON object; the caller json_decref()s *root. Errors tell line and column. */
int config_json_parse(const char *text, size_t len, json_t **root, struct err *e) must_check;

/* Each fills *c (which the caller has zeroed or set to defaults) from an object; on error *c holds nothing that needs freeing. */
int boot_source_from_json(json_t *obj, struct boot_source_config *c, struct err *e) must_check;
int machine_config_from_json(json_t *obj, struct machine_config *c, struct err *e) must_check;
int machine_config_patch_from_json(json_t *obj, struct machine_config_patch *c, struct err *e) must_check;
int drive_from_json(json_t *obj, struct drive_config *c, struct err *e) must_check;
int drive_update_from_json(json_t *obj, struct drive_update *c, struct err *e) must_check;
int entropy_from_json(json_t *obj, struct entropy_config *c, struct err *e) must_check;
int serial_from_json(json_t *obj, struct serial_config *c, struct err *e) must_check;
int logger_from_json(json_t *obj, struct logger_config *c, struct err *e) must_check;
int metrics_from_json(json_t *obj, struct metrics_config *c, struct err *e) must_check;
int snapshot_create_from_json(json_t *obj, struct snapshot_create_config *c, struct err *e) must_check;
int snapshot_load_from_json(json_t *obj, struct snapshot_load_config *c, struct err *e) must_check;

/* New references; NULL only when out of memory. */
json_t *machine_config_to_json(const struct machine_config *c);
/* The shape of the config file and of GET /vm/config. */
json_t *vm_config_to_json(const struct vm_config *config);

/*
 * The machine's configuration as text, for the state file, and back (every limit is checked again: a snapshot is hostile).
 * Where the console goes (serial) is the process's, not the snapshot's. malloc'ed, the caller frees it. *config need not be initialised
 * and is written only by a success; then the caller owns what is in it.
 */
char *vm_config_to_text(const struct vm_config *config);
int vm_config_from_text(const char *text, size_t len, struct vm_config *config, struct err *e) must_check;

#endif
