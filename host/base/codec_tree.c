// SPDX-License-Identifier: Apache-2.0
/*
 * Hostile bytes become a tree: they pass codec_scan() before libcbor allocates
 * anything for them, and every map in the tree is looked through for keys that
 * are not short text or appear twice, before anybody reads a value.
 */
#include "base/codec_tree.h"

#include <string.h>

#include "base/codec_limits.h"
#include "base/codec_scan.h"
#include "base/utf8.h"

static int codec_check(cbor_item_t *item, struct err *e);

static bool codec_same_key(const cbor_item_t *a, const cbor_item_t *b)
{
	size_t len = cbor_string_length(a);

	return len == cbor_string_length(b) && memcmp(cbor_string_handle(a), cbor_string_handle(b), len) == 0;
}

static int codec_check_key(const struct cbor_pair *pairs, size_t index, struct err *e)
{
	const cbor_item_t *key = pairs[index].key;
	size_t len;

	if (!cbor_isa_string(key))
		return err_set(e, EINVAL, "a map has a key that is not text");
	len = cbor_string_length(key);
	if (len == 0 || len > CODEC_MAX_KEY || !utf8_is_text(cbor_string_handle(key), len))
		return err_set(e, EINVAL, "a map has a key that is not text of 1 to %d bytes", CODEC_MAX_KEY);
	for (size_t i = 0; i < index; i++) {
		if (codec_same_key(pairs[i].key, key))
			return err_set(e, EINVAL, "a map has the key \"%.*s\" twice", (int)len,
				       (const char *)cbor_string_handle(key));
	}
	return 0;
}

static int codec_check_map(cbor_item_t *map, struct err *e)
{
	struct cbor_pair *pairs = cbor_map_handle(map);
	int r = 0;

	for (size_t i = 0; i < cbor_map_size(map) && r == 0; i++) {
		r = codec_check_key(pairs, i, e);
		if (r == 0)
			r = codec_check(pairs[i].value, e);
	}
	return r;
}

/* Recursion is as deep as the tree, which codec_scan() has bounded. */
static int codec_check(cbor_item_t *item, struct err *e)
{
	int r = 0;

	if (cbor_isa_map(item))
		return codec_check_map(item, e);
	if (!cbor_isa_array(item))
		return 0;
	for (size_t i = 0; i < cbor_array_size(item) && r == 0; i++)
		r = codec_check(cbor_array_handle(item)[i], e);
	return r;
}

int codec_tree_new(const void *data, size_t len, cbor_item_t **tree, struct err *e)
{
	struct cbor_load_result result;
	cbor_item_t *item;
	int r;

	r = codec_scan(data, len, e);
	if (r < 0)
		return r;
	item = cbor_load(data, len, &result);
	if (!item)
		return result.error.code == CBOR_ERR_MEMERROR
			       ? err_set(e, ENOMEM, "there is not enough memory to read it")
			       : err_set(e, EINVAL, "it is not valid CBOR");
	r = cbor_isa_map(item) ? codec_check(item, e) : err_set(e, EINVAL, "it is not a map");
	if (r < 0) {
		cbor_decref(&item);
		return r;
	}
	*tree = item;
	return 0;
}
