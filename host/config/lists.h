/* SPDX-License-Identifier: Apache-2.0 */
/* Lists in the structs of config.h. */
#ifndef CONFIG_LISTS_H
#define CONFIG_LISTS_H

/* An array of structs that a table of fields describes (FIELD_ARRAY). */
struct field_array {
	unsigned int num;
	void *items; /* owned; NULL if there are none */
};

#define CONFIG_LIST_MAX 16

struct string_list {
	unsigned int num;
	char *items[CONFIG_LIST_MAX]; /* owned */
};

void string_list_fini(struct string_list *list); /* empties it */

#endif
