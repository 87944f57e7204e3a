/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be asked for, by method and path. Nothing is listed here: endpoints
 * are derived from resources (a PUT each, perhaps PATCHes and GETs), from the
 * operations of the monitor (operation.h), and from what is not there yet.
 */
#ifndef VMM_ENDPOINT_H
#define VMM_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "config/json_fields.h"
#include "resource/resource.h"

struct operation;

enum vmm_state { VMM_NOT_STARTED, VMM_RUNNING, VMM_PAUSED };

/* Sets of states. */
#define VMM_BEFORE_START (1u << VMM_NOT_STARTED)
#define VMM_WHILE_PAUSED (1u << VMM_PAUSED)
#define VMM_AFTER_START	 (1u << VMM_RUNNING | VMM_WHILE_PAUSED)
#define VMM_ANY_TIME	 (VMM_BEFORE_START | VMM_AFTER_START)

enum endpoint_kind {
	ENDPOINT_LATER,
	ENDPOINT_GET,
	ENDPOINT_PUT,
	ENDPOINT_PATCH,
	ENDPOINT_QUERY,
	ENDPOINT_OPERATION,
};

struct endpoint {
	enum endpoint_kind kind;
	const char *method;
	const char *path;     /* without the first slash; "{id}" at the end stands for an id */
	unsigned int allowed; /* states */
	const char *error;    /* NULL, or what stands before the text of an error */
	const char *why;      /* ENDPOINT_LATER: the reason */
	const char *summary;
	const struct field_table *fields; /* of the body; NULL: there is none */
	bool raw;			  /* body and reply are JSON that nothing here looks into: json_t */
	bool may_be_empty;		  /* the body may be missing, or give nothing */
	int (*check)(const void *body, struct err *e);
	const struct field_table *reply; /* of a GET; NULL: the whole configuration */
	bool has_id;			 /* the body has an id, a char * at id_offset */
	size_t id_offset;
	const struct resource *resource; /* GET, PUT, PATCH, QUERY */
	const struct resource_patch *patch;
	const struct resource_query *query;
	const struct operation *operation; /* OPERATION */
	struct request_counters *counters; /* NULL: not counted */
};

/* Endpoint number i; false: there are no more. */
bool endpoint_at(unsigned int i, struct endpoint *ep);

/* Does path fit the endpoint's? *id is then the part that "{id}" stands for. A missing last part is an empty id. */
bool endpoint_matches_path(const struct endpoint *ep, const char *path, const char **id);
bool endpoint_find(const char *method, const char *path, struct endpoint *ep, const char **id);
/* The PUT of a resource. */
void endpoint_of_put(const struct resource *r, struct endpoint *ep);

#endif
