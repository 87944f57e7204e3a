/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one place that touches libcbor: a writer and a bounded reader for maps
 * with text keys (RFC 8949), as the state file uses them. What has a struct
 * goes through a table (state/table.h) instead of these single calls. Both keep the first
 * error, so that a device's save or load is a plain list of fields, checked
 * once at the end. The reader treats its input as hostile.
 *
 * Writer: enc_u64(enc, "used_idx", q->used_idx); enc_map_begin(enc, "queues"); ... enc_map_end(enc);
 * Reader: dec_u64(dec, "used_idx", 0, UINT16_MAX) ...; return dec_error(dec, e);
 */
#ifndef STATE_CODEC_H
#define STATE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct enc;
struct dec;

/* A writer with one open top-level map. NULL only when out of memory. */
struct enc *enc_new(void);
void enc_free(struct enc *enc);
void enc_u64(struct enc *enc, const char *key, uint64_t value);
void enc_i64(struct enc *enc, const char *key, int64_t value);
void enc_bool(struct enc *enc, const char *key, bool value);
void enc_bytes(struct enc *enc, const char *key, const void *data, size_t len);
void enc_str(struct enc *enc, const char *key, const char *value); /* NULL is written as null */
void enc_map_begin(struct enc *enc, const char *key);
void enc_map_end(struct enc *enc);
/* An array of maps: enc_array_begin(enc, "queues"); for each: enc_item_begin(enc); ...; enc_item_end(enc); then enc_array_end(enc). */
void enc_array_begin(struct enc *enc, const char *key);
void enc_item_begin(struct enc *enc);
void enc_item_end(struct enc *enc);
void enc_array_end(struct enc *enc);
/* Ends the top-level map. *data is malloc'ed, the caller frees it. -ENOMEM or the first error. */
int enc_finish(struct enc *enc, uint8_t **data, size_t *len) must_check;

/* Parses all of data (one map, nothing after it, bounded depth and size); the reader keeps copies. -EINVAL with a sentence. */
int dec_new(const void *data, size_t len, struct dec **dec, struct err *e) must_check;
/* The format's minor version that the input has; DEC_NEWEST for one that dec_set_version() was not called for. */
#define DEC_NEWEST UINT32_MAX
void dec_set_version(struct dec *dec, unsigned int version);
unsigned int dec_version(struct dec *dec);
void dec_free(struct dec *dec); /* of the reader that dec_new() gave; frees all sub-readers */

/*
 * Each reads one key of the map; a missing key, another type or a value outside [min, max] sets the reader's error,
 * which names the full path ("devices.rng.queues[1].size"), the value and what is allowed, and yields 0/empty/NULL.
 */
uint64_t dec_u64(struct dec *dec, const char *key, uint64_t min, uint64_t max);
int64_t dec_i64(struct dec *dec, const char *key, int64_t min, int64_t max);
bool dec_bool(struct dec *dec, const char *key);
void dec_bytes(struct dec *dec, const char *key, void *data, size_t len); /* exactly len bytes; zeroed on error */
/* Between min and max bytes, *len says how many; the memory belongs to the reader. */
const uint8_t *dec_blob(struct dec *dec, const char *key, size_t min, size_t max, size_t *len);
const char *dec_str(struct dec *dec, const char *key,
		    size_t max_len); /* NULL for null; no NUL inside; the reader's memory */
/* Is there such a key (which counts as read), and is it text? Never an error. */
bool dec_has(struct dec *dec, const char *key);
bool dec_has_text(struct dec *dec, const char *key);
struct dec *dec_map(struct dec *dec, const char *key); /* never NULL: on error a reader on which everything fails */
size_t dec_array(struct dec *dec, const char *key, size_t max_items);
struct dec *dec_item(struct dec *dec, const char *key, size_t index);

/* Adds an error of the caller's own making (an impossible combination of values); keeps the first one. */
void dec_fail(struct dec *dec, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Every key of this map must have been read: an unknown key becomes an error that names it. */
void dec_end(struct dec *dec);

/* 0, or -EINVAL and the first error of this reader or any of its sub-readers (they share one). */
int dec_error(struct dec *dec, struct err *e) must_check;

#endif
