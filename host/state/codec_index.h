/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STATE_CODEC_INDEX_H
#define STATE_CODEC_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum codec_type { CODEC_UINT, CODEC_NEGINT, CODEC_BOOL, CODEC_NULL, CODEC_BYTES, CODEC_TEXT, CODEC_ARRAY, CODEC_MAP };

/* A data item. Its span follows it in the array: what a map or an array holds comes right behind its own item. */
struct codec_item {
	enum codec_type type;
	bool seen;	     /* a key that the reader has asked for */
	uint32_t span;	     /* items, this one and what is in it */
	uint64_t value;	     /* numbers; strings: bytes; arrays: items; maps: keys. CODEC_NEGINT: -1 - value */
	const uint8_t *data; /* strings: in the input */
};

static inline struct codec_item *codec_next(struct codec_item *item)
{
	return item + item->span;
}

/*
 * Goes through data once: is it one CBOR map of the restricted form that the state file uses (definite lengths; integers,
 * booleans, null, byte and text strings, arrays, maps; keys that are different texts of 1 to CODEC_MAX_KEY bytes), within
 * CODEC_MAX_*, and nothing after it? *items is malloc'ed, the caller frees it, and points into data. -EINVAL with a
 * sentence, or -ENOMEM.
 */
int codec_index(const uint8_t *data, size_t len, struct codec_item **items, struct err *e) must_check;

#endif
