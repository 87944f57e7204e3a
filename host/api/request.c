// SPDX-License-Identifier: Apache-2.0
#include "api/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define API_REQUEST_FIRST 1024 /* bytes; most bodies fit */

struct api_request *api_request_new(const char *target)
{
	struct api_request *request = calloc(1, sizeof(*request));

	if (!request)
		return NULL;
	request->target = strdup(target);
	if (!request->target) {
		free(request);
		return NULL;
	}
	return request;
}

void api_request_free(struct api_request *request)
{
	if (!request)
		return;
	free(request->target);
	free(request->body);
	free(request);
}

int api_request_append(struct api_request *request, const void *data, size_t len, size_t max)
{
	size_t needed, capacity = request->capacity ? request->capacity : API_REQUEST_FIRST;
	char *body;

	if (__builtin_add_overflow(request->received, len, &request->received))
		return -ENOMEM;
	if (request->received > max)
		return 0;
	needed = request->len + len; /* cannot overflow: it is at most max */
	while (capacity < needed)
		capacity = capacity > max / 2 ? max : capacity * 2;
	if (capacity > request->capacity) {
		body = realloc(request->body, capacity);
		if (!body)
			return -ENOMEM;
		request->body = body;
		request->capacity = capacity;
	}
	memcpy(request->body + request->len, data, len);
	request->len = needed;
	return 0;
}
