/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A struct as a table of JSON fields, and the one decoder and encoder for all
 * such tables. What is not in the table is refused by name.
 */
#ifndef CONFIG_JSON_FIELDS_H
#define CONFIG_JSON_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"

enum field_type {
	FIELD_STRING, /* char *, malloc'ed; min and max count bytes */
	FIELD_BOOL,   /* bool */
	FIELD_U32,    /* uint32_t */
	FIELD_U64,    /* uint64_t; JSON integers end at INT64_MAX */
	FIELD_ENUM,   /* an enum, by its place in names */
	FIELD_OBJECT, /* the fields of sub, in the struct at offset */
	FIELD_CUSTOM, /* what custom makes of it; never written */
	FIELD_LATER,  /* Firecracker has it and we do not yet: nothing is stored; written as null */
};

enum field_flags {
	FIELD_REQUIRED = 1 << 0,
	FIELD_ONLY_FALSE = 1 << 1,  /* FIELD_BOOL: true is not supported yet */
	FIELD_ZERO_NULL = 1 << 2,   /* numbers: 0 is written as null; FIELD_OBJECT: so is one of nothing but nulls */
	FIELD_NOT_WRITTEN = 1 << 3, /* the encoder leaves it out */
	/* FIELD_LATER: values that ask for nothing and are accepted, besides null. */
	FIELD_MAY_BE_FALSE = 1 << 4,
	FIELD_MAY_BE_EMPTY = 1 << 5, /* [] */
};

struct field_table;

/* value is not null; at is the field's place in the struct, name what errors call it. */
typedef int field_custom_fn(json_t *value, void *at, const char *name, struct err *e);

struct field {
	const char *key;
	enum field_type type;
	unsigned int flags;
	size_t offset;
	size_t given; /* offset of a bool that says whether the field was there, plus one; 0: nobody asks */
	uint64_t min, max;
	const char *const *names;      /* FIELD_ENUM: by value, NULL ends; FIELD_LATER: strings that ask for nothing */
	unsigned int later;	       /* FIELD_ENUM: bit n set: value n is known and not supported yet */
	const struct field_table *sub; /* FIELD_OBJECT */
	field_custom_fn *custom;       /* FIELD_CUSTOM */
};

struct field_table {
	const struct field *fields;
	size_t num_fields;
	void (*finish)(void *obj); /* NULL, or brings a decoded struct into its normal form */
};

#define FIELD_TABLE(array)                                           \
	{                                                            \
		.fields = (array), .num_fields = ARRAY_SIZE((array)) \
	}

/*
 * Fills the struct at out; absent and null fields stay as they are. -EINVAL with a sentence, or -ENOMEM; what was stored
 * by then is the caller's to free either way.
 */
int json_fields_decode(const struct field_table *table, json_t *obj, void *out, struct err *e) must_check;

/* A new reference; NULL only when out of memory. */
json_t *json_fields_encode(const struct field_table *table, const void *in);

/* "field "name": value is not allowed: expected <expected>"; the value is shown short. Returns -EINVAL. */
int json_field_refuse(const char *name, json_t *value, const char *expected, struct err *e);

#endif
