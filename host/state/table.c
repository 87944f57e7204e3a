// SPDX-License-Identifier: Apache-2.0
/* The engine for tables of state. Tables are ours, input is hostile. */
#include "state/table.h"

#include <string.h>

#include "state/codec.h"

static uint64_t state_get_uint(const void *at, size_t size)
{
	switch (size) {
	case sizeof(uint8_t):
		return *(const uint8_t *)at;
	case sizeof(uint16_t):
		return *(const uint16_t *)at;
	case sizeof(uint32_t):
		return *(const uint32_t *)at;
	default:
		return *(const uint64_t *)at;
	}
}

static void state_set_uint(void *at, size_t size, uint64_t value)
{
	switch (size) {
	case sizeof(uint8_t):
		*(uint8_t *)at = (uint8_t)value;
		break;
	case sizeof(uint16_t):
		*(uint16_t *)at = (uint16_t)value;
		break;
	case sizeof(uint32_t):
		*(uint32_t *)at = (uint32_t)value;
		break;
	default:
		*(uint64_t *)at = value;
		break;
	}
}

static void state_save_field(const struct state_field *f, const char *obj, struct enc *enc)
{
	const void *at = obj + f->offset;

	switch (f->type) {
	case STATE_UINT:
		enc_u64(enc, f->key, state_get_uint(at, f->size));
		break;
	case STATE_BOOL:
		enc_bool(enc, f->key, *(const bool *)at);
		break;
	case STATE_BYTES:
		enc_bytes(enc, f->key, at, f->size);
		break;
	case STATE_BLOB:
		enc_bytes(enc, f->key, at, *(const unsigned int *)(const void *)(obj + f->len_offset));
		break;
	case STATE_MAP:
		enc_map_begin(enc, f->key);
		state_save(f->sub, at, enc);
		enc_map_end(enc);
		break;
	}
}

void state_save(const struct state_table *table, const void *obj, struct enc *enc)
{
	for (size_t i = 0; i < table->num_fields; i++)
		state_save_field(&table->fields[i], obj, enc);
}

static void state_load_blob(const struct state_field *f, char *obj, struct dec *dec)
{
	unsigned int *len = (unsigned int *)(void *)(obj + f->len_offset);
	const uint8_t *data;
	size_t n;

	*len = 0;
	data = dec_blob(dec, f->key, f->least, f->most, &n);
	if (!data)
		return;
	if (n % f->size) {
		dec_fail(dec, "%s has %zu bytes, a multiple of %zu is allowed", f->key, n, f->size);
		return;
	}
	memcpy(obj + f->offset, data, n);
	*len = (unsigned int)n;
}

static void state_load_field(const struct state_field *f, char *obj, struct dec *dec)
{
	void *at = obj + f->offset;

	switch (f->type) {
	case STATE_UINT:
		state_set_uint(at, f->size, dec_u64(dec, f->key, f->least, f->most));
		break;
	case STATE_BOOL:
		*(bool *)at = dec_bool(dec, f->key);
		break;
	case STATE_BYTES:
		dec_bytes(dec, f->key, at, f->size);
		break;
	case STATE_BLOB:
		state_load_blob(f, obj, dec);
		break;
	case STATE_MAP:
		state_load(f->sub, at, dec_map(dec, f->key));
		break;
	}
}

static void state_init(const struct state_table *table, void *obj);

static void state_init_field(const struct state_field *f, char *obj)
{
	void *at = obj + f->offset;

	switch (f->type) {
	case STATE_UINT:
		state_set_uint(at, f->size, f->initial);
		break;
	case STATE_BOOL:
		*(bool *)at = f->initial != 0;
		break;
	case STATE_BYTES:
		memset(at, 0, f->size);
		break;
	case STATE_BLOB:
		*(unsigned int *)(void *)(obj + f->len_offset) = 0;
		break;
	case STATE_MAP:
		state_init(f->sub, at);
		break;
	}
}

static void state_init(const struct state_table *table, void *obj)
{
	for (size_t i = 0; i < table->num_fields; i++)
		state_init_field(&table->fields[i], obj);
}

void state_load_part(const struct state_table *table, void *obj, struct dec *dec)
{
	for (size_t i = 0; i < table->num_fields; i++) {
		if (table->fields[i].since > dec_version(dec))
			state_init_field(&table->fields[i], obj);
		else
			state_load_field(&table->fields[i], obj, dec);
	}
}

void state_load(const struct state_table *table, void *obj, struct dec *dec)
{
	state_load_part(table, obj, dec);
	dec_end(dec);
}
