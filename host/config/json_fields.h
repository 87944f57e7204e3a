/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A struct as a table of JSON fields, and the one decoder, encoder and
 * destructor for all such tables. What is not in the table is refused by name.
 * The same tables are what docs/openapi.yaml is made of.
 */
#ifndef CONFIG_JSON_FIELDS_H
#define CONFIG_JSON_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/err.h"

enum field_type {
	FIELD_STRING,  /* char *, malloc'ed; min and max count bytes */
	FIELD_BOOL,    /* bool */
	FIELD_U32,     /* uint32_t */
	FIELD_U64,     /* uint64_t; JSON integers end at INT64_MAX */
	FIELD_ENUM,    /* an enum, by its place in names */
	FIELD_STRINGS, /* struct string_list; min and max count strings, which have 1 to CONFIG_PATH_MAX bytes */
	FIELD_OBJECT,  /* the fields of sub, in the struct at offset */
	FIELD_ARRAY,   /* struct field_array of structs of sub; min and max count them */
	FIELD_CUSTOM,  /* what custom makes of it; never written */
	FIELD_LATER,   /* Firecracker has it and we do not yet: nothing is stored; written as null */
};

enum field_flags {
	FIELD_REQUIRED = 1 << 0,
	FIELD_DEPRECATED = 1 << 1,  /* clients should use something else: whoever gives it is told so */
	FIELD_ZERO_NULL = 1 << 2,   /* numbers: 0 is written as null; FIELD_OBJECT: so is one of nothing but nulls */
	FIELD_NOT_WRITTEN = 1 << 3, /* the encoder leaves it out */
	FIELD_IF_GIVEN = 1 << 4,    /* the encoder leaves it out if it was not given */
	FIELD_OURS = 1 << 6,  /* Firecracker does not have it: a FIELD_BOOL is written only if it is not the default */
	FIELD_OWNED = 1 << 7, /* FIELD_CUSTOM: what is stored is a malloc'ed string */
	/* FIELD_LATER: a value that asks for nothing and is accepted, besides null. */
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
	/* Offset of a bool that says whether the field was there, plus one; 0: nobody asks. The encoder writes null for what was not. */
	size_t given;
	uint64_t min, max;
	const char *const *names; /* FIELD_ENUM: by value, NULL ends; FIELD_LATER: strings that ask for nothing */
	unsigned int old;	  /* FIELD_ENUM: bit n set: clients should not use value n any more */
	const struct field_table
		*sub;		 /* FIELD_OBJECT; FIELD_CUSTOM: it is an array of such objects, for who describes it */
	field_custom_fn *custom; /* FIELD_CUSTOM */
	const char *help;	 /* what it is, in a sentence for a client's author */
};

struct field_table {
	const struct field *fields;
	size_t num_fields;
	size_t size;		   /* bytes of the struct; 0 for a table that is only part of another */
	const void *defaults;	   /* a struct with the values of absent fields; NULL: zeros. It holds no strings */
	void (*finish)(void *obj); /* NULL, or brings a decoded struct into its normal form */
};

/* A table of its own, and one that describes part of another table's struct. */
#define FIELD_TABLE(type, array)                                                                  \
	{                                                                                         \
		.fields = (array), .num_fields = ARRAY_SIZE((array)), .size = sizeof(struct type) \
	}
#define FIELD_SUBTABLE(array)                                        \
	{                                                            \
		.fields = (array), .num_fields = ARRAY_SIZE((array)) \
	}

/* For the rows of a table: where in struct type the field is, and where it says that the field was given. */
#define FIELD_AT(type, member)	  .offset = offsetof(struct type, member)
#define FIELD_GIVEN(type, member) .given = offsetof(struct type, member) + 1
#define FIELD_ANY_U64		  .max = INT64_MAX
#define FIELD_PATH		  .min = 1, .max = CONFIG_PATH_MAX

/* Parses one JSON object; the caller json_decref()s *root, which is set by a success only. Errors tell line and column. */
int config_json_parse(const char *text, size_t len, json_t **root, struct err *e) must_check;

/*
 * Fills the struct at out; absent and null fields stay as they are. -EINVAL with a sentence, or -ENOMEM; what was stored
 * by then is the caller's to free either way.
 */
int json_fields_decode(const struct field_table *table, json_t *obj, void *out, struct err *e) must_check;

/* *out is a new struct: the defaults, then what obj says. The caller json_fields_free()s it; on error *out is not touched. */
int json_fields_new(const struct field_table *table, json_t *obj, void **out, struct err *e) must_check;
/* Frees what the struct owns and zeroes it; json_fields_free() the struct as well. NULL is fine. */
void json_fields_fini(const struct field_table *table, void *obj);
void json_fields_free(const struct field_table *table, void *obj);

/*
 * What obj has that clients should not use any more: the key of a field that is given, and not null, or a value, the default if
 * it is not given; NULL if there is nothing. Deeper tables are not looked at.
 */
const char *json_fields_deprecated(const struct field_table *table, json_t *obj);

/* A new reference; NULL only when out of memory. */
json_t *json_fields_encode(const struct field_table *table, const void *in);

/* "field "name": value is not allowed: expected <expected>"; the value is shown short. Returns -EINVAL. */
int json_field_refuse(const char *name, json_t *value, const char *expected, struct err *e);

#endif
