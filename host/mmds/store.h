/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata: one JSON object, which clients of the API write and the guest
 * reads. It is the process's: no snapshot has it. Loop thread only.
 */
#ifndef MMDS_STORE_H
#define MMDS_STORE_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/err.h"

struct mmds_store {
	json_t *root;	/* owned; NULL: nothing was put yet */
	size_t max_len; /* bytes, of the whole as compact JSON */
};

void mmds_store_init(struct mmds_store *store, size_t max_len);
void mmds_store_fini(struct mmds_store *store);

/*
 * The whole is value from now on (a reference is taken), or what it becomes by the merge patch (RFC 7396). -EINVAL if value is no
 * object, or there is nothing to patch; -EMSGSIZE if it gets too long; -ENOMEM. On error nothing has changed.
 */
int mmds_store_put(struct mmds_store *store, json_t *value, struct err *e) must_check;
int mmds_store_patch(struct mmds_store *store, json_t *patch, struct err *e) must_check;

/* From a file: --metadata. */
int mmds_store_read(struct mmds_store *store, const char *path, struct err *e) must_check;

/* The whole, {} if nothing was put. A new reference; NULL only when out of memory. */
json_t *mmds_store_get(const struct mmds_store *store);

/*
 * What a path leads to: "" and "/" to the whole, "/a/b" by a's b. Several slashes are one, and one at the end is none; otherwise a
 * JSON pointer (RFC 6901). A new reference; NULL if there is no such thing, or no memory.
 */
json_t *mmds_store_find(const struct mmds_store *store, const char *path);

#endif
