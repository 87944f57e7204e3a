// SPDX-License-Identifier: Apache-2.0
/*
 * The CBOR reader, over the items that codec_index() has checked for form.
 * A reader is a map among them plus the way to it. All readers of one input
 * share the first error; a reader without a map (its key was missing) fails
 * quietly, because that error is there already. One thread.
 */
#include "state/codec.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/utf8.h"
#include "state/codec_index.h"
#include "state/codec_limits.h"

/* What was handed out and lives as long as the input: texts with their NUL. */
struct dec_text {
	struct dec_text *next;
	char text[];
};

struct dec {
	struct dec *root; /* the one that dec_new() gave */
	struct dec *parent;
	struct codec_item *map; /* borrowed from the root; NULL: a reader on which everything fails */
	size_t index;		/* in the parent's array, if key_is_array */
	bool key_is_array;
	char key[CODEC_MAX_KEY + 1]; /* of the parent */

	struct dec *next; /* in the root: all sub-readers, to free them */
};

struct dec_root {
	struct dec dec;
	struct dec broken;	  /* stands in for a sub-reader that could not be allocated */
	uint8_t *data;		  /* owned */
	struct codec_item *items; /* owned; the first one is the map */
	struct dec_text *texts;	  /* owned */
	unsigned int version;
	bool failed;
	struct err err;
};

static struct dec_root *dec_root(struct dec *dec)
{
	return container_of(dec->root, struct dec_root, dec);
}

/* Writes "devices.rng.queues[1]" for dec, with a dot behind it if it is not empty. Depth is bounded by codec_index(). */
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

static int dec_read(struct dec_root *root, const void *data, size_t len, struct err *e)
{
	root->data = malloc(len + 1);
	if (!root->data)
		return err_set(e, ENOMEM, "there is not enough memory");
	if (len > 0)
		memcpy(root->data, data, len);
	return codec_index(root->data, len, &root->items, e);
}

int dec_new(const void *data, size_t len, struct dec **dec, struct err *e)
{
	struct dec_root *root = calloc(1, sizeof(*root));
	int r;

	if (!root)
		return err_set(e, ENOMEM, "the state cannot be read: there is not enough memory");
	root->dec.root = &root->dec;
	root->broken.root = &root->dec;
	root->version = DEC_NEWEST;
	r = dec_read(root, data, len, e);
	if (r < 0) {
		dec_free(&root->dec);
		return err_wrap(e, r, "the state cannot be read");
	}
	root->dec.map = root->items;
	*dec = &root->dec;
	return 0;
}

void dec_set_version(struct dec *dec, unsigned int version)
{
	dec_root(dec)->version = version;
}

unsigned int dec_version(struct dec *dec)
{
	return dec_root(dec)->version;
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
		free(sub);
	}
	while (root->texts) {
		struct dec_text *text = root->texts;

		root->texts = text->next;
		free(text);
	}
	free(root->items);
	free(root->data);
	free(root);
}

/* The value of key, or NULL. */
static struct codec_item *dec_find(struct dec *dec, const char *key)
{
	struct codec_item *name = dec->map ? dec->map + 1 : NULL;
	size_t len = strlen(key);

	for (uint64_t i = 0; dec->map && i < dec->map->value; i++) {
		struct codec_item *value = codec_next(name);

		if (name->value == len && memcmp(name->data, key, len) == 0) {
			name->seen = true;
			return value;
		}
		name = codec_next(value);
	}
	return NULL;
}

/* The value of key, or NULL and the error is set. */
static struct codec_item *dec_get(struct dec *dec, const char *key)
{
	struct codec_item *item = dec_find(dec, key);

	if (!item)
		dec_fail_key(dec, key, "is missing");
	return item;
}

bool dec_has(struct dec *dec, const char *key)
{
	return dec_find(dec, key) != NULL;
}

bool dec_has_text(struct dec *dec, const char *key)
{
	struct codec_item *item = dec_find(dec, key);

	return item && item->type == CODEC_TEXT;
}

uint64_t dec_u64(struct dec *dec, const char *key, uint64_t min, uint64_t max)
{
	struct codec_item *item = dec_get(dec, key);
	uint64_t value;

	if (!item)
		return 0;
	if (item->type != CODEC_UINT) {
		dec_fail_key(dec, key, "must be an unsigned integer");
		return 0;
	}
	value = item->value;
	if (value < min || value > max) {
		dec_fail_key(dec, key, "is %" PRIu64 ", %" PRIu64 " to %" PRIu64 " are allowed", value, min, max);
		return 0;
	}
	return value;
}

int64_t dec_i64(struct dec *dec, const char *key, int64_t min, int64_t max)
{
	struct codec_item *item = dec_get(dec, key);
	uint64_t bits;
	int64_t value;

	if (!item)
		return 0;
	if (item->type != CODEC_UINT && item->type != CODEC_NEGINT) {
		dec_fail_key(dec, key, "must be an integer");
		return 0;
	}
	bits = item->value;
	if (bits > INT64_MAX) {
		dec_fail_key(dec, key, "has more than 64 bits, %" PRId64 " to %" PRId64 " are allowed", min, max);
		return 0;
	}
	value = item->type == CODEC_NEGINT ? -1 - (int64_t)bits : (int64_t)bits;
	if (value < min || value > max) {
		dec_fail_key(dec, key, "is %" PRId64 ", %" PRId64 " to %" PRId64 " are allowed", value, min, max);
		return 0;
	}
	return value;
}

bool dec_bool(struct dec *dec, const char *key)
{
	struct codec_item *item = dec_get(dec, key);

	if (!item)
		return false;
	if (item->type != CODEC_BOOL) {
		dec_fail_key(dec, key, "must be true or false");
		return false;
	}
	return item->value != 0;
}

const uint8_t *dec_blob(struct dec *dec, const char *key, size_t min, size_t max, size_t *len)
{
	static const uint8_t empty[1];
	struct codec_item *item = dec_get(dec, key);

	*len = 0;
	if (!item)
		return NULL;
	if (item->type != CODEC_BYTES) {
		dec_fail_key(dec, key, "must be a byte string");
		return NULL;
	}
	if (item->value < min || item->value > max) {
		dec_fail_key(dec, key, "has %" PRIu64 " bytes, %zu to %zu are allowed", item->value, min, max);
		return NULL;
	}
	*len = item->value;
	return *len > 0 ? item->data : empty;
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
static const char *dec_keep_text(struct dec *dec, const struct codec_item *item)
{
	struct dec_root *root = dec_root(dec);
	size_t len = item->value;
	struct dec_text *text = malloc(sizeof(*text) + len + 1);

	if (!text)
		return NULL;
	if (len > 0)
		memcpy(text->text, item->data, len);
	text->text[len] = '\0';
	text->next = root->texts;
	root->texts = text;
	return text->text;
}

const char *dec_str(struct dec *dec, const char *key, size_t max_len)
{
	struct codec_item *item = dec_get(dec, key);
	const char *text;
	size_t len;

	if (!item || item->type == CODEC_NULL)
		return NULL;
	if (item->type != CODEC_TEXT) {
		dec_fail_key(dec, key, "must be text or null");
		return NULL;
	}
	len = item->value;
	if (len > max_len) {
		dec_fail_key(dec, key, "has %zu bytes, at most %zu are allowed", len, max_len);
		return NULL;
	}
	if (len > 0 && !utf8_is_text(item->data, len)) {
		dec_fail_key(dec, key, "is not UTF-8 text");
		return NULL;
	}
	text = dec_keep_text(dec, item);
	if (!text)
		dec_fail_key(dec, key, "cannot be read: there is not enough memory");
	return text;
}

/* A sub-reader of map, which may be NULL; never NULL itself. */
static struct dec *dec_sub(struct dec *parent, const char *key, struct codec_item *map)
{
	struct dec_root *root = dec_root(parent);
	struct dec *dec = calloc(1, sizeof(*dec));

	if (!dec) {
		dec_fail_key(parent, key, "cannot be read: there is not enough memory");
		return &root->broken;
	}
	dec->root = parent->root;
	dec->parent = parent;
	dec->map = map;
	snprintf(dec->key, sizeof(dec->key), "%s", key);
	dec->next = root->dec.next;
	root->dec.next = dec;
	return dec;
}

struct dec *dec_map(struct dec *dec, const char *key)
{
	struct codec_item *item = dec_get(dec, key);

	if (item && item->type != CODEC_MAP) {
		dec_fail_key(dec, key, "must be a map");
		item = NULL;
	}
	return dec_sub(dec, key, item);
}

/* The array at key, or NULL and the error is set. */
static struct codec_item *dec_get_array(struct dec *dec, const char *key)
{
	struct codec_item *item = dec_get(dec, key);

	if (item && item->type != CODEC_ARRAY) {
		dec_fail_key(dec, key, "must be an array");
		return NULL;
	}
	return item;
}

size_t dec_array(struct dec *dec, const char *key, size_t max_items)
{
	struct codec_item *item = dec_get_array(dec, key);

	if (!item)
		return 0;
	if (item->value > max_items) {
		dec_fail_key(dec, key, "has %" PRIu64 " items, at most %zu are allowed", item->value, max_items);
		return 0;
	}
	return item->value;
}

struct dec *dec_item(struct dec *dec, const char *key, size_t index)
{
	struct codec_item *array = dec_get_array(dec, key), *item = NULL;
	struct dec *sub;

	if (array && index >= array->value) {
		dec_fail_key(dec, key, "has no item %zu: it has %" PRIu64, index, array->value);
	} else if (array) {
		item = array + 1;
		for (size_t i = 0; i < index; i++)
			item = codec_next(item);
		if (item->type != CODEC_MAP) {
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
	const struct codec_item *name = dec->map ? dec->map + 1 : NULL;

	for (uint64_t i = 0; name && i < dec->map->value; i++) {
		if (!name->seen)
			dec_fail(dec, "there is an unknown key \"%.*s\"", (int)name->value, (const char *)name->data);
		name += name->span; /* the value */
		name += name->span;
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
