// SPDX-License-Identifier: Apache-2.0
/*
 * The CBOR reader, over a tree that codec_tree_new() has checked for form.
 * A reader is a map in the tree plus the way to it. All readers of one tree
 * share the first error; a reader without a map (its key was missing) fails
 * quietly, because that error is there already. One thread.
 */
#include "base/codec.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cbor.h>

#include "base/cleanup.h"
#include "base/codec_limits.h"
#include "base/codec_tree.h"
#include "base/utf8.h"

/* What was handed out and lives as long as the tree: texts with their NUL. */
struct dec_text {
	struct dec_text *next;
	char text[];
};

struct dec {
	struct dec *root; /* the one that dec_new() gave */
	struct dec *parent;
	cbor_item_t *map; /* borrowed from the tree; NULL: a reader on which everything fails */
	bool *seen;	  /* owned: one for each key */
	size_t index;	  /* in the parent's array, if key_is_array */
	bool key_is_array;
	char key[CODEC_MAX_KEY + 1]; /* of the parent */

	struct dec *next; /* in the root: all sub-readers, to free them */
};

struct dec_root {
	struct dec dec;
	struct dec broken;	/* stands in for a sub-reader that could not be allocated */
	cbor_item_t *tree;	/* owned */
	struct dec_text *texts; /* owned */
	bool failed;
	struct err err;
};

static struct dec_root *dec_root(struct dec *dec)
{
	return container_of(dec->root, struct dec_root, dec);
}

/* Writes "devices.rng.queues[1]" for dec, with a dot behind it if it is not empty. Depth is bounded by the tree's. */
static void dec_path(const struct dec *dec, char *path, size_t size)
{
	size_t len;

	path[0] = '\0';
	if (!dec->parent)
		return;
	dec_path(dec->parent, path, size);
	len = strlen(path);
	if (dec->key_is_array)
		snprintf(path + len, size - len, "%s[%zu].", dec->key, dec->index);
	else
		snprintf(path + len, size - len, "%s.", dec->key);
}

/* "<path>.<key> <text>"; without a key, "<path>: <text>". */
static void dec_vfail(struct dec *dec, const char *key, const char *fmt, va_list ap)
{
	struct dec_root *root = dec_root(dec);
	char path[512], text[512];
	size_t len;

	if (root->failed)
		return;
	root->failed = true;
	vsnprintf(text, sizeof(text), fmt, ap);
	dec_path(dec, path, sizeof(path));
	len = strlen(path);
	if (!key && len > 0)
		path[len - 1] = '\0';
	if (key)
		err_set(&root->err, EINVAL, "%s%s %s", path, key, text);
	else
		err_set(&root->err, EINVAL, "%s%s%s", path, len > 0 ? ": " : "", text);
}

static void dec_fail_key(struct dec *dec, const char *key, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void dec_fail_key(struct dec *dec, const char *key, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	dec_vfail(dec, key, fmt, ap);
	va_end(ap);
}

void dec_fail(struct dec *dec, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	dec_vfail(dec, NULL, fmt, ap);
	va_end(ap);
}

/* Readies a reader of map. false when out of memory. */
static bool dec_open(struct dec *dec, cbor_item_t *map)
{
	dec->seen = calloc(cbor_map_size(map) + 1, sizeof(*dec->seen));
	if (!dec->seen)
		return false;
	dec->map = map;
	return true;
}

int dec_new(const void *data, size_t len, struct dec **dec, struct err *e)
{
	struct dec_root *root = calloc(1, sizeof(*root));
	int r;

	if (!root)
		return err_set(e, ENOMEM, "the state cannot be read: there is not enough memory");
	root->dec.root = &root->dec;
	root->broken.root = &root->dec;
	r = codec_tree_new(data, len, &root->tree, e);
	if (r < 0) {
		root->tree = NULL;
		dec_free(&root->dec);
		return err_wrap(e, r, "the state cannot be read");
	}
	if (!dec_open(&root->dec, root->tree)) {
		dec_free(&root->dec);
		return err_set(e, ENOMEM, "the state cannot be read: there is not enough memory");
	}
	*dec = &root->dec;
	return 0;
}

void dec_free(struct dec *dec)
{
	struct dec_root *root;

	if (!dec)
		return;
	root = dec_root(dec);
	while (dec->next) {
		struct dec *sub = dec->next;

		dec->next = sub->next;
		free(sub->seen);
		free(sub);
	}
	while (root->texts) {
		struct dec_text *text = root->texts;

		root->texts = text->next;
		free(text);
	}
	if (root->tree)
		cbor_decref(&root->tree);
	free(dec->seen);
	free(root);
}

/* The value of key, or NULL and the error is set. */
static cbor_item_t *dec_get(struct dec *dec, const char *key)
{
	size_t len = strlen(key);
	struct cbor_pair *pairs;

	if (!dec->map) {
		dec_fail_key(dec, key, "is missing");
		return NULL;
	}
	pairs = cbor_map_handle(dec->map);
	for (size_t i = 0; i < cbor_map_size(dec->map); i++) {
		const cbor_item_t *name = pairs[i].key;

		if (cbor_string_length(name) == len && memcmp(cbor_string_handle(name), key, len) == 0) {
			dec->seen[i] = true;
			return pairs[i].value;
		}
	}
	dec_fail_key(dec, key, "is missing");
	return NULL;
}

uint64_t dec_u64(struct dec *dec, const char *key, uint64_t min, uint64_t max)
{
	cbor_item_t *item = dec_get(dec, key);
	uint64_t value;

	if (!item)
		return 0;
	if (!cbor_isa_uint(item)) {
		dec_fail_key(dec, key, "must be an unsigned integer");
		return 0;
	}
	value = cbor_get_int(item);
	if (value < min || value > max) {
		dec_fail_key(dec, key, "is %" PRIu64 ", %" PRIu64 " to %" PRIu64 " are allowed", value, min, max);
		return 0;
	}
	return value;
}

int64_t dec_i64(struct dec *dec, const char *key, int64_t min, int64_t max)
{
	cbor_item_t *item = dec_get(dec, key);
	uint64_t bits;
	int64_t value;

	if (!item)
		return 0;
	if (!cbor_isa_uint(item) && !cbor_isa_negint(item)) {
		dec_fail_key(dec, key, "must be an integer");
		return 0;
	}
	bits = cbor_get_int(item);
	if (bits > INT64_MAX) {
		dec_fail_key(dec, key, "has more than 64 bits, %" PRId64 " to %" PRId64 " are allowed", min, max);
		return 0;
	}
	value = cbor_isa_negint(item) ? -1 - (int64_t)bits : (int64_t)bits;
	if (value < min || value > max) {
		dec_fail_key(dec, key, "is %" PRId64 ", %" PRId64 " to %" PRId64 " are allowed", value, min, max);
		return 0;
	}
	return value;
}

bool dec_bool(struct dec *dec, const char *key)
{
	cbor_item_t *item = dec_get(dec, key);

	if (!item)
		return false;
	if (!cbor_is_bool(item)) {
		dec_fail_key(dec, key, "must be true or false");
		return false;
	}
	return cbor_get_bool(item);
}

const uint8_t *dec_blob(struct dec *dec, const char *key, size_t min, size_t max, size_t *len)
{
	static const uint8_t empty[1];
	cbor_item_t *item = dec_get(dec, key);

	*len = 0;
	if (!item)
		return NULL;
	if (!cbor_isa_bytestring(item)) {
		dec_fail_key(dec, key, "must be a byte string");
		return NULL;
	}
	if (cbor_bytestring_length(item) < min || cbor_bytestring_length(item) > max) {
		dec_fail_key(dec, key, "has %zu bytes, %zu to %zu are allowed", cbor_bytestring_length(item), min, max);
		return NULL;
	}
	*len = cbor_bytestring_length(item);
	return *len > 0 ? cbor_bytestring_handle(item) : empty;
}

void dec_bytes(struct dec *dec, const char *key, void *data, size_t len)
{
	size_t actual;
	const uint8_t *blob = dec_blob(dec, key, len, len, &actual);

	if (blob)
		memcpy(data, blob, len);
	else
		memset(data, 0, len);
}

/* A copy of the string with a NUL behind it, kept by the root. NULL when out of memory. */
static const char *dec_keep_text(struct dec *dec, const cbor_item_t *item)
{
	struct dec_root *root = dec_root(dec);
	size_t len = cbor_string_length(item);
	struct dec_text *text = malloc(sizeof(*text) + len + 1);

	if (!text)
		return NULL;
	if (len > 0)
		memcpy(text->text, cbor_string_handle(item), len);
	text->text[len] = '\0';
	text->next = root->texts;
	root->texts = text;
	return text->text;
}

const char *dec_str(struct dec *dec, const char *key, size_t max_len)
{
	cbor_item_t *item = dec_get(dec, key);
	const char *text;
	size_t len;

	if (!item || cbor_is_null(item))
		return NULL;
	if (!cbor_isa_string(item)) {
		dec_fail_key(dec, key, "must be text or null");
		return NULL;
	}
	len = cbor_string_length(item);
	if (len > max_len) {
		dec_fail_key(dec, key, "has %zu bytes, at most %zu are allowed", len, max_len);
		return NULL;
	}
	if (len > 0 && !utf8_is_text(cbor_string_handle(item), len)) {
		dec_fail_key(dec, key, "is not UTF-8 text");
		return NULL;
	}
	text = dec_keep_text(dec, item);
	if (!text)
		dec_fail_key(dec, key, "cannot be read: there is not enough memory");
	return text;
}

/* A sub-reader of map, which may be NULL; never NULL itself. */
static struct dec *dec_sub(struct dec *parent, const char *key, cbor_item_t *map)
{
	struct dec_root *root = dec_root(parent);
	struct dec *dec = calloc(1, sizeof(*dec));

	if (!dec || (map && !dec_open(dec, map))) {
		free(dec);
		dec_fail_key(parent, key, "cannot be read: there is not enough memory");
		return &root->broken;
	}
	dec->root = parent->root;
	dec->parent = parent;
	snprintf(dec->key, sizeof(dec->key), "%s", key);
	dec->next = root->dec.next;
	root->dec.next = dec;
	return dec;
}

struct dec *dec_map(struct dec *dec, const char *key)
{
	cbor_item_t *item = dec_get(dec, key);

	if (item && !cbor_isa_map(item)) {
		dec_fail_key(dec, key, "must be a map");
		item = NULL;
	}
	return dec_sub(dec, key, item);
}

/* The array at key, or NULL and the error is set. */
static cbor_item_t *dec_get_array(struct dec *dec, const char *key)
{
	cbor_item_t *item = dec_get(dec, key);

	if (item && !cbor_isa_array(item)) {
		dec_fail_key(dec, key, "must be an array");
		return NULL;
	}
	return item;
}

size_t dec_array(struct dec *dec, const char *key, size_t max_items)
{
	cbor_item_t *item = dec_get_array(dec, key);

	if (!item)
		return 0;
	if (cbor_array_size(item) > max_items) {
		dec_fail_key(dec, key, "has %zu items, at most %zu are allowed", cbor_array_size(item), max_items);
		return 0;
	}
	return cbor_array_size(item);
}

struct dec *dec_item(struct dec *dec, const char *key, size_t index)
{
	cbor_item_t *array = dec_get_array(dec, key), *item = NULL;
	struct dec *sub;

	if (array && index >= cbor_array_size(array)) {
		dec_fail_key(dec, key, "has no item %zu", index);
	} else if (array) {
		item = cbor_array_handle(array)[index];
		if (!cbor_isa_map(item)) {
			dec_fail_key(dec, key, "has an item %zu that is not a map", index);
			item = NULL;
		}
	}
	sub = dec_sub(dec, key, item);
	sub->key_is_array = true;
	sub->index = index;
	return sub;
}

void dec_end(struct dec *dec)
{
	struct cbor_pair *pairs;

	if (!dec->map)
		return;
	pairs = cbor_map_handle(dec->map);
	for (size_t i = 0; i < cbor_map_size(dec->map); i++) {
		const cbor_item_t *name = pairs[i].key;

		if (!dec->seen[i])
			dec_fail(dec, "there is an unknown key \"%.*s\"", (int)cbor_string_length(name),
				 (const char *)cbor_string_handle(name));
	}
}

int dec_error(struct dec *dec, struct err *e)
{
	struct dec_root *root = dec_root(dec);

	if (!root->failed)
		return 0;
	*e = root->err;
	return -EINVAL;
}
