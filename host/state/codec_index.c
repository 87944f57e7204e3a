// SPDX-License-Identifier: Apache-2.0
/*
 * Hostile CBOR becomes a flat array of items in one pass, with libcbor's
 * streaming decoder: one callback for each item's head, a bounded stack of open
 * containers. What is allocated follows from the items that are really there,
 * never from what a length claims.
 */
#include "state/codec_index.h"

#include <stdlib.h>
#include <string.h>

#include <cbor.h>

#include "base/utf8.h"
#include "state/codec_limits.h"

/* Bytes that an item of a state file has, about. */
#define INDEX_ITEM_LEN 24u
#define INDEX_MIN_ROOM 16u

struct codec_open {
	uint32_t item;	  /* the container */
	uint64_t missing; /* items that it still needs */
};

struct codec_index {
	const char *refused; /* why, or NULL */
	bool no_memory;
	struct codec_item *items; /* owned */
	size_t num_items, room;
	size_t left;	    /* bytes from the current item's head to the end */
	unsigned int depth; /* open containers */
	struct codec_open open[CODEC_MAX_DEPTH];
};

static void codec_refuse(struct codec_index *index, const char *why)
{
	if (!index->refused)
		index->refused = why;
}

static bool codec_make_room(struct codec_index *index)
{
	size_t room = index->room ? index->room * 2 : index->left / INDEX_ITEM_LEN + INDEX_MIN_ROOM;
	struct codec_item *items;

	if (index->num_items < index->room)
		return true;
	items = realloc(index->items, room * sizeof(*items)); /* CODEC_MAX_ITEMS keeps this from overflowing */
	if (!items) {
		index->no_memory = true;
		codec_refuse(index, "there is not enough memory to read it");
		return false;
	}
	index->items = items;
	index->room = room;
	return true;
}

static void codec_add(struct codec_index *index, enum codec_type type, uint64_t value, const uint8_t *data)
{
	if (index->num_items == CODEC_MAX_ITEMS) {
		codec_refuse(index, "there are too many items");
		return;
	}
	if (!codec_make_room(index))
		return;
	index->items[index->num_items++] = (struct codec_item){ .type = type, .span = 1, .value = value, .data = data };
	if (index->depth > 0)
		index->open[index->depth - 1].missing--;
}

static void codec_open(struct codec_index *index, enum codec_type type, uint64_t entries, unsigned int items_per_entry)
{
	if (index->depth == CODEC_MAX_DEPTH) {
		codec_refuse(index, "maps and arrays are nested too deeply");
		return;
	}
	/* Each item has at least one byte: a larger count is a lie. */
	if (entries > index->left / items_per_entry) {
		codec_refuse(index, "a map or an array is cut short");
		return;
	}
	if (type == CODEC_MAP && entries > CODEC_MAX_KEYS) {
		codec_refuse(index, "a map has too many keys");
		return;
	}
	codec_add(index, type, entries, NULL);
	if (index->refused)
		return;
	index->open[index->depth++] =
		(struct codec_open){ .item = (uint32_t)index->num_items - 1, .missing = entries * items_per_entry };
}

static void codec_on_uint8(void *ctx, uint8_t value)
{
	codec_add(ctx, CODEC_UINT, value, NULL);
}

static void codec_on_negint8(void *ctx, uint8_t value)
{
	codec_add(ctx, CODEC_NEGINT, value, NULL);
}

static void codec_on_uint16(void *ctx, uint16_t value)
{
	codec_add(ctx, CODEC_UINT, value, NULL);
}

static void codec_on_negint16(void *ctx, uint16_t value)
{
	codec_add(ctx, CODEC_NEGINT, value, NULL);
}

static void codec_on_uint32(void *ctx, uint32_t value)
{
	codec_add(ctx, CODEC_UINT, value, NULL);
}

static void codec_on_negint32(void *ctx, uint32_t value)
{
	codec_add(ctx, CODEC_NEGINT, value, NULL);
}

static void codec_on_uint64(void *ctx, uint64_t value)
{
	codec_add(ctx, CODEC_UINT, value, NULL);
}

static void codec_on_negint64(void *ctx, uint64_t value)
{
	codec_add(ctx, CODEC_NEGINT, value, NULL);
}

static void codec_on_bytes(void *ctx, cbor_data data, size_t len)
{
	codec_add(ctx, CODEC_BYTES, len, data);
}

static void codec_on_text(void *ctx, cbor_data data, size_t len)
{
	codec_add(ctx, CODEC_TEXT, len, data);
}

static void codec_on_bool(void *ctx, bool value)
{
	codec_add(ctx, CODEC_BOOL, value, NULL);
}

static void codec_on_null(void *ctx)
{
	codec_add(ctx, CODEC_NULL, 0, NULL);
}

static void codec_on_array(void *ctx, size_t entries)
{
	codec_open(ctx, CODEC_ARRAY, entries, 1);
}

static void codec_on_map(void *ctx, size_t entries)
{
	codec_open(ctx, CODEC_MAP, entries, 2);
}

static void codec_on_indefinite(void *ctx)
{
	codec_refuse(ctx, "an item has no definite length");
}

static void codec_on_tag(void *ctx, uint64_t tag)
{
	(void)tag;
	codec_refuse(ctx, "there is a tag");
}

static void codec_on_float(void *ctx, float value)
{
	(void)value;
	codec_refuse(ctx, "there is a floating-point number");
}

static void codec_on_double(void *ctx, double value)
{
	(void)value;
	codec_refuse(ctx, "there is a floating-point number");
}

static void codec_on_undefined(void *ctx)
{
	codec_refuse(ctx, "there is an undefined value");
}

static const struct cbor_callbacks codec_callbacks = {
	.uint8 = codec_on_uint8,
	.uint16 = codec_on_uint16,
	.uint32 = codec_on_uint32,
	.uint64 = codec_on_uint64,
	.negint8 = codec_on_negint8,
	.negint16 = codec_on_negint16,
	.negint32 = codec_on_negint32,
	.negint64 = codec_on_negint64,
	.byte_string_start = codec_on_indefinite,
	.byte_string = codec_on_bytes,
	.string = codec_on_text,
	.string_start = codec_on_indefinite,
	.indef_array_start = codec_on_indefinite,
	.array_start = codec_on_array,
	.indef_map_start = codec_on_indefinite,
	.map_start = codec_on_map,
	.tag = codec_on_tag,
	.float2 = codec_on_float,
	.float4 = codec_on_float,
	.float8 = codec_on_double,
	.undefined = codec_on_undefined,
	.null = codec_on_null,
	.boolean = codec_on_bool,
	.indef_break = codec_on_indefinite,
};

static const char *codec_step(struct codec_index *index, const uint8_t *at, size_t *read)
{
	struct cbor_decoder_result result = cbor_stream_decode(at, index->left, &codec_callbacks, index);

	switch (result.status) {
	case CBOR_DECODER_FINISHED:
		*read = result.read;
		return index->refused;
	case CBOR_DECODER_NEDATA:
		return "it is cut short";
	case CBOR_DECODER_ERROR:
		break;
	}
	return "it is not valid CBOR";
}

static bool codec_same_text(const struct codec_item *a, const struct codec_item *b)
{
	return a->value == b->value && memcmp(a->data, b->data, a->value) == 0;
}

static bool codec_key_is_good(const struct codec_item *key)
{
	return key->type == CODEC_TEXT && key->value > 0 && key->value <= CODEC_MAX_KEY &&
	       utf8_is_text(key->data, key->value);
}

static int codec_check_keys(struct codec_item *map, struct err *e)
{
	struct codec_item *key = map + 1;

	for (uint64_t i = 0; i < map->value; i++) {
		struct codec_item *other = map + 1;

		if (!codec_key_is_good(key))
			return err_set(e, EINVAL, "a map has a key that is not text of 1 to %d bytes", CODEC_MAX_KEY);
		for (; other < key; other = codec_next(codec_next(other))) {
			if (codec_same_text(other, key))
				return err_set(e, EINVAL, "a map has the key \"%.*s\" twice", (int)key->value,
					       (const char *)key->data);
		}
		key = codec_next(codec_next(key));
	}
	return 0;
}

/* Ends the containers that have all that they need. */
static int codec_close(struct codec_index *index, struct err *e)
{
	int r = 0;

	while (!r && index->depth > 0 && index->open[index->depth - 1].missing == 0) {
		uint32_t at = index->open[--index->depth].item;

		index->items[at].span = (uint32_t)index->num_items - at;
		if (index->items[at].type == CODEC_MAP)
			r = codec_check_keys(&index->items[at], e);
	}
	return r;
}

static int codec_index_all(struct codec_index *index, const uint8_t *at, struct err *e)
{
	size_t len = index->left;
	int r;

	if (len > CODEC_MAX_SIZE)
		return err_set(e, EINVAL, "it has %zu bytes, at most %u are allowed", len, CODEC_MAX_SIZE);
	do {
		size_t read = 0;
		const char *refused = codec_step(index, at, &read);

		if (refused)
			return err_set(e, index->no_memory ? ENOMEM : EINVAL, "%s (at byte %zu)", refused,
				       len - index->left);
		at += read;
		index->left -= read;
		r = codec_close(index, e);
		if (r < 0)
			return r;
	} while (index->depth > 0);
	if (index->left > 0)
		return err_set(e, EINVAL, "%zu bytes follow its end", index->left);
	return index->items[0].type == CODEC_MAP ? 0 : err_set(e, EINVAL, "it is not a map");
}

int codec_index(const uint8_t *data, size_t len, struct codec_item **items, struct err *e)
{
	struct codec_index index = { .left = len };
	int r = codec_index_all(&index, data, e);

	if (r < 0) {
		free(index.items);
		return r;
	}
	*items = index.items;
	return 0;
}
