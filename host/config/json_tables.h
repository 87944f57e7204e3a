/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of json.c that describe a machine, for json_vm.c. */
#ifndef CONFIG_JSON_TABLES_H
#define CONFIG_JSON_TABLES_H

#include "config/json_fields.h"

extern const struct field_table boot_source_table;
extern const struct field_table machine_config_table;
extern const struct field_table drive_table;
extern const struct field_table entropy_table;
extern const struct field_table serial_table;

#endif
