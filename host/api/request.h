/* SPDX-License-Identifier: Apache-2.0 */
/* One request while it arrives: its target and its body, bounded. */
#ifndef API_REQUEST_H
#define API_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct api_request {
	char *target; /* as the client wrote it; owned */
	char *body;   /* owned; NULL while nothing came */
	size_t len;
	size_t capacity;
	size_t received; /* bytes of the body that came, those that were thrown away included */
	bool begun;	 /* the headers were seen */
	bool is_logged;
	bool is_later; /* what is under way beside the loop is this request's */
	bool is_done;  /* and then this was the outcome */
	int result;
	struct err error;
	bool deprecated;	  /* it had a field that clients should not use any more */
	struct api_request *next; /* of those that wait */
	void *connection;	  /* theirs; borrowed */
};

struct api_request *api_request_new(const char *target); /* NULL only when out of memory */
void api_request_free(struct api_request *request);	 /* NULL is fine */

/* Appends to the body; beyond max bytes it only counts. 0, or -ENOMEM. */
int api_request_append(struct api_request *request, const void *data, size_t len, size_t max);

#endif
