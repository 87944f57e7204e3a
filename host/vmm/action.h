/* SPDX-License-Identifier: Apache-2.0 */
/*
 * THE public interface of the monitor: everything that a client can ask for, as
 * an endpoint and a body. The API and the config file both produce actions;
 * vmm.c is the one place that carries them out.
 */
#ifndef VMM_ACTION_H
#define VMM_ACTION_H

#include <jansson.h>

#include "base/err.h"
#include "vmm/endpoint.h"

struct action {
	struct endpoint endpoint;
	void *body; /* owned; the struct of endpoint.fields, a json_t if it is raw, or NULL if there is none */
	const char *deprecated; /* NULL, or a field that the body has and that clients should not use any more */
};

/*
 * The action for a request to an endpoint, of which id is the part that "{id}" stands for (NULL: take the body's). body is NULL for
 * an endpoint without one. On error *action needs no action_fini().
 */
int action_from_json(const struct endpoint *endpoint, const char *id, json_t *body, struct action *action,
		     struct err *e) must_check;
void action_fini(struct action *action);

#endif
