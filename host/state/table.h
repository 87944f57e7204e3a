/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A struct as a map of a snapshot, described once: the table drives saving,
 * loading and what is refused, so that they cannot drift apart. Tests take keys
 * away from, and add keys to, every map of a real state file
 * (tests/system/test_old_snapshots.py).
 *
 * A field that comes with a new minor version of the format says so (since) and
 * what an older file means by leaving it out (initial). That is all that a new
 * field needs: old files load, and a key that a file's own version does not have
 * is refused.
 */
#ifndef STATE_TABLE_H
#define STATE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct dec;
struct enc;

enum state_type {
	STATE_UINT,  /* uint8_t to uint64_t, by size; any other value than from least to most is refused */
	STATE_BOOL,  /* bool */
	STATE_BYTES, /* exactly size bytes */
	STATE_BLOB, /* least to most bytes, a multiple of size, in an array of most bytes; an unsigned int at len_offset
			says how many */
	STATE_MAP,  /* a struct by a table of its own */
};

struct state_table;

struct state_field {
	const char *key;
	enum state_type type;
	unsigned int since; /* minor version */
	size_t offset;
	size_t size;
	uint64_t least, most;
	size_t len_offset;
	const struct state_table *sub;
	uint64_t initial; /* a number's or boolean's value in an older file; bytes are zero, a blob is empty */
};

struct state_table {
	const struct state_field *fields;
	size_t num_fields;
};

#define STATE_TABLE(array)                                           \
	{                                                            \
		.fields = (array), .num_fields = ARRAY_SIZE((array)) \
	}

#define STATE_SIZE(type, member) sizeof(((type *)NULL)->member)
#define STATE_AT(type, member)	 .offset = offsetof(type, member), .size = STATE_SIZE(type, member)

/* Each row: the key is the member's name. What else there is to say (since, initial) goes behind in braces of its own. */
#define STATE_UINT_FIELD(type, member, min, max, ...)                                                   \
	{                                                                                               \
#member, STATE_UINT, STATE_AT(type, member), .least = (min), .most = (max), __VA_ARGS__ \
	}
#define STATE_BOOL_FIELD(type, member, ...)                                         \
	{                                                                           \
#member, STATE_BOOL, STATE_AT(type, member), .most = 1, __VA_ARGS__ \
	}
#define STATE_BYTES_FIELD(type, member, ...)                              \
	{                                                                 \
#member, STATE_BYTES, STATE_AT(type, member), __VA_ARGS__ \
	}
#define STATE_BLOB_FIELD(type, member, length, item_size, min, max, ...)                                    \
	{                                                                                                   \
#member, STATE_BLOB, .offset = offsetof(type, member), .size = (item_size), .least = (min), \
				     .most = (max), .len_offset = offsetof(type, length), __VA_ARGS__       \
	}
#define STATE_MAP_FIELD(type, member, table, ...)                                       \
	{                                                                               \
#member, STATE_MAP, STATE_AT(type, member), .sub = (table), __VA_ARGS__ \
	}

/* Writes every field of the struct at obj into the open map. */
void state_save(const struct state_table *table, const void *obj, struct enc *enc);

/*
 * Reads every field into obj; errors go into dec. A key that was not read, here or before, is an error. After an error obj
 * holds no length beyond its array, and otherwise anything.
 */
void state_load(const struct state_table *table, void *obj, struct dec *dec);

/* The same for a map that has more than the struct: unknown keys are the caller's to refuse, with dec_end(). */
void state_load_part(const struct state_table *table, void *obj, struct dec *dec);

#endif
