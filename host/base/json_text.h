/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_JSON_TEXT_H
#define BASE_JSON_TEXT_H

#include <jansson.h>

/*
 * value as text, malloc'ed; flags are json_dumps()'s. NULL when out of memory. json_dumps() is not used: when it cannot
 * make its buffer larger it leaves pieces out and says nothing (jansson 2.14).
 */
char *json_to_text(const json_t *value, size_t flags);

#endif
