/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the monitor does when it is asked, beside configuring resources: one row
 * an operation. Some share an endpoint and are told apart by a field of the body
 * (PUT /actions, PATCH /vm).
 */
#ifndef VMM_OPERATION_H
#define VMM_OPERATION_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"
#include "config/json_fields.h"
#include "resource/resource.h"

struct vmm;

struct operation {
	const char *method;
	const char *path;
	const char *summary;
	unsigned int allowed;		  /* states */
	bool raw;			  /* body and reply are JSON that nothing here looks into: json_t */
	const char *error;		  /* NULL, or what stands before the text of an error */
	const char *timed;		  /* NULL, or its name in the log line that tells how long it took */
	_Atomic uint64_t *time[2];	  /* the metrics for that, µs */
	const struct field_table *fields; /* of the body; NULL: there is none */
	int (*check)(const void *body, struct err *e);
	const struct field_table *reply; /* of a GET; NULL: the whole configuration */
	/* The body is an enum: which of these is meant, by its value. They have no fields of their own. */
	const struct operation *choices;
	/* *reply is a new reference, or stays NULL. */
	int (*run)(struct vmm *vmm, void *body, json_t **reply, struct err *e);
	struct request_counters *counters; /* NULL: not counted */
	const struct resource *counted_as; /* or: with the PUTs of this one */
};

/* A row without a path ends. */
extern const struct operation operations[];
/* What starts the machine, for the config file. */
extern const struct operation *const operation_instance_start;

/* The operation that the body of op's endpoint chooses, or op. */
const struct operation *operation_chosen(const struct operation *op, const void *body);

#endif
