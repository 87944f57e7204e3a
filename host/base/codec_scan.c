// SPDX-License-Identifier: Apache-2.0
/*
 * The first look at hostile CBOR, with libcbor's streaming decoder: one
 * callback for each item head, a bounded stack of open containers, no
 * allocation.
 */
#include "base/codec_scan.h"

#include <stdbool.h>
#include <stdint.h>

#include <cbor.h>

#include "base/codec_limits.h"

struct codec_scan {
	const char *refused; /* why, or NULL */
	size_t items;
	size_t left;			   /* bytes from the current item's head to the end */
	unsigned int depth;		   /* open containers */
	uint64_t missing[CODEC_MAX_DEPTH]; /* items that each of them still needs */
};

static void codec_scan_refuse(struct codec_scan *scan, const char *why)
{
	if (!scan->refused)
		scan->refused = why;
}

static void codec_scan_item(struct codec_scan *scan)
{
	if (++scan->items > CODEC_MAX_ITEMS)
		codec_scan_refuse(scan, "there are too many items");
	if (scan->depth > 0)
		scan->missing[scan->depth - 1]--;
}

static void codec_scan_open(struct codec_scan *scan, size_t entries, unsigned int items_per_entry)
{
	codec_scan_item(scan);
	if (scan->depth == CODEC_MAX_DEPTH) {
		codec_scan_refuse(scan, "maps and arrays are nested too deeply");
		return;
	}
	/* Each item has at least one byte: a larger count is a lie, and must not reach an allocator. */
	if (entries > scan->left / items_per_entry) {
		codec_scan_refuse(scan, "a map or an array is cut short");
		return;
	}
	if (items_per_entry == 2 && entries > CODEC_MAX_KEYS) {
		codec_scan_refuse(scan, "a map has too many keys");
		return;
	}
	scan->missing[scan->depth++] = (uint64_t)entries * items_per_entry;
}

static void codec_scan_close(struct codec_scan *scan)
{
	while (scan->depth > 0 && scan->missing[scan->depth - 1] == 0)
		scan->depth--;
}

static void codec_on_uint8(void *ctx, uint8_t value)
{
	(void)value;
	codec_scan_item(ctx);
}

static void codec_on_uint16(void *ctx, uint16_t value)
{
	(void)value;
	codec_scan_item(ctx);
}

static void codec_on_uint32(void *ctx, uint32_t value)
{
	(void)value;
	codec_scan_item(ctx);
}

static void codec_on_uint64(void *ctx, uint64_t value)
{
	(void)value;
	codec_scan_item(ctx);
}

static void codec_on_string(void *ctx, cbor_data data, size_t len)
{
	(void)data;
	(void)len;
	codec_scan_item(ctx);
}

static void codec_on_bool(void *ctx, bool value)
{
	(void)value;
	codec_scan_item(ctx);
}

static void codec_on_null(void *ctx)
{
	codec_scan_item(ctx);
}

static void codec_on_array(void *ctx, size_t entries)
{
	codec_scan_open(ctx, entries, 1);
}

static void codec_on_map(void *ctx, size_t entries)
{
	codec_scan_open(ctx, entries, 2);
}

static void codec_on_indefinite(void *ctx)
{
	codec_scan_refuse(ctx, "an item has no definite length");
}

static void codec_on_tag(void *ctx, uint64_t tag)
{
	(void)tag;
	codec_scan_refuse(ctx, "there is a tag");
}

static void codec_on_float(void *ctx, float value)
{
	(void)value;
	codec_scan_refuse(ctx, "there is a floating-point number");
}

static void codec_on_double(void *ctx, double value)
{
	(void)value;
	codec_scan_refuse(ctx, "there is a floating-point number");
}

static void codec_on_undefined(void *ctx)
{
	codec_scan_refuse(ctx, "there is an undefined value");
}

static const struct cbor_callbacks codec_scan_callbacks = {
	.uint8 = codec_on_uint8,
	.uint16 = codec_on_uint16,
	.uint32 = codec_on_uint32,
	.uint64 = codec_on_uint64,
	.negint8 = codec_on_uint8,
	.negint16 = codec_on_uint16,
	.negint32 = codec_on_uint32,
	.negint64 = codec_on_uint64,
	.byte_string_start = codec_on_indefinite,
	.byte_string = codec_on_string,
	.string = codec_on_string,
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

static const char *codec_scan_step(struct codec_scan *scan, const uint8_t *at, size_t *read)
{
	struct cbor_decoder_result result = cbor_stream_decode(at, scan->left, &codec_scan_callbacks, scan);

	switch (result.status) {
	case CBOR_DECODER_FINISHED:
		*read = result.read;
		return scan->refused;
	case CBOR_DECODER_NEDATA:
		return "it is cut short";
	case CBOR_DECODER_ERROR:
		break;
	}
	return "it is not valid CBOR";
}

int codec_scan(const void *data, size_t len, struct err *e)
{
	struct codec_scan scan = { .left = len };
	const uint8_t *at = data;

	if (len > CODEC_MAX_SIZE)
		return err_set(e, EINVAL, "it has %zu bytes, at most %u are allowed", len, CODEC_MAX_SIZE);
	do {
		size_t read = 0;
		const char *refused = codec_scan_step(&scan, at, &read);

		if (refused)
			return err_set(e, EINVAL, "%s (at byte %zu)", refused, len - scan.left);
		at += read;
		scan.left -= read;
		codec_scan_close(&scan);
	} while (scan.depth > 0);
	if (scan.left > 0)
		return err_set(e, EINVAL, "%zu bytes follow its end", scan.left);
	return 0;
}
