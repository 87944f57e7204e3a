// SPDX-License-Identifier: Apache-2.0
/*
 * A change is made in a copy, which takes the place of the store when it is known
 * to fit. Recursion is as deep as the JSON, which its parser bounds (2048 levels).
 */
#include "mmds/store.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fdio.h"
#include "config/json_fields.h"

#define MMDS_FILE_MAX (64u * 1024 * 1024) /* bytes: the largest limit, and room for blanks of a smaller one */

void mmds_store_init(struct mmds_store *store, size_t max_len)
{
	*store = (struct mmds_store){ .max_len = max_len };
}

void mmds_store_fini(struct mmds_store *store)
{
	json_decref(store->root);
	store->root = NULL;
}

/* Takes the reference, also on error. */
static int store_replace(struct mmds_store *store, json_t *root, struct err *e)
{
	size_t len = json_dumpb(root, NULL, 0, JSON_COMPACT);

	if (!len || len > store->max_len)
		json_decref(root);
	if (!len)
		return err_set(e, ENOMEM, "MMDS error: out of memory");
	if (len > store->max_len)
		return err_set(
			e, EMSGSIZE,
			"MMDS limit exceeded error: The MMDS patch request doesn't fit. It would make %zu bytes of "
			"metadata, allowed are %zu.",
			len, store->max_len);
	json_decref(store->root);
	store->root = root;
	return 0;
}

static int store_check_object(json_t *value, struct err *e)
{
	return json_is_object(value) ? 0 : err_set(e, EINVAL, "MMDS error: metadata is a JSON object, nothing else.");
}

int mmds_store_put(struct mmds_store *store, json_t *value, struct err *e)
{
	int r = store_check_object(value, e);

	return r ? r : store_replace(store, json_incref(value), e);
}

static json_t *merge(json_t *target, json_t *patch);

/* Removes, or sets, one member of target. */
static int merge_member(json_t *target, const char *key, json_t *patch)
{
	json_t *merged;

	if (json_is_null(patch)) {
		(void)json_object_del(target, key); /* it need not be there */
		return 0;
	}
	merged = merge(json_object_get(target, key), patch);
	return merged ? json_object_set_new(target, key, merged) : -1;
}

/* RFC 7396, section 2. Changes target, if it is an object; a new reference, NULL when out of memory. */
static json_t *merge(json_t *target, json_t *patch)
{
	json_t *merged, *value;
	const char *key;

	if (!json_is_object(patch))
		return json_deep_copy(patch);
	merged = json_is_object(target) ? json_incref(target) : json_object();
	json_object_foreach (patch, key, value) {
		if (!merged || merge_member(merged, key, value)) {
			json_decref(merged);
			return NULL;
		}
	}
	return merged;
}

int mmds_store_patch(struct mmds_store *store, json_t *patch, struct err *e)
{
	json_t *copy, *merged;
	int r = store_check_object(patch, e);

	if (r)
		return r;
	if (!store->root)
		return err_set(e, EINVAL, "MMDS error: The MMDS data store is not initialized.");
	copy = json_deep_copy(store->root);
	merged = copy ? merge(copy, patch) : NULL;
	json_decref(copy);
	return merged ? store_replace(store, merged, e) : err_set(e, ENOMEM, "MMDS error: out of memory");
}

int mmds_store_read(struct mmds_store *store, const char *path, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	json_t *root;
	size_t len;
	int r = file_read("metadata", path, MMDS_FILE_MAX, &text, &len, e);

	if (!r)
		r = config_json_parse(text, len, &root, e);
	if (!r) {
		r = mmds_store_put(store, root, e);
		json_decref(root);
	}
	return r ? err_wrap(e, r, "Populating MMDS from file failed: \"%s\"", path) : 0;
}

json_t *mmds_store_get(const struct mmds_store *store)
{
	return store->root ? json_incref(store->root) : json_object();
}

/* The next part of a path, unescaped, into key; false: there is none. */
static bool path_next(const char **path, char *key)
{
	const char *at = *path + strspn(*path, "/");

	if (!*at)
		return false;
	while (*at && *at != '/') {
		bool escaped = at[0] == '~' && (at[1] == '0' || at[1] == '1');

		if (escaped)
			at++;
		*key++ = !escaped ? *at : *at == '0' ? '~' : '/';
		at++;
	}
	*key = '\0';
	*path = at;
	return true;
}

/* Digits without a leading zero: RFC 6901, section 4. */
static json_t *find_item(const json_t *array, const char *key)
{
	size_t digits = strspn(key, "0123456789");

	if (key[digits] || !digits || digits > 9 || (key[0] == '0' && digits > 1))
		return NULL;
	return json_array_get(array, strtoul(key, NULL, 10));
}

json_t *mmds_store_find(const struct mmds_store *store, const char *path)
{
	_cleanup_free_ char *key = malloc(strlen(path) + 1);
	json_t *at = store->root;

	if (!key)
		return NULL;
	if (!at)
		return path[strspn(path, "/")] ? NULL : json_object();
	while (at && path_next(&path, key))
		at = json_is_array(at) ? find_item(at, key) : json_object_get(at, key);
	return json_incref(at);
}
