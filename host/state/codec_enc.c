// SPDX-License-Identifier: Apache-2.0
/*
 * The CBOR writer. Lengths are definite, so a map's head can be written only
 * when its number of keys is known: each open map or array collects its body
 * in a buffer of its own, which is appended to the parent's when it ends.
 *
 * The first error sticks (no memory, too large, calls that do not nest) and
 * comes out of enc_finish(). One thread.
 */
#include "state/codec.h"

#include <stdlib.h>
#include <string.h>

#include <cbor.h>

#include "base/cleanup.h"
#include "state/codec_limits.h"
#include "base/utf8.h"

#define ENC_MAX_HEAD 9 /* initial byte and a 64-bit argument */

struct enc_level {
	bool is_array;
	size_t count;  /* items, or pairs */
	uint8_t *data; /* owned */
	size_t len;
	size_t capacity;
};

struct enc {
	int error;	    /* the first one, -errno */
	unsigned int depth; /* index of the innermost open level */
	struct enc_level levels[CODEC_MAX_DEPTH];
};

struct enc *enc_new(void)
{
	return calloc(1, sizeof(struct enc));
}

void enc_free(struct enc *enc)
{
	if (!enc)
		return;
	for (unsigned int i = 0; i < ARRAY_SIZE(enc->levels); i++)
		free(enc->levels[i].data);
	free(enc);
}

static void enc_fail(struct enc *enc, int error)
{
	if (enc->error == 0)
		enc->error = error;
}

static struct enc_level *enc_top(struct enc *enc)
{
	return &enc->levels[enc->depth];
}

/* Room for len more bytes in the innermost level, or NULL and the error is set. The caller adds to level->len. */
static uint8_t *enc_reserve(struct enc *enc, size_t len)
{
	struct enc_level *level = enc_top(enc);
	size_t capacity = level->capacity ? level->capacity : 256;
	uint8_t *data;

	if (enc->error)
		return NULL;
	if (len > CODEC_MAX_SIZE - level->len) {
		enc_fail(enc, -EFBIG);
		return NULL;
	}
	while (capacity < level->len + len)
		capacity *= 2;
	if (capacity > level->capacity) {
		data = realloc(level->data, capacity);
		if (!data) {
			enc_fail(enc, -ENOMEM);
			return NULL;
		}
		level->data = data;
		level->capacity = capacity;
	}
	return level->data + level->len;
}

static void enc_append(struct enc *enc, const void *data, size_t len)
{
	uint8_t *at = enc_reserve(enc, len);

	if (!at)
		return;
	if (len > 0)
		memcpy(at, data, len);
	enc_top(enc)->len += len;
}

typedef size_t enc_head_fn(size_t value, uint8_t *buffer, size_t size);

/* A head whose argument is a length or a count. */
static void enc_head(struct enc *enc, enc_head_fn *fn, size_t value)
{
	uint8_t head[ENC_MAX_HEAD];

	enc_append(enc, head, fn(value, head, sizeof(head)));
}

static void enc_text(struct enc *enc, const char *text)
{
	size_t len = strlen(text);

	if (!utf8_is_text(text, len))
		enc_fail(enc, -EILSEQ);
	enc_head(enc, cbor_encode_string_start, len);
	enc_append(enc, text, len);
}

static void enc_key(struct enc *enc, const char *key)
{
	size_t len = strlen(key);

	if (enc_top(enc)->is_array || len == 0 || len > CODEC_MAX_KEY)
		enc_fail(enc, -EINVAL);
	enc_text(enc, key);
	enc_top(enc)->count++;
}

void enc_u64(struct enc *enc, const char *key, uint64_t value)
{
	uint8_t head[ENC_MAX_HEAD];

	enc_key(enc, key);
	enc_append(enc, head, cbor_encode_uint(value, head, sizeof(head)));
}

void enc_i64(struct enc *enc, const char *key, int64_t value)
{
	uint8_t head[ENC_MAX_HEAD];

	if (value >= 0) {
		enc_u64(enc, key, (uint64_t)value);
		return;
	}
	enc_key(enc, key);
	enc_append(enc, head, cbor_encode_negint(~(uint64_t)value, head, sizeof(head))); /* -1 - value */
}

void enc_bool(struct enc *enc, const char *key, bool value)
{
	uint8_t head[ENC_MAX_HEAD];

	enc_key(enc, key);
	enc_append(enc, head, cbor_encode_bool(value, head, sizeof(head)));
}

void enc_bytes(struct enc *enc, const char *key, const void *data, size_t len)
{
	enc_key(enc, key);
	enc_head(enc, cbor_encode_bytestring_start, len);
	enc_append(enc, data, len);
}

void enc_str(struct enc *enc, const char *key, const char *value)
{
	uint8_t head[ENC_MAX_HEAD];

	enc_key(enc, key);
	if (value)
		enc_text(enc, value);
	else
		enc_append(enc, head, cbor_encode_null(head, sizeof(head)));
}

static void enc_push(struct enc *enc, bool is_array)
{
	struct enc_level *level;

	if (enc->depth + 1 >= CODEC_MAX_DEPTH)
		enc_fail(enc, -ELOOP);
	if (enc->error)
		return;
	enc->depth++;
	level = enc_top(enc);
	level->is_array = is_array;
	level->count = 0;
	level->len = 0; /* the buffer of an earlier level at this depth is used again */
}

static void enc_pop(struct enc *enc, bool is_array)
{
	struct enc_level *level = enc_top(enc);

	if (enc->depth == 0 || level->is_array != is_array)
		enc_fail(enc, -EINVAL);
	if (enc->error)
		return;
	enc->depth--;
	enc_head(enc, is_array ? cbor_encode_array_start : cbor_encode_map_start, level->count);
	enc_append(enc, level->data, level->len);
}

void enc_map_begin(struct enc *enc, const char *key)
{
	enc_key(enc, key);
	enc_push(enc, false);
}

void enc_map_end(struct enc *enc)
{
	if (enc->depth > 0 && enc->levels[enc->depth - 1].is_array)
		enc_fail(enc, -EINVAL);
	enc_pop(enc, false);
}

void enc_array_begin(struct enc *enc, const char *key)
{
	enc_key(enc, key);
	enc_push(enc, true);
}

void enc_array_end(struct enc *enc)
{
	enc_pop(enc, true);
}

void enc_item_begin(struct enc *enc)
{
	if (!enc_top(enc)->is_array)
		enc_fail(enc, -EINVAL);
	enc_top(enc)->count++;
	enc_push(enc, false);
}

void enc_item_end(struct enc *enc)
{
	if (enc->depth == 0 || !enc->levels[enc->depth - 1].is_array)
		enc_fail(enc, -EINVAL);
	enc_pop(enc, false);
}

int enc_finish(struct enc *enc, uint8_t **data, size_t *len)
{
	uint8_t head[ENC_MAX_HEAD];
	size_t head_len;
	uint8_t *all;

	if (enc->depth != 0)
		enc_fail(enc, -EINVAL);
	if (enc->error)
		return enc->error;
	head_len = cbor_encode_map_start(enc->levels[0].count, head, sizeof(head));
	if (head_len > CODEC_MAX_SIZE - enc->levels[0].len)
		return -EFBIG;
	all = malloc(head_len + enc->levels[0].len);
	if (!all)
		return -ENOMEM;
	memcpy(all, head, head_len);
	if (enc->levels[0].len > 0)
		memcpy(all + head_len, enc->levels[0].data, enc->levels[0].len);
	*data = all;
	*len = head_len + enc->levels[0].len;
	return 0;
}
